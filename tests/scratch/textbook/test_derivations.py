"""What the names in the equations of rnn.md, lstm.md and gru.md stand for, and what else these pages say."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratch.textbook import gru, lstm, rnn
from tests.scratch.textbook.equations import Page, Walk, assert_printed, complex_step, sigma, slope
from tests.scratch.textbook.latex import Values

T, B, H = 5, 3, 6

# The RNN, with either nonlinearity.

PHI = {"tanh": np.tanh, "relu": lambda a: np.where(a.real > 0, a, 0)}


@cache
def both(B: int = 1) -> list[Any]:
    """A walk with tanh and one with relu."""
    walks = [Walk(rnn, T=T, B=B, H=H, nonlinearity=name) for name in PHI]
    for r, (r.name, phi) in zip(walks, PHI.items(), strict=True):
        r.values |= {"φ": phi, "φ'": slope(phi)}
    return walks


def of_rnn() -> Iterator[Values]:
    for r in both():
        yield r.values


RNN = Page(Path(rnn.__file__).with_suffix(".md"), of_rnn)


def leaves(r: Walk) -> Iterator[tuple[str, Any, Any]]:
    """Everything that has a gradient, with its gradient."""
    yield "x", r.x, r.d_x
    yield "state", r.state, r.d_initial
    yield from ((name, value, r.d_parameters[name]) for name, value in r.parameters.items())


@RNN.given("2.1", tolerance=1e-12)
def change_of_the_loss() -> Iterator[Values]:
    rng = np.random.default_rng(8)
    for r in both():
        for name, y, d_y in leaves(r):
            delta_y = rng.standard_normal(y.shape)
            delta_loss = r.loss(**{name: y + 1e-100j * delta_y}).imag / 1e-100
            yield {"delta L": delta_loss, "d_y": d_y, "delta y": delta_y, "t": 1}


@RNN.given("2.2")
def rule_a() -> Iterator[Values]:
    """Where y is h, and z is a."""
    for r in both():
        for s in r.values["steps"]:
            yield r.values | {"d_z": s["d_a"], "d_y": s["d_h"], "z": s["a"], "t": 1}


@RNN.given("2.3", "2.4", tolerance=1e-12)
def change_of_a_product() -> Iterator[Values]:
    """Where y is a, M is W_ih and z is x. The sums may cancel."""
    rng = np.random.default_rng(9)
    for r in both():
        for s in r.values["steps"]:
            M, z = r.values["W_ih"], s["x"]
            changes = {"delta M": rng.standard_normal(M.shape), "delta z": rng.standard_normal(z.shape)}
            delta_y = ((M + 1e-100j * changes["delta M"]) @ (z + 1e-100j * changes["delta z"])).imag / 1e-100
            names = {"M": M, "z": z, "d_y": s["d_a"], "d_z": s["d_x"], "d_M": s["d_W_ih"], "delta y": delta_y, "t": 1}
            yield changes | names | {"ranges": {"j": H, "k": len(z)}}


@RNN.given("2.5")
def rule_c() -> Iterator[Values]:
    """Where y is a, M is W_hh and z is h_prev."""
    for r in both(B):
        for s in r.values["steps"]:
            d_y, z = ([column[:, None] for column in s[name].T] for name in ("d_a", "h_prev"))
            yield {"d_M": s["d_W_hh"], "d_y": d_y, "z": z, "B": B, "t": 1}


def slopes(r: Any) -> Iterator[Values]:
    """As the code has them."""
    for t, s in enumerate(r.values["steps"], 1):
        yield r.values | {f"{r.name}'": lambda a, s=s: s["d_a"] / s["d_h"], "t": t}


RNN.given("3.2")(lambda: slopes(both()[0]))
RNN.given("7.1")(lambda: slopes(both()[1]))


@RNN.given("5.1", "5.2")
def sums_over_time() -> Iterator[Values]:
    for r in both():
        steps = r.values["steps"]
        wide = {f"bold {name}": np.concatenate([s[name] for s in steps], axis=1) for name in ("d_a", "x")}
        yield r.values | r.whole | wide


@RNN.given("8.1", "8.2")
def jacobians() -> Iterator[Values]:
    for r in both():
        J = [r.jacobian(t, t + 1)[0][0] for t in range(T)]
        steps = [s | {"J": J_t, "∂h_t/∂h_t-1": J_t} for s, J_t in zip(r.values["steps"], J, strict=True)]
        for t in range(T):
            yield r.values | {"steps": steps, "∂h_T/∂h_t": r.jacobian(t, T)[0][0], "t": t}


@RNN.given("8.3")
def bound() -> Iterator[Values]:
    """With large weights, and with small ones."""
    for r in both():
        for scale in 1, 0.1:
            W_hh = scale * r.parameters["weight_hh"]
            for t in range(T):
                ((slope,),) = r.jacobian(t, T, r.parameters | {"weight_hh": W_hh})
                yield {"∂h_T/∂h_t": slope, "s_1": np.linalg.norm(W_hh, 2), "t": t}


@RNN.given("10.1", tolerance=1e-12)
def a_complex_step() -> Iterator[Values]:
    """For each number p of each tensor."""
    for r in both():
        for name, tensor, gradient in leaves(r):
            for place in zip(*np.nonzero(gradient), strict=True):

                def loss(p: Any, r: Walk = r, name: str = name, tensor: Any = tensor, place: Any = place) -> Any:
                    moved = tensor.astype(complex)
                    moved[place] = p
                    return r.loss(**{name: moved})

                of_p = {"p": tensor[place], "L": loss, "∂L/∂p": gradient[place], "t": 1}
                yield of_p | {"j": 1j, "ε": 1e-100, "Im": np.imag, "O": lambda rest: 0}


def test_numbers_of_saturation() -> None:
    """Each printed digit of the unit that explodes and vanishes."""
    text = RNN.path.read_text().partition("**Saturation.**")[2]
    factor, grown = (
        r"h = \\tanh\(2h\) = (\S+)\$.*\$2\(1 - h\^2\) = (\S+)\$",
        r"is (\S+) after.* (\S+) after.* (\S+) after",
    )
    found = re.search(f"{factor}.*?{grown}", text, flags=re.DOTALL)
    assert found

    def unit(steps: int) -> tuple[float, float]:
        parameters = {"weight_ih": np.zeros((1, 1)), "weight_hh": np.array([[2.0]])}
        _, h, tape = rnn.forward(np.zeros((steps, 1, 1)), np.array([[0.01]]), parameters)
        return h.item(), rnn.backward(np.zeros((steps, 1, 1)), np.ones((1, 1)), tape)[1].item()

    h = unit(100)[0]
    assert_printed(found.groups(), h, 2 * (1 - h**2), *(unit(steps)[1] for steps in (1, 6, 20)))


def test_numbers_of_direction() -> None:
    W_hh = np.array([[0.5, 2.0], [0.0, 0.5]])
    found = re.search(r"\\rho = (\S+)\$ but \$s_1 = (\S+)\$", RNN.path.read_text())
    assert found
    assert_printed(found.groups(), max(abs(np.linalg.eigvals(W_hh))), np.linalg.norm(W_hh, 2))


# The LSTM.


@cache
def lstm_walk() -> Any:
    return Walk(lstm, H=H)


def sigmoid(a: Any) -> Any:
    """The page's own."""
    return lstm.sigmoid(np.asarray(a), np)


def of_lstm() -> Iterator[Values]:
    """With K, S and R of each step: K is ∂c/∂h_prev; what goes to c_prev passes c, and then f; R is what is left."""
    values = lstm_walk().values
    values |= dict(zip(("W_i", "W_f", "W_g", "W_o"), np.split(values["W_hh"], 4), strict=True))
    for t, s in enumerate(values["steps"]):
        s |= dict(zip(("a_i", "a_f", "a_g", "a_o"), np.split(s["a"], 4), strict=True))
        (h_by_h, h_by_c), (c_by_h, c_by_c) = lstm_walk().jacobian(t, t + 1)
        s |= {
            "K": c_by_h,
            "S": h_by_c / s["f"].T,
            "∂(c_h)/∂(c_prev_h_prev)": np.block([[c_by_c, c_by_h], [h_by_c, h_by_h]]),
        }
        s["R"] = h_by_h - s["S"] @ c_by_h
    yield values


LSTM = Page(Path(lstm.__file__).with_suffix(".md"), of_lstm)
LSTM.given("3.4")(lambda: [lstm_walk().whole])


@LSTM.given("2.1")
def a_product() -> Iterator[Values]:
    d_y, u, v = np.random.default_rng(8).standard_normal((3, H, 1))
    d_u, d_v = slope(lambda u: d_y * u * v)(u), slope(lambda v: d_y * u * v)(v)
    yield {"d_y": d_y, "u": u, "v": v, "d_u": d_u, "d_v": d_v, "t": 1}


@LSTM.given("2.5", "5.1")
def numbers() -> Iterator[Values]:
    for a in np.linspace(-6, 6, 49):
        yield {"a": a, "σ": sigmoid, "σ'": slope(sigmoid), "t": 1}


@LSTM.given("4.5")
def paths_within_the_cell_state_and_outside() -> Iterator[Values]:
    """Every path from c_0 leaves c or stays at each step; those that leave are taken one by one."""
    r = lstm_walk()
    within, outside, h_by_c_0 = np.eye(H), np.zeros((H, H)), np.zeros((H, H))
    for s in r.values["steps"]:
        f = np.diag(s["f"].ravel())
        outside = f @ outside + s["K"] @ h_by_c_0
        within = f @ within
        h_by_c_0 = s["S"] @ (within + outside) + s["R"] @ h_by_c_0
    yield {"∂c_T/∂c_t": r.jacobian(0, len(r.x))[1][1], "paths": outside, "t": 0}


def test_table_of_saturated_gates() -> None:
    """σ in float32, either way. By tanh it is a multiple of 2⁻²⁵, and which one depends on the machine's tanh."""
    rows = LSTM.tables()["$a$"]
    assert len(rows) == 5
    for a, exact, first, error_of_first, second, error_of_second in rows:
        a = float(a.strip("$"))
        gate, true = sigmoid(np.float32(a)).item(), sigma(a)
        assert_printed([exact, first], true, gate)
        assert abs(gate / true - 1) <= 2.5e-7
        assert float(error_of_first) <= 2.5e-7
        of_tanh = float(np.float32(0.5) * np.tanh(np.float32(a / 2)) + np.float32(0.5))
        assert abs(float(second) - of_tanh) <= 2**-25 + 5e-5 * true  # five digits are printed
        error = float(error_of_second.replace(" %", "e-2"))
        assert abs(error - abs(of_tanh / true - 1)) <= 2**-25 / true + 0.5 * error


@pytest.mark.parametrize(("a", "off"), [(10, 0.0005), (16, 0.06), (17, 1)])
def test_derivative_of_an_open_gate_in_float32_is_off(a: float, off: float) -> None:
    """By as much as the page says."""
    gate, true = sigmoid(np.float32(a)), sigma(-a) * sigma(a)
    assert abs(gate * (1 - gate) / true - 1) == pytest.approx(off, rel=0.1)
    with np.errstate(all="raise", under="ignore"):
        assert sigmoid(np.float32(-1000)) == 0 and sigmoid(np.float32(1000)) == 1  # nothing overflows


# The GRU.


@cache
def gru_walk() -> Any:
    return Walk(gru, H=H)


def of_gru() -> Iterator[Values]:
    """With M of each step, as (5.1) defines it."""
    values, without_matrix = gru_walk().values, gru_walk().parameters | {"weight_hh": np.zeros((3 * H, H))}
    values |= dict(zip(("W_r", "W_z", "W_n"), np.split(values["W_hh"], 3), strict=True))
    for t, s in enumerate(values["steps"]):
        for x_or_h in "xh":
            s |= {f"a_{gate}_{x_or_h}": a for gate, a in zip("rzn", np.split(s[f"a_{x_or_h}"], 3), strict=True)}
        s["d_h_prev_direct"] = gru.step_backward(s["d_h"].T, s["kept"], without_matrix)[1].T
        ((s["∂h/∂h_prev"],),) = gru_walk().jacobian(t, t + 1)
        s["M"] = (s["∂h/∂h_prev"] - np.diag(s["z"].ravel())) / (1 - s["z"])
    yield values | {"d_state": values.pop("d_h_n")}


GRU = Page(Path(gru.__file__).with_suffix(".md"), of_gru)
GRU.given("4.4")(lambda: [gru_walk().whole])


@GRU.given("5.3")
def paths_through_the_matrices_and_past_them() -> Iterator[Values]:
    """Every path from h_0 goes on in h or passes a matrix at each step; those that do are taken one by one."""
    past, through = np.eye(H), np.zeros((H, H))
    for s in gru_walk().values["steps"]:
        through = s["z"] * through + (1 - s["z"]) * s["M"] @ (past + through)
        past = s["z"] * past
    yield {"∂h_T/∂h_t": gru_walk().jacobian(0, len(gru_walk().x))[0][0], "paths": through, "t": 0}


@GRU.given("6.1")
def reset_before_the_product() -> Iterator[Values]:
    """Where U is diagonal and b reset, too, n is the textbook's."""
    U, b_n = np.diag(np.linspace(-2, 1, H)), gru_walk().values["b_hh"][2 * H :]
    special = gru_walk().parameters | {"weight_hh": np.concatenate([gru_walk().parameters["weight_hh"][: 2 * H], U])}
    for t, s in enumerate(gru_walk().values["steps"], 1):
        _, (*_, n) = gru.step(s["x"].T, s["h_prev"].T, special)
        yield {"n": n.T, "U": U, "b": s["r"] * b_n, "t": t}


@GRU.given("6.2", "6.3", "6.4")
def of_cho() -> Iterator[Values]:
    """The gradients of the sum of d_h ⊙ h, by complex steps. A given r takes the place of (1)."""
    values = GRU.usual()[0]
    U, b = values["W_n"], values["b_hh"][2 * H :]
    b_r, b_z, _ = np.split(values["b_hh"], 3)
    for t, s in enumerate(values["steps"], 1):

        def loss(h_prev: Any = s["h_prev"], U: Any = U, b: Any = b, r: Any = None, s: Any = s) -> Any:
            r = sigma(s["a_r_x"] + values["W_r"] @ h_prev + b_r) if r is None else r
            z = sigma(s["a_z_x"] + values["W_z"] @ h_prev + b_z)
            return np.sum(s["d_h"] * ((1 - z) * np.tanh(s["a_n_x"] + U @ (r * h_prev) + b) + z * h_prev))

        n = np.tanh(s["a_n_x"] + U @ (s["r"] * s["h_prev"]) + b)
        d_r = complex_step(lambda r, loss=loss: loss(r=r), s["r"])
        yield {
            "U": U,
            "d_a_n_x": s["d_h"] * (1 - s["z"]) * (1 - n * n),
            "d_r": d_r,
            "d_a_r": d_r * s["r"] * (1 - s["r"]),
            "d_a_z": s["d_h"] * (s["h_prev"] - n) * s["z"] * (1 - s["z"]),
            "d_h_prev": complex_step(lambda h_prev, loss=loss: loss(h_prev), s["h_prev"]),
            "d_U": complex_step(lambda U, loss=loss: loss(U=U), U),
            "d_b": complex_step(lambda b, loss=loss: loss(b=b), b),
            "t": t,
        }

"""What the names in the equations of rnn.md stand for, and what else the page says."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from scratch.textbook import rnn
from tests.scratch.textbook.equations import Page, Walk, assert_printed, slope
from tests.scratch.textbook.latex import Values

T, B, H = 5, 3, 6
PHI = {"tanh": np.tanh, "relu": lambda a: np.where(a.real > 0, a, 0)}


@cache
def both(B: int = 1) -> list[Any]:
    """A walk with tanh and one with relu."""
    walks = [Walk(rnn, T=T, B=B, H=H, nonlinearity=name) for name in PHI]
    for r, (r.name, phi) in zip(walks, PHI.items(), strict=True):
        r.values |= {"φ": phi, "φ'": slope(phi)}
    return walks


def usual() -> Iterator[Values]:
    for r in both():
        yield r.values


PAGE = Page(Path(rnn.__file__).with_suffix(".md"), usual)


def leaves(r: Walk) -> Iterator[tuple[str, Any, Any]]:
    """Everything that has a gradient, with its gradient."""
    yield "x", r.x, r.d_x
    yield "state", r.state, r.d_initial
    yield from ((name, value, r.d_parameters[name]) for name, value in r.parameters.items())


@PAGE.given("2.1", tolerance=1e-12)
def change_of_the_loss() -> Iterator[Values]:
    rng = np.random.default_rng(8)
    for r in both():
        for name, y, d_y in leaves(r):
            delta_y = rng.standard_normal(y.shape)
            delta_loss = r.loss(**{name: y + 1e-100j * delta_y}).imag / 1e-100
            yield {"delta L": delta_loss, "d_y": d_y, "delta y": delta_y, "t": 1}


@PAGE.given("2.2")
def rule_a() -> Iterator[Values]:
    """Where y is h, and z is a."""
    for r in both():
        for s in r.values["steps"]:
            yield r.values | {"d_z": s["d_a"], "d_y": s["d_h"], "z": s["a"], "t": 1}


@PAGE.given("2.3", "2.4", tolerance=1e-12)
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


@PAGE.given("2.5")
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


PAGE.given("3.2")(lambda: slopes(both()[0]))
PAGE.given("7.1")(lambda: slopes(both()[1]))


@PAGE.given("5.1", "5.2")
def whole() -> Iterator[Values]:
    for r in both():
        steps = r.values["steps"]
        wide = {f"bold {name}": np.concatenate([s[name] for s in steps], axis=1) for name in ("d_a", "x")}
        yield r.values | r.whole | wide


@PAGE.given("8.1", "8.2")
def jacobians() -> Iterator[Values]:
    for r in both():
        J = [r.jacobian(t, t + 1)[0][0] for t in range(T)]
        steps = [s | {"J": J_t, "∂h_t/∂h_t-1": J_t} for s, J_t in zip(r.values["steps"], J, strict=True)]
        for t in range(T):
            yield r.values | {"steps": steps, "∂h_T/∂h_t": r.jacobian(t, T)[0][0], "t": t}


@PAGE.given("8.3")
def bound() -> Iterator[Values]:
    """With large weights, and with small ones."""
    for r in both():
        for scale in 1, 0.1:
            W_hh = scale * r.parameters["weight_hh"]
            for t in range(T):
                ((slope,),) = r.jacobian(t, T, r.parameters | {"weight_hh": W_hh})
                yield {"∂h_T/∂h_t": slope, "s_1": np.linalg.norm(W_hh, 2), "t": t}


@PAGE.given("10.1", tolerance=1e-12)
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
    text = PAGE.path.read_text().partition("**Saturation.**")[2]
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
    found = re.search(r"\\rho = (\S+)\$ but \$s_1 = (\S+)\$", PAGE.path.read_text())
    assert found
    assert_printed(found.groups(), max(abs(np.linalg.eigvals(W_hh))), np.linalg.norm(W_hh, 2))

"""Every numbered equation of rnn.md, in NumPy as it stands there, gives what the textbook's functions compute."""

import inspect
import re
from functools import cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratch.textbook import rnn
from tests.scratch.textbook.equations import Page, assert_close, assert_printed, complex_step, walk

PAGE = Page(Path(rnn.__file__).with_suffix(".md"))
T, B, I, H = 5, 3, 4, 6  # noqa: E741
PHI = {"tanh": np.tanh, "relu": lambda a: np.where(a.real > 0, a, 0)}
SMALL = 1e-100


@cache
def both(**sizes: int) -> list[Any]:
    """A walk with tanh and one with relu; φ, and W_ih, W_hh, b_ih, b_hh with their gradients."""
    walks = [walk(rnn, nonlinearity=name, **sizes) for name in PHI]
    for r, r.phi in zip(walks, PHI.values(), strict=True):
        r.W_ih, r.W_hh, r.b_ih, r.b_hh = r.parameters.values()
        r.d_W_ih, r.d_W_hh, r.d_b_ih, r.d_b_hh = r.d_parameters.values()
    return walks


def column(vector: Any) -> Any:
    return vector[:, None]


def slope(r: Any, a: Any) -> Any:
    return r.phi(a + 1j * SMALL).imag / SMALL


def jacobians(r: Any, b: int) -> Any:
    """J_t at each step, of one sequence."""
    return [np.diag(slope(r, step.a[:, b])) @ r.W_hh for step in r.columns]


@PAGE.equation("0", r"a = W_{\mathrm{ih}} x + b_{\mathrm{ih}} + W_{\mathrm{hh}} h_{\mathrm{prev}} + b_{\mathrm{hh}}")
def pre_activation():
    for r in both():
        h = [r.state, *r.output]
        for t, step in enumerate(r.columns):
            yield r.W_ih @ r.x[t].T + column(r.b_ih) + r.W_hh @ h[t].T + column(r.b_hh), step.a


@PAGE.equation("1", r"h = \varphi(a)")
def state():
    for r in both():
        for t, step in enumerate(r.columns):
            yield r.phi(step.a), r.output[t].T
        yield r.output[-1], r.final


@PAGE.equation("2.1", r"\delta \mathcal{L} = \langle d_y, \delta y \rangle ,")
def change_of_the_loss():
    rng = np.random.default_rng(8)
    for r in both():
        given = {"x": r.x, "state": r.state} | r.parameters
        gradients = {"x": r.d_x, "state": r.d_initial} | r.d_parameters
        for name, y in given.items():
            delta_y = rng.standard_normal(y.shape)
            delta_loss = r.loss(**{name: y + 1j * SMALL * delta_y}).imag / SMALL
            yield np.sum(gradients[name] * delta_y), delta_loss, 1e-12


@PAGE.equation("2.2", r"d_z = d_y \odot \varphi'(z)")
def rule_a():
    for r in both():
        for step in r.columns:
            yield step.d_h * slope(r, step.a), step.d_a


@PAGE.equation(
    "2.3",
    r"\langle d_y, \delta y \rangle = \sum_{j,k} (d_y)_j M_{jk} \delta z_k + \sum_{j,k} (d_y)_j \delta M_{jk} z_k "
    r"= \langle M^{\top} d_y, \delta z \rangle + \langle d_y z^{\top}, \delta M \rangle",
)
def change_of_a_product():
    """For M = W_ih and z = x, where y is a."""
    rng = np.random.default_rng(9)
    for r in both(B=1):
        for step in r.columns:
            M, z, d_y = r.W_ih, step.x[:, 0], step.d_a[:, 0]
            delta_M, delta_z = rng.standard_normal(M.shape), rng.standard_normal(z.shape)
            delta_y = ((M + 1j * SMALL * delta_M) @ (z + 1j * SMALL * delta_z)).imag / SMALL
            code = np.sum(step.d_x[:, 0] * delta_z) + np.sum(step.d_parameters["weight_ih"] * delta_M)
            j, k = np.indices(M.shape)
            yield np.sum(d_y * delta_y), code, 1e-12  # these sums may cancel
            yield np.sum(d_y[j] * M * delta_z[k]) + np.sum(d_y[j] * delta_M * z[k]), code, 1e-12
            yield np.sum(M.T @ d_y * delta_z) + np.sum(np.outer(d_y, z) * delta_M), code, 1e-12


@PAGE.equation("2.4", r"d_z = M^{\top} d_y , d_M = d_y z^{\top}")
def rule_b():
    for r in both(B=1):
        for step in r.columns:
            yield r.W_ih.T @ step.d_a, step.d_x
            yield step.d_a @ step.x.T, step.d_parameters["weight_ih"]


@PAGE.equation("2.5", r"d_M = \sum_{b=1}^{B} d_{y_b} z_b^{\top} ,")
def rule_c():
    for r in both():
        for step in r.columns:
            of_each = [np.outer(step.d_a[:, b], step.h_prev[:, b]) for b in range(B)]
            yield sum(of_each), step.d_parameters["weight_hh"]
            yield step.d_a @ step.h_prev.T, sum(of_each)


@PAGE.equation("3.1", r"d_a = d_h \odot \varphi'(a) ,")
def d_pre_activation():
    for r in both():
        for step in r.columns:
            yield step.d_h * slope(r, step.a), step.d_a


@PAGE.equation("3.2", r"\tanh'(a) = 1 - \tanh^2(a) = 1 - h \odot h")
def slope_of_tanh():
    for step in both()[0].columns:
        yield 1 - np.tanh(step.a) ** 2, step.d_a / step.d_h
        yield 1 - step.h * step.h, step.d_a / step.d_h


@PAGE.equation("3.3", r"d_x = W_{\mathrm{ih}}^{\top} d_a , d_{h_{\mathrm{prev}}} = W_{\mathrm{hh}}^{\top} d_a ,")
def d_of_what_a_step_reads():
    for r in both():
        for t, step in enumerate(r.columns):
            yield r.W_ih.T @ step.d_a, r.d_x[t].T
            yield r.W_hh.T @ step.d_a, step.d_h_prev


@PAGE.equation("3.4", r"d_{W_{\mathrm{ih}}} = d_a x^{\top} , d_{W_{\mathrm{hh}}} = d_a h_{\mathrm{prev}}^{\top} ,")
def d_weights_of_one_step():
    for r in both(B=1):
        for step in r.columns:
            yield step.d_a @ step.x.T, step.d_parameters["weight_ih"]
            yield step.d_a @ step.h_prev.T, step.d_parameters["weight_hh"]


@PAGE.equation("3.5", r"d_{b_{\mathrm{ih}}} = d_a , d_{b_{\mathrm{hh}}} = d_a")
def d_biases_of_one_step():
    for r in both(B=1):
        for step in r.columns:
            yield step.d_a[:, 0], step.d_parameters["bias_ih"]
            yield step.d_a[:, 0], step.d_parameters["bias_hh"]


@PAGE.equation(
    "4.1",
    r"d_{h_t} = d_{\mathrm{output},t} + W_{\mathrm{hh}}^{\top} d_{a_{t+1}} (t \lt T), d_{h_T} = "
    r"d_{\mathrm{output},T} + d_{h_n} ,",
)
def two_sources():
    for r in both():
        for t in range(T - 1):
            yield r.d_output[t].T + r.W_hh.T @ r.columns[t + 1].d_a, r.columns[t].d_h
        yield r.d_output[-1].T + r.d_state.T, r.columns[-1].d_h


@PAGE.equation("4.2", r"d_{h_0} = W_{\mathrm{hh}}^{\top} d_{a_1}")
def d_initial_state():
    for r in both():
        yield r.W_hh.T @ r.columns[0].d_a, r.d_initial.T


@PAGE.equation(
    "5.1",
    r"d_{W_{\mathrm{ih}}} = \sum_{t=1}^{T} d_{a_t} x_t^{\top} , d_{W_{\mathrm{hh}}} = \sum_{t=1}^{T} d_{a_t} "
    r"h_{t-1}^{\top} , d_{b_{\mathrm{ih}}} = d_{b_{\mathrm{hh}}} = \sum_{t=1}^{T} d_{a_t}",
)
def sums_over_time():
    for r in both(B=1):
        h = [r.state, *r.output]
        yield sum(step.d_a @ r.x[t] for t, step in enumerate(r.columns)), r.d_W_ih
        yield sum(step.d_a @ h[t] for t, step in enumerate(r.columns)), r.d_W_hh
        for d_b in r.d_b_ih, r.d_b_hh:
            yield sum(step.d_a[:, 0] for step in r.columns), d_b


@PAGE.equation("5.2", r"\sum_{t=1}^{T} d_{a_t} x_t^{\top} = \mathbf{d_a} \mathbf{x}^{\top}")
def product_of_wide_matrices():
    for r in both(B=1):
        d_a, x = (np.concatenate([getattr(step, name) for step in r.columns], axis=1) for name in ("d_a", "x"))
        yield sum(np.outer(d_a[:, t], x[:, t]) for t in range(T)), r.d_W_ih
        yield d_a @ x.T, r.d_W_ih


@PAGE.equation("7.1", r"\mathrm{relu}'(a) = [h \gt 0]")
def slope_of_relu():
    for step in both()[1].columns:
        yield np.where(step.h > 0, 1, 0), step.d_a / step.d_h


def jacobian(r: Any, t: int) -> Any:
    """∂h_T / ∂h_t of the first sequence, from H equal ones, of which each asks for the gradient of one unit."""
    x, h_t = (np.repeat(rows[..., :1, :], H, axis=-2) for rows in (r.x[t:], [r.state, *r.output][t]))
    _, _, tape = rnn.forward(x, h_t, r.parameters, nonlinearity=r.steps[0].nonlinearity)
    return rnn.backward(np.zeros((T - t, H, H)), np.eye(H), tape)[1]


def product(factors: list[Any]) -> Any:
    """Of these Jacobians, the first one furthest to the right."""
    return reduce(lambda right, left: left @ right, factors, np.eye(H))


@PAGE.equation(
    "8.1",
    r"J_t = \frac{\partial h_t}{\partial h_{t-1}} = \mathrm{diag}\big(\varphi'(a_t)\big) W_{\mathrm{hh}} , "
    r"\frac{\partial h_T}{\partial h_t} = J_T J_{T-1} \cdots J_{t+1}",
)
def product_of_jacobians():
    for r in both():
        J = jacobians(r, 0)  # J_1 is J[0]
        yield J[T - 1], jacobian(r, T - 1)
        for t in range(T):
            yield product(J[t:]), jacobian(r, t)


@PAGE.equation(
    "8.2",
    r"d_{h_t} = \sum_{s=t}^{T} \big(J_s \cdots J_{t+1}\big)^{\top} d_{\mathrm{output},s} + \big(J_T \cdots "
    r"J_{t+1}\big)^{\top} d_{h_n}",
)
def sum_over_later_outputs():
    for r in both():
        for b in range(B):
            J = jacobians(r, b)
            for t in range(1, T + 1):
                d_h = sum(product(J[t:s]).T @ r.d_output[s - 1, b] for s in range(t, T + 1))
                yield d_h + product(J[t:]).T @ r.d_state[b], r.steps[t - 1].d_h[b]


@PAGE.equation("8.3", r"\Big\lVert \frac{\partial h_T}{\partial h_t} \Big\rVert \le s_1^{T-t}")
def bound():
    for r in both():
        s_1 = np.linalg.norm(r.W_hh, 2)
        for t in range(T):
            norm = np.linalg.norm(jacobian(r, t), 2)
            yield min(s_1 ** (T - t), norm), norm


@PAGE.equation(
    "10.1",
    r"\frac{\partial \mathcal{L}}{\partial p} = \frac{\mathrm{Im} \mathcal{L}(p + j \varepsilon)}{\varepsilon} + "
    r"O(\varepsilon^2)",
)
def derivative_by_a_complex_step():
    for r in both():
        yield complex_step(lambda x, r=r: r.loss(x=x), r.x), r.d_x, 1e-12
        yield complex_step(lambda h_0, r=r: r.loss(state=h_0), r.state), r.d_initial, 1e-12
        for name, p in r.parameters.items():
            yield complex_step(lambda p, r=r, name=name: r.loss(**{name: p}), p), r.d_parameters[name], 1e-12


@pytest.mark.parametrize("number", PAGE.tested)
def test_equation_gives_the_numbers_of_the_code(number: str) -> None:
    PAGE.check(number)


def test_every_equation_of_the_page_is_tested() -> None:
    assert PAGE.numbered() == {number: latex for number, (latex, _) in PAGE.tested.items()}


def test_every_line_of_the_way_back_is_in_the_table() -> None:
    spans = [row[0].strip("`").removesuffix("…)") for row in PAGE.tables()["line"]]
    lines = inspect.getsource(rnn.step_backward) + inspect.getsource(rnn.backward)
    assert [span for span in spans if span not in lines] == []
    computed = [line for line in lines.splitlines() if "  # (" in line or "d_h = d_output" in line]
    assert len(computed) == len(spans)
    assert [line for line in computed if not any(span in line for span in spans)] == []


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


def test_two_pieces_give_what_the_whole_sequence_gives() -> None:
    for r in both():
        options = {"nonlinearity": r.steps[0].nonlinearity}
        first, between, first_tape = rnn.forward(r.x[:2], r.state, r.parameters, **options)
        second, final, second_tape = rnn.forward(r.x[2:], between, r.parameters, **options)
        d_x_second, d_between, d_second = rnn.backward(r.d_output[2:], r.d_state, second_tape)
        d_x_first, d_initial, d_first = rnn.backward(r.d_output[:2], d_between, first_tape)
        assert_close(np.concatenate([first, second]), r.output)
        assert_close(final, r.final)
        assert_close(np.concatenate([d_x_first, d_x_second]), r.d_x)
        assert_close(d_initial, r.d_initial)
        for name, d_whole in r.d_parameters.items():
            assert_close(d_first[name] + d_second[name], d_whole)


def test_each_sequence_comes_out_as_if_it_ran_alone() -> None:
    for r in both():
        alone = []
        for b in range(B):
            one = slice(b, b + 1)
            options = {"nonlinearity": r.steps[0].nonlinearity}
            output, _, tape = rnn.forward(r.x[:, one], r.state[one], r.parameters, **options)
            assert_close(output, r.output[:, one])
            alone.append(rnn.backward(r.d_output[:, one], r.d_state[one], tape))
            assert_close(alone[b][0], r.d_x[:, one])
            assert_close(alone[b][1], r.d_initial[one])
        for name, d_whole in r.d_parameters.items():
            assert_close(sum(d_parameters[name] for _, _, d_parameters in alone), d_whole)

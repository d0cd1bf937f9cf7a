"""Every numbered equation of lstm.md, in NumPy as it stands there, gives the numbers of the textbook's functions."""

import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratch.textbook import lstm
from tests.scratch.textbook.equations import Page, assert_close, assert_printed, complex_step, walk

PAGE = Page(Path(lstm.__file__).with_suffix(".md"))
T, B, H = 5, 3, 6  # of `walk`


@cache
def problem() -> Any:
    """A random problem with parameters that have columns, too: W_ih, W_hh, b_ih, b_hh (4H, 1), and d_W_ih, …"""
    r = walk(lstm, T=T, B=B, H=H)
    r.W_ih, r.W_hh = r.parameters["weight_ih"], r.parameters["weight_hh"]
    r.b_ih, r.b_hh = r.parameters["bias_ih"][:, None], r.parameters["bias_hh"][:, None]
    (r.d_h_n, r.d_c_n), (r.d_h_0, r.d_c_0) = (tuple(part.T for part in state) for state in (r.d_state, r.d_initial))
    for s in r.columns:
        s.a_i, s.a_f, s.a_g, s.a_o = np.split(s.a, 4)
    return r


def steps() -> Any:
    return problem().columns


def sigma(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def sigmoid(a: Any) -> Any:
    """The page's own."""
    return lstm.sigmoid(np.asarray(a), np)


@PAGE.equation("0", r"a = W_{\mathrm{ih}} x + b_{\mathrm{ih}} + W_{\mathrm{hh}} h_{\mathrm{prev}} + b_{\mathrm{hh}}")
def pre_activation():
    r = problem()
    for s in steps():
        yield r.W_ih @ s.x + r.b_ih + r.W_hh @ s.h_prev + r.b_hh, s.a


@PAGE.equation("1", r"i = \sigma(a_i)")
def input_gate():
    for s in steps():
        yield sigma(s.a_i), s.i


@PAGE.equation("2", r"f = \sigma(a_f)")
def forget_gate():
    for s in steps():
        yield sigma(s.a_f), s.f


@PAGE.equation("3", r"g = \tanh(a_g)")
def candidate():
    for s in steps():
        yield np.tanh(s.a_g), s.g


@PAGE.equation("4", r"o = \sigma(a_o)")
def output_gate():
    for s in steps():
        yield sigma(s.a_o), s.o


@PAGE.equation("5", r"c = f \odot c_{\mathrm{prev}} + i \odot g")
def cell_state():
    for s in steps():
        yield s.f * s.c_prev + s.i * s.g, s.c


@PAGE.equation("6", r"h = o \odot \tanh(c)")
def hidden_state():
    for s, output in zip(steps(), problem().output, strict=True):
        yield s.o * np.tanh(s.c), s.h
        yield s.o * np.tanh(s.c), output.T


@PAGE.equation("2.1", r"d_u = d_y \odot v, d_v = d_y \odot u")
def product():
    d_y, u, v = np.random.default_rng(8).standard_normal((3, H))
    yield d_y * v, complex_step(lambda u: d_y * (u * v), u)
    yield d_y * u, complex_step(lambda v: d_y * (u * v), v)


@PAGE.equation("2.2", r"d_o = d_h \odot \tanh(c)")
def d_output_gate():
    for s in steps():
        yield s.d_h * np.tanh(s.c), s.d_o


@PAGE.equation("2.3", r"d_c = d_c^{\mathrm{after}} + d_h \odot o \odot (1 - \tanh^2(c))")
def d_cell_state():
    for s in steps():
        yield s.d_c_after + s.d_h * s.o * (1 - np.tanh(s.c) ** 2), s.d_c


@PAGE.equation(
    "2.4",
    r"d_f = d_c \odot c_{\mathrm{prev}}, d_i = d_c \odot g, d_g = d_c \odot i, d_{c_{\mathrm{prev}}} = d_c \odot f",
)
def d_of_what_c_is_made_of():
    for s in steps():
        yield s.d_c * s.c_prev, s.d_f
        yield s.d_c * s.g, s.d_i
        yield s.d_c * s.i, s.d_g
        yield s.d_c * s.f, s.d_c_prev


@PAGE.equation(
    "2.5",
    r"\sigma'(a) = \frac{e^{-a}}{(1 + e^{-a})^2} = \frac{1}{1 + e^{-a}} \cdot \frac{e^{-a}}{1 + e^{-a}} = "
    r"\sigma(a) (1 - \sigma(a))",
)
def derivative_of_sigma():
    a = np.linspace(-6, 6, 49)
    e, derivative = np.exp(-a), complex_step(sigmoid, a)
    yield e / (1 + e) ** 2, derivative
    yield 1 / (1 + e) * (e / (1 + e)), derivative
    yield sigmoid(a) * (1 - sigmoid(a)), derivative


@PAGE.equation("2.6", r"d_{a_o} = d_o \odot o \odot (1 - o)")
def d_a_o():
    for s in steps():
        yield s.d_o * s.o * (1 - s.o), s.d_a_o


@PAGE.equation("2.7", r"d_{a_g} = d_g \odot (1 - g \odot g)")
def d_a_g():
    for s in steps():
        yield s.d_g * (1 - s.g * s.g), s.d_a_g


@PAGE.equation("2.8", r"d_{a_f} = d_f \odot f \odot (1 - f)")
def d_a_f():
    for s in steps():
        yield s.d_f * s.f * (1 - s.f), s.d_a_f


@PAGE.equation("2.9", r"d_{a_i} = d_i \odot i \odot (1 - i)")
def d_a_i():
    for s in steps():
        yield s.d_i * s.i * (1 - s.i), s.d_a_i


@PAGE.equation(
    "2.10",
    r"d_x = W_{\mathrm{ih}}^{\top} d_a, d_{h_{\mathrm{prev}}} = W_{\mathrm{hh}}^{\top} d_a,",
)
def d_of_what_a_is_made_of():
    for s, d_x in zip(steps(), problem().d_x, strict=True):
        d_a = np.concatenate([s.d_a_i, s.d_a_f, s.d_a_g, s.d_a_o])
        yield problem().W_ih.T @ d_a, d_x.T
        yield problem().W_hh.T @ d_a, s.d_h_prev


@PAGE.equation("2.11", r"d_{W_{\mathrm{ih}}} = d_a x^{\top}, d_{W_{\mathrm{hh}}} = d_a h_{\mathrm{prev}}^{\top},")
def d_weights_of_a_step():
    """Of one sequence; over B of them the code adds."""
    for s, row in zip(steps(), problem().steps, strict=True):
        yield sum(np.outer(s.d_a[:, k], s.x[:, k]) for k in range(B)), row.d_parameters["weight_ih"]
        yield sum(np.outer(s.d_a[:, k], s.h_prev[:, k]) for k in range(B)), row.d_parameters["weight_hh"]


@PAGE.equation("2.12", r"d_{b_{\mathrm{ih}}} = d_{b_{\mathrm{hh}}} = d_a")
def d_biases_of_a_step():
    for s, row in zip(steps(), problem().steps, strict=True):
        yield sum(s.d_a[:, k] for k in range(B)), row.d_parameters["bias_ih"]
        yield sum(s.d_a[:, k] for k in range(B)), row.d_parameters["bias_hh"]


@PAGE.equation(
    "3.1",
    r"d_{h_t} = d_{\mathrm{output},t} + W_{\mathrm{hh}}^{\top} d_{a_{t+1}}, d_{h_T} = d_{\mathrm{output},T} + "
    r"d_{h_n},",
)
def two_terms_of_d_h():
    r = problem()
    for t, s in enumerate(steps()):
        yield r.d_output[t].T + (r.W_hh.T @ steps()[t + 1].d_a if t + 1 < T else r.d_h_n), s.d_h


@PAGE.equation(
    "3.2",
    r"d_{c_t} = d_{h_t} \odot o_t \odot (1 - \tanh^2(c_t)) + d_{c_{t+1}} \odot f_{t+1}, d_{c_T} = d_{h_T} \odot "
    r"o_T \odot (1 - \tanh^2(c_T)) + d_{c_n}",
)
def two_terms_of_d_c():
    for t, s in enumerate(steps()):
        after = steps()[t + 1].d_c * steps()[t + 1].f if t + 1 < T else problem().d_c_n
        yield s.d_h * s.o * (1 - np.tanh(s.c) ** 2) + after, s.d_c


@PAGE.equation("3.3", r"d_{h_0} = W_{\mathrm{hh}}^{\top} d_{a_1}, d_{c_0} = d_{c_1} \odot f_1")
def d_initial_state():
    yield problem().W_hh.T @ steps()[0].d_a, problem().d_h_0
    yield steps()[0].d_c * steps()[0].f, problem().d_c_0


@PAGE.equation(
    "3.4",
    r"d_{W_{\mathrm{ih}}} = \sum_{t=1}^{T} d_{a_t} x_t^{\top}, d_{W_{\mathrm{hh}}} = \sum_{t=1}^{T} d_{a_t} "
    r"h_{t-1}^{\top}, d_{b_{\mathrm{ih}}} = d_{b_{\mathrm{hh}}} = \sum_{t=1}^{T} d_{a_t}",
)
def sums_over_time():
    d = problem().d_parameters
    before = [problem().state[0].T, *(s.h for s in steps()[:-1])]
    yield sum(s.d_a @ s.x.T for s in steps()), d["weight_ih"]
    yield sum(s.d_a @ h.T for s, h in zip(steps(), before, strict=True)), d["weight_hh"]
    yield sum(s.d_a.sum(axis=1) for s in steps()), d["bias_ih"]
    yield sum(s.d_a.sum(axis=1) for s in steps()), d["bias_hh"]


def matrices(s: Any, k: int = 0) -> Any:
    """diag(f), K, S and R of this step, of sequence k."""
    i, f, g, o, c, c_prev = (part[:, k] for part in (s.i, s.f, s.g, s.o, s.c, s.c_prev))
    W_i, W_f, W_g, W_o = np.split(problem().W_hh, 4)
    K = np.diag(c_prev * f * (1 - f)) @ W_f + np.diag(g * i * (1 - i)) @ W_i + np.diag(i * (1 - g * g)) @ W_g
    return np.diag(f), K, np.diag(o * (1 - np.tanh(c) ** 2)), np.diag(np.tanh(c) * o * (1 - o)) @ W_o


def jacobian(x: Any, h_0: Any, c_0: Any, parameters: Any) -> Any:
    """∂h_T/∂h_0, ∂h_T/∂c_0, ∂c_T/∂h_0 and ∂c_T/∂c_0 of one sequence, by the page's own way back."""
    many = [np.repeat(part[..., None, :], H, axis=-2) for part in (x, h_0, c_0)]
    _, _, tape = lstm.forward(many[0], (many[1], many[2]), parameters)
    nothing, zeros, one_each = np.zeros((len(x), H, H)), np.zeros((H, H)), np.eye(H)
    return [
        part for d_state in ((one_each, zeros), (zeros, one_each)) for part in lstm.backward(nothing, d_state, tape)[1]
    ]


def of_one_step(s: Any) -> Any:
    return jacobian(s.x[:, 0][None], s.h_prev[:, 0], s.c_prev[:, 0], problem().parameters)


@PAGE.equation(
    "4.1",
    r"K = \mathrm{diag}\big(c_{\mathrm{prev}} \odot f \odot (1 - f)\big) W_f + \mathrm{diag}\big(g \odot i \odot "
    r"(1 - i)\big) W_i + \mathrm{diag}\big(i \odot (1 - g \odot g)\big) W_g,",
)
def c_by_h_prev():
    for s in steps():
        yield matrices(s)[1], of_one_step(s)[2]


@PAGE.equation("4.2", r"S = \mathrm{diag}\big(o \odot (1 - \tanh^2(c))\big),")
def h_by_c():
    """What goes to c_prev passes c, and then f."""
    for s in steps():
        yield matrices(s)[2], of_one_step(s)[1] / s.f[:, 0]


@PAGE.equation("4.3", r"R = \mathrm{diag}\big(\tanh(c) \odot o \odot (1 - o)\big) W_o")
def h_by_h_prev_alone():
    """What is left of ∂h / ∂h_prev when the path through c is taken off."""
    for s in steps():
        h_by_h_prev, h_by_c_prev, c_by_h_prev, _ = of_one_step(s)
        yield matrices(s)[3], h_by_h_prev - h_by_c_prev / s.f[:, 0] @ c_by_h_prev


@PAGE.equation(
    "4.4",
    r"\frac{\partial (c, h)}{\partial (c_{\mathrm{prev}}, h_{\mathrm{prev}})} = \begin{pmatrix} \mathrm{diag}(f) K "
    r"\\ S \mathrm{diag}(f) S K + R \end{pmatrix}",
)
def jacobian_of_a_step():
    for s in steps():
        diag_f, K, S, R = matrices(s)
        h_by_h_prev, h_by_c_prev, c_by_h_prev, c_by_c_prev = of_one_step(s)
        code = np.block([[c_by_c_prev, c_by_h_prev], [h_by_c_prev, h_by_h_prev]])
        yield np.block([[diag_f, K], [S @ diag_f, S @ K + R]]), code


@PAGE.equation(
    "4.5",
    r"\frac{\partial c_T}{\partial c_t} = \prod_{s=t+1}^{T} \mathrm{diag}(f_s) + \text{paths through } h \text{ "
    r"and the gates}",
)
def paths_within_the_cell_state_and_outside():
    """Every path leaves c or stays at each step; those that leave are taken one by one."""
    r = problem()
    c_by_c = jacobian(r.x[:, 0], r.state[0][0], r.state[1][0], r.parameters)[3]
    within, outside, h_by_c_0 = np.eye(H), np.zeros((H, H)), np.zeros((H, H))
    for s in steps():
        diag_f, K, S, R = matrices(s)
        outside = diag_f @ outside + K @ h_by_c_0
        within = diag_f @ within
        h_by_c_0 = S @ (within + outside) + R @ h_by_c_0
    yield within + outside, c_by_c
    yield within, np.diag(np.prod([s.f[:, 0] for s in steps()], axis=0))


@PAGE.equation(
    "5.1",
    r"\frac{1}{1 + e^{-a}} = \frac{e^{a}}{1 + e^{a}} = \tfrac12 \tanh\big(\tfrac12 a\big) + \tfrac12",
)
def sigma_in_three_ways():
    a = np.linspace(-6, 6, 49)
    yield 1 / (1 + np.exp(-a)), sigmoid(a)
    yield np.exp(a) / (1 + np.exp(a)), sigmoid(a)
    yield np.tanh(a / 2) / 2 + 1 / 2, sigmoid(a)


@pytest.mark.parametrize("number", PAGE.tested)
def test_equation_gives_the_numbers_of_the_code(number: str) -> None:
    PAGE.check(number)


def test_every_equation_of_the_page_is_tested() -> None:
    assert PAGE.numbered() == {number: latex for number, (latex, _) in PAGE.tested.items()}


def test_equations_that_are_referred_to_exist() -> None:
    prose = re.sub(r"```math\n.*?```", "", PAGE.path.read_text(), flags=re.DOTALL)
    referred = set(re.findall(r"\((\d\.\d+|\d)\)", prose))
    assert referred
    assert referred <= PAGE.tested.keys()


def test_gradients_are_complex_step_derivatives() -> None:
    r = problem()
    h_0, c_0 = r.state
    assert_close(complex_step(lambda x: r.loss(x=x), r.x), r.d_x)
    assert_close(complex_step(lambda h_0: r.loss(state=(h_0, c_0)), h_0), r.d_initial[0])
    assert_close(complex_step(lambda c_0: r.loss(state=(h_0, c_0)), c_0), r.d_initial[1])
    for name, value in r.parameters.items():
        assert_close(complex_step(lambda moved, name=name: r.loss(**{name: moved}), value), r.d_parameters[name])


@pytest.mark.parametrize(("function", "head"), [(lstm.step_backward, "line"), (lstm.backward, "line of the loop")])
def test_table_of_lines_has_every_line(function: Any, head: str) -> None:
    """And no other; but for those that take a tuple apart or only begin the loop."""
    lines = [line.split("  #")[0].strip() for line in inspect.getsource(function).splitlines()]
    in_table = [row[0].strip("`") for row in PAGE.tables()[head]]
    start = next(n for n, line in enumerate(lines) if in_table[0] == line)
    lines = [line for line in lines[start:] if not line.startswith(("return", "if"))]
    assert [line.removeprefix("d_parameters |= ") for line in lines] == in_table


def test_table_of_saturated_gates() -> None:
    """σ in float32, either way. By tanh it is a multiple of 2⁻²⁵, and which one depends on the machine's tanh."""
    rows = PAGE.tables()["$a$"]
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

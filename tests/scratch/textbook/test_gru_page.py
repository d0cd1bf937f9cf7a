"""Every numbered equation of gru.md, in NumPy as it stands there, gives the numbers of the textbook's functions."""

import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scratch.textbook import gru
from tests.scratch.textbook.equations import Page, complex_step, walk

PAGE = Page(Path(gru.__file__).with_suffix(".md"))
T, B, I, H = 5, 3, 4, 6  # noqa: E741


@cache
def run() -> SimpleNamespace:
    """A random pass, with the parameters by their letters, and the blocks of W_hh and b_hh."""
    r = walk(gru, T=T, B=B, I=I, H=H)
    r.W_ih, r.W_hh, r.b_ih, r.b_hh = r.parameters.values()
    r.W_r, r.W_z, r.W_n = np.split(r.W_hh, 3)
    r.b_r, r.b_z, r.b_n = np.split(r.b_hh[:, None], 3)
    return r


def steps() -> list[SimpleNamespace]:
    return run().columns


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def new_state(a_x: Any, a_h: Any, h_prev: Any) -> Any:
    """(1) to (4)."""
    (x_r, x_z, x_n), (h_r, h_z, h_n) = np.split(a_x, 3), np.split(a_h, 3)
    z = sigmoid(x_z + h_z)
    return (1 - z) * np.tanh(x_n + sigmoid(x_r + h_r) * h_n) + z * h_prev


@PAGE.equation(
    "0",
    r"a_x = \begin{pmatrix} x_r \\ x_z \\ x_n \end{pmatrix} = W_{\mathrm{ih}} x + b_{\mathrm{ih}}, "
    r"a_h = \begin{pmatrix} h_r \\ h_z \\ h_n \end{pmatrix} = W_{\mathrm{hh}} h_{\mathrm{prev}} + b_{\mathrm{hh}}",
)
def two_halves():
    for step in steps():
        yield run().W_ih @ step.x + run().b_ih[:, None], step.a_x
        yield run().W_hh @ step.h_prev + run().b_hh[:, None], step.a_h
        yield np.split(step.a_h, 3)[2], step.h_n


@PAGE.equation("1", r"r = \sigma(x_r + h_r)")
def reset_gate():
    for step in steps():
        yield sigmoid(step.a_x[:H] + step.a_h[:H]), step.r


@PAGE.equation("2", r"z = \sigma(x_z + h_z)")
def update_gate():
    for step in steps():
        yield sigmoid(step.a_x[H : 2 * H] + step.a_h[H : 2 * H]), step.z


@PAGE.equation("3", r"n = \tanh(x_n + r \odot h_n)")
def candidate():
    for step in steps():
        yield np.tanh(step.a_x[2 * H :] + step.r * step.h_n), step.n


@PAGE.equation("4", r"h = (1 - z) \odot n + z \odot h_{\mathrm{prev}}")
def state():
    for step, output in zip(steps(), run().output, strict=True):
        yield (1 - step.z) * step.n + step.z * step.h_prev, output.T


@PAGE.equation("2.1", r"d_n = d_h \odot (1 - z)")
def d_candidate():
    for step in steps():
        yield step.d_h * (1 - step.z), step.d_n


@PAGE.equation("2.2", r"d_z = d_h \odot (h_{\mathrm{prev}} - n)")
def d_update_gate():
    for step in steps():
        yield step.d_h * (step.h_prev - step.n), step.d_z


@PAGE.equation("2.3", r"d_{h_{\mathrm{prev}}}^{\mathrm{direct}} = d_h \odot z")
def d_direct():
    """What is left where W_hh is zero on the way back."""
    for row, step in zip(run().steps, steps(), strict=True):
        no_matrix = run().parameters | {"weight_hh": np.zeros((3 * H, H))}
        yield step.d_h * step.z, gru.step_backward(row.d_h, row.kept, no_matrix)[1].T


@PAGE.equation("2.4", r"d_{x_n} = d_n \odot (1 - n \odot n)")
def d_argument_of_tanh():
    for step in steps():
        yield step.d_n * (1 - step.n * step.n), step.d_x_n


@PAGE.equation("2.5", r"d_{h_n} = d_{x_n} \odot r")
def d_state_in_the_candidate():
    for step in steps():
        yield step.d_x_n * step.r, step.d_h_n


@PAGE.equation("2.6", r"d_r = d_{x_n} \odot h_n")
def d_reset_gate():
    for step in steps():
        yield step.d_x_n * step.h_n, step.d_r


@PAGE.equation("2.7", r"d_{a_z} = d_z \odot z \odot (1 - z)")
def d_argument_of_z():
    for step in steps():
        yield step.d_z * step.z * (1 - step.z), step.d_a_z


@PAGE.equation("2.8", r"d_{a_r} = d_r \odot r \odot (1 - r)")
def d_argument_of_r():
    for step in steps():
        yield step.d_r * step.r * (1 - step.r), step.d_a_r


@PAGE.equation(
    "2.9",
    r"d_{a_x} = \begin{pmatrix} d_{a_r} \\ d_{a_z} \\ d_{x_n} \end{pmatrix}, "
    r"d_{a_h} = \begin{pmatrix} d_{a_r} \\ d_{a_z} \\ d_{h_n} \end{pmatrix}",
)
def two_gradients():
    """And complex steps of either half give the same."""
    for s in steps():
        yield np.concatenate([s.d_a_r, s.d_a_z, s.d_x_n]), s.d_a_x
        yield np.concatenate([s.d_a_r, s.d_a_z, s.d_h_n]), s.d_a_h
        yield s.d_a_x, complex_step(lambda a_x, s=s: s.d_h * new_state(a_x, s.a_h, s.h_prev), s.a_x)
        yield s.d_a_h, complex_step(lambda a_h, s=s: s.d_h * new_state(s.a_x, a_h, s.h_prev), s.a_h)


@PAGE.equation("2.10", r"d_x = W_{\mathrm{ih}}^{\top} d_{a_x}")
def d_input():
    for step, d_x in zip(steps(), run().d_x, strict=True):
        yield run().W_ih.T @ step.d_a_x, d_x.T


@PAGE.equation("2.11", r"d_{h_{\mathrm{prev}}} = d_h \odot z + W_{\mathrm{hh}}^{\top} d_{a_h}")
def d_previous_state():
    for step in steps():
        yield step.d_h * step.z + run().W_hh.T @ step.d_a_h, step.d_h_prev


@PAGE.equation("2.12", r"d_{W_{\mathrm{ih}}} = d_{a_x} x^{\top}, d_{b_{\mathrm{ih}}} = d_{a_x}")
def what_a_step_adds_for_the_input():
    for step in steps():
        yield sum(np.outer(step.d_a_x[:, k], step.x[:, k]) for k in range(B)), step.d_parameters["weight_ih"]
        yield sum(step.d_a_x[:, k] for k in range(B)), step.d_parameters["bias_ih"]


@PAGE.equation("2.13", r"d_{W_{\mathrm{hh}}} = d_{a_h} h_{\mathrm{prev}}^{\top}, d_{b_{\mathrm{hh}}} = d_{a_h}")
def what_a_step_adds_for_the_state():
    for step in steps():
        yield sum(np.outer(step.d_a_h[:, k], step.h_prev[:, k]) for k in range(B)), step.d_parameters["weight_hh"]
        yield sum(step.d_a_h[:, k] for k in range(B)), step.d_parameters["bias_hh"]


@PAGE.equation(
    "3.1",
    r"d_{b_{\mathrm{ih}}} - d_{b_{\mathrm{hh}}} = d_{a_x} - d_{a_h} = "
    r"\begin{pmatrix} 0 \\ 0 \\ (1 - r) \odot d_{x_n} \end{pmatrix}",
)
def the_biases_differ_by_the_reset_gate():
    for step in steps():
        difference = np.concatenate([np.zeros((2 * H, B)), (1 - step.r) * step.d_x_n])
        yield difference, step.d_a_x - step.d_a_h
        yield difference.sum(axis=1), step.d_parameters["bias_ih"] - step.d_parameters["bias_hh"], 1e-12  # cancels


@PAGE.equation(
    "4.1",
    r"d_{h_t} = d_{\mathrm{output},t} + d_{h_{t+1}} \odot z_{t+1} + W_{\mathrm{hh}}^{\top} d_{a_h,t+1}, t \lt T",
)
def three_sources():
    for step, after, d_output in zip(steps()[:-1], steps()[1:], run().d_output[:-1], strict=True):
        yield d_output.T + after.d_h * after.z + run().W_hh.T @ after.d_a_h, step.d_h


@PAGE.equation("4.2", r"d_{h_T} = d_{\mathrm{output},T} + d_{\mathrm{state}}")
def d_last_state():
    yield (run().d_output[-1] + run().d_state).T, steps()[-1].d_h


@PAGE.equation("4.3", r"d_{h_0} = d_{h_1} \odot z_1 + W_{\mathrm{hh}}^{\top} d_{a_h,1}")
def d_first_state():
    first = steps()[0]
    yield first.d_h * first.z + run().W_hh.T @ first.d_a_h, run().d_initial.T


@PAGE.equation(
    "4.4",
    r"d_{W_{\mathrm{ih}}} = \sum_{t=1}^{T} d_{a_x,t} x_t^{\top}, "
    r"d_{W_{\mathrm{hh}}} = \sum_{t=1}^{T} d_{a_h,t} h_{t-1}^{\top}",
)
def sums_over_time():
    """For the biases, too, as the page says."""
    h_before = [run().state, *run().output[:-1]]
    yield sum(step.d_a_x @ x for step, x in zip(steps(), run().x, strict=True)), run().d_parameters["weight_ih"]
    yield sum(step.d_a_h @ h for step, h in zip(steps(), h_before, strict=True)), run().d_parameters["weight_hh"]
    yield sum(step.d_a_x.sum(axis=1) for step in steps()), run().d_parameters["bias_ih"]
    yield sum(step.d_a_h.sum(axis=1) for step in steps()), run().d_parameters["bias_hh"]


def jacobian(steps: list[Any], parameters: Any) -> Any:
    """∂h_T / ∂h_0 of the first sequence: row k is the gradient of unit k, from the code's steps backward."""
    d_state = np.eye(H)
    for kept in reversed(steps):
        equal_sequences = [np.repeat(value[:1], H, axis=0) for value in kept]
        d_state = gru.step_backward(d_state, equal_sequences, parameters)[1]
    return d_state


def M(s: SimpleNamespace) -> Any:
    """(5.2), of the first sequence."""
    r, z, n, h_n, h_prev = (value[:, 0] for value in (s.r, s.z, s.n, s.h_n, s.h_prev))
    through_n = np.diag(r) @ run().W_n + np.diag(h_n * r * (1 - r)) @ run().W_r
    return np.diag((h_prev - n) * z) @ run().W_z + np.diag(1 - n * n) @ through_n


@PAGE.equation("5.1", r"\frac{\partial h}{\partial h_{\mathrm{prev}}} = \mathrm{diag}(z) + \mathrm{diag}(1 - z) M")
def jacobian_of_a_step():
    for step in steps():
        z = step.z[:, 0]
        yield np.diag(z) + np.diag(1 - z) @ M(step), jacobian([step.kept], run().parameters)


@PAGE.equation(
    "5.2",
    r"M = \mathrm{diag}\big((h_{\mathrm{prev}} - n) \odot z\big) W_z + \mathrm{diag}(1 - n \odot n) "
    r"\Big(\mathrm{diag}(r) W_n + \mathrm{diag}\big(h_n \odot r \odot (1 - r)\big) W_r\Big)",
)
def paths_that_the_gate_closes():
    for step in steps():
        z = step.z[:, :1]
        yield M(step), (jacobian([step.kept], run().parameters) - np.diag(z[:, 0])) / (1 - z), 1e-12  # cancels


@PAGE.equation(
    "5.3",
    r"\frac{\partial h_T}{\partial h_t} = \prod_{s=t+1}^{T} \mathrm{diag}(z_s) + "
    r"\text{paths through the gates and the candidate}",
)
def path_past_all_matrices():
    """Where W_hh is zero there is no other."""
    no_matrix = run().parameters | {"weight_hh": np.zeros((3 * H, H))}
    _, _, (kept, _) = gru.forward(run().x, run().state, no_matrix)
    for t in range(T):
        yield np.diag(np.prod([z[0] for *_, z, _ in kept[t:]], axis=0)), jacobian(kept[t:], no_matrix)


def chos_n(s: SimpleNamespace, r: Any, h_prev: Any, U: Any, b: Any) -> Any:
    """(6.1)."""
    return np.tanh(s.a_x[2 * H :] + U @ (r * h_prev) + b)


def chos_loss(s: SimpleNamespace, r: Any = None, h_prev: Any = None, U: Any = None, b: Any = None) -> Any:
    """The sum of d_h ⊙ h, with h in Cho's form. What is not given is as in the run; `r` takes the place of (1)."""
    h_prev, U, b = (
        s.h_prev if h_prev is None else h_prev,
        run().W_n if U is None else U,
        run().b_n if b is None else b,
    )
    r = sigmoid(s.a_x[:H] + run().W_r @ h_prev + run().b_r) if r is None else r
    z = sigmoid(s.a_x[H : 2 * H] + run().W_z @ h_prev + run().b_z)
    return np.sum(s.d_h * ((1 - z) * chos_n(s, r, h_prev, U, b) + z * h_prev))


@cache
def chos_steps() -> list[SimpleNamespace]:
    """The steps, with what Cho's form makes of (2.1) to (2.8)."""
    found = []
    for s in steps():
        n = chos_n(s, s.r, s.h_prev, run().W_n, run().b_n)
        d_x_n = s.d_h * (1 - s.z) * (1 - n * n)
        d_a_r = s.h_prev * (run().W_n.T @ d_x_n) * s.r * (1 - s.r)  # with (6.2)
        d_a_z = s.d_h * (s.h_prev - n) * s.z * (1 - s.z)
        found.append(SimpleNamespace(**vars(s) | {"d_x_n": d_x_n, "d_a_r": d_a_r, "d_a_z": d_a_z}))
    return found


@PAGE.equation("6.1", r"n = \tanh\big(x_n + U (r \odot h_{\mathrm{prev}}) + b\big)")
def reset_before_the_product():
    """Where U is diagonal and b zero, the textbook's n; and else another."""
    special = {name: value.copy() for name, value in run().parameters.items()}
    U = special["weight_hh"][2 * H :] = np.diag(np.linspace(-2, 1, H))
    special["bias_hh"][2 * H :] = 0
    for row, step in zip(run().steps, steps(), strict=True):
        _, (*_, n) = gru.step(row.x, row.h_prev, special)
        yield chos_n(step, step.r, step.h_prev, U, 0), n.T
        assert np.abs(chos_n(step, step.r, step.h_prev, run().W_n, run().b_n) - step.n).max() > 0.01


@PAGE.equation("6.2", r"d_r = h_{\mathrm{prev}} \odot (U^{\top} d_{x_n})")
def d_reset_gate_of_cho():
    for s in chos_steps():
        yield s.h_prev * (run().W_n.T @ s.d_x_n), complex_step(lambda r, s=s: chos_loss(s, r=r), s.r)


@PAGE.equation(
    "6.3",
    r"d_{h_{\mathrm{prev}}} = d_h \odot z + W_r^{\top} d_{a_r} + W_z^{\top} d_{a_z} + r \odot (U^{\top} d_{x_n})",
)
def d_previous_state_of_cho():
    for s in chos_steps():
        through_gates = run().W_r.T @ s.d_a_r + run().W_z.T @ s.d_a_z
        d_h_prev = s.d_h * s.z + through_gates + s.r * (run().W_n.T @ s.d_x_n)
        yield d_h_prev, complex_step(lambda h_prev, s=s: chos_loss(s, h_prev=h_prev), s.h_prev)


@PAGE.equation("6.4", r"d_U = d_{x_n} (r \odot h_{\mathrm{prev}})^{\top}, d_b = d_{x_n}")
def d_parameters_of_cho():
    for s in chos_steps():
        yield s.d_x_n @ (s.r * s.h_prev).T, complex_step(lambda U, s=s: chos_loss(s, U=U), run().W_n)
        yield s.d_x_n.sum(axis=1, keepdims=True), complex_step(lambda b, s=s: chos_loss(s, b=b), run().b_n)


@pytest.mark.parametrize("number", PAGE.tested)
def test_equation_gives_the_numbers_of_the_code(number: str) -> None:
    PAGE.check(number)


def test_every_equation_of_the_page_is_tested() -> None:
    assert PAGE.numbered() == {number: latex for number, (latex, _) in PAGE.tested.items()}


def test_equations_that_are_referred_to_exist() -> None:
    prose = re.sub(r"```math\n.*?```", "", PAGE.path.read_text(), flags=re.DOTALL)
    assert set(re.findall(r"\((\d\.\d+|\d)\)", prose)) <= PAGE.numbered().keys()


CODE = [line.split("  #")[0].strip() for line in Path(gru.__file__).read_text().splitlines()]


def test_quoted_lines_are_the_code() -> None:
    quoted = re.findall(r"```python\n(.*?)```", PAGE.path.read_text(), flags=re.DOTALL)
    assert quoted
    assert {line.split("  #")[0].strip() for line in "".join(quoted).splitlines()} - set(CODE) == set()


def test_the_table_has_every_line_of_the_way_back() -> None:
    """Of step_backward and backward, every line with an equation's number. Dicts may stand there entry by entry."""
    listed = re.findall(r"`([^`]+)`", "".join(line for line, *_ in PAGE.tables()["line"]))
    entries = [part for part in listed if part.startswith('"')]
    assert [
        part for part in listed if part not in CODE and not any(part in line for line in CODE if part in entries)
    ] == []
    way_back = Path(gru.__file__).read_text().partition("def step_backward")[2]
    lines = [line for line in re.findall(r"^ +(\S.*?)  #.*\(\d\)", way_back, re.M) if "d_" in line]
    assert len(lines) > 10
    assert [line for line in lines if line not in listed and not any(part in line for part in entries)] == []

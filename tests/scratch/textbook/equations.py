"""The numbered equations of pages, and what the textbook's functions compute, to hold them against."""

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

Array = Any
Check = Callable[[], Iterable[tuple[Any, ...]]]
"""Yields pairs: what the equation says, written out in NumPy, and what the code computed; perhaps with a tolerance."""

NUMBER = re.compile(r"\\text\{\((\d+\.\d+|[TR]?\d)\)\}")
BLOCKS = {"rnn": 1, "lstm": 4, "gru": 3}


def bare(latex: str) -> str:
    """LaTeX without what only arranges it, and without the sentence's punctuation."""
    latex = re.sub(
        r"\\(begin|end)\{aligned\}|\\q?quad|\\text\{(of |from ).*?\}|\\\\$|(?<!\\)\\[,; ]|&",
        "",
        latex,
        flags=re.MULTILINE,
    )
    return re.sub(r"\s", "", latex).rstrip(".,")


class Page:
    """A page whose numbered equations are tested one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tested: dict[str, tuple[str, Check]] = {}

    def equation(self, number: str, latex: str) -> Callable[[Check], Check]:
        """The decorator of the test of this equation, which stands on the page as here."""

        def add(check: Check) -> Check:
            assert number not in self.tested
            self.tested[number] = bare(latex), check
            return check

        return add

    def check(self, number: str) -> None:
        """Compare what the equation says with what the code computed."""
        assert_all_close(self.tested[number][1]())

    def numbered(self) -> dict[str, str]:
        """The equations that are displayed on the page, by number. Each has to have one."""
        found = {}
        for block in re.findall(r"```math\n(.*?)```", self.path.read_text(), flags=re.DOTALL):
            *equations, rest = NUMBER.split(re.sub(r"\\text\{(forward|reverse|how|what)\b[^{}:]*\}", "", block))
            assert not bare(rest), f"{self.path.name}: no number behind {rest}"
            for latex, number in zip(equations[::2], equations[1::2], strict=True):
                assert number not in found or bare(latex) == found[number], f"{self.path.name}: another ({number})"
                found[number] = bare(latex)
        return found

    def tables(self) -> dict[str, list[list[str]]]:
        """The cells of each table's rows, without its head, by the head's first cell."""
        found = {}
        for table in re.findall(r"(?:^\|.*\|$\n)+", self.path.read_text(), flags=re.M):
            head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
            found[head[0]] = rows
        return found


def assert_all_close(pairs: Iterable[tuple[Any, ...]]) -> None:
    """There is at least one pair, and the two sides of each agree."""
    pairs = list(pairs)
    assert pairs
    for page, code, *tolerance in pairs:
        assert_close(page, code, *tolerance)


def assert_close(page: Any, code: Any, tolerance: float = 1e-13) -> None:
    """By default, sums of at most some dozens of products of numbers near 1, each of which is rounded by 1.1e-16."""
    page, code = np.asarray(page), np.asarray(code)
    assert page.shape == code.shape
    assert np.linalg.norm(code) > 0
    assert np.linalg.norm(page - code) <= tolerance * np.linalg.norm(code), (page, code)


def assert_printed(printed: Iterable[str], *values: float) -> None:
    """The texts are these numbers, rounded to as many digits as they show."""
    for text, value in zip(printed, values, strict=True):
        mantissa, _, exponent = text.partition("e")
        unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        assert abs(float(text) - value) <= 0.5001 * unit, (text, value)


def complex_step(function: Callable[[Array], Any], at: Array) -> Array:
    """The derivative of a sum of numbers with respect to each entry of `at`, exact up to rounding."""
    result = np.empty(at.shape)
    for index in np.ndindex(at.shape):
        moved = at.astype(complex)
        moved[index] += 1e-100j
        result[index] = np.sum(function(moved)).imag / 1e-100
    return result


def named(functions: Iterable[Any], call: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, list[Any]]:
    """What the call returns, and of each call of one of the functions in it everything that has a name there."""
    codes, found = {function.__code__ for function in functions}, []

    def look(frame: Any, event: str, _: Any) -> None:
        if event == "return" and frame.f_code in codes:
            found.append(dict(frame.f_locals))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        result = call(*arguments, **options)
    finally:
        sys.setprofile(before)
    return result, found


def walk(
    page_module: ModuleType,
    *,
    T: int = 5,
    B: int = 3,
    I: int = 4,  # noqa: E741
    H: int = 6,
    seed: int = 7,
    **options: Any,
) -> SimpleNamespace:
    """A random problem, forward and backward, with everything that has a name inside the steps.

    `steps[t]` has what `step` and `step_backward` call by a name at this step, as rows, as in the code: x, h_prev, a,
    h, d_h, d_a, d_x, …; `columns[t]` has the same arrays as columns, (features, B), as on the page. Beside them are the
    whole problem (x, state, parameters, d_output, d_state) and what came of it (output, final, d_x, d_initial,
    d_parameters). `loss(name=value, …)` is the number that d_… are the gradients of, for another x, state or parameter.
    `options` go to `forward`.
    """
    rng = np.random.default_rng(seed)
    name = page_module.__name__.rpartition(".")[2]
    rows = BLOCKS[name] * H
    parameters = {
        "weight_ih": rng.uniform(-1, 1, (rows, I)),
        "weight_hh": rng.uniform(-1, 1, (rows, H)),
        "bias_ih": rng.uniform(-1, 1, rows),
        "bias_hh": rng.uniform(-1, 1, rows),
    }
    x, d_output = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, H))
    state, d_state = rng.standard_normal((2, B, H)), rng.standard_normal((2, B, H))
    state, d_state = (tuple(state), tuple(d_state)) if name == "lstm" else (state[0], d_state[0])

    def loss(x: Array = x, state: Any = state, **changed: Array) -> Any:
        output, final, _ = page_module.forward(x, state, parameters | changed, **options)
        return np.sum(d_output * output) + np.sum(np.asarray(d_state) * np.asarray(final))

    (output, final, tape), forward = named([page_module.step], page_module.forward, x, state, parameters, **options)
    (d_x, d_initial, d_parameters), backward = named(
        [page_module.step_backward], page_module.backward, d_output, d_state, tape
    )
    steps = [made | undone for made, undone in zip(forward, backward[::-1], strict=True)]
    assert len(steps) == T
    columns = [
        {key: value.T if isinstance(value, np.ndarray) else value for key, value in step.items()} for step in steps
    ]
    return SimpleNamespace(
        steps=[SimpleNamespace(**step) for step in steps],
        columns=[SimpleNamespace(**step) for step in columns],
        x=x, state=state, parameters=parameters, d_output=d_output, d_state=d_state, loss=loss,
        output=output, final=final, d_x=d_x, d_initial=d_initial, d_parameters=d_parameters,
    )  # fmt: skip

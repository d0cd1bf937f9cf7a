"""The numbered equations of pages and docstrings, and what the code computes, step by step, to hold them against."""

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from scratch.study.trace import trace
from scratch.types import Array

Check = Callable[[], Iterable[tuple[Any, ...]]]
"""Yields pairs: what the equation says, written out in NumPy, and what the code computed; perhaps with a tolerance."""

NUMBER = re.compile(r"\\text\{\((\d+\.\d+|[TR]?\d)\)\}")


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


class Docstring:
    """A docstring whose equations, those with a number before or behind, are tested one by one."""

    def __init__(self, text: str | None) -> None:
        self.text = inspect.cleandoc(text or "")
        self.tested: dict[str, Check] = {}

    def equation(self, text: str) -> Callable[[Check], Check]:
        """The decorator of the test of this equation."""

        def add(check: Check) -> Check:
            assert text not in self.tested
            self.tested[text] = check
            return check

        return add

    def check(self, text: str) -> None:
        """Compare what the equation says with what the code computed."""
        assert_all_close(self.tested[text]())

    def numbered(self) -> set[str]:
        """The equations of the docstring, without what is said behind them."""
        before = re.findall(r"^\(\d\) +(\S.*?)(?:,?  .*)?$", self.text, flags=re.M)
        behind = re.findall(r"^(?:Differentiated:)? {2,}(\S.*?) {2,}\(\d\).*$", self.text, flags=re.M)
        return {*before, *behind}


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


def run(module: Any, x: Any, state: Any, d_output: Any, d_state: Any) -> SimpleNamespace:
    """A forward and a backward pass, with what the cell was given and gave at each step.

    `of[k]` are the steps of layer and direction k, in the order in which they are taken forward; what belongs to a step
    is as in the core, columns (features, B), and pre-activations (G·H, B), or ((G + apart)·H, B). `d_direct` is what
    step_backward returns for h_prev.
    """
    found = trace(module, x, state, d_output, d_state)
    module(x, state)  # so that it has a tape, and the same dropout masks, for what is asked of the module itself
    of = [
        [
            SimpleNamespace(
                a=step.a.reshape(-1, step.a.shape[-1]), prev=step.state_prev,
                gates=step.left, made=step.state, kept=step.kept,
                d_made=step.d_state, slopes=step.slopes, d_a=step.d_a.reshape(-1, step.a.shape[-1]),
                d_direct=step.d_h_direct, d_prev=step.d_rest,
            )
            for step in steps
        ]
        for steps in found.steps
    ]  # fmt: skip
    return SimpleNamespace(
        **module.state_dict(),
        **{f"d_{name}": gradient for name, gradient in found.d_parameters.items()},
        x=x, state=state, d_output=d_output, d_state=d_state,
        output=found.output, final=found.state, d_x=found.d_input, d_initial=found.d_initial, of=of,
    )  # fmt: skip


def complex_step(function: Callable[[Array], Any], at: Array) -> Array:
    """The derivative of a sum of numbers with respect to each entry of `at`, exact up to rounding."""
    result = np.empty(at.shape)
    for index in np.ndindex(at.shape):
        moved = at.astype(complex)
        moved[index] += 1e-100j
        result[index] = np.sum(function(moved)).imag / 1e-100
    return result

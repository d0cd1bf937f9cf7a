"""The numbered equations of pages, each computed as it stands there and held against what the code computes."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from .latex import RELATIONS, OutOfTime, Values, expression, holds, statements

Array = Any
Given = Callable[[], Iterable[Values]]
"""Yields what names stand for; where `t` is not among them, for every step."""

NUMBER = re.compile(r"\\text\{\((\d+\.\d+|[TR]?\d)\)\}(?:\s*&+\s*\\text\{[^{}]*\})?")
"""And what an equation is about, where that stands behind its number."""
BLOCKS = {"rnn": 1, "lstm": 4, "gru": 3}
LETTERS = {"weight_ih": "W_ih", "weight_hh": "W_hh", "bias_ih": "b_ih", "bias_hh": "b_hh", "weight_hr": "W_hr"}


class Page:
    """A page, and what the names in its equations stand for: the code's own numbers, but for what defines a name."""

    def __init__(self, path: Path, usual: Given = lambda: [{}]) -> None:
        self.path, self.usual, self.tolerances = path, cache(lambda: list(usual())), {}
        self.special: dict[str, Given] = {}

    def given(self, *numbers: str, tolerance: float = 1e-13) -> Callable[[Given], Given]:
        """The decorator of what names stand for in these equations besides, or instead."""

        def add(given: Given) -> Given:
            self.special |= dict.fromkeys(numbers, given)
            self.tolerances |= dict.fromkeys(numbers, tolerance)
            return given

        return add

    def __str__(self) -> str:
        return self.path.name

    def check(self, number: str, latex: str = "") -> None:
        """Compute every side of an equation of the page, or of another in its place. Raises AssertionError.

        Not of a statement that needs another step than there is, or whose conditions do not hold.
        """
        found, tested, tolerance = (
            statements(latex or self.numbered()[number]),
            set(),
            self.tolerances.get(number, 1e-13),
        )
        for special in self.special.get(number, self.usual)():
            given = self.usual()[0] | special
            for t in [given["t"]] if "t" in given else range(1, len(given["steps"]) + 1):
                values = given | {"t": t}
                for place, (sides, conditions) in enumerate(found):
                    if all(holds(condition, values) for condition in conditions):
                        with suppress(OutOfTime):
                            computed = [(relation, expression(side, values)) for relation, side in sides]
                            assert_sides(computed if len(sides) > 1 else [*computed, ("=", given["value"])], tolerance)
                            tested.add(place)
        assert len(tested) == len(found)

    def numbered(self) -> dict[str, str]:
        """The equations that are displayed on the page, by number. Each has to have one."""
        found: dict[str, str] = {}
        for block in re.findall(r"```math\n(.*?)```", self.path.read_text(), flags=re.DOTALL):
            *equations, rest = NUMBER.split(block)
            assert not re.sub(r"\\end\{aligned\}|\s", "", rest), f"{self.path.name}: no number behind {rest}"
            for latex, number in zip(equations[::2], equations[1::2], strict=True):
                assert re.sub(r"\W", "", found.setdefault(number, latex)) == re.sub(r"\W", "", latex), number
        return found

    def tables(self) -> dict[str, list[list[str]]]:
        """The cells of each table's rows, without its head, by the head's first cell."""
        found = {}
        for table in re.findall(r"(?:^\|.*\|$\n)+", self.path.read_text(), flags=re.M):
            head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
            found[head[0]] = rows
        return found


def assert_sides(sides: list[tuple[str, Any]], tolerance: float) -> None:
    """Whatever stands to the right of a relation agrees with what stands on the left of all."""
    (_, code), *others = sides
    for relation, page in others:
        if relation == "=":
            assert_close(page, code, tolerance)
        else:
            assert RELATIONS[relation](code, page * (1 + tolerance))


def assert_close(page: Any, code: Any, tolerance: float = 1e-13) -> None:
    """By default, sums of at most some dozens of products of numbers near 1, each of which is rounded by 1.1e-16."""
    page, code = np.asarray(page), np.asarray(code)
    assert page.shape == code.shape
    assert np.linalg.norm(code) > 0
    assert np.linalg.norm(page - code) <= tolerance * np.linalg.norm(code), (page, code)


def wrong_signs(latex: str) -> Iterator[str]:
    """The equation with one of its signs turned, but for the one of a remainder, O(ε²)."""
    for sign in re.finditer(r"[+-](?! O)", latex):
        yield latex[: sign.start()] + ("-" if sign[0] == "+" else "+") + latex[sign.end() :]


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


def slope(function: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """The derivative of a function that acts on each entry."""
    return lambda a: function(a + 1e-100j).imag / 1e-100


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


def in_columns(rows: dict[str, Array]) -> Values:
    """Parameters or their gradients by their letters; biases are columns."""
    letters = {f"{d}{name}": f"{d}{letter}" for name, letter in LETTERS.items() for d in ("", "d_")}
    return {letters[name]: value if value.ndim == 2 else value[:, None] for name, value in rows.items()}


def sigma(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


FUNCTIONS = {"σ": sigma, "tanh": np.tanh, "diag": lambda column: np.diag(column.ravel()), "e": np.e}


class Walk(SimpleNamespace):
    """A random problem, forward and backward by the textbook, with everything that has a name inside the steps.

    `values` is what names stand for on the page, of one sequence: its `steps` have what `step` and `step_backward` call
    by a name, beside x, d_x, output, d_output and what the step adds to d_W_ih and so on. `whole` are the gradients of
    the parameters over all steps. Beside them is the problem itself (x, state, parameters, d_output, d_state) and what
    came of it (output, final, d_x, d_initial, d_parameters). `options` go to `forward`.
    """

    def __init__(self, module: ModuleType, T: int = 5, B: int = 1, I: int = 4, H: int = 6, **options: Any) -> None:
        rng, name = np.random.default_rng(7), module.__name__.rpartition(".")[2]
        rows, self.parts = BLOCKS[name] * H, ("h", "c") if name == "lstm" else ("h",)
        self.module, self.options, self.H = module, options, H
        shapes = {"weight_ih": (rows, I), "weight_hh": (rows, H), "bias_ih": (rows,), "bias_hh": (rows,)}
        self.parameters = {key: rng.uniform(-1, 1, shape) for key, shape in shapes.items()}
        self.x, self.d_output = rng.standard_normal((T, B, I)), rng.standard_normal((T, B, H))
        self.state, self.d_state = (self.join(rng.standard_normal((len(self.parts), B, H))) for _ in range(2))
        forward, backward = self.module.forward, self.module.backward
        given = self.x, self.state, self.parameters
        (self.output, self.final, tape), made = named([module.step], forward, *given, **options)
        found, undone = named([module.step_backward], backward, self.d_output, self.d_state, tape)
        self.d_x, self.d_initial, self.d_parameters = found
        assert len(made) == len(undone) == T
        steps = []
        for t, (step, back) in enumerate(zip(made, undone[::-1], strict=True)):
            of = step | back | {"x": self.x[t], "d_x": self.d_x[t], "h": self.output[t], "output": self.output[t]}
            of = {n: v.T for n, v in (of | {"d_output": self.d_output[t]}).items() if isinstance(v, np.ndarray)}
            of |= in_columns({f"d_{key}": value for key, value in back["d_parameters"].items()})
            steps.append(of | {"kept": back["kept"]})
        self.whole = in_columns({f"d_{key}": value for key, value in self.d_parameters.items()})
        self.values = {"steps": steps, "T": T, "B": B, "I": I, "H": H, **FUNCTIONS, **in_columns(self.parameters)}
        for pattern, of in (("{}_0", self.state), ("d_{}_n", self.d_state), ("d_{}_0", self.d_initial)):
            for part, value in zip(self.parts, np.reshape(of, (-1, B, H)), strict=True):
                self.values[pattern.format(part)] = value.T

    def join(self, parts: Any) -> Any:
        """A state of these parts, as the module takes it."""
        return tuple(parts) if len(self.parts) > 1 else parts[0]

    def loss(self, **changed: Any) -> Any:
        """The number that d_… are the gradients of, for another x, state or parameter."""
        x, state = changed.pop("x", self.x), changed.pop("state", self.state)
        output, final, _ = self.module.forward(x, state, self.parameters | changed, **self.options)
        return np.sum(self.d_output * output) + np.sum(np.asarray(self.d_state) * np.asarray(final))

    def jacobian(self, t: int, end: int, parameters: Any = None) -> Any:
        """The derivatives of each part of the state after step `end` by each part after step t, of one sequence.

        By the way back of H equal sequences, of which each asks for the gradient of one unit: [of h, of c][by h, by c].
        """
        H, steps = self.H, self.values["steps"]
        x = np.repeat(self.x[t:end], H, axis=1)
        state = self.join([np.repeat(steps[t][f"{part}_prev"].T, H, axis=0) for part in self.parts])
        _, _, tape = self.module.forward(x, state, parameters or self.parameters, **self.options)
        found = []
        for n in range(len(self.parts)):
            d_state = self.join([np.eye(H) * (n == k) for k in range(len(self.parts))])
            d_before = self.module.backward(np.zeros((len(x), H, H)), d_state, tape)[1]
            found.append(d_before if isinstance(d_before, tuple) else (d_before,))
        return found

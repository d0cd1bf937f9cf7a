"""A candidate's functions: how they are called, and what they give that can be compared."""

import copy
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from scratch.types import Array

from .equations import Cell
from .problems import PARAMETERS, Problem, names, packed
from .worker import FUNCTIONS, OF_STEPS, WAY_BACK, Other, Runner, told

ERRORS = (Exception, SystemExit)
"""What a candidate may raise without ending the check."""
TAKES = {
    "step": "x, state, parameters",
    "step_backward": "d_state, kept, parameters",
    "forward": "x, state, parameters",
    "backward": "d_output, d_state, tape",
}
GIVES = {
    "step": "{}, kept",
    "step_backward": "d_x, d_{}_prev, d_parameters",
    "forward": "output, {}_n, tape",
    "backward": "d_x, d_{}_0, d_parameters",
}
"""What each function takes and gives; {} is for each part of the state."""
ENDLESS = "it does not come back after {:g} s (a loop that does not end?)"
LEAST, FLOAT32 = 1e-11, 2e-5
"""Up to which relative error results are right, in float64 and in float32."""


class Interface(Exception):
    """The function does not give what can be compared. The argument says what was expected and what came."""


class Empty(Exception):
    """The function is still to be written."""


class Endless(BaseException):
    """A call has taken too long. No Exception, so that a candidate's `except Exception` does not hold it up."""


class Taken(NamedTuple):
    """What a function gave for one problem.

    results: what can be compared, numbers in the shape that is expected. empty: results that are None, still to do.
    misshapen: results in another shape, or that are no numbers.
    """

    results: dict[str, Array]
    empty: list[str]
    misshapen: dict[str, Any]

    def wrong(self, right: Mapping[str, Any]) -> dict[str, float]:
        """The results that are wrong, and how far each is from the truth."""
        errors = {name: error_of(value, right[name]) for name, value in self.results.items()}
        return {name: error for name, error in errors.items() if error > tolerance(self.results[name])}


class Subject:
    """A candidate's functions. Where it has none of a name, the textbook's are called.

    limit: after how many seconds a call is given up; None for never.
    """

    def __init__(self, runner: Runner, cell: Cell, limit: float | None = None) -> None:
        self.own, self.cell, self.limit = runner, cell, limit
        self.page = Runner({name: getattr(cell.page, name) for name in FUNCTIONS})
        self.narrow = False  # whether it gave numbers of less than float64
        self.in_place: list[str] = []  # what the last call changed of that which is kept for the way back

    def has(self, name: str) -> bool:
        """Whether it has a function."""
        return name in self.own.takes

    def call(self, name: str, arguments: Mapping[str, Any], watch: bool = False) -> Any:
        """What a function returns. watch: whether `in_place` is to say what it changes of that which is kept.

        Raises Empty if it is still to be written, Interface if it raises anything, or writes into what it is given.
        """
        runner = self.own if self.has(name) else self.page
        keywords = {key: value for key, value in self.cell.keywords.items() if key in runner.takes[name]}
        try:
            with at_most(self.limit):
                value, wrote = runner.call(name, arguments, keywords, watch)
        except (Interface, Empty):  # from another process (remote.py)
            raise
        except Endless as ended:
            raise Interface(str(ended)) from None
        except ERRORS as error:
            raise interface(name, *told(error)) from error
        if value is None or value is Ellipsis:
            raise Empty
        for what in wrote:
            if what not in (*WAY_BACK, OF_STEPS):
                raise Interface(f"it writes into `{what}`, which is the caller's: compute a new array instead")
        self.in_place = [*wrote]
        return value

    def arguments(self, problem: Problem, name: str) -> dict[str, Any]:
        """What a function is called with: copies. For the way back, what the way there of the candidate's own left."""
        there = {
            "x": problem.numbers["x"].copy(),
            "state": packed(part.copy() for part in problem.state()),
            "parameters": {PARAMETERS[key]: value.copy() for key, value in problem.parameters.items()},
        }
        if "step" in name:
            there["x"] = there["x"][0]
        if name in ("step", "forward"):
            return there
        d_state = packed(part.copy() for part in problem.state("d_{}_n"))
        before = {"step_backward": "step", "backward": "forward"}[name]
        *_, kept = several(self.call(before, there), self.gives(before))
        if name == "step_backward":
            return {"d_state": d_state, "kept": kept, "parameters": copy.deepcopy(there["parameters"])}
        return {"d_output": problem.numbers["d_output"].copy(), "d_state": d_state, "tape": kept}

    def gives(self, name: str) -> list[str]:
        """What a function should return, in words."""
        states = [names(self.cell, pattern) for pattern in GIVES[name].split(", ")]
        return [f"({', '.join(each)})" if len(set(each)) > 1 else each[0] for each in states]

    def take(self, problem: Problem, name: str, arguments: Mapping[str, Any] | None = None) -> Taken:
        """What a function gives for a problem. Raises Empty and Interface."""
        value = self.call(name, arguments or self.arguments(problem, name))
        keys = {f"d_{each}": PARAMETERS[each] for each in problem.parameters}
        found: dict[str, Any] = {}
        for pattern, part in zip(GIVES[name].split(", "), several(value, self.gives(name)), strict=True):
            wanted = [*keys] if pattern == "d_parameters" else [*dict.fromkeys(names(self.cell, pattern))]
            if part is None or (isinstance(part, Mapping) and not part):
                found |= dict.fromkeys(wanted)
            elif pattern == "d_parameters":
                if not isinstance(part, Mapping) or not set(keys.values()) <= part.keys():
                    came = f"has {', '.join(map(str, part))}" if isinstance(part, Mapping) else f"is {described(part)}"
                    raise Interface(f"d_parameters should have {', '.join(keys.values())}; it {came}")
                found |= {each: part[key] for each, key in keys.items()}
            elif len(wanted) == 1:
                found[pattern.format(*self.cell.parts)] = part
            elif isinstance(part, (tuple, list)) and len(part) == len(wanted):
                found |= dict(zip(wanted, part, strict=True))
            else:
                told = f"({', '.join(wanted)}) should be a tuple of {len(wanted)} arrays; it is {described(part)}"
                raise Interface(told)
        found = {each: result for each, result in found.items() if each not in ("kept", "tape")}
        taken = Taken({}, [], {})
        for each, result in found.items():
            if result is None or result is Ellipsis:
                taken.empty.append(each)
            elif (array := numbers(result)) is None or array.shape != problem.shape(each, name)[1]:
                taken.misshapen[each] = result if array is None else array
            else:
                self.narrow |= self.has(name) and array.itemsize < 8
                taken.results[each] = array
        return taken


@cache
def truth(problem: Problem, name: str) -> dict[str, Any]:
    """What the textbook gives in longdouble, rounded."""
    exact = problem.changed(**{each: value.astype(np.longdouble) for each, value in problem.numbers.items()})
    found = Subject(Runner({}), problem.cell).take(exact, name).results
    return {each: value.astype(float) for each, value in found.items()}


# What is returned, by name.


def described(value: Any) -> str:
    """What something is, in words."""
    if isinstance(value, Other):
        return str(value)
    shape = f" of shape {np.shape(value)}" if isinstance(value, np.ndarray) else ""
    return f"a {type(value).__name__}{shape}"


def several(value: Any, expected: Sequence[str]) -> Sequence[Any]:
    """The several things that a function returns. Raises Interface."""
    if isinstance(value, (tuple, list)) and len(value) == len(expected):
        return value
    came = len(value) if isinstance(value, (tuple, list)) else described(value)
    raise Interface(f"it should return {len(expected)} things, {', '.join(expected)}; it returns {came}")


def interface(name: str, kind: str, line: str) -> Exception:
    """What an error says of a function, and what to do where it comes from how it is called, or how it multiplies."""
    if kind == "NotImplementedError" and name in TAKES:
        return Empty()
    advice = ""
    if kind == "TypeError" and "argument" in line and name in TAKES:
        advice = f". It is called with {TAKES[name]}"
    elif kind == "ValueError" and "matmul" in line:
        rows = "Every array holds sequences as rows, so that W x is written x @ W.T"
        back = "Where a is x @ W.T, d_x is d_a @ W and the gradient of W is d_a.T @ x"
        advice = f". {back if name.endswith('backward') else rows}"
    elif kind == "KeyError" and "bias_" in line:
        advice = '. Ask for them: if "bias_ih" in parameters'
    return Interface(f"it raises {line}{advice}")


# How long a call may take.


@contextmanager
def at_most(seconds: float | None) -> Iterator[None]:
    """Raise Endless in what takes longer, again and again in case it catches that.

    Only where there are alarms: not on Windows, and in the main thread alone.
    """
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() != threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise Endless(ENDLESS.format(seconds))

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Comparing.


def numbers(value: Any) -> Array | None:
    """The real numbers that something holds, or None if it holds something else."""
    try:
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)  # a tensor, off its tape
    except ERRORS:
        return None
    if array.dtype.kind in "biu":
        array = array.astype(float)
    return array.copy() if array.dtype.kind == "f" else None


def tolerance(value: Array) -> float:
    """Up to which relative error an array of this dtype is right."""
    return LEAST if value.dtype.itemsize >= 8 else FLOAT32


def error_of(own: Array, right: Any) -> float:
    """How far an array is from another, relative to the other; infinite where shapes or numbers are none."""
    right = np.asarray(right, dtype=float)
    if own.shape != right.shape:
        return float("inf")
    error = float(np.linalg.norm(own - right)) / (float(np.linalg.norm(right)) or 1.0)
    return error if np.isfinite(error) else float("inf")


def alike(own: Array, model: Any) -> bool:
    """Whether two arrays are equal but for rounding."""
    model = np.asarray(model)
    if own.shape != model.shape:
        return False
    if own.size and abs(own.item(0) - model.item(0)) > 1e-3 * (1 + abs(own.item(0))):
        return False  # most are told apart by a single number
    return error_of(own, model) <= 30 * tolerance(own)

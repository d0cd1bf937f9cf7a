"""What the forms of candidates share: finding out what is offered, and running problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..problems import CELLS, Configuration, Problem, can_project, draw
from ..runs import Masks, Run, Unexpected
from ..space import sized
from .implementation import DTYPES, NEEDS, OPTIONS, Implementation, NotOffered, Raised, Unfit, needs
from .refusals import BLUNDERS, ERRORS, Owners, in_words, misfits, refuses

FINALS = ("h_n", "c_n")
OF_FINAL = "upstream gradient of the final state"
OF_OUTPUT = "upstream gradient of the output"
KINDS_OF_INPUT = ("unbatched input", "packed input", "empty batch", "backward without d_output")
NUMBER_TYPE = ("float", "double", "half", "dtype")
"""How an error says that it is about the type of the numbers."""


class ToDo(NotImplementedError):
    """There is no backward yet. The argument: how that was seen."""


class Manner(NamedTuple):
    """What the simplest problems have shown about a candidate."""

    dtypes: tuple[str, ...]
    reasons: dict[str, str]
    upstream: tuple[str, ...]
    """Which gradients it takes at least: of the output, or, of a model that is many to one, of the final state."""
    to_do: str


class Candidate(Implementation):
    """Somebody's recurrence."""

    expected = ""
    """What is called, and what it gives, in words."""
    imported: tuple[str, str] | None = None
    """Its source, for one that its importer has named."""
    options: tuple[str, ...] = OPTIONS
    """What the constructor accepts, which therefore has to work; it refuses or does not know the others."""
    device = "cpu"
    declared: str | None = None
    """The form of its parameters, in words."""

    def __init__(self, target: Any, name: str, cells: tuple[str, ...] = (), only: str | None = None) -> None:
        self.target, self.name, self.only = target, name, only
        self.cells = cells or self.recognized()
        self.owners = Owners(target)
        self.asked: tuple[str, ...] = DTYPES
        self.lacking: dict[str, str] = {}
        self._reasons: dict[tuple[str, str], str | None] = {}  # by cell and need; None where there is nothing amiss

    @property
    def source(self) -> tuple[str, str]:
        """See `Implementation`."""
        if self.imported is not None:
            return self.imported
        parts = [part for part in (self.target if isinstance(self.target, tuple) else (self.target,)) if part]
        names = [getattr(part, "__qualname__", type(part).__name__) for part in parts]
        expression = names[0] if len(names) == 1 else f"({', '.join(names)})"
        module = getattr(parts[0], "__module__", None) or "__main__"
        if not all(name.isidentifier() for name in [*module.split("."), *names]):
            return f"# {expression} of {module}, as it was given", expression
        return f"from {module} import {', '.join(names)}", expression

    def attempt(self, problem: Problem, calls: int) -> tuple[list[Run], Masks | None]:
        """Run the problem on a new object so many times; every run. May raise anything, NotOffered included.

        Where `forward_only`, what backward would give is left out.
        """
        raise NotImplementedError

    # What the simplest problems show.

    def ask(self, dtypes: Sequence[str]) -> None:
        """See `Implementation`."""
        if self.asked != tuple(dtypes):
            self.asked = tuple(dtypes)
            self.__dict__.pop("manner", None)
            self._reasons.clear()

    @property
    def dtypes(self) -> tuple[str, ...]:
        """See `Implementation`."""
        return self.manner.dtypes

    @property
    def reasons(self) -> dict[str, str]:
        """See `Implementation`."""
        return self.manner.reasons

    @property
    def to_do(self) -> str:
        """See `Implementation`."""
        return self.manner.to_do

    @property
    def forward_only(self) -> bool:
        """Whether backward is left alone."""
        manner = self.__dict__.get("manner")  # not while it is being found out
        return self.only == "forward" or (manner is not None and bool(manner.to_do))

    def simplest(self, cell: str, upstream: tuple[str, ...]) -> Configuration:
        """The configuration that needs least."""
        return sized(Configuration(cell, initial_state=False, upstream=upstream), self.sizes)

    @cached_property
    def manner(self) -> Manner:
        """What there is of it: each dtype is tried, with a gradient of the output and of the final state alone."""
        works: dict[str, tuple[str, ...]] = {}
        reasons: dict[str, str] = {}
        crashes: list[str] = []
        to_do = ""
        ways = [("output",), FINALS] if self.only != "final" else [FINALS]
        for dtype in dict.fromkeys((*self.asked, *DTYPES)):
            if dtype not in self.asked and (works or crashes):
                break
            for upstream in list(ways):
                problem = draw(self.simplest(self.cells[0], upstream)).astype(dtype)
                try:
                    (run, *_), _ = self.attempt(self.adapted(problem), calls=1)
                except ToDo as error:
                    works[dtype], to_do = ways[0], str(error)
                except NotOffered:
                    ways = [FINALS]  # it gives no output: a model that is many to one
                    continue
                except ERRORS as error:
                    about_type = any(word in str(error).lower() for word in NUMBER_TYPE)
                    if refuses(error, self.owners) and upstream != ways[-1]:
                        continue
                    if refuses(error, self.owners) or about_type:
                        reasons[dtype] = in_words(error)
                    else:
                        crashes.append(dtype)
                else:
                    given = next((value for value in run.values() if value is not None), None)
                    found = getattr(getattr(given, "dtype", None), "name", dtype)
                    if found == problem.input.dtype.name:
                        works[dtype] = upstream
                    else:
                        reasons[dtype] = f"its output is of dtype {found}"
                break
        if not works:
            return Manner(self.asked[:1], {}, ways[0], "")  # it raises in all of them, or none is what it gives
        dtypes = tuple(dtype for dtype in self.asked if dtype in works or dtype in crashes)
        reasons = {dtype: reason for dtype, reason in reasons.items() if dtype in self.asked}
        return Manner(dtypes, reasons, [*works.values(), *ways][0], to_do if self.only is None else "")

    @property
    def arguments(self) -> str:
        """See `Implementation`."""
        told: dict[str, Any] = {"only": self.only, "tolerance": self.tolerance, "weights": self.declared}
        told["sizes"] = dict(self.sizes) or None
        told["device"] = None if self.device == "cpu" else self.device
        return "".join(f", {name}={value!r}" for name, value in told.items() if value is not None)

    def missing(self, required: Iterable[str]) -> dict[str, str]:
        """See `Implementation`. What its cells do not have in PyTorch either is not missing."""
        found = {}
        for name in required:
            reason: str | None = None
            if name == "backward":
                reason = self.to_do or ("forward alone is checked" if self.only == "forward" else None)
            elif name == "nonlinearity":
                if "RNN relu" in self.cells:
                    reason = self.lacks("RNN relu", name)
                elif "RNN tanh" in self.cells:
                    reason = "it has tanh alone"
            elif name in NEEDS:
                cells = [cell for cell in self.cells if name != "proj_size" or can_project(CELLS[cell]["module"])]
                reason = next((why for cell in cells if (why := self.lacks(cell, name)) is not None), None)
            elif name not in self.dtypes:
                reason = self.reasons.get(name, "it was not asked for")
            if reason is not None:
                found[name] = reason
        return found

    def nearest(self, configuration: Configuration) -> Configuration:
        """See `Implementation`."""
        c = configuration
        if self.forward_only or self.to_do:
            return replace(c, upstream=("output",))
        if self.manner.upstream == FINALS:
            self.lacking[OF_OUTPUT] = "the gradient arrives at the final state alone"
            return replace(c, upstream=tuple(f"{part}_n" for part in c.parts))
        if "output" in c.upstream and self.lacks(c.cell, OF_FINAL) is not None:
            self.lacking[OF_FINAL] = str(self.lacks(c.cell, OF_FINAL))
            return replace(c, upstream=("output",))
        return c

    def offers(self, configuration: Configuration) -> bool:
        """See `Implementation`."""
        c = configuration
        return c.cell in self.cells and all(self.lacks(c.cell, need) is None for need in needs(self.nearest(c)))

    def recognized(self) -> tuple[str, ...]:
        """The cells that the candidate's name says it has. Raises ValueError if it says nothing."""
        given = [cell for cell, row in CELLS.items() if row["module"].lower() in self.name.lower()]
        if not given:
            modules = ", ".join(dict.fromkeys(row["module"] for row in CELLS.values()))
            raise ValueError(
                f"expected a name that tells the cell ({modules}), or to be told (cell, --cell), got {self.name!r}"
            )
        return tuple(given)

    # Running a problem.

    def run(self, problem: Problem) -> tuple[Run, Masks | None]:
        """See `Implementation`."""
        return self._run(problem, calls=2)

    def first_run(self, problem: Problem) -> Run:
        """See `Implementation`."""
        return self._run(problem, calls=1)[0]

    def _run(self, problem: Problem, calls: int) -> tuple[Run, Masks | None]:
        c = problem.configuration
        try:
            self.require(needs(c), c.cell)
            runs, masks = self.attempt(problem.map(np.copy), calls)
        except NotOffered as missing:
            if missing.args[0] == OF_OUTPUT and self.manner.upstream != FINALS:
                raise Unfit(f"no output is returned ({self.expected})") from missing
            self.lacking[str(missing.args[0])] = str(missing.args[-1])
            raise
        except Unfit:
            raise
        except ToDo as error:
            raise Raised(str(error)) from error
        except Unexpected as error:
            raise Unfit(f"{error} ({self.expected})") from error
        except ERRORS as error:
            if misfits(error, self.owners):
                raise Unfit(f"the call does not fit: {in_words(error)} ({self.expected})") from error
            raise Raised(in_words(error)) from error
        for run in runs:
            if self.forward_only:
                run |= {f"d_{name}": None for name in problem.leaves}
            for name in [name for name, value in run.items() if value is None and not self.forward_only]:
                if name.removeprefix("d_") in problem.parameters and not self.optional(name):
                    del run[name]  # it is missing: this is no option
                elif name != "output":
                    self.lacking[name] = "None is returned in its place, or nothing"
        names = set() if c.initial_state else {f"d_{part}_0" for part in c.parts}
        self.unasked = {name: value for name, value in runs[-1].items() if name in names and value is not None}
        runs = [{name: value for name, value in run.items() if name not in names} for run in runs]
        # Two calls with masks that are drawn differ, even if those of the last happen to drop everything.
        self.first = None if draws_masks(c) and "dropout masks" not in self.lacking else runs[0]
        return runs[-1], masks

    def optional(self, gradient: str) -> bool:
        """Whether a parameter's gradient cannot be had by the form of the parameters."""
        return False

    def given_back(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """What backward gives. Raises ToDo if it is not written yet."""
        try:
            result = call(*arguments)
        except NotImplementedError as error:
            raise ToDo(in_words(error)) from error
        if result is None:
            raise ToDo("backward returns None")
        return result

    def require(self, needed: list[str], cell: str) -> None:
        """Note what of it the candidate lacks. Raises NotOffered if it lacks anything."""
        if "nonlinearity" in needed and self.lacks(cell, "nonlinearity") is not None:
            needed = ["nonlinearity"]  # without it nothing else can be tried
        missing = {need: reason for need in needed if (reason := self.lacks(cell, need)) is not None}
        self.lacking |= missing
        for need, reason in missing.items():
            raise NotOffered(need, reason)

    def lacks(self, cell: str, need: str) -> str | None:
        """Why the candidate does not have what is needed, or None if it has."""
        of_gradients = need in (OF_FINAL, "backward without d_output")
        if of_gradients and (self.forward_only or self.manner.upstream == FINALS):
            return None
        if (cell, need) not in self._reasons:
            dtype = (*self.dtypes, *self.asked)[0]
            plain = self.simplest(self.cells[0] if need == "nonlinearity" else cell, self.manner.upstream)
            changed = sized(replace(plain, cell=cell, **NEEDS[need]), self.sizes)
            problems = [self.adapted(draw(each).astype(dtype)) for each in (plain, changed)]
            simplest, problem = problems
            self._reasons[cell, need] = self.refusal(simplest, problem, need)
        return self._reasons[cell, need]

    def refusal(self, simplest: Problem, problem: Problem, need: str) -> str | None:
        """How the candidate refuses a problem with one need more than the simplest, or None if it does not."""
        try:
            self.attempt(problem, calls=1)
        except NotOffered as refusal:
            return str(refusal.args[-1])
        except NotImplementedError as error:
            return in_words(error)
        except ERRORS as error:
            if need in self.options or self.fails(simplest):
                return None
            if need in KINDS_OF_INPUT:
                return None if isinstance(error, BLUNDERS) else in_words(error)
            without_bias = need == "bias" and ("bias" in str(error) or "NoneType" in str(error))
            return in_words(error) if without_bias or refuses(error, self.owners, {"relu"}) else None
        return None

    def fails(self, problem: Problem) -> bool:
        """Whether the candidate raises anything."""
        try:
            self.attempt(problem, calls=1)
        except ERRORS:
            return True
        return False

    def dropping_all(self, configuration: Configuration) -> Configuration:
        """The configuration with dropout 1: for a candidate whose masks cannot be had, all that can be known."""
        self.lacking["dropout masks"] = "they cannot be had, so that dropout is checked at p = 1 and in eval() only"
        return replace(configuration, dropout=1.0)


def draws_masks(configuration: Configuration) -> bool:
    """Whether dropout is random."""
    return configuration.training and 0 < configuration.dropout < 1


def all_dropped(run: Run, configuration: Configuration) -> Masks:
    """The masks of dropout 1."""
    return [np.zeros(np.shape(run["output"]))] * (configuration.num_layers - 1)

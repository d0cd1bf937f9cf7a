"""An implementation: what is asked of one, how it is found out what a candidate offers, and how problems are run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..problems import CELLS, Configuration, Problem, can_project, draw
from ..runs import Masks, Run, Unexpected, run_scratch
from ..space import sized
from .needs import DTYPES, HALVES, NEEDS, OF_FINAL, OF_OUTPUT, OPTIONS, NotOffered, Raised, ToDo, Unfit, needs
from .refusals import ERRORS, Owners, in_words, lacks, misfits, refuses

FINALS = ("h_n", "c_n")


class Manner(NamedTuple):
    """What the simplest problems have shown about a candidate."""

    dtypes: tuple[str, ...]  # those that it computes in
    reasons: dict[str, str]  # why not in others
    upstream: tuple[str, ...] = ("output",)
    """Which gradients it takes at least: of the output, or, of a model that is many to one, of the final state."""
    to_do: str = ""
    """How it was seen that there is no backward yet, so that only forward is compared; empty if there is one."""


class Implementation:
    """Something that runs problems: somebody's recurrence, in one of the forms that derive from this, or `scratch`."""

    expected = ""  # what is called, and what it gives, in words
    imported: tuple[str, list[str]] | None = None
    """The module that it was imported from, and which of its names it is: none for all of it."""
    options: tuple[str, ...] = OPTIONS
    """What the constructor accepts, which therefore has to work; it refuses or does not know the others."""
    device = "cpu"
    declared: str | None = None  # the form of its parameters, in words
    first: Run | None = None
    """What the problem gives at an object's first call, if `run` made two and dropout did not draw other masks."""
    tolerance: float | None = None  # how large an error may be, unless it is what the dtype promises
    cell_form = ""  # the form of its cell, if it is held to another one than PyTorch's (faults/forms.py)
    sizes: Mapping[str, int] = {}
    """The only sizes that are tried, by their letters T, B, I and H; those that are not named are free."""

    def __init__(self, target: Any, name: str, cells: tuple[str, ...] = (), only: str | None = None) -> None:
        self.target, self.name = target, name
        self.only = only  # what alone is checked: 'forward', or 'final', with a gradient of the final state
        self.cells = cells or self.recognized()
        self.owners = Owners(target)
        self.asked: tuple[str, ...] = DTYPES
        self.lacking: dict[str, str] = {}  # what has been found not to be offered, and how that was seen
        self._reasons: dict[tuple[str, str], str | None] = {}  # by cell and need; None where there is nothing amiss

    def recognized(self) -> tuple[str, ...]:
        """The cells that its name tells, or that of a class that it inherits from. Raises ValueError if none does."""
        for name in (self.name, *(base.__name__ for base in getattr(self.target, "__mro__", ()))):
            if given := tuple(cell for cell, row in CELLS.items() if row["module"].lower() in name.lower()):
                break
        else:
            modules = ", ".join(dict.fromkeys(row["module"] for row in CELLS.values()))
            raise ValueError(
                f"expected a name that tells the cell ({modules}), or to be told (cell, --cell), got {self.name!r}"
            )
        return given

    @property
    def source(self) -> tuple[str, str]:
        """How somebody gets at it in Python: the statement that imports it, and the expression that it is then."""
        parts = [part for part in (self.target if isinstance(self.target, tuple) else (self.target,)) if part]
        defined = [getattr(part, "__qualname__", type(part).__name__) for part in parts]
        module, names = self.imported or (getattr(parts[0], "__module__", None) or "__main__", defined)

        def together(names: Sequence[str]) -> str:
            return names[0] if len(names) == 1 else f"({', '.join(names)})"

        if not all(name.isidentifier() for each in names for name in each.split(".")):
            return f"# {together(names)} of {module}, as it was given", together(names)
        if not all(part.isidentifier() for part in module.split(".")):  # a name that no statement can import
            whole = f"import_module({module!r})"
            return "from importlib import import_module", together([f"{whole}.{name}" for name in names] or [whole])
        if not names:
            return f"import {module}", module
        return f"from {module} import {', '.join(dict.fromkeys(n.split('.')[0] for n in names))}", together(names)

    @property
    def arguments(self) -> str:
        """What `assert_equivalent` is to be told about it besides, as the end of a call."""
        told: dict[str, Any] = {"only": self.only, "tolerance": self.tolerance, "weights": self.declared}
        told |= {"sizes": dict(self.sizes) or None, "device": None if self.device == "cpu" else self.device}
        told["reset"] = self.cell_form.removeprefix("reset ") or None
        return "".join(f", {name}={value!r}" for name, value in told.items() if value is not None)

    def attempt(self, *problems: Problem) -> tuple[list[Run], Masks | None]:
        """Run the problems, which differ in their numbers alone, one after another on a new object; every run, and the
        masks of the last. May raise anything, NotOffered included.

        Where `forward_only`, what backward would give is left out.
        """
        raise NotImplementedError

    def adapted(self, problem: Problem) -> Problem:
        """The problem with numbers that the implementation can be given."""
        return problem

    def optional(self, gradient: str) -> bool:
        """Whether a parameter's gradient cannot be had by the form of the parameters."""
        return False

    # What the simplest problems show.

    def ask(self, dtypes: Sequence[str]) -> None:
        """Say which dtypes are asked for; `dtypes` are then those among them that it computes in."""
        if self.asked != tuple(dtypes):
            self.asked = tuple(dtypes)
            self.__dict__.pop("manner", None)
            self._reasons.clear()

    dtypes = property(lambda self: self.manner.dtypes)
    reasons = property(lambda self: self.manner.reasons)
    to_do = property(lambda self: self.manner.to_do)

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
        crashes, to_do = [], ""
        ways = [("output",), FINALS] if self.only != "final" else [FINALS]
        for dtype in dict.fromkeys((*self.asked, *DTYPES)):
            if dtype not in self.asked and (works or crashes):
                break
            for upstream in list(ways):
                problem = draw(self.simplest(self.cells[0], upstream)).astype(dtype)
                try:
                    (run, *_), _ = self.attempt(self.adapted(problem))
                except ToDo as error:
                    works[dtype], to_do = ways[0], str(error)
                except NotOffered:
                    ways = [FINALS]  # it gives no output: a model that is many to one
                    continue
                except ERRORS as error:
                    refused = refuses(error, self.owners)
                    if refused and upstream != ways[-1]:
                        continue
                    if refused or any(word in str(error).lower() for word in ("float", "double", "half", "dtype")):
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
            return Manner(self.asked[:1], {}, ways[0])  # it raises in all of them, or none is what it gives
        dtypes = tuple(dtype for dtype in self.asked if dtype in works or dtype in crashes)
        reasons = {dtype: reason for dtype, reason in reasons.items() if dtype in self.asked}
        return Manner(dtypes, reasons, [*works.values(), *ways][0], to_do if self.only is None else "")

    # What it offers.

    def lacks(self, cell: str, need: str) -> str | None:
        """Why the candidate does not have what is needed, or None if it has."""
        of_gradients = need in (OF_FINAL, "backward without d_output")
        if of_gradients and (self.forward_only or self.manner.upstream == FINALS):
            return None
        if (cell, need) not in self._reasons:
            plain = self.simplest(self.cells[0] if need == "nonlinearity" else cell, self.manner.upstream)
            more = sized(replace(plain, cell=cell, **NEEDS[need]), self.sizes)
            dtype = (*self.dtypes, *self.asked)[0]
            simplest, problem = (self.adapted(draw(each).astype(dtype)) for each in (plain, more))
            self._reasons[cell, need] = self.refusal(simplest, problem, need)
        return self._reasons[cell, need]

    def refusal(self, simplest: Problem, problem: Problem, need: str) -> str | None:
        """How the candidate refuses a problem with one need more than the simplest, or None if it does not."""
        error = self.error_at(problem)
        if isinstance(error, (NotOffered, ToDo)):
            return str(error.args[-1])
        if error is None or isinstance(error, NotImplementedError):
            return error and in_words(error)
        works_without = need not in self.options and self.error_at(simplest) is None
        return in_words(error) if works_without and lacks(error, self.owners, need) else None

    def error_at(self, problem: Problem) -> BaseException | None:
        """What the candidate raises."""
        try:
            self.attempt(problem)
        except ERRORS as error:
            return error
        return None

    def offers(self, configuration: Configuration) -> bool:
        """Whether nothing that the configuration needs is lacking."""
        c = configuration
        return c.cell in self.cells and all(self.lacks(c.cell, need) is None for need in needs(self.nearest(c)))

    def missing(self, required: Iterable[str]) -> dict[str, str]:
        """What of the required is not offered, and how that was seen. What PyTorch's cells lack too is not missing."""
        forward = "forward alone is checked" if self.only == "forward" else None
        found: dict[str, str | None] = {}
        for name in required:
            cells = [cell for cell in self.cells if name != "proj_size" or can_project(CELLS[cell]["module"])]
            if name == "nonlinearity":
                cells = [cell for cell in cells if cell == "RNN relu"]
                found[name] = "it has tanh alone" if not cells and "RNN tanh" in self.cells else None
            if name in NEEDS and cells:
                found[name] = next((why for cell in cells if (why := self.lacks(cell, name)) is not None), None)
            elif name not in NEEDS and name not in self.dtypes:
                found[name] = (
                    self.to_do or forward if name == "backward" else self.reasons.get(name, "it was not asked for")
                )
        return {name: reason for name, reason in found.items() if reason is not None}

    def nearest(self, configuration: Configuration) -> Configuration:
        """The configuration, without the upstream gradients that it could not do anything with."""
        c = configuration
        if self.forward_only or self.to_do:
            return replace(c, upstream=("output",))
        if self.manner.upstream == FINALS:
            self.lacking[OF_OUTPUT] = "the gradient arrives at the final state alone"
            return replace(c, upstream=tuple(f"{part}_n" for part in c.parts))
        if "nonlinearity" in needs(c) and self.lacks(c.cell, "nonlinearity") is not None:
            return c  # it is not offered whatever the gradients
        if "output" in c.upstream and (reason := self.lacks(c.cell, OF_FINAL)) is not None:
            self.lacking[OF_FINAL] = reason
            return replace(c, upstream=("output",))
        return c

    # Running a problem.

    def first_run(self, problem: Problem) -> Run:
        """The problem at a new object's first call, where `run` gives the second; only what the problem asks for."""
        asked = {"output", *(f"{part}_n" for part in problem.configuration.parts)}
        asked |= {f"d_{name}" for name in problem.leaves}
        return {name: value for name, value in self.run(problem, calls=1)[0].items() if name in asked}

    def run(self, problem: Problem, calls: int = 2) -> tuple[Run, Masks | None]:
        """Everything that the problem asks for, in the dtype of its numbers, and the masks that dropout drew.

        calls: 2 for an object that has been called before, with other numbers.
        A tensor that is not offered is None. The gradient of an initial state that was not given is there only if the
        candidate gives it. Raises NotOffered if the whole problem is not offered, Raised for an error.
        """
        c = problem.configuration
        try:
            needed = needs(c)
            if "nonlinearity" in needed and self.lacks(c.cell, "nonlinearity") is not None:
                needed = ["nonlinearity"]  # without it nothing else can be tried
            missing = {need: reason for need in needed if (reason := self.lacks(c.cell, need)) is not None}
            self.lacking |= missing
            for need, reason in missing.items():
                raise NotOffered(need, reason)
            first = self.attempt(problem.map(np.copy))[0] if calls > 1 else []
            runs, masks = self.attempt(*[halved(problem)] * len(first), problem.map(np.copy))
            runs = [*first, runs[-1]]
        except NotOffered as error:
            if error.args[0] == OF_OUTPUT and self.manner.upstream != FINALS:
                raise Unfit(f"no output is returned ({self.expected})") from error
            self.lacking[str(error.args[0])] = str(error.args[-1])
            raise
        except Raised:
            raise
        except Unexpected as error:
            raise Unfit(f"{error} ({self.expected})") from error
        except ERRORS as error:
            if misfits(error, self.owners):
                raise Unfit(f"the call does not fit: {in_words(error)} ({self.expected})") from error
            raise Raised(in_words(error)) from error
        not_given = set() if c.initial_state else {f"d_{part}_0" for part in c.parts}
        for run in runs:
            if self.forward_only:
                run |= {f"d_{name}": None for name in problem.leaves}
            for name in [name for name, value in run.items() if value is None]:
                is_missing = name.removeprefix("d_") in problem.parameters and not self.optional(name)
                if name in not_given or (is_missing and not self.forward_only):  # a parameter's gradient is no option
                    del run[name]
                elif name != "output" and not self.forward_only:
                    self.lacking[name] = "None is returned in its place, or nothing"
        # Two calls with masks that are drawn differ, even if those of the last happen to drop everything.
        self.first = runs[0] if masks is None or "dropout masks" in self.lacking else None
        return runs[-1], masks


def halved(problem: Problem) -> Problem:
    """The problem with other numbers, for a call before."""
    return problem.map(lambda value: value / 2)


class Scratch(Implementation):
    """`scratch` itself, which has everything."""

    name = "scratch"
    source = "from reference.candidates import Scratch", "Scratch()"
    manner = Manner(DTYPES, dict.fromkeys(HALVES, "it computes in float64 and in float32"))

    def __init__(self) -> None:
        super().__init__(None, self.name, tuple(CELLS))

    def run(self, problem: Problem, calls: int = 2) -> tuple[Run, Masks | None]:
        """See `Implementation`."""
        return run_scratch(problem)

    def first_run(self, problem: Problem) -> Run:
        """See `Implementation`."""
        return self.run(problem)[0]

    def lacks(self, cell: str, need: str) -> str | None:
        """See `Implementation`."""
        return None

"""An implementation: what is asked of one, how it is found out what a candidate offers, and how problems are run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from ..problems import CELLS, Configuration, Problem, can_project, draw
from ..runs import Masks, Run, Unexpected, run_scratch
from ..space import sized
from .manner import FINALS, Manner, ToDo, manner_of
from .needs import DTYPES, HALVES, NEEDS, OPTIONS, NotOffered, Raised, Unfit, needs
from .refusals import BLUNDERS, ERRORS, Owners, in_words, misfits, refuses

OF_FINAL = "upstream gradient of the final state"
OF_OUTPUT = "upstream gradient of the output"
KINDS_OF_INPUT = ("unbatched input", "packed input", "empty batch", "backward without d_output")


class Implementation:
    """Something that runs problems: somebody's recurrence, in one of the forms that derive from this, or `scratch`."""

    expected = ""
    """What is called, and what it gives, in words."""
    imported: tuple[str, list[str]] | None = None
    """The module that it was imported from, and which of its names it is: none for all of it."""
    options: tuple[str, ...] = OPTIONS
    """What the constructor accepts, which therefore has to work; it refuses or does not know the others."""
    device = "cpu"
    declared: str | None = None
    """The form of its parameters, in words."""
    first: Run | None = None
    """What the first of two calls gave, if the last run made two and dropout did not draw other masks."""
    tolerance: float | None = None
    """How large an error may be, unless it is what the dtype promises."""
    only: str | None = None
    """What alone is checked: 'forward', or 'final', with a gradient of the final state."""
    cell_form = ""
    """The form of its cell, if it is held to another one than PyTorch's (faults/forms.py)."""
    sizes: Mapping[str, int] = {}
    """The only sizes that are tried, by their letters T, B, I and H; those that are not named are free."""

    def __init__(self, target: Any, name: str, cells: tuple[str, ...] = (), only: str | None = None) -> None:
        self.target, self.name, self.only = target, name, only
        self.cells = cells or self.recognized()
        self.owners = Owners(target)
        self.asked: tuple[str, ...] = DTYPES
        self.lacking: dict[str, str] = {}
        """What has been found not to be offered, and how that was seen."""
        self._reasons: dict[tuple[str, str], str | None] = {}  # by cell and need; None where there is nothing amiss

    @property
    def source(self) -> tuple[str, str]:
        """How somebody gets at it in Python: the statement that imports it, and the expression that it is then."""
        module, names = self.imported or self.defined()
        expression = names[0] if len(names) == 1 else f"({', '.join(names)})"
        if not all(name.isidentifier() for each in names for name in each.split(".")):
            return f"# {expression} of {module}, as it was given", expression
        if not all(part.isidentifier() for part in module.split(".")):  # a name that no statement can import
            whole = f"import_module({module!r})"
            parts = [f"{whole}.{name}" for name in names] or [whole]
            return "from importlib import import_module", parts[0] if len(parts) == 1 else f"({', '.join(parts)})"
        if not names:
            return f"import {module}", module
        return f"from {module} import {', '.join(dict.fromkeys(name.split('.')[0] for name in names))}", expression

    def defined(self) -> tuple[str, list[str]]:
        """The module that says that it defines it, and the names there."""
        parts = [part for part in (self.target if isinstance(self.target, tuple) else (self.target,)) if part]
        names = [getattr(part, "__qualname__", type(part).__name__) for part in parts]
        return getattr(parts[0], "__module__", None) or "__main__", names

    def attempt(self, problem: Problem, calls: int) -> tuple[list[Run], Masks | None]:
        """Run the problem on a new object so many times; every run. May raise anything, NotOffered included.

        Where `forward_only`, what backward would give is left out.
        """
        raise NotImplementedError

    # What the simplest problems show.

    def ask(self, dtypes: Sequence[str]) -> None:
        """Say which dtypes are asked for; `dtypes` are then those among them that it computes in."""
        if self.asked != tuple(dtypes):
            self.asked = tuple(dtypes)
            self.__dict__.pop("manner", None)
            self._reasons.clear()

    manner = cached_property(manner_of)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Those that it computes in."""
        return self.manner.dtypes

    @property
    def reasons(self) -> dict[str, str]:
        """Why it does not compute in other dtypes."""
        return self.manner.reasons

    @property
    def to_do(self) -> str:
        """How it was seen that there is no backward yet, so that only forward is compared; empty if there is one."""
        return self.manner.to_do

    @property
    def forward_only(self) -> bool:
        """Whether backward is left alone."""
        manner = self.__dict__.get("manner")  # not while it is being found out
        return self.only == "forward" or (manner is not None and bool(manner.to_do))

    def simplest(self, cell: str, upstream: tuple[str, ...]) -> Configuration:
        """The configuration that needs least."""
        return sized(Configuration(cell, initial_state=False, upstream=upstream), self.sizes)

    @property
    def arguments(self) -> str:
        """What `assert_equivalent` is to be told about it besides, as the end of a call."""
        told: dict[str, Any] = {"only": self.only, "tolerance": self.tolerance, "weights": self.declared}
        told["sizes"] = dict(self.sizes) or None
        told["device"] = None if self.device == "cpu" else self.device
        return "".join(f", {name}={value!r}" for name, value in told.items() if value is not None)

    def missing(self, required: Iterable[str]) -> dict[str, str]:
        """What of the required is not offered, and how that was seen. What PyTorch's cells lack too is not missing."""
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
        """The configuration, without the upstream gradients that it could not do anything with."""
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
        """Whether nothing that the configuration needs is lacking."""
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
        """Everything that the problem asks for, in the dtype of its numbers, and the masks that dropout drew.

        A tensor that is not offered is None. Raises NotOffered if the whole problem is not, Raised for an error.
        """
        return self._run(problem, calls=2)

    def first_run(self, problem: Problem) -> Run:
        """The first run of a new object, where `run` gives the second."""
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
        runs = [{name: value for name, value in run.items() if name not in names or value is not None} for run in runs]
        # Two calls with masks that are drawn differ, even if those of the last happen to drop everything.
        self.first = None if draws_masks(c) and "dropout masks" not in self.lacking else runs[0]
        return runs[-1], masks

    def adapted(self, problem: Problem) -> Problem:
        """The problem with numbers that the implementation can be given."""
        return problem

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


class Scratch(Implementation):
    """`scratch` itself."""

    name = "scratch"
    cells = tuple(CELLS)
    source = "from reference.candidates import Scratch", "Scratch()"
    manner = Manner(DTYPES, dict.fromkeys(HALVES, "it computes in float64 and in float32"), ("output",), "")

    def __init__(self) -> None:
        super().__init__(None, self.name, self.cells)

    def run(self, problem: Problem) -> tuple[Run, Masks | None]:
        """See `Implementation`."""
        return run_scratch(problem)

    def first_run(self, problem: Problem) -> Run:
        """See `Implementation`."""
        return self.run(problem)[0]

    def lacks(self, cell: str, need: str) -> str | None:
        """See `Implementation`: it has everything."""
        return None


def draws_masks(configuration: Configuration) -> bool:
    """Whether dropout is random."""
    return configuration.training and 0 < configuration.dropout < 1


def all_dropped(run: Run, configuration: Configuration) -> Masks:
    """The masks of dropout 1."""
    return [np.zeros(np.shape(run["output"]))] * (configuration.num_layers - 1)

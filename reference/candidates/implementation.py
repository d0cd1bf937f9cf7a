"""What an implementation is, and what of the options it may lack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..problems import CELLS, Configuration, Problem
from ..runs import Masks, Run, run_scratch

DTYPES = ("float64", "float32")
HALVES = ("float16", "bfloat16")
"""Those that are checked only where they are asked for."""


class NotOffered(Exception):
    """The candidate does not have an option that a problem needs. The arguments: the option, and how that was seen."""


class Raised(Exception):
    """The candidate raised an error where it should have computed something. The argument: the error in words."""


class Unfit(Raised):
    """It is no mathematics that is wrong: the call does not fit, or something is written over. The argument says it."""


class Implementation:
    """Something that runs problems."""

    name: str
    cells: tuple[str, ...]
    lacking: Mapping[str, str] = {}
    """What has been found not to be offered, and how that was seen."""
    first: Run | None = None
    """What the first of two calls gave, if the last run made two and dropout did not draw other masks."""
    unasked: Mapping[str, Any] = {}
    """The gradients of an initial state that was not given, and so is zero, that the last run gave besides."""
    tolerance: float | None = None
    """How large an error may be, unless it is what the dtype promises."""
    only: str | None = None
    """What alone is checked: 'forward', or 'final', with a gradient of the final state."""
    cell_form: str = ""
    """The form of its cell, if it is held to another one than PyTorch's (faults/forms.py)."""
    sizes: Mapping[str, int] = {}
    """The only sizes that are tried, by their letters T, B, I and H; those that are not named are free."""

    @property
    def dtypes(self) -> Sequence[str]:
        """Those that it computes in."""
        return DTYPES

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why it does not compute in other dtypes."""
        return {}

    @property
    def source(self) -> tuple[str, str]:
        """How somebody gets at it in Python: the statement that imports it, and the expression that it is then."""
        raise NotImplementedError

    @property
    def arguments(self) -> str:
        """What `assert_equivalent` is to be told about it besides, as the end of a call."""
        return ""

    @property
    def to_do(self) -> str:
        """How it was seen that there is no backward yet, so that only forward is compared; empty if there is one."""
        return ""

    def ask(self, dtypes: Sequence[str]) -> None:
        """Say which dtypes are asked for; `dtypes` are then those among them that it computes in."""

    def run(self, problem: Problem) -> tuple[Run, Masks | None]:
        """Everything that the problem asks for, in the dtype of its numbers, and the masks that dropout drew.

        A tensor that is not offered is None. Raises NotOffered if the whole problem is not, Raised for an error.
        """
        raise NotImplementedError

    def first_run(self, problem: Problem) -> Run:
        """The first run of a new object, where `run` gives the second."""
        return self.run(problem)[0]

    def adapted(self, problem: Problem) -> Problem:
        """The problem with numbers that the implementation can be given."""
        return problem

    def missing(self, required: Iterable[str]) -> dict[str, str]:
        """What of the required is not offered, and how that was seen."""
        return {}

    def nearest(self, configuration: Configuration) -> Configuration:
        """The configuration, without the upstream gradients that it could not do anything with."""
        return configuration

    def offers(self, configuration: Configuration) -> bool:
        """Whether nothing that the configuration needs is lacking."""
        return configuration.cell in self.cells


class Scratch(Implementation):
    """`scratch` itself."""

    name = "scratch"
    cells = tuple(CELLS)
    source = "from reference.candidates import Scratch", "Scratch()"
    reasons = dict.fromkeys(HALVES, "it computes in float64 and in float32")

    def run(self, problem: Problem) -> tuple[Run, Masks | None]:
        """See `Implementation`."""
        return run_scratch(problem)


NEEDS: dict[str, dict[str, Any]] = {
    "nonlinearity": {},
    "initial state": {"initial_state": True},
    "upstream gradient of the final state": {"upstream": ("output", "h_n", "c_n")},
    "backward without d_output": {"upstream": ("h_n", "c_n")},
    "unbatched input": {"layout": "unbatched", "lengths": (5,)},
    "packed input": {"layout": "packed", "lengths": (3, 5)},
    "empty batch": {"lengths": ()},
    "num_layers": {"num_layers": 2},
    "bias": {"bias": False},
    "batch_first": {"batch_first": True},
    "bidirectional": {"bidirectional": True},
    "proj_size": {"proj_size": 2},
    "dropout": {"num_layers": 2, "dropout": 1.0},
}
"""What some problems need and a candidate may lack, and what is added to the simplest configuration to see."""

OPTIONS = ("nonlinearity", "num_layers", "bias", "batch_first", "bidirectional", "proj_size", "dropout")
"""Those among them that are options of the constructor."""


def requirements(texts: Iterable[str]) -> list[str]:
    """What can be required by these names, or clear parts of them; all of it by 'all'. Raises ValueError for others."""
    known = [*NEEDS, "backward", *DTYPES]
    found = []
    for text in texts:
        plain = text.lower().replace("-", " ").replace("_", " ")
        names = {name: name.replace("_", " ") for name in known}
        fitting = [name for name in known if names[name] == plain] or [name for name in known if plain in names[name]]
        if plain != "all" and len(fitting) != 1:
            raise ValueError(f"expected require as all, or one of {', '.join(known)}, got {text!r}")
        found += known if plain == "all" else fitting
    return list(dict.fromkeys(found))


def needs(configuration: Configuration) -> list[str]:
    """What the configuration needs of `NEEDS`."""
    c = configuration
    final = [name for name in c.upstream if name.removesuffix("_n") in c.parts]
    needed = {
        "nonlinearity": CELLS[c.cell].get("nonlinearity", "tanh") != "tanh",
        "initial state": c.initial_state,
        "upstream gradient of the final state": bool(final),
        "backward without d_output": "output" not in c.upstream,
        "unbatched input": c.layout == "unbatched",
        "packed input": c.layout == "packed",
        "empty batch": not c.lengths,
        "num_layers": c.num_layers > 1,
        "bias": not c.bias,
        "batch_first": c.batch_first,
        "bidirectional": c.bidirectional,
        "proj_size": c.proj_size > 0,
        "dropout": c.dropout > 0,
    }
    return [name for name, is_needed in needed.items() if is_needed]

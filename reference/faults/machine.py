"""A module with faults: the page's functions on a problem's numbers, with other right sides in some of their lines.

A changed way forward may go with several ways back: the exact one; the page's own with the same edits; and the page's
own, unchanged, on a tape that is wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np

from scratch.types import Array

from ..problems import Configuration, Problem, draw
from ..runs import Masks, Run
from ..stages.equations import Cell, follow
from ..stages.expressions import PYTHON, Values, expression
from ..stages.loops import beside
from ..stages.problems import PARAMETERS
from ..stages.slots import edited, slots_of
from . import page
from .forms import cell_of

Edits = frozenset[tuple[str, str, str]]
"""Function, slot, and what is there instead: of an equation of `step` or `step_backward`, the loops, or the page."""

FORWARD = ("step", "loop_forward", "forward")
BACKWARD = ("step_backward", "loop_backward", "backward")


@dataclass(frozen=True)
class Fault:
    """A known fault: a sentence, and the edits that make it."""

    explanation: str
    """What is wrong and where, as a teacher would tell it."""
    edits: Edits = frozenset()
    rank: int = 0
    """How far-fetched it is."""
    name: str = ""
    """The same for two faults that need not be told apart; if empty, the explanation."""

    @cached_property
    def forward(self) -> bool:
        """Whether the forward pass is wrong already."""
        return any(function in FORWARD for function, _, _ in self.edits)

    @cached_property
    def leftover(self) -> bool:
        """Whether it shows only after another call."""
        return any("m.left" in text for _, _, text in self.edits)


def edit(text: str) -> Edits:
    """Edits from their text, `slot: expression; function.slot: expression`: without a function, wherever there is such
    a slot, in the page rather than in the loops.
    """
    found = set()
    for each in text.split("; "):
        slot, right = each.split(": ", 1)
        function, _, slot = slot.rpartition(".")
        pages, loops = (
            [name for name in names if slot in slots_of(getattr(page, name))]
            for names in (("forward", "backward"), ("loop_forward", "loop_backward"))
        )
        found |= {(place, slot, right) for place in ([function] if function else pages or loops)}
    return frozenset(found)


KNOWN: Values = PYTHON | {
    "beside": beside,
    "in_order": lambda value, order: np.concatenate([np.split(value, len(order))[block] for block in order]),
    "whole": lambda value: 0 * value + value.sum(),
}
"""What the page and its edits may call."""


def functions(cell: Cell, edits: Edits) -> Values:
    """The page's functions with these edits."""
    known = KNOWN | {"right_step": partial(follow, cell, "step", known=KNOWN)}
    for names in (FORWARD, BACKWARD):
        own = {name: {slot: text for function, slot, text in edits if function == name} for name in names}
        changes = {slot: expression(text) for slot, text in own[names[0]].items()}
        known[names[0]] = partial(follow, cell, names[0], changes=changes, known=KNOWN)
        for name in names[1:]:
            known[name] = edited(getattr(page, name), own[name].items(), known)
    return known


def by_step(c: Configuration, value: Any) -> Any:
    """A sequence in the caller's layout as (T, B, features)."""
    if c.layout == "unbatched":
        return value[:, None]
    return value.swapaxes(0, 1) if c.batch_first and c.layout == "batched" else value


class Setting:
    """A problem on which faults are tried, and its numbers as page.py reads them.

    before: what another call gave, for faults that go on from it.
    """

    def __init__(self, problem: Problem, masks: Masks | None = None, form: str = "", before: Run | None = None) -> None:
        self.problem, self.form, self.before = problem, form, before or {}
        self.found: dict[tuple[Edits, Edits | None], Run | None] = {}
        self.last: tuple[Edits | None, Any] = None, None
        self.c = c = problem.configuration
        self.cell, self.input, self.by_step = cell_of(c, form), problem.input, partial(by_step, c)
        self.L, self.D, self.H, self.P = c.num_layers, 1 + c.bidirectional, c.hidden_size, c.proj_size or c.hidden_size
        T, B = max(c.lengths, default=3), len(c.lengths)
        self.given = problem.initial | {f"d_{name}": value for name, value in problem.upstream.items()}
        self.d_output = self.given.get("d_output", self.as_given(self.zeros(T, B, self.D * self.P)))
        self.lengths, self.ragged = np.array(c.lengths or [T]), len(set(c.lengths)) > 1
        self.alive = (np.arange(T)[:, None] < self.lengths)[..., None] * 1.0
        self.longest = np.argsort(-self.lengths, kind="stable")
        self.unsorted = np.argsort(self.longest)
        everything = [self.zeros(T, B, self.D * self.P)] * (c.num_layers - 1) if c.training and c.dropout == 1 else []
        self.masks = [self.by_step(mask) for mask in masks] if masks else everything
        biases = dict.fromkeys(("b_ih", "b_hh"), self.zeros(len(self.cell.gates) * c.hidden_size))
        self.weights: list[Values] = [biases | {"H": c.hidden_size} for _ in range(self.L * self.D)]
        self.places: dict[tuple[str, int], str] = {}
        for name, value in problem.parameters.items():
            kind, _, layer = name.removesuffix("_reverse").rpartition("_l")
            own = next(own for own, theirs in PARAMETERS.items() if theirs == kind)
            k = int(layer) * self.D + name.endswith("_reverse")
            self.places[own, k] = f"d_{name}"
            self.weights[k][own] = value
        for weights in self.weights:
            weights["I"] = weights["W_ih"].shape[1]

    def zeros(self, *shape: int) -> Array:
        """Zeros in the problem's dtype."""
        return np.zeros(shape, self.input.dtype)

    def as_given(self, value: Any) -> Any:
        """The inverse of `by_step`."""
        return value[:, 0] if self.c.layout == "unbatched" else self.by_step(value)

    def state(self, name: str, B: int) -> Any:
        """A part of the state or its gradient, (L·D, B, features): zeros if none is given."""
        if (value := self.given.get(name)) is None:
            return self.zeros(self.L * self.D, B, self.P if "h" in name else self.H)
        return value[:, None] if self.c.layout == "unbatched" else value

    def outward(self, value: Any) -> Any:
        """The same in the caller's layout."""
        return value[:, 0] if self.c.layout == "unbatched" else value

    def masked(self, value: Any) -> Any:
        """A sequence with zeros after the end."""
        return value * self.alive if self.ragged else value

    def groups(self, T: int) -> list[tuple[Any, int]]:
        """Sequences of one length: which, and the length."""
        if not self.ragged:
            return [(slice(None), T)]
        return [(np.flatnonzero(self.lengths == length), int(length)) for length in np.unique(self.lengths)]

    def left(self, name: str, k: int = 0) -> Any:
        """What the call before gave: a part of the state or its gradient, d_input, or a parameter's gradient."""
        value = self.before[self.places.get((name, k), name)]
        return value[:, None] if self.c.layout == "unbatched" and name[-2:] in ("_n", "_0") else value

    def runs(self, faults: Sequence[Fault], forward_only: bool = False) -> Iterator[Run]:
        """What implementations with these faults give, each in the page's ways back that go with them."""
        edits = frozenset[tuple[str, str, str]]().union(*(fault.edits for fault in faults))
        if len({each[:2] for each in edits}) < len(edits):
            return  # two of them are about the same line
        ahead = frozenset(each for each in edits if each[0] in FORWARD)
        own = frozenset(each for fault in faults if not fault.forward for each in fault.edits)
        for back in [None] if forward_only else {edits - ahead: 0, own: 0}:
            if (ahead, back) not in self.found:
                self.found[ahead, back] = self.run(ahead, back)
            if (run := self.found[ahead, back]) is not None:
                yield run

    def run(self, ahead: Edits, back: Edits | None) -> Run | None:
        """Both ways with these edits, or the way forward alone; None if they make no sense with these shapes."""
        if self.last[0] != ahead:
            self.last = ahead, tried(lambda: functions(self.cell, ahead)["forward"](self))
        if (there := self.last[1]) is None:
            return None
        run = {name: there[0][name] for name in ("output", *(f"{part}_n" for part in self.cell.parts))}
        if back is None:
            return run
        given = tried(lambda: functions(self.cell, back)["backward"](self, there[1]))
        states = [f"d_{name}" for name in self.problem.initial]
        return given and run | {n: given[n] for n in ("d_input", *states)} | {
            name: given["gradients"][place] for place, name in self.places.items()
        }


@np.errstate(all="ignore")
def tried(run: Callable[[], Any]) -> Any:
    """What is computed; None if that makes no sense with these shapes."""
    try:
        return run()
    except (ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError):
        return None


@lru_cache(maxsize=32)
def setting_of(configuration: Configuration, form: str = "") -> Setting:
    """The configuration's problem, drawn once."""
    return Setting(draw(configuration), form=form)


def right_run(problem: Problem, masks: Masks | None = None, form: str = "") -> Run:
    """What the equations give without a fault, in the problem's dtype; of a form of the cell, if another is named."""
    return next(Setting(problem, masks, form).runs(()))

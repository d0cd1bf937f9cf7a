"""A fault: lines of the page, or equations, with other right sides.

An edit puts another expression on the right side of a slot, `function.slot: expression`: of an equation of `step` or
`step_backward`, or of a line of page.py or of the loops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ..stages.equations import Cell, follow
from ..stages.expressions import PYTHON, Values, expression
from ..stages.slots import edited, slots_of
from . import page

Edits = frozenset[tuple[str, str, str]]
"""Function, slot, and what is there instead."""

FORWARD = ("step", "loop_forward", "forward")
BACKWARD = ("step_backward", "loop_backward", "backward")


@dataclass(frozen=True)
class Fault:
    """A known fault: a name, a sentence, and the edits that make it."""

    name: str
    """In a few words, as a headline."""
    explanation: str
    """What is wrong and where, as a teacher would tell it."""
    edits: Edits = frozenset()
    rank: int = 1
    """How far-fetched it is."""
    leftover: bool = False
    """Whether it shows at the second call only."""

    @property
    def forward(self) -> bool:
        """Whether the forward pass is wrong already."""
        return any(function in FORWARD for function, _, _ in self.edits)

    def __str__(self) -> str:
        return self.explanation


# The page's functions, and the equations', with edits.


def in_order(value: Any, gates: int, *order: int) -> Any:
    """The blocks of the gates in another order."""
    size = len(value) // gates
    return value[[row for block in order for row in range(block * size, (block + 1) * size)]]


def only(row: int) -> Callable[[Any], Any]:
    """A sequence with zeros but for one step."""

    def kept(value: Any) -> Any:
        found = 0 * value
        found[row] = value[row]
        return found

    return kept


NUMPY: Values = PYTHON | {
    "in_order": in_order,
    "ends": only(-1),
    "starts": only(0),
    "whole": lambda value: 0 * value + value.sum(),
}
"""What the page and its edits may call."""
TORCH: Values = NUMPY | {
    "xp": torch,
    "flip": lambda value: torch.flip(value, (0,)),
    "σ": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "total": torch.sum,
    "side": lambda *blocks: torch.cat(blocks, 1),
    "interleaved": lambda *blocks: torch.stack(blocks, 2).reshape(len(blocks[0]), -1),
    "turned": lambda W: torch.cat([block.T for block in torch.split(W, W.shape[1])]),
    "reshaped": lambda W: W.reshape(tuple(W.shape)[::-1]),
    "clip": lambda value, limit: torch.clamp(value, -limit, limit),
}
"""The same for tensors."""


def functions(cell: Cell, edits: Edits, xp: Any) -> Values:
    """The page's functions with these edits, for arrays of NumPy or tensors of PyTorch."""
    known = dict(TORCH if xp is torch else NUMPY)
    own: dict[str, dict[str, str]] = {name: {} for name in (*FORWARD, *BACKWARD)}
    for function, slot, text in edits:
        own[function][slot] = text
    known["right_step"] = partial(follow, cell, "step", known=known)
    for name in ("step", "step_backward"):
        changes = {slot: expression(text) for slot, text in own[name].items()}
        known[name] = partial(follow, cell, name, changes=changes, known=known)
    for name in (*FORWARD[1:], *BACKWARD[1:]):
        known[name] = edited(getattr(page, name), own[name].items(), known)
    return known


def edit(text: str) -> Edits:
    """Edits from their text: `slot: expression; function.slot: expression`."""
    found = set()
    for each in text.split("; "):
        slot, right = each.split(": ", 1)
        function, _, slot = slot.rpartition(".")
        stack = [name for name in ("forward", "backward") if slot in slots_of(getattr(page, name))]
        loops = [name for name in ("loop_forward", "loop_backward") if slot in slots_of(getattr(page, name))]
        places = [function] if function else stack or loops
        assert places, f"there is no slot {slot}"
        found |= {(place, slot, right) for place in places}
    return frozenset(found)

"""A fault: lines of the page, or equations, with other right sides.

An edit puts another expression on the right side of a slot, `function.slot: expression`: of an equation of `step` or
`step_backward`, or of a line of page.py. Where the slot's own name stands in an edit, and not in the line, it is what
the line has: `output: output[::-1]`.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import CodeType
from typing import Any

import torch

from ..stages.equations import Cell
from ..stages.expressions import FUNCTIONS
from . import page

Values = dict[str, Any]
Edits = frozenset[tuple[str, str, str]]
"""Function, slot, and what is there instead."""

FORWARD = ("step", "loop_forward", "forward")
BACKWARD = ("step_backward", "loop_backward", "backward")
STEPS = ("step", "step_backward")


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

TRACED: Values = {
    "σ": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "total": torch.sum,
    "side": lambda *blocks: torch.cat(blocks, 1),
    "turned": lambda W: torch.cat([block.T for block in torch.split(W, W.shape[1])]),
    "reshaped": lambda W: W.reshape(tuple(W.shape)[::-1]),
    "clip": lambda value, limit: torch.clamp(value, -limit, limit),
}
"""The functions of expressions.py that are others for tensors."""


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


EXTRA: Values = {
    "__builtins__": builtins.__dict__,
    "in_order": in_order,
    "ends": only(-1),
    "starts": only(0),
    "whole": lambda value: 0 * value + value.sum(),
}
"""What edits may call besides."""


@cache
def source_of(function: str) -> str:
    """One of the page's functions, as text."""
    return inspect.getsource(getattr(page, function))


@cache
def slots_of(function: str) -> dict[str, str]:
    """A function's slots, and what is on their right sides."""
    return dict(re.findall(r"^ +(\w+) = (.*)$", source_of(function), flags=re.MULTILINE))


def literal(text: str) -> str:
    """A text as what replaces a pattern."""
    return text.replace("\\", r"\\")


@cache
def code_of(function: str, edits: Edits) -> CodeType:
    """One of the page's functions with its edits."""
    source = source_of(function)
    for _, slot, text in edits:
        right = slots_of(function)[slot]
        new = re.sub(r"(\w+)\[::-1\]", r"flip(\1)", text)  # which PyTorch understands, too
        own = rf"(?<![.\w\"]){slot}\b"
        if not re.search(own, right):
            new = re.sub(own, literal(f"({right})"), new)
        source = re.sub(rf"(?m)^( +{slot} = ).*$", rf"\g<1>{literal(new)}", source)
    return compile(source, f"<{function}>", "exec")


@cache
def line(name: str, text: str) -> CodeType:
    """One equation of a step."""
    return compile(f"{name} = {text}", "<equation>", "exec")


@cache
def lines_of(cell: Cell, function: str) -> dict[str, CodeType]:
    """All equations of a step."""
    return {name: line(name, ast.unparse(right)) for name, right, _ in cell.equations(function)}


def functions(cell: Cell, edits: Edits, xp: Any) -> Values:
    """The page's functions with these edits, for arrays of NumPy or tensors of PyTorch."""
    known: Values = FUNCTIONS | EXTRA | (TRACED if xp is torch else {}) | {"xp": xp, "Any": Any}

    def step_of(function: str, chosen: Edits) -> Callable[[Values], Values]:
        lines = lines_of(cell, function) | {slot: line(slot, text) for f, slot, text in chosen if f == function}

        def step(given: Values) -> Values:
            values = {**known, **given}
            for code in lines.values():
                exec(code, values)
            return values

        return step

    own = {**known, "right_step": step_of("step", frozenset())}
    own |= {name: step_of(name, edits) for name in STEPS}
    for function in ("flip", *FORWARD[1:], *BACKWARD[1:]):
        exec(code_of(function, frozenset(edit for edit in edits if edit[0] == function)), own)
    return own


def edit(text: str) -> Edits:
    """Edits from their text: `slot: expression; function.slot: expression`."""
    found = set()
    for each in text.split("; "):
        slot, right = each.split(": ", 1)
        function, _, slot = slot.rpartition(".")
        stack = [name for name in ("forward", "backward") if slot in slots_of(name)]
        loops = [name for name in ("loop_forward", "loop_backward") if slot in slots_of(name)]
        places = [function] if function else stack or loops
        assert places, f"there is no slot {slot}"
        found |= {(place, slot, right) for place in places}
    return frozenset(found)

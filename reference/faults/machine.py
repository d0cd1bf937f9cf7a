"""A module with faults: the page's functions on a problem's numbers.

A changed way forward may go with several ways back: the exact one, which PyTorch's autograd finds; the page's own with
the same edits; and the page's own, unchanged, on a tape that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
import torch

from scratch.types import Array

from ..problems import Configuration, Problem, draw
from ..runs import Masks, Run
from ..stages.equations import CELLS, Cell
from ..stages.expressions import Values
from ..stages.loops import beside
from ..stages.problems import PARAMETERS
from .edits import BACKWARD, FORWARD, Edits, Fault, functions
from .forms import FORMS, PROJECTING

WEIGHTS = {theirs: own for own, theirs in PARAMETERS.items()}
"""The equations' names of the parameters, by PyTorch's."""
CANNOT_BE = (ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError)
"""What a fault raises that makes no sense with these shapes."""


# What the page reads.


def by_step(c: Configuration, value: Any) -> Any:
    """A sequence in the caller's layout as (T, B, features)."""
    if c.layout == "unbatched":
        return value[:, None]
    return value.swapaxes(0, 1) if c.batch_first and c.layout == "batched" else value


class Module:
    """A problem's numbers as page.py reads them."""

    left: Mapping[str, Array]
    """What the call before left."""
    states: Mapping[str, Array]
    """The gradients of the initial state, which the way back leaves."""

    def __init__(self, problem: Problem, masks: Masks | None, cell: Cell, xp: Any = np) -> None:
        self.c = c = problem.configuration
        self.xp, self.dtype, self.parts = xp, problem.input.dtype, cell.parts
        convert = torch.from_numpy if xp is torch else np.asarray
        self.input = convert(problem.input)
        upstream = {f"d_{name}": value for name, value in problem.upstream.items()}
        self.given = {name: convert(value) for name, value in (problem.initial | upstream).items()}
        self.parameters = {name: convert(value) for name, value in problem.parameters.items()}
        if xp is torch:
            for leaf in self.leaves.values():
                leaf.requires_grad_()
        self.L, self.D, self.H, self.P = c.num_layers, 1 + c.bidirectional, c.hidden_size, c.proj_size or c.hidden_size
        T, B = max(c.lengths, default=3), len(c.lengths)
        self.alive = convert((np.arange(T)[:, None] < np.array(c.lengths or [0])[: max(B, 1)])[..., None] * 1.0)
        nothing = [np.zeros((T, B, self.D * self.P))] * (c.num_layers - 1)
        given = masks or (nothing if c.training and c.dropout == 1 else [])
        self.all_dropped = [convert(mask) for mask in nothing]
        self.masks = [self.time_first(convert(mask)) for mask in given] if masks else [convert(mask) for mask in given]
        rows = len(cell.gates) * c.hidden_size
        none = {"b_ih": self.zeros(rows), "b_hh": self.zeros(rows)}
        self.names = {name: self.place(name) for name in problem.parameters}
        self.weights: list[Values] = [{**none, "H": c.hidden_size} for _ in range(self.L * self.D)]
        for name, (own, k) in self.names.items():
            self.weights[k][own] = self.parameters[name]
        for weights in self.weights:
            weights["I"] = weights["W_ih"].shape[1]
        d_output = self.given.get("d_output")
        self.d_output = self.as_given(self.zeros(T, B, self.D * self.P)) if d_output is None else d_output

    @property
    def leaves(self) -> Values:
        """All that has a gradient, by the gradient's name."""
        initial = {f"d_{name}": value for name, value in self.given.items() if name.endswith("_0")}
        return {"d_input": self.input} | initial | {f"d_{name}": value for name, value in self.parameters.items()}

    def place(self, name: str) -> tuple[str, int]:
        """A parameter's name in the equations, and its layer and direction."""
        kind, _, layer = name.removesuffix("_reverse").rpartition("_l")
        return WEIGHTS[kind], int(layer) * self.D + name.endswith("_reverse")

    def zeros(self, *shape: int) -> Any:
        """Zeros in the problem's dtype."""
        return torch.zeros(shape, dtype=torch.float64) if self.xp is torch else np.zeros(shape, self.dtype)

    def time_first(self, value: Any) -> Any:
        """The caller's sequence as (T, B, features)."""
        return by_step(self.c, value)

    def as_given(self, value: Any) -> Any:
        """The inverse of `time_first`."""
        return value[:, 0] if self.c.layout == "unbatched" else self.time_first(value)

    def groups(self, T: int, B: int) -> list[tuple[Any, int]]:
        """Sequences of one length: which, and the length."""
        lengths = self.c.lengths
        if len(set(lengths)) <= 1:
            return [(slice(None), T)]
        return [([b for b in range(B) if lengths[b] == length], length) for length in sorted(set(lengths))]

    def last_rows(self, value: Any) -> Any:
        """The last step of each sequence."""
        return self.xp.stack([value[length - 1, b] for b, length in enumerate(self.c.lengths)])

    def left_of(self, name: str, k: int) -> Any:
        """A parameter's gradient that the call before left."""
        return next(self.left[f"d_{known}"] for known, place in self.names.items() if place == (name, k))

    @property
    def longest_first(self) -> list[int]:
        """The sequences by their length."""
        return sorted(range(len(self.c.lengths)), key=lambda b: -self.c.lengths[b])

    @property
    def back(self) -> list[int]:
        """The inverse of `longest_first`."""
        return [self.longest_first.index(b) for b in range(len(self.c.lengths))]

    def masked(self, value: Any) -> Any:
        """A sequence with zeros after the end."""
        return value * self.alive if len(set(self.c.lengths)) > 1 else value

    def state(self, name: str, B: int) -> Any:
        """A part of the state or its gradient, (L·D, B, features): zeros if none is given."""
        value = self.given.get(name)
        if value is None:
            return self.zeros(self.L * self.D, B, self.P if "h" in name else self.H)
        return value[:, None] if self.c.layout == "unbatched" else value

    def state_as_given(self, value: Any) -> Any:
        """The same in the caller's layout."""
        return value[:, 0] if self.c.layout == "unbatched" else value


# Run with faults.


@cache
def cell_of(configuration: Configuration, form: str = "") -> Cell:
    """The equations of a configuration: of its cell, or of a form of it."""
    if form:
        return FORMS[form][1]
    return PROJECTING if configuration.proj_size else CELLS[configuration.cell]


@dataclass(eq=False)
class Setting:
    """A problem on which faults are tried; what they give forward is kept for the ways back."""

    problem: Problem
    masks: Masks | None = None
    form: str = ""
    kept: dict[Edits, tuple[Run, Values, Module]] = field(default_factory=dict)
    found: dict[tuple[Edits, str, Edits], Run | None] = field(default_factory=dict)

    @property
    def cell(self) -> Cell:
        """The equations."""
        return cell_of(self.problem.configuration, self.form)

    @np.errstate(all="ignore")
    def forward(self, edits: Edits, left: Mapping[str, Array] | None = None) -> tuple[Run, Values, Module]:
        """What the way forward gives with these edits, and what it leaves for the way back."""
        if left is None and edits in self.kept:
            return self.kept[edits]
        module = Module(self.problem, self.masks, self.cell)
        module.left = left or {}
        run, kept = functions(self.cell, edits, np)["forward"](module)
        found = {"output": run["output"]} | {f"{part}_n": run[f"{part}_n"] for part in self.cell.parts}
        there = found, kept, module
        if left is None:
            self.kept[edits] = there
        return there

    @np.errstate(all="ignore")
    def backward(self, edits: Edits, ahead: tuple[Run, Values, Module]) -> Run:
        """What the way back gives after one forward."""
        _, kept, module = ahead
        if any(re.search("_(before|later|end)\\b", text) for _, _, text in edits):
            kept = kept | {"tapes": {place: beside(self.cell, tape) for place, tape in kept["tapes"].items()}}
        given = functions(self.cell, edits, np)["backward"](module, kept)
        run = {"d_input": given["d_input"]}
        if self.problem.configuration.initial_state:
            run |= {f"d_{part}_0": given[f"d_{part}_0"] for part in self.cell.parts}
        run |= {f"d_{name}": given["gradients"][place] for name, place in module.names.items()}
        return run

    def exact(self, edits: Edits) -> Run:
        """The gradients of a changed way forward, by autograd."""
        module = Module(self.problem, self.masks, self.cell, torch)
        run, _ = functions(self.cell, edits, torch)["forward"](module)
        upstream = self.problem.upstream
        loss = sum((run[name] * torch.from_numpy(value)).sum() for name, value in upstream.items())
        leaves = module.leaves
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
        return {name: value.numpy() for name, value in zip(leaves, found, strict=True)}

    def runs(self, faults: Iterable[Fault], forward_only: bool = False) -> Iterator[Run]:
        """What implementations with these faults give, each in the ways back that go with them."""
        faults = tuple(faults)
        edits = frozenset[tuple[str, str, str]]().union(*(fault.edits for fault in faults))
        if len({edit[:2] for edit in edits}) < len(edits):
            return  # two of them are about the same line
        ahead = frozenset(edit for edit in edits if edit[0] in FORWARD)
        back = edits - ahead
        own = frozenset(edit for fault in faults if not fault.forward for edit in fault.edits)
        try:
            left = self.left(edits) if any(fault.leftover for fault in faults) else None
            there = self.forward(ahead, left)
        except CANNOT_BE:
            return
        if forward_only:
            yield there[0]
            return
        ways = {("page", way): partial(self.backward, way, there) for way in (back, own)}
        if ahead and not own and left is None:
            ways["exact", ahead] = partial(self.exact, ahead)
        for way, run in ways.items():
            if left is not None or (ahead, *way) not in self.found:
                try:
                    self.found[ahead, *way] = there[0] | run()
                except CANNOT_BE:
                    self.found[ahead, *way] = None
            if (model := self.found[ahead, *way]) is not None:
                yield model

    def left(self, edits: Edits) -> Mapping[str, Array]:
        """What a first call leaves, which is right but for the faults that show there already."""
        first = frozenset(edit for edit in edits if "m.left" not in edit[2])
        there = self.forward(frozenset(edit for edit in first if edit[0] in FORWARD))
        gradients = self.backward(frozenset(edit for edit in first if edit[0] in BACKWARD), there)
        return {**there[1], **gradients, **there[2].states}


@lru_cache(maxsize=32)
def setting_of(configuration: Configuration, form: str = "") -> Setting:
    """The configuration's problem, drawn once."""
    return Setting(draw(configuration), form=form)


def right_run(problem: Problem, masks: Masks | None = None, form: str = "") -> Run:
    """What the equations give without a fault, in the problem's dtype; of a form of the cell, if another is named."""
    setting = Setting(problem, masks, form)
    ahead = setting.forward(frozenset())
    return ahead[0] | setting.backward(frozenset(), ahead)

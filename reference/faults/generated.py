"""Faults of the equations and of the loop over time, made from these themselves: no list of them is needed.

Every small change of an equation (reference/stages/mutations.py) is a candidate: a term or a factor left out, doubled
or turned around, another value in a value's place, another function, a transpose, another order of the gates; in one
equation, or in all that are alike. So is everything that goes wrong in a slot of the loops (reference/stages/loops.py),
and each of the sums over time may be wrong for some of the parameters alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import permutations

from scratch.types import Array

from ..stages.equations import Cell
from ..stages.expressions import renamed, value_of
from ..stages.loops import at_some_steps, clips, slips
from ..stages.mutations import INTERLEAVED, ORDER, TRANSPOSED, Mistake, mutations, mutations_across_steps
from .edits import Edits, Fault

PLACES = {"step": "Forward", "step_backward": "Backward", "forward": "In the loop", "backward": "In the loop backward"}
"""How a sentence begins, by the function."""


@cache
def of_equations(cell: Cell) -> tuple[Fault, ...]:
    """The small changes of the equations of a step and of its way back, at some steps, and in all that are alike."""
    mistakes = [*mutations(cell, "step"), *mutations(cell, "step_backward"), *mutations_across_steps(cell)]
    mistakes += [one for one in at_some_steps(cell) if one.rank < 4]
    alike = [fault for function in ("step", "step_backward") for fault in in_all_alike(cell, function)]
    return (*(of_mistake(cell, one) for one in mistakes), *alike)


def of_mistake(cell: Cell, one: Mistake) -> Fault:
    """A small change as a fault of the page."""
    if not one.changes:
        edits = {(f"loop_{one.function}", slot, text) for slot, text in one.slots.items()}
        told = f"{PLACES[one.function]}: {one.words}: {one.name} is `{one.yours}` where `{one.right}` belongs."
        return Fault(f"{one.name}: {one.words}", told, frozenset(edits), 1 + one.rank)
    edits = {(one.function, name, ast.unparse(right)) for name, right in one.changes.items()}
    edits |= {("loop_forward", slot, text) for slot, text in one.slots.items()}
    kind = one.words if one.words == TRANSPOSED else one.yours.replace(" · 1", "")  # which may be the same
    name, rank = f"{one.name} = {kind}{''.join(one.slots.values())}", 1 + one.rank + len(one.slots)
    if one.words in (ORDER, INTERLEAVED) and one.right.count(", ") == len(cell.gates) - 1 and one.name.startswith("a"):
        order = f"your order is {one.yours.strip('[]')}; PyTorch's is {one.right.strip('[]')}"
        part = "" if one.name in ("a", "a_x and a_h") else f" (in {one.name} alone)"
        told = f"The rows of the weights and biases are read as the gates in another order{part}: {order}."
        return Fault(name, told, frozenset(edits), rank)
    number = f" {one.number}" if one.number else ""
    told = f"{PLACES[one.function]}, {one.name} is {one.right}{number}; yours is exactly {one.yours}: {one.words}."
    return Fault(name, told, frozenset(edits), rank)


def in_all_alike(cell: Cell, function: str) -> Iterator[Fault]:
    """The same change in all equations that are alike but for the gate, or that a change makes alike."""
    found: dict[tuple[str, str], dict[str, Mistake]] = {}
    right = {equation.name: equation.right for equation in cell.equations(function)}
    for one in mutations(cell, function):
        gate = one.name.rpartition("_")[2]
        if gate in cell.gates and one.rank < 4 and len(one.changes) == 1:
            kinds = [ast.unparse(of_any_gate(node, gate, cell)) for node in (right[one.name], one.changes[one.name])]
            found.setdefault((kinds[0], kinds[1]), {}).setdefault(one.name, one)
            found.setdefault(("", kinds[1]), {}).setdefault(one.name, one)
    seen: set[Edits] = set()
    for each in found.values():
        if len(each) < 2:
            continue
        first = next(iter(each.values()))
        edits = frozenset(edit for one in each.values() for edit in of_mistake(cell, one).edits)
        if edits not in seen:
            seen.add(edits)
            names = f"{', '.join(list(each)[:-1])} and {list(each)[-1]}"
            pairs = "; ".join(f"{one.name} is {one.right}; yours is exactly {one.yours}" for one in each.values())
            told = f"{PLACES[function]}, the same in {names}: {first.words}. {pairs}."
            yield Fault(f"{first.words} in {names}", told, edits, 2 + max(one.rank for one in each.values()))


def of_any_gate(node: ast.expr, gate: str, cell: Cell) -> ast.expr:
    """An expression with the gate's name left open."""
    names = [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
    open_names = {name: value_of(re.sub(rf"(^|_){gate}$", r"\1GATE", name)) for name in names}
    return renamed(node, open_names)


@cache
def of_loops(cell: Cell, T: int) -> tuple[Fault, ...]:
    """What goes wrong in the loop over time, and in the gradients that are summed there."""
    found = [of_mistake(cell, one) for function in ("forward", "backward") for one in slips(cell, function)]
    every = {"W_ih", "W_hh", "b_ih", "b_hh", "W_hr"}
    groups = [{name} for name in sorted(every)] + [{"W_ih", "W_hh"}, {"b_ih", "b_hh"}]
    sums = [one for one in slips(cell, "backward") if "total" in one.slots]
    changed = [(one.slots["total"], one.words) for one in sums]
    changed += [("total + d_step / (B * T)", "the mean over batch and steps is there for the sum")]
    changed += [("0 * total", "it is left at zero"), ("total + d_step / 2", "half of it is there")]
    for text, words in changed:
        for group in [every, *groups] if "B * T" in text or text == "total + d_step / 2" else groups:
            of = "all parameters" if group is every else " and ".join(sorted(group))
            edit = f"({text}) if name in {sorted(group)} else total + d_step"
            told = f"In the sum over all steps that is the gradient of {of}: {words}."
            found.append(Fault(f"the gradient of {of}: {words}", told, frozenset({("loop_backward", "total", edit)})))
    for steps in range(2, T):
        for text in (f"(T - t) % {steps} != 0", f"T - t < {steps}", f"T - t < {steps} or t == 0", f"T - t != {steps}"):
            edits = {("loop_backward", f"d_{part}_after", f"({text}) * d_{part}_prev") for part in cell.parts}
            told = f"Backpropagation through time is truncated: what comes from later steps is dropped after {steps} "
            told += "steps. The whole gradient goes back to the first step."
            found.append(Fault(f"truncated after {steps} steps ({text})", told, frozenset(edits)))
    return tuple(found)


@cache
def orders_of_gradients(cell: Cell) -> tuple[Fault, ...]:
    """The gates' blocks in another order in the gradients than in the weights."""
    found, gates = [], len(cell.gates)
    for order in list(permutations(range(gates)))[1:]:
        theirs, right = ", ".join(cell.gates[n] for n in order), ", ".join(cell.gates)
        edit = f"in_order(total, {gates}, *{list(order)}) if name != 'W_hr' else total"
        told = "The gradients of weights and biases have their row blocks in another order than the weights: your "
        told += f"order is {theirs}; PyTorch's is {right}."
        found.append(Fault(f"gradients in the order {theirs}", told, frozenset({("backward", "d_parameter", edit)}), 3))
    return tuple(found)


def clipped(cell: Cell, gradients: Iterable[Array]) -> Iterator[Fault]:
    """Where the loop backward may clip the gradients that it gives."""
    return (of_mistake(cell, one) for one in clips(cell, gradients))

"""Faults of the equations and of the loop over time, made from these themselves: no list of them is needed.

Every small change of an equation (reference/stages/mutations.py) is a candidate: a term or a factor left out, doubled
or turned around, another value in a value's place, another function, a transpose, another order of the gates; in one
equation, or in all that are alike. So is everything that goes wrong in a slot of the loops (reference/stages/loops.py),
and each of the sums over time may be wrong for some of the parameters alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations

from ..stages.equations import Cell, Equation
from ..stages.expressions import expression, made, matched, names_in, parts, renamed, replaced, shown, value_of
from ..stages.loops import clips, slips
from ..stages.mutations import ORDER, TRANSPOSED, Mistake, changes_of, mistake, mutations, mutations_across_steps
from .edits import Edits, Fault

PLACES = {"step": "Forward", "step_backward": "Backward", "forward": "In the loop", "backward": "In the loop backward"}
"""How a sentence begins, by the function."""


@cache
def of_equations(cell: Cell) -> tuple[Fault, ...]:
    """The small changes of the equations of a step and of its way back, and these at some steps alone."""
    steps = [each for function in ("step", "step_backward") for each in changes(cell, function)]
    faults = [of_mistake(cell, each) for each in (*steps, *mutations_across_steps(cell))]
    alike = [each for function in ("step", "step_backward") for each in in_all_alike(cell, function)]
    return (*faults, *alike, *others(cell))


MORE = """
LSTM step: c = i * g | f ⊙ c_prev is missing
LSTM step: c = (1 - i) * c_prev + i * g | 1 − i is there for f, as if the two gates were coupled
LSTM step: c = f * c_prev + i + g | i and g are added
LSTM step: h = tanh(o * c) | tanh is applied to the product
LSTM step: f = 1 + 0 * f | the gate is missing
LSTM step_backward: d_o = d_h * tanh(c_prev) | tanh(c_prev) is there for tanh(c)
LSTM step_backward: d_f = d_c * tanh(c_prev) | tanh(c_prev) is there for c_prev
LSTM step_backward: d_c = d_c_after + d_h * o * (1 - c**2) | c stands for tanh(c)
LSTM step_backward: d_f = d_c_after * c_prev; d_i = d_c_after * g; d_g = d_c_after * i | what comes from h is left out
LSTM step_backward: d_f = (d_c - d_c_after) * c_prev; d_i = (d_c - d_c_after) * g; d_g = (d_c - d_c_after) * i \
| what comes from the step after is left out
GRU step_backward: d_a_r = d_r * (x_r + h_r) * (1 - (x_r + h_r)) | σ′ is taken of the pre-activation
GRU step_backward: d_a_z = d_z * (x_z + h_z) * (1 - (x_z + h_z)) | σ′ is taken of the pre-activation
GRU step_backward: d_a_z = d_z * (x_z + h_z) * (1 - (x_z + h_z)); d_a_r = d_r * (x_r + h_r) * (1 - (x_r + h_r)) \
| σ′ is taken of the pre-activation
GRU step_backward: d_x_n = d_n * (1 - (x_n + r * h_n)**2) | tanh′ is taken of the pre-activation
RNN tanh step_backward: d_a = d_h * positive(h) | relu′ is there for tanh′
RNN tanh step_backward: d_a = d_h * h | h is there for tanh′
RNN tanh step_backward: d_a = -2 * d_h * h | the derivative of 1 − h² is there for tanh′
RNN relu step: h = relu(a) + 0.01 * (a - relu(a)) | a leaky relu is there
RNN tanh step: h = relu(a) + 0.01 * (a - relu(a)) | a leaky relu is there
"""
"""What people write where no small change of an equation gives it."""


def others(cell: Cell) -> Iterator[Fault]:
    """The rows of MORE, a gradient of one sequence alone, and a value of the step that was changed in place."""
    for row in filter(None, MORE.splitlines()):
        place, words = row.split(" | ")
        where, equations = place.split(": ")
        name, _, function = where.rpartition(" ")
        if name == cell.name:
            places = {each.name: k for k, each in enumerate(cell.equations(function))}
            lines = [equation.split(" = ") for equation in equations.split("; ")]
            changes = {places[left]: expression(right) for left, right in lines}
            yield of_mistake(cell, mistake(cell, function, changes, words, 1))
    for function in ("step", "step_backward"):
        for index, (_, right, _) in enumerate(cell.equations(function)):
            for other, rank, words in operators(right):
                yield of_mistake(cell, mistake(cell, function, {index: other}, words, rank))
    for index, (_, right, _) in enumerate(cell.step_backward):
        if found := matched(expression("u.T @ v"), right):
            for one in ("0:1", "-1:"):
                changed = made(f"u[{one}].T @ v[{one}]", **found)
                yield of_mistake(cell, mistake(cell, "step_backward", {index: changed}, "one sequence is there", 2))
        for name in names_in(right):
            for text in ("1 - u", "u * (1 - u)", "1 - u**2", "u**2"):
                new = {name: made(text, u=value_of(name))}
                later = {
                    k: renamed(each.right, new)
                    for k, each in enumerate(cell.step_backward)
                    if k >= index and name in names_in(each.right)
                }
                if name in cell.known_forward and len(shown(right)) > len(name):
                    words = f"{name} has been changed in place before, to {shown(new[name])}"
                    yield of_mistake(cell, mistake(cell, "step_backward", later, words, 5))


def operators(right: ast.expr) -> Iterator[tuple[ast.expr, int, str]]:
    """A sum for a product and the other way, and a value that is scaled, in an equation."""
    for part in parts(right):
        for there, instead in (("u * v", "u + v"), ("u + v", "u * v")):
            if found := matched(expression(there), part):
                words = "a sum is there for a product" if "+" in instead else "a product is there for a sum"
                yield replaced(right, part, made(instead, **found)), 3, words
    for name in names_in(right):
        for text in ("2 * u", "u / 2", "-u"):
            yield renamed(right, {name: made(text, u=value_of(name))}), 4, "a value is scaled"


@cache
def at_some_steps(cell: Cell) -> tuple[Fault, ...]:
    """The changes of the step that are made at the first step alone, or at all others."""
    found = []
    for fault in of_equations(cell):
        if fault.forward and fault.rank < 5:
            for told, condition in (("the first step alone", "t == 0"), ("all steps but the first", "t > 0")):
                edits = fault.edits | {("loop_forward", "taken", f"step if {condition} else right_step")}
                sentence = f"At {told}: {fault.explanation}"
                found.append(Fault(f"{fault.name} (at {told})", sentence, edits, fault.rank + 1))
    return tuple(found)


def changes(cell: Cell, function: str) -> Sequence[Mistake]:
    """Those of the cell's equations; of a projection, whose shapes mutations.py does not know, one by one."""
    if cell.name in ("RNN tanh", "RNN relu", "LSTM", "GRU") and "W_hr" not in ast.dump(cell.step[-1].right):
        return mutations(cell, function)
    matrices = {"W_hr", "W_ih", "W_hh"}
    known = [e.name for e in cell.step if not e.name.startswith("a")] + [f"{part}_prev" for part in cell.parts]
    known += [e.name for e in cell.step_backward if function != "step"] + ["d_h"] * (function != "step")

    def others(name: str) -> list[str]:
        return [] if name in matrices or name not in known else [other for other in known if other != name]

    found = []
    for index, equation in enumerate(cell.equations(function)):
        if not shown(equation.right).startswith("block"):
            found += [
                mistake(cell, function, {index: right}, words, rank)
                for rank, words, right in changes_of(Equation(*equation), others)
                if rank < 4
            ]
    unique: dict[object, Mistake] = {}
    for one in sorted([*alternatives_of(cell, function), *found], key=lambda one: one.rank):
        unique.setdefault((one.name, one.yours), one)
    return tuple(unique.values())


def alternatives_of(cell: Cell, function: str) -> Iterator[Mistake]:
    """The cell's alternatives, as far as they are single equations."""
    places = {equation.name: index for index, equation in enumerate(cell.equations(function))}
    for text, words in cell.alternatives:
        name, _, right = text.partition(" = ")
        if name in places and "; " not in text:
            yield mistake(cell, function, {places[name]: expression(right)}, words, 0)


def of_mistake(cell: Cell, one: Mistake) -> Fault:
    """A small change as a fault of the page."""
    if one.slots:
        renamed_slots = {"h_0": "h", "c_0": "c", "d_all": "gradient"}
        edits = {
            (f"loop_{one.function}", renamed_slots.get(slot, slot), re.sub(r"first_(\w)", r"tape[0]['\1']", text))
            for slot, text in one.slots.items()
        }
        told = f"{PLACES[one.function]}: {one.words}: {one.name} is `{one.yours}` where `{one.right}` belongs."
        return Fault(f"{one.name}: {one.words}", told, frozenset(edits), 1 + one.rank)
    equations = cell.equations(one.function)
    edits = {(one.function, equations[k].name, ast.unparse(right)) for k, right in one.changes.items()}
    kind = one.words if one.words == TRANSPOSED else one.yours.replace(" · 1", "")  # which may be the same
    name, rank = f"{one.name} = {kind}", 1 + one.rank
    if one.words == ORDER and one.right.count(", ") == len(cell.gates) - 1 and one.name.startswith("a"):
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
    for one in mutations_of_one(cell, function):
        (index,) = one.changes
        name, right, _ = cell.equations(function)[index]
        gate = name.rpartition("_")[2]
        if gate in cell.gates:
            kinds = [ast.unparse(of_any_gate(node, gate, cell)) for node in (right, one.changes[index])]
            found.setdefault((kinds[0], kinds[1]), {}).setdefault(name, one)
            found.setdefault(("", kinds[1]), {}).setdefault(name, one)
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


def mutations_of_one(cell: Cell, function: str) -> list[Mistake]:
    """The likely changes of a single equation."""
    return [one for one in changes(cell, function) if one.rank < 4 and len(one.changes) == 1]


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
    """The gates' blocks in another order in the weights, in both directions, or in the gradients alone."""
    found, gates = [], len(cell.gates)
    for order in list(permutations(range(gates)))[1:]:
        theirs, back = ", ".join(cell.gates[n] for n in order), [order.index(n) for n in range(gates)]
        right = ", ".join(cell.gates)
        values = ", ".join(f"'{name}': in_order(weights['{name}'], {gates}, *{back})" for name in ROWS)
        told = "The rows of the weights and biases are read as the gates in another order: your order is "
        read = frozenset({("loop_forward", "used", f"{{**weights, {values}}}")})
        read |= {("loop_backward", "used", f"{{**weights, {values}}}")}
        found.append(Fault(f"weights in the order {theirs}", f"{told}{theirs}; PyTorch's is {right}.", read, 3))
        told = "The gradients of weights and biases have their row blocks in another order than the weights: your "
        edit = f"in_order(total, {gates}, *{list(order)}) if name in {ROWS} else total"
        given = frozenset({("backward", "d_parameter", edit)})
        found.append(
            Fault(f"gradients in the order {theirs}", f"{told}order is {theirs}; PyTorch's is {right}.", given, 3)
        )
    return tuple(found)


ROWS = ("W_ih", "W_hh", "b_ih", "b_hh")


def clipped(cell: Cell, limit: float) -> Iterator[Fault]:
    """Where the loop backward may clip the gradients."""
    for one in clips(cell, limit):
        fault = of_mistake(cell, one)
        told = f"In the loop backward, the gradient is clipped at ±{limit:g}: {one.name} is `{one.yours}`. Clipping "
        yield Fault(fault.name, f"{told}belongs outside the backward pass.", fault.edits, fault.rank)

"""The known faults: every small change of the equations and of the loops (reference/stages), and tables.py."""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import permutations

from scratch.types import Array

from ..problems import Configuration
from ..stages.equations import Cell
from ..stages.loops import STATE, at_some_steps, choices, clips, of_parts, slips
from ..stages.mutations import TRANSPOSED, Mistake, mutations, mutations_across_steps
from ..stages.problems import PARAMETERS
from . import tables
from .forms import cell_of
from .machine import Edits, Fault, edit

BEGINNINGS = {
    "step": "Forward",
    "step_backward": "Backward",
    "forward": "In the loop",
    "backward": "In the loop backward",
}
"""How a sentence begins, by the function."""


@cache
def catalogue(c: Configuration, form: str = "") -> tuple[Fault, ...]:
    """Every known fault that a recurrence of this configuration can have, the least far-fetched first.

    Where there are layers, directions or lengths, the equations have been found right without these: their faults are
    left out.
    """
    cell, layers, plain = cell_of(c, form), c.num_layers > 1, len(set(c.lengths)) <= 1
    plain = plain and not layers and not c.bidirectional
    shown = [
        (tables.ENDS, 0, True),
        (tables.WEIGHTS, 0, plain),
        (tables.BIASES, 0, plain and c.bias),
        (tables.LAYERS, 0, layers),
        (tables.DIRECTIONS, 0, c.bidirectional),
        (tables.LAYOUTS, 0, c.batch_first or c.layout == "packed"),
        (tables.DROPOUT, 0, layers and c.dropout),
        (tables.LEFTOVERS, 0, True),
        (tables.GATES, 1, plain),
        (tables.LOOPS, 1, plain),
        (tables.PLACES, 2, layers or c.bidirectional),
        (tables.ORDERS, 3, plain),
        (tables.VALUES, 3, True),
    ]
    words = filled(cell, c)
    found = [fault for table, rank, can_be in shown if can_be for fault in of_table(table, rank, words, cell.parts)]
    unique: dict[Edits, Fault] = {}
    for fault in sorted([*found, *(of_equations(cell) if plain else ())], key=lambda fault: fault.rank):
        unique.setdefault(fault.edits, fault)
    return tuple(unique.values())


def filled(cell: Cell, c: Configuration) -> dict[str, dict[str, str]]:
    """What the words in capitals of the tables stand for, and what that is in words."""
    names = [name for name in PARAMETERS if (c.bias or name[0] == "W") and (c.proj_size or name != "W_hr")]
    groups = [*([name] for name in names), ["W_hh", "W_ih"], ["b_hh", "b_ih"]]
    sums = {one.slots["total"]: one.words for one in slips(cell, "backward") if "total" in one.slots}
    sums |= {"0 * total": "it is left at zero", "total + d_step / 2": "half of it is there"}
    sums |= {"total + d_step / (B * T)": "the mean over batch and steps is there for the sum"}
    cuts = ("(T - t) % N != 0", "T - t < N", "T - t < N or t == 0", "T - t != N")
    right, *orders = permutations(range(len(cell.gates)))
    gates = {order: ", ".join(cell.gates[n] for n in order) for order in (right, *orders)}
    return {
        "INNER": tables.INNER,
        "SLOT": tables.INNER | tables.OUTER,
        "PLACE": tables.PLACE,
        "RATE": dict.fromkeys(("1.0", "0.1", "0.01", "0.001"), ""),
        "NAME": {name: name for name in names},
        "MATRIX": {name: name for name in names if name[0] == "W"},
        "SUM": sums,
        "GROUP": {str(group): " and ".join(group) for group in groups},
        "CUT": {cut.replace("N", str(n)): f"{n} steps" for n in range(2, max(c.lengths, default=3)) for cut in cuts},
        "ORDER": {str(order): f"{gates[order]}; PyTorch's is {gates[right]}" for order in orders},
        "WHERE": {k: v for k, v in tables.WHERE.items() if (c.num_layers > 1 if k[0] == "l" else c.bidirectional)},
    }


def of_table(table: str, rank: int, words: dict[str, dict[str, str]], parts: str) -> Iterator[Fault]:
    """The rows of a table, for all that its words in capitals stand for, and each part of the state and all at once."""

    def filled_in(edits: str, sentence: str) -> Iterator[tuple[str, str]]:
        word = next((word for word in words if word in edits), None)
        if word is None:
            yield edits, sentence
        else:
            for text, told in words[word].items():
                yield from filled_in(edits.replace(word, text), sentence.replace(word, told))

    for row in re.findall(r"\S.*", re.sub(r"\n {4}", " ", table)):
        if "c" in parts or not re.search("c_[0n]", row):
            for edits, sentence in filled_in(*row.split(" | ")):
                for chosen in choices(parts, edits):
                    texts = [
                        STATE.sub(part, piece)
                        for piece in edits.split("; ")
                        for part in (chosen if STATE.search(piece) else " ")
                    ]
                    yield Fault(of_parts(sentence, chosen), edit("; ".join(texts)), rank)


# The equations, and the loops over time.


@cache
def of_equations(cell: Cell) -> tuple[Fault, ...]:
    """The small changes of the equations, at all steps or at some, and of the loops."""
    mistakes = [*mutations(cell, "step"), *mutations(cell, "step_backward"), *mutations_across_steps(cell)]
    mistakes += [one for one in at_some_steps(cell) if one.rank < 4]
    mistakes += [*slips(cell, "forward"), *slips(cell, "backward")]
    return tuple(map(of_mistake, mistakes))


def of_mistake(one: Mistake) -> Fault:
    """A small change as a fault of the page."""
    begins = BEGINNINGS[one.function]
    if not one.changes:
        slots = frozenset((f"loop_{one.function}", slot, text) for slot, text in one.slots.items())
        told = f"{begins}: {one.words}: {one.name} is `{one.yours}` where `{one.right}` belongs."
        return Fault(told, slots, 1 + one.rank, f"{one.name}: {one.words}")
    edits = {(one.function, name, ast.unparse(right)) for name, right in one.changes.items()}
    edits |= {("loop_forward", slot, text) for slot, text in one.slots.items()}
    kind = one.words if one.words == TRANSPOSED else one.yours.replace(" · 1", "")  # which may be the same
    name, rank = f"{one.name} = {kind}{''.join(one.slots.values())}", 1 + one.rank + len(one.slots)
    told = f"{begins}, {one.name} is {f'{one.right} {one.number}'.strip()}; yours is exactly {one.yours}: {one.words}."
    return Fault(told, frozenset(edits), rank, name)


def clipped(cell: Cell, gradients: Iterable[Array]) -> Iterator[Fault]:
    """Where the loop backward may clip the gradients that it gives."""
    return map(of_mistake, clips(cell, gradients))

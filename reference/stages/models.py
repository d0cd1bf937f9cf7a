"""What a candidate with a known mistake, or with several, gives; and so which mistake gives what a candidate gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from scratch.types import Array

from .equations import Cell, follow
from .expressions import Values
from .loops import at_some_steps, backward_loop, beside, forward_loop, slips
from .mutations import Mistake, mutations, mutations_across_steps
from .problems import PARAMETERS, Problem
from .subject import alike

Results = Mapping[str, Any]
Piece = tuple[str, str]
"""The name of a result, and which part of it."""
CANNOT_BE = (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError)
"""What a mistake raises that makes no sense with these shapes."""


def given_by(problem: Problem, function: str, mistakes: Sequence[Mistake] = ()) -> Results | None:
    """What a function with these mistakes gives; None if it cannot be."""
    changes = {name: right for one in mistakes for name, right in one.changes.items()}
    slots = {name: text for one in mistakes for name, text in one.slots.items()}
    try:
        if function in ("step", "step_backward"):
            base = problem.base(function)
            return follow(problem.cell, function, base, changes, base)
        if function == "forward":
            return forward_loop(problem, slots, changes)[0]
        return backward_loop(problem, slots, changes, tape_of(problem))
    except CANNOT_BE:
        return None


@cache
def tape_of(problem: Problem) -> list[Values]:
    """What each step knows, with what the steps beside it know, and the last state."""
    return beside(problem.cell, forward_loop(problem, {}, {})[1])


# Which mistake it is.


def trials(cell: Cell, function: str) -> Iterator[Mistake]:
    """Every mistake that is known for a function."""
    if function in ("step", "step_backward"):
        yield from mutations(cell, function)
        return
    yield from slips(cell, function)
    if function == "forward":
        yield from mutations(cell, "step")
        yield from at_some_steps(cell)
    else:
        yield from mutations(cell, "step_backward")
        yield from mutations_across_steps(cell)


def explained(cell: Cell, function: str, problems: Sequence[Problem], owns: Sequence[Results]) -> list[Mistake]:
    """The mistakes that give the candidate's numbers in every problem: one, or up to three that are as likely."""
    found: list[Mistake] = []
    for one in trials(cell, function):
        if found and one.rank > max(1, found[0].rank):
            break
        if any(one.name == other.name for other in found):
            continue
        if all(matches(own, given_by(problem, function, [one])) for problem, own in zip(problems, owns, strict=True)):
            found.append(one)
            if not one.changes or len(found) == 3:
                break
    return found


def matches(own: Results, model: Results | None) -> bool:
    """Whether a model gives the candidate's numbers, all of them."""
    return model is not None and all(name in model and alike(value, model[name]) for name, value in own.items())


def together(
    cell: Cell, function: str, problems: Sequence[Problem], owns: Sequence[Results]
) -> tuple[list[Mistake], bool]:
    """Mistakes that explain the candidate's numbers one piece after the other, and whether they explain all."""
    steps = function in ("step", "step_backward")
    known = [one for one in (mutations if steps else slips)(cell, function) if one.rank < 4]
    pieces = [in_pieces(cell, own) for own in owns]

    def right_with(chosen: Sequence[Mistake], before: Sequence[set[Piece]]) -> list[set[Piece]] | None:
        """The pieces that these mistakes give in each problem, if they are more than before in all."""
        found: list[set[Piece]] = []
        for problem, results, own, less in zip(problems, owns, pieces, before, strict=True):
            model = given_by(problem, function, chosen) or {}
            given = in_pieces(cell, {name: model[name] for name in model.keys() & results.keys()})
            found.append({name for name, piece in own.items() if name in given and alike(piece, given[name])})
            if not less < found[-1]:
                return None
        return found

    chosen: list[Mistake] = []
    nothing: list[set[Piece]] = [set() for _ in pieces]
    before = right_with(chosen, nothing) or nothing
    while len(chosen) < 5:
        places = {place for one in chosen for place in one.places}
        free = [one for one in known if not one.places & places]
        better = [(one, found) for one in free if (found := right_with([*chosen, one], before))]
        if not better:
            break
        best, before = max(better, key=lambda each: min(len(a) - len(b) for a, b in zip(each[1], before, strict=True)))
        chosen.append(best)
        if all(len(found) == len(own) for found, own in zip(before, pieces, strict=True)):
            return chosen, True
    return chosen, False


def in_pieces(cell: Cell, results: Results) -> dict[Piece, Array]:
    """The results in pieces that may have causes of their own: parameters by gate, sequences by step."""
    found: dict[Piece, Array] = {}
    for name, value in results.items():
        if name[2:] in PARAMETERS:
            blocks = np.split(np.asarray(value), len(cell.gates))
            found |= {(name, f"block {gate}"): block for gate, block in zip(cell.gates, blocks, strict=True)}
        elif np.ndim(value) == 3:
            found |= {(name, f"step {t}"): row for t, row in enumerate(value)}
        else:
            found[name, ""] = np.asarray(value)
    return found

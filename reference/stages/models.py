"""What a candidate with a known mistake, or with several, gives; and so which mistake gives what a candidate gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from scratch.types import Array

from .equations import Cell, follow
from .expressions import Values
from .loops import backward_loop, clips, forward_loop, slips
from .mutations import Mistake, mutations, mutations_across_steps
from .problems import PARAMETERS, Problem
from .subject import alike

Results = Mapping[str, Any]
Piece = tuple[str, str]
"""The name of a result, and which part of it."""
When = Callable[[int], bool]
CANNOT_BE = (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError)
"""What a mistake raises that makes no sense with these shapes."""


def given_by(
    problem: Problem, function: str, mistakes: Sequence[Mistake] = (), when: When = lambda t: True
) -> Results | None:
    """What a function with these mistakes gives; None if it cannot be. when: in which steps of a loop they are made."""
    changes = {index: right for one in mistakes for index, right in one.changes.items()}
    slots = {name: text for one in mistakes for name, text in one.slots.items()}
    try:
        if function in ("step", "step_backward"):
            base = problem.base(function)
            return follow(problem.cell, function, base, changes, base, min(changes, default=0))
        if function == "forward":
            return forward_loop(problem, slots, changes, when)[0]
        return backward_loop(problem, slots, changes, tape_of(problem))
    except CANNOT_BE:
        return None


@cache
def tape_of(problem: Problem) -> list[Values]:
    """What each step knows, with what the steps beside it know, and the last state."""
    _, tape = forward_loop(problem, {}, {}, lambda t: True)
    cell, last = problem.cell, len(tape) - 1
    return [
        values
        | {f"{name}_before": tape[t - 1][name] for name in cell.known_forward}
        | {f"{name}_later": tape[min(t + 1, last)][name] for name in cell.known_forward}
        | {f"{part}_end": tape[last][part] for part in cell.parts}
        for t, values in enumerate(tape)
    ]


# Which mistake it is.

WHEN: dict[str, When] = {
    "": lambda t: True,
    " (after the first step only; at the first it is right)": lambda t: t > 0,
    " (at the first step only)": lambda t: t == 0,
}


def trials(cell: Cell, function: str) -> Iterator[tuple[Mistake, Callable[[Problem], Results | None]]]:
    """Every mistake that is known for a function, and what gives its results."""
    loop = function in ("forward", "backward")
    step = {"forward": "step", "backward": "step_backward"}.get(function, function)
    for one in slips(cell, function) if loop else ():
        yield one, partial(given_by, function=function, mistakes=[one])
    for words, when in WHEN.items() if function == "forward" else [("", WHEN[""])]:
        for one in mutations(cell, step):
            told = one._replace(words=one.words + words)
            yield told, partial(given_by, function=function, mistakes=[one], when=when)
    for one in mutations_across_steps(cell) if function == "backward" else ():
        yield one, partial(given_by, function=function, mistakes=[one])


def explained(cell: Cell, function: str, problems: Sequence[Problem], owns: Sequence[Results]) -> list[Mistake]:
    """The mistakes that give the candidate's numbers in every problem: one, or up to three that are as likely."""
    found: list[Mistake] = []
    for one, run in trials(cell, function):
        if found and one.rank > max(1, found[0].rank):
            break
        if any(one.name == other.name for other in found):
            continue
        if all(matches(own, run(problem)) for problem, own in zip(problems, owns, strict=True)):
            found.append(one)
            if one.slots or len(found) == 3:
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


def clipped(problem: Problem, own: Results) -> Mistake | None:
    """Where the loop backward clips the gradients, if that gives the candidate's numbers. problem: with large ones."""
    limits = {0.1, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0, 25.0, 50.0, 100.0}
    limits |= {float(abs(value).max()) for value in own.values()}
    for limit in sorted(limits):
        for one in clips(problem.cell, limit):
            if matches(own, given_by(problem, "backward", [one])):
                return one
    return None

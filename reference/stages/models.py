"""What a candidate with a known mistake, or with several, gives; and so which mistake gives what a candidate gave."""

import ast
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from scratch.types import Array

from .equations import Cell, follow
from .expressions import PYTHON, Values
from .loops import at_some_steps, beside, loop_backward, loop_forward, slips
from .mutations import Mistake, mutations, mutations_across_steps
from .problems import PARAMETERS, Problem, names, values
from .slots import edited
from .subject import alike, truth

Results = Mapping[str, Any]
Pieces = dict[tuple[str, str], Array]
CANNOT_BE = (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError)
"""What a mistake raises that makes no sense with these shapes."""


def given_by(problem: Problem, function: str, mistakes: Sequence[Mistake] = ()) -> Results | None:
    """What a function with these mistakes gives; None if it cannot be."""
    changes = {name: right for one in mistakes for name, right in one.changes.items()}
    slots = {name: text for one in mistakes for name, text in one.slots.items()}
    try:
        if function in ("step", "step_backward"):
            base = values(problem, function)
            return follow(problem.cell, function, base, changes, base)
        if function == "forward":
            return forward_loop(problem, slots, changes)[0]
        numbers, like = problem.numbers, values(problem, "step_backward")
        back = partial(follow, problem.cell, "step_backward", changes=changes, like=like)
        loop = edited(loop_backward, slots.items(), PYTHON | {"step_backward": back})
        given = numbers["d_output"], numbers["d_h_n"], numbers.get("d_c_n"), tape_of(problem), problem.weights
        d_x, *d_state, totals = loop(*given)
        gradients = {f"d_{name}": total for name, total in totals.items() if name in numbers}
        return {"d_x": d_x, **dict(zip(names(problem.cell, "d_{}_0"), d_state, strict=False)), **gradients}
    except CANNOT_BE:
        return None


def forward_loop(
    problem: Problem, slots: Mapping[str, str], changes: Mapping[str, ast.expr]
) -> tuple[Values, list[Values]]:
    """The loop forward. Returns its results, and what each step knows."""
    numbers = problem.numbers
    right = partial(follow, problem.cell, "step")
    known = PYTHON | {"right_step": right, "step": partial(right, changes=changes, like=values(problem, "step"))}
    loop = edited(loop_forward, slots.items(), known)
    output, *state, tape = loop(numbers["x"], numbers["h_0"], numbers.get("c_0"), problem.weights)
    return {"output": output, **dict(zip(names(problem.cell, "{}_n"), state, strict=False))}, tape


@cache
def tape_of(problem: Problem) -> list[Values]:
    """What each step knows, with what the steps beside it know, and the last state."""
    return beside(problem.cell, forward_loop(problem, {}, {})[1])


# Which mistake it is.


@cache
def trials(cell: Cell, function: str) -> tuple[Mistake, ...]:
    """Every mistake that is known for a function."""
    if function in ("step", "step_backward"):
        return mutations(cell, function)
    if function == "forward":
        return (*slips(cell, function), *mutations(cell, "step"), *at_some_steps(cell))
    return (*slips(cell, function), *mutations(cell, "step_backward"), *mutations_across_steps(cell))


@cache
def given_by_trial(problem: Problem, function: str, number: int) -> Results | None:
    """What one of the trials gives. It is kept: the next candidate is compared with the same."""
    model = given_by(problem, function, [trials(problem.cell, function)[number]])
    return model and {name: model[name] for name in truth(problem, function) if name in model}


def explained(cell: Cell, function: str, problems: Sequence[Problem], owns: Sequence[Results]) -> list[Mistake]:
    """The mistakes that give the candidate's numbers in every problem: one, or up to three that are as likely."""
    found: list[Mistake] = []
    for number, one in enumerate(trials(cell, function)):
        if found and (one.rank > max(1, found[0].rank) or not found[-1].changes or len(found) == 3):
            break
        models = (given_by_trial(problem, function, number) for problem in problems)
        if one.name not in {other.name for other in found} and all(map(matches, owns, models)):
            found.append(one)
    return found


def matches(own: Results, model: Results | None) -> bool:
    """Whether a model gives the candidate's numbers, all of them."""
    return model is not None and all(name in model and alike(value, model[name]) for name, value in own.items())


def together(
    cell: Cell, function: str, problems: Sequence[Problem], owns: Sequence[Results]
) -> tuple[list[Mistake], bool]:
    """Mistakes that explain the candidate's numbers one piece after the other, and whether they explain all."""
    loop = function in ("forward", "backward")
    known = [(n, one) for n, one in enumerate(trials(cell, function)) if one.rank < 4 and not (loop and one.changes)]
    pieces = [in_pieces(cell, own) for own in owns]
    chosen: list[Mistake] = []

    def right_with(models: Iterable[Pieces], before: Sequence[set[Any]]) -> list[set[Any]] | None:
        """The pieces that are right in each problem by these models, if they are more than before in all."""
        found: list[set[Any]] = []
        for given, own, less in zip(models, pieces, before, strict=True):
            found.append({name for name, piece in own.items() if name in given and alike(piece, given[name])})
            if not less < found[-1]:
                return None
        return found

    def models_with(number: int, one: Mistake) -> Iterable[Pieces]:
        if not chosen:
            return (pieces_of_trial(problem, function, number) for problem in problems)
        return (in_pieces(cell, given_by(problem, function, [*chosen, one]) or {}) for problem in problems)

    nothing: list[set[Any]] = [set() for _ in pieces]
    rights = (in_pieces(cell, truth(problem, function)) for problem in problems)
    before = right_with(rights, nothing) or nothing
    while len(chosen) < 5:
        taken = {place for one in chosen for place in (*one.changes, *one.slots)}
        free = [each for each in known if taken.isdisjoint((*each[1].changes, *each[1].slots))]
        better = [(one, found) for n, one in free if (found := right_with(models_with(n, one), before))]
        if not better:
            break
        best, before = max(better, key=lambda each: min(len(a) - len(b) for a, b in zip(each[1], before, strict=True)))
        chosen.append(best)
        if all(len(found) == len(own) for found, own in zip(before, pieces, strict=True)):
            return chosen, True
    return chosen, False


@cache
def pieces_of_trial(problem: Problem, function: str, number: int) -> Pieces:
    """What one of the trials gives, in pieces."""
    return in_pieces(problem.cell, given_by_trial(problem, function, number) or {})


def in_pieces(cell: Cell, results: Results) -> Pieces:
    """The results in pieces that may have causes of their own: parameters by gate, sequences by step."""
    found: Pieces = {}
    for name, value in results.items():
        if name[2:] in PARAMETERS:
            blocks = np.reshape(value, (len(cell.gates), -1, *np.shape(value)[1:]))
            found |= {(name, f"block {gate}"): block for gate, block in zip(cell.gates, blocks, strict=True)}
        elif np.ndim(value) == 3:
            found |= {(name, f"step {t}"): row for t, row in enumerate(value)}
        else:
            found[name, ""] = np.asarray(value)
    return found

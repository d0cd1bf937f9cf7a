"""The known faults, each alone or two together, that give exactly what the subject gave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from itertools import groupby

import numpy as np

from scratch.types import Array

from ..candidates import FunctionsCandidate, NotOffered, Raised
from ..equivalence import relative_error
from ..faults import Fault, catalogue, cell_of, clipped, setting_of
from ..problems import Configuration
from ..runs import Run, forward_scratch
from .look import Explanation, Look, alike, as_arrays, numbers, pieces, take

NEAR = 3
"""Up to which rank a fault is tried together with others."""


def explain(look: Look) -> list[Explanation]:
    """The known faults, each alone or two together, that give what the subject gave: the least far-fetched."""
    if not look.wrong_in_value or look.raised:
        return []
    if (outside := kept_outside(look)) is not None:
        return [(outside,)]
    known = [fault for fault in catalogue(look.c, look.form) if fault.leftover == look.first_is_right]
    back = [fault for fault in known if not fault.forward]
    if look.forward_wrong:
        return explain_forward(look, [fault for fault in known if fault.forward], back)
    found = nearest(look, back)
    if not found:
        gradients = [value for name, value in look.offered.items() if name.startswith("d_")]
        found = nearest(look, clipped(cell_of(look.c, look.form), gradients))
    return [(fault,) for fault in found] or two_together(look, back)


def nearest(look: Look, faults: Iterable[Fault], *besides: Fault) -> list[Fault]:
    """The faults of the lowest rank at which any explains everything, with some that are there besides."""
    for _, group in groupby(faults, key=lambda fault: fault.rank):
        if found := [fault for fault in group if look.explains(*besides, fault)]:
            return distinct(found)
    return []


def distinct(faults: Iterable[Fault]) -> list[Fault]:
    """Each name and each sentence once."""
    by_name: dict[str, Fault] = {}
    for fault in faults:
        by_name.setdefault(fault.name, fault)
    by_sentence: dict[str, Fault] = {}
    for fault in by_name.values():
        by_sentence.setdefault(fault.explanation, fault)
    return list(by_sentence.values())


def explain_forward(look: Look, forward: Sequence[Fault], back: Sequence[Fault]) -> list[Explanation]:
    """Faults of the forward pass. If that is equal, there is no doubt, whatever the backward pass makes of it; if the
    backward pass is not equal as well, perhaps it has a fault of its own.
    """
    found = [fault for fault in forward if look.explains(fault, forward_only=True)]
    if not found:
        pairs = two_together(look, forward)
        return [pair for pair in pairs if look.explains(*pair)] or pairs
    if whole := nearest(look, found):
        return [(fault,) for fault in whole]
    first = distinct(fault for fault in found if fault.rank == found[0].rank)
    if len(look.wrong_in_value) == len(look.forward_wrong):
        return [(fault,) for fault in first]
    near = [fault for fault in back if fault.rank <= NEAR + 1]
    for fault in first[:3]:
        if also := nearest(look, near, fault):
            return [(fault, other) for other in also]
    return [(fault,) for fault in first]


def two_together(look: Look, faults: Sequence[Fault]) -> list[Explanation]:
    """The likeliest two faults of one pass that together give what the subject gave.

    One of them must show somewhere alone, in a gate, at a step or in a tensor; the other must change what is still
    wrong, and on the way back nothing that is right. That is looked at where little happens, at a single step, and then
    proved.
    """
    if look.drops:
        return []
    near = tuple(fault for fault in faults if fault.rank <= NEAR)
    forward = bool(look.forward_wrong)
    steps = 1 if look.c.initial_state else 2
    short = take(look.subject, replace(look.c, lengths=tuple(min(n, steps) for n in look.c.lengths)), str(look.dtype))
    places = [there for there in (short, look) if there is not None and not there.raised and there.wrong_in_value]
    shows = [shown(there.c, near, there.form, forward) for there in places]
    wrong = [wrong_pieces(there, forward) for there in places]
    firsts: dict[Fault, None] = {}
    for there, alone, own in zip(places, shows, wrong, strict=True):
        for fault, made in alone.items():
            if any(name in own and alike(own[name], piece, there.exact) for name, piece in made.items()):
                firsts[fault] = None
    if forward:  # gates in another order show nowhere alone
        firsts |= dict.fromkeys(distinct(f for f in near if "another order" in f.explanation))
    found: dict[frozenset[Fault], Explanation] = {}
    best = 2 * NEAR
    for one in firsts:
        for other in near:
            if one == other or one.rank + other.rank > best or (pair := frozenset((one, other))) in found:
                continue
            changed = [{*alone.get(one, ()), *alone.get(other, ())} for alone in shows]
            may = (each >= {*own} and (forward or each <= {*own}) for each, own in zip(changed, wrong, strict=True))
            if all(may) and all(there.explains(one, other, forward_only=forward) for there in places):
                found[pair], best = (one, other), one.rank + other.rank
    likely = [pair for pair in found.values() if sum(fault.rank for fault in pair) == best]
    by_name = {frozenset(fault.name for fault in pair): pair for pair in likely}
    return list({frozenset(fault.explanation for fault in pair): pair for pair in by_name.values()}.values())


def wrong_pieces(there: Look, forward: bool) -> dict[str, Array]:
    """The pieces that are wrong, as the subject has them."""
    right = all_pieces(there.c, there.truth, forward)
    own = all_pieces(there.c, there.offered, forward)
    return {name: piece for name, piece in own.items() if not alike(piece, right[name], there.exact)}


@lru_cache(maxsize=16)
def shown(c: Configuration, faults: tuple[Fault, ...], form: str, forward: bool) -> dict[Fault, dict[str, Array]]:
    """The pieces that each fault alone makes other than they should be, and what they are then."""
    setting = setting_of(c, form)
    right = all_pieces(c, next(setting.runs(())), forward)
    found = {}
    for fault in faults:
        for model in setting.runs((fault,), forward):
            own = all_pieces(c, model, forward)
            found[fault] = {
                name: piece for name, piece in own.items() if name in right and not alike(piece, right[name], 1e-10)
            }
            break
    return found


def all_pieces(c: Configuration, run: Run, forward: bool) -> dict[str, Array]:
    """What a pass gave in pieces."""
    of_the_pass = [(name, value) for name, value in run.items() if name.startswith("d_") != forward]
    return {f"{name}[{k}]": piece for name, value in of_the_pass for k, piece in pieces(c, name, value).items()}


# What outlives an object.


def kept_outside(look: Look) -> Fault | None:
    """Whether a new object goes on where another ended, in its state or in its gradients."""
    if (runs := two_first_runs(look)) is None:
        return None
    one, other = runs
    a_new = "A new call" if isinstance(look.subject, FunctionsCandidate) else "A new object"
    kept = "outside the functions (a mutable default argument, a global variable)"
    if a_new == "A new object":
        kept = "outside the object (a class attribute, a mutable default argument)"
    differ = {name for name in one if not relative_error(one[name], other[name]) <= look.exact}
    forward = [name for name in one if not name.startswith("d_")]
    if differ.intersection(forward):
        finals = [f"{part}_n" for part in look.c.parts]
        if look.c.initial_state or not one.keys() >= set(finals) or not all(np.isfinite(one[n]).all() for n in finals):
            return None
        for parts in dict.fromkeys((look.c.parts, *((part,) for part in look.c.parts))):
            initial = {f"{p}_0": one[f"{p}_n"] * (p in parts) for p in look.c.parts}
            problem = replace(look.problem, configuration=replace(look.c, initial_state=True), initial=initial)
            after = forward_scratch(problem.astype(np.longdouble))
            if all(alike(other[name], after[name], look.exact) for name in forward):
                told = f"{a_new} starts where another ended, with its {' and '.join(parts)}: the state is kept {kept}. "
                told += "Without an initial state every call begins with zeros."
                return Fault(f"{' and '.join(parts)} kept outside", told, leftover=True)
        return None
    parameters = {f"d_{name}" for name in look.problem.parameters}
    if not differ or not differ <= parameters or not all(np.isfinite(other[name]).all() for name in differ):
        return None
    added = {name: other[name].astype(np.longdouble) - one[name] for name in differ}
    if not all(alike(value, look.truth[name], look.exact) for name, value in added.items()):
        return None
    told = f"{a_new} adds to the gradients that another left: they are kept {kept}."
    return Fault("gradients kept outside", told, leftover=True)


def two_first_runs(look: Look) -> tuple[Run, Run] | None:
    """The first runs of two new objects, or None if they cannot be compared."""
    if look.raised or look.drops:
        return None
    if not look.c.initial_state:  # a state of another shape that is left from elsewhere is replaced
        with suppress(Raised, NotOffered):
            given = setting_of(replace(look.c, initial_state=True)).problem
            look.subject.first_run(given.astype(look.dtype))
    try:
        runs = [as_arrays(look.subject.first_run(look.problem)) for _ in range(2)]
    except (Raised, NotOffered):
        return None
    one, other = ({name: numbers(value) for name, value in run.items() if value is not None} for run in runs)
    if one.keys() != other.keys() or not all(
        value is not None and name in look.truth and value.shape == look.truth[name].shape
        for run in (one, other)
        for name, value in run.items()
    ):
        return None
    return one, other

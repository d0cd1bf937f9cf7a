"""The known faults, each alone or two together, that give exactly what the subject gave."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby

from scratch.types import Array

from ..faults import Fault, catalogue, cell_of, clipped, setting_of
from ..problems import Configuration
from ..runs import Run
from .look import Look, alike, pieces, take

Explanation = tuple[Fault, ...]
"""Faults that together explain everything."""
NEAR = 3
"""Up to which rank a fault is tried together with others."""


def explain(look: Look) -> list[Explanation]:
    """The known faults, each alone or two together, that give what the subject gave: the least far-fetched."""
    if not look.wrong_in_value or look.raised:
        return []
    if look.outlives or look.first_is_right:
        found = nearest(look, (fault for fault in catalogue(look.c, look.form) if fault.leftover))
        kept = f" It is kept outside of the {look.outlives}." if look.outlives else ""
        return [(replace(fault, explanation=fault.explanation + kept),) for fault in found]
    known = [fault for fault in catalogue(look.c, look.form) if not fault.leftover]
    back = [fault for fault in known if not fault.forward]
    if look.forward_wrong:
        return explain_forward(look, [fault for fault in known if fault.forward], back)
    found = nearest(look, back)
    if not found:
        gradients = [value for name, value in look.offered.items() if name.startswith("d_")]
        found = nearest(look, clipped(cell_of(look.c, look.form), gradients))
    return [(fault,) for fault in found] or two_together(look, back)


def nearest(look: Look, faults: Iterable[Fault], *besides: Fault, forward_only: bool = False) -> list[Fault]:
    """The faults of the lowest rank at which any explains everything, with some that are there besides.

    Of those that need not be told apart, and of those that are another and more, there is only one.
    """
    for _, group in groupby(faults, key=lambda fault: fault.rank):
        found = [fault for fault in group if look.explains(*besides, fault, forward_only=forward_only)]
        least = [fault for fault in found if not any(other.edits < fault.edits for other in found)]
        if found:
            by_name = {fault.name or fault.explanation: fault for fault in reversed(least)}
            return list({fault.explanation: fault for fault in by_name.values()}.values())[::-1]
    return []


def explain_forward(look: Look, forward: Sequence[Fault], back: Sequence[Fault]) -> list[Explanation]:
    """Faults of the forward pass. If that is equal, there is no doubt, whatever the backward pass makes of it; if the
    backward pass is not equal as well, perhaps it has a fault of its own.
    """
    if whole := nearest(look, forward):
        return [(fault,) for fault in whole]
    found = nearest(look, forward, forward_only=True)
    near = [fault for fault in back if fault.rank <= NEAR + 1 and len(look.wrong_in_value) > len(look.forward_wrong)]
    for fault in found[:3]:
        if also := nearest(look, near, fault):
            return [(fault, other) for other in also]
    pairs = [] if found else two_together(look, forward)
    return [(fault,) for fault in found] or [pair for pair in pairs if look.explains(*pair)] or pairs


def two_together(look: Look, faults: Sequence[Fault]) -> list[Explanation]:
    """The likeliest two faults of one pass that together give what the subject gave.

    One of them must show somewhere alone, in a gate, at a step or in a tensor; together they must change what is wrong,
    and on the way back nothing that is right. That is looked at where little happens, at a single step, and then
    proved.
    """
    near, forward = tuple(fault for fault in faults if fault.rank <= NEAR), bool(look.forward_wrong)
    lengths = tuple(min(length, 1 if look.c.initial_state else 2) for length in look.c.lengths)
    short = None if look.drops else take(look.subject, replace(look.c, lengths=lengths), str(look.dtype))
    if short is None or short.raised:
        return []
    places = [place for place in (short, look) if place.wrong_in_value]
    alone = [shown(place.c, near, place.form, forward) for place in places]
    wrong = [changed(place.c, place.truth, place.offered, forward, place.exact) for place in places]

    def may_be(*pair: Fault) -> bool:
        made = ({*shows.get(pair[0], ()), *shows.get(pair[1], ())} for shows in alone)
        return all(each >= {*own} and (forward or each <= {*own}) for each, own in zip(made, wrong, strict=True))

    firsts = {
        fault: None
        for own, shows in zip(wrong, alone, strict=True)
        for fault, made in shows.items()
        if any(name in own and alike(own[name], piece, look.exact) for name, piece in made.items())
    }
    pairs = sorted(((one, other) for one in firsts for other in near if one != other), key=rank_of)
    for _, group in groupby((pair for pair in pairs if may_be(*pair)), key=rank_of):
        found = [pair for pair in group if all(place.explains(*pair, forward_only=forward) for place in places)]
        if found:
            return list({frozenset(fault.name or fault.explanation for fault in pair): pair for pair in found}.values())
    return []


def rank_of(pair: Explanation) -> int:
    """How far-fetched several faults together are."""
    return sum(fault.rank for fault in pair)


@lru_cache(maxsize=16)
def shown(c: Configuration, faults: tuple[Fault, ...], form: str, forward: bool) -> dict[Fault, dict[str, Array]]:
    """The pieces that each fault alone makes other than they should be, and what they are then."""
    setting = setting_of(c, form)
    right = next(setting.runs(()))
    models = ((fault, next(setting.runs((fault,), forward), None)) for fault in faults)
    return {fault: changed(c, right, model, forward) for fault, model in models if model is not None}


def changed(c: Configuration, right: Run, own: Run, forward: bool, exact: float = 1e-10) -> dict[str, Array]:
    """The pieces of what a pass gave that are other than they should be."""
    return {
        f"{name}[{k}]": piece
        for name, value in own.items()
        if name.startswith("d_") != forward and value.shape == right[name].shape
        for k, piece in pieces(c, name, value).items()
        if not alike(piece, pieces(c, name, right[name])[k], exact)
    }

"""The known faults, each alone or two together, that give exactly what the subject gave."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import combinations

import numpy as np

from scratch.types import Array

from ..candidates import FunctionsCandidate
from ..equivalence import relative_error
from ..faults import Fault, catalogue, cell_of, gradients_kept_outside, state_kept_outside
from ..problems import Configuration
from ..runs import Run, forward_scratch
from .look import (
    Explanation,
    Look,
    alike,
    by_step,
    every_variant,
    fitting,
    fitting_both,
    fitting_forward,
    has_gates,
    model_with,
    models,
    take,
)

MOST = 12
"""How many faults that show somewhere alone are tried together with every other."""


def explain(look: Look) -> list[Explanation]:
    """The known faults, each alone or two together, that give what the subject gave."""
    if not look.wrong_in_value:
        return []
    if (outside := kept_outside(look)) is not None:
        return [(outside,)]
    known = [fault for fault in catalogue(look.c) if fault.leftover == look.first_is_right]
    if look.forward_wrong:
        return explain_forward(look, [fault for fault in known if fault.forward], known)
    backward = [fault for fault in known if not fault.forward]
    alone: list[Explanation] = [(fault,) for fault in backward if fitting(look, (fault,))]
    return alone or explain_by_two(look, backward)


def kept_outside(look: Look) -> Fault | None:
    """Whether a new object goes on where another ended, in its state or in its gradients."""
    if look.first_runs is None:
        return None
    one, other = look.first_runs
    of_functions = isinstance(look.subject, FunctionsCandidate)
    differ = {name for name in one if not relative_error(one[name], other[name]) <= look.exact}
    forward = [name for name in one if not name.startswith("d_")]
    finals = [f"{part}_n" for part in look.c.parts]
    if differ.intersection(forward):
        if look.c.initial_state or not one.keys() >= set(finals) or not all(np.isfinite(one[n]).all() for n in finals):
            return None
        groups = [look.c.parts, *((part,) for part in look.c.parts if len(look.c.parts) > 1)]
        for parts in groups:
            initial = {f"{p}_0": one[f"{p}_n"] * (p in parts) for p in look.c.parts}
            problem = replace(look.problem, configuration=replace(look.c, initial_state=True), initial=initial)
            after = forward_scratch(problem.astype(np.longdouble))
            if all(alike(other[name], after[name], look.exact) for name in forward):
                return state_kept_outside(parts, of_functions)
        return None
    parameters = {f"d_{name}" for name in look.problem.parameters}
    if not differ or not differ <= parameters or not all(np.isfinite(other[name]).all() for name in differ):
        return None
    added = {name: other[name].astype(np.longdouble) - one[name] for name in differ}
    fits = all(alike(value, look.truth[name], look.exact) for name, value in added.items())
    return gradients_kept_outside(of_functions) if fits else None


def explain_forward(look: Look, forward: list[Fault], known: list[Fault]) -> list[Explanation]:
    """Faults of the forward pass. If that is equal, there is no doubt, whatever the backward pass makes of it; if the
    backward pass is not equal as well, perhaps it has a fault of its own.
    """
    found: list[Explanation] = [(fault,) for fault in forward if fitting_forward(look, (fault,))]
    if not found:
        pairs = [pair for pair in forward_pairs(look, forward) if fitting_forward(look, pair)]
        return [pair for pair in pairs if fitting(look, pair)] or pairs
    whole = [explanation for explanation in found if fitting(look, explanation)]
    if whole or len(look.wrong_in_value) == len(look.forward_wrong):
        return whole or found
    with_another = [
        (*explanation, fault)
        for explanation in found
        for fault in known
        if not fault.forward and fault.common and fault.variants and fitting_both(look, explanation, fault)
    ]
    return with_another or found


def forward_pairs(look: Look, forward: list[Fault]) -> list[Explanation]:
    """Pairs of faults of the forward pass that are not excluded by a short problem."""
    if look.masks is not None or look.raised:
        return []
    most = 1 if look.c.initial_state else 2
    short = replace(look.c, lengths=tuple(min(length, most) for length in look.c.lengths))
    there = take(look.subject, short, str(look.dtype))
    if there is None or there.raised:
        return []
    return [pair for pair, run in pair_models(short, tuple(forward)) if run is not None and there.fits(run)]


@lru_cache(maxsize=16)
def pair_models(configuration: Configuration, forward: tuple[Fault, ...]) -> list[tuple[Explanation, Run | None]]:
    """What every two faults of the forward pass give together."""
    pairs = [(a, b) for a, b in combinations(forward, 2) if a.common or b.common]
    return [
        (pair, model_with(configuration, tuple(frozenset(fault.variants[0].items()) for fault in pair), None, True))
        for pair in pairs
        if all(fault.variants for fault in pair)
    ]


def explain_by_two(look: Look, backward: list[Fault]) -> list[Explanation]:
    """Two faults of the backward pass that together give what the subject gave.

    One of them must show somewhere alone, in a gate, at a step or in a tensor: only such are tried with every other.
    """
    if look.masks is not None:
        return []
    shows = {name for there in (look, single_step(look)) if there is not None for name in visible(there)}
    known = {fault.name: fault for fault in backward}
    candidates = [known[name] for name in shows if name in known][:MOST]
    found: dict[frozenset[str], Explanation] = {}
    for one in candidates:
        for other in backward:
            key = frozenset((one.name, other.name))
            if one is other or not other.common or key in found:
                continue
            for variants in every_variant((one, other)):
                taps = [fault.variants[variant] for fault, variant in zip((one, other), variants, strict=True)]
                model = model_with(look.c, tuple(frozenset(each.items()) for each in taps), None, False)
                if model is not None and look.fits(model):
                    found[key] = (one, other)
                    break
    return list(found.values())


def visible(look: Look) -> list[str]:
    """The names of the faults of the backward pass that alone give some wrong piece exactly as the subject has it."""
    if look.raised or look.forward_wrong:
        return []
    right = pieces(look.c, look.truth)
    own = {name: piece for name, piece in pieces(look.c, look.offered).items() if not close(look, piece, right[name])}
    return [
        fault.name
        for fault in catalogue(look.c)
        if not fault.forward
        and fault.leftover == look.first_is_right
        and any(
            close(look, piece, theirs[name])
            for model in models(look, (fault,))
            if model is not None
            for theirs in [pieces(look.c, model)]
            for name, piece in own.items()
            if name in theirs
        )
    ]


def single_step(look: Look) -> Look | None:
    """The subject on the same kind of problem with a single step, where nothing is carried yet."""
    if max(look.c.lengths, default=1) == 1:
        return None
    there = take(look.subject, replace(look.c, lengths=(1,) * len(look.c.lengths)), str(look.dtype))
    return there if there is not None and not there.raised else None


def close(look: Look, one: Array, other: Array) -> bool:
    """Whether two pieces are equal but for rounding."""
    return alike(one, other, look.exact)


def pieces(c: Configuration, run: Run) -> dict[str, Array]:
    """The gradients in pieces: d_input by steps, those of the weights by gates."""
    found: dict[str, Array] = {}
    gates = cell_of(c).gates
    for name, value in run.items():
        if name == "d_input":
            found |= {f"{name}[{t}]": step for t, step in enumerate(by_step(c, value))}
        elif has_gates(name):
            blocks = value.reshape(len(gates), -1)
            found |= {f"{name}[{gate}]": block for gate, block in zip(gates, blocks, strict=True)}
        elif name.startswith("d_"):
            found[name] = value
    return found

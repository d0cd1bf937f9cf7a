"""Faults from step to step: what is not carried back, and what is not summed over all steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scratch.nn.cell import Cell, State, Weights
from scratch.types import Array

from ..problems import Configuration
from .machine import Fault, Machine, Tap
from .taps import (
    ALL_WEIGHTS,
    BIASES,
    MATRICES,
    listed,
    on_weights,
)


def carries(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """What goes from a step to the step before."""
    groups: list[tuple[tuple[str, ...], str]] = [((part,), f"d_{part}") for part in cell.state]
    if len(cell.state) > 1:
        groups.append((cell.state, listed([f"d_{part}" for part in cell.state])))
    for parts, name in groups:
        at = [cell.state.index(part) for part in parts]
        are = "are" if len(parts) > 1 else "is"
        through = "; ".join(
            "h_prev acts on this step through W_hh, d_h_prev = W_hhᵀ d_a"
            if part == "h"
            else f"{part} also acts on the step after directly, through {part}_prev"
            for part in parts
        )

        def only_first(state: State, m: Machine, at: list[int] = at) -> State:
            last = m.step is m.records[m.layer * m.D + m.direction][-1]
            return tuple(np.zeros_like(v) if n in at and not last else v for n, v in enumerate(state))

        def never(state: State, m: Machine, at: list[int] = at) -> State:
            return tuple(np.zeros_like(v) if n in at else v for n, v in enumerate(state))

        def always_the_final(state: State, m: Machine, at: list[int] = at) -> State:
            return tuple(m.d_final[n] if n in at else v for n, v in enumerate(state))

        none = {"d_initial": never}
        yield Fault(
            f"{name} not carried",
            f"{name} {are} not carried from a step to the one before: {through}. So each step's gradient has two "
            "sources, this step and the step after, and the second is lost.",
            (
                {"carry": only_first},
                {"carry": only_first} | none,
                {"carry": always_the_final},
                {"carry": always_the_final, "d_initial": always_the_final},
            ),
        )
        yield Fault(
            f"{name} from the step after overwritten",
            f"{name} that {'come' if len(parts) > 1 else 'comes'} from the step after (and, at the last step, from "
            f"outside) {are} overwritten where this step's own part should be added (= for +=), or never read: "
            f"{through}.",
            ({"carry": never}, {"carry": never} | none),
        )
    for k in range(2, max(c.lengths, default=1)):

        def in_chunks(state: State, m: Machine, k: int = k) -> State:
            steps_taken = m.T - 1 - m.k
            return tuple(np.zeros_like(v) if steps_taken and steps_taken % k == 0 else v for v in state)

        def cut_off(state: State, m: Machine, k: int = k) -> State:
            return tuple(np.zeros_like(v) if m.T - 1 - m.k >= k else v for v in state)

        def cut_once(state: State, m: Machine, k: int = k) -> State:
            return tuple(np.zeros_like(v) if m.T - 1 - m.k == k else v for v in state)

        yield Fault(
            f"truncated after {k} steps",
            f"Backpropagation through time is truncated: what comes from later steps is dropped after {k} steps. The "
            "whole gradient goes back to the first step.",
            ({"carry": in_chunks}, {"carry": cut_off}, {"carry": cut_once}),
            common=False,
        )


def sums_over_time(cell: Cell, c: Configuration) -> Iterator[Fault]:
    """The gradients of the weights are sums over all steps and sequences."""
    given = [
        name for name in ALL_WEIGHTS if not (name in BIASES and not c.bias) and not (name == "W_hr" and not c.proj_size)
    ]
    groups: dict[str, tuple[str, ...]] = {"all weights": ALL_WEIGHTS}
    groups |= {name: (name,) for name in given}
    if c.bias:
        groups |= {"both biases": BIASES, "the weight matrices": MATRICES}
    for name, chosen in groups.items():
        are = "are" if len(chosen) > 1 else "is"
        gradients = "gradients" if len(chosen) > 1 else "gradient"
        those, it = ("those", "them") if len(chosen) > 1 else ("that", "it")
        is_a_sum = "each is a sum" if len(chosen) > 1 else "it is a sum"

        def only(index: int, chosen: tuple[str, ...] = chosen) -> Tap:
            def tap(terms: list[Weights], m: Machine) -> list[Weights]:
                drop = on_weights(lambda value: 0 * value, chosen)
                kept = index % len(terms)
                return [term if n == kept else drop(term, m) for n, term in enumerate(terms)]

            return tap

        def but(index: int, chosen: tuple[str, ...] = chosen) -> Tap:
            def tap(terms: list[Weights], m: Machine) -> list[Weights]:
                drop = on_weights(lambda value: 0 * value, chosen)
                return [drop(term, m) if n == index % len(terms) else term for n, term in enumerate(terms)]

            return tap

        def over(count: Callable[[Machine], int], chosen: tuple[str, ...] = chosen) -> Tap:
            return lambda d, m: on_weights(lambda value: value / count(m), chosen)(d, m)

        yield Fault(
            f"{gradients} of {name} of one step only (the first)",
            f"The {gradients} of {name} {are} {those} of the first step only: each step on the way back overwrites "
            f"{it} (=) where it should add (+=).",
            ({"terms": only(-1)},),
        )
        yield Fault(
            f"{gradients} of {name} of one step only (the last)",
            f"The {gradients} of {name} {are} {those} of the last step only: {is_a_sum} over all steps.",
            ({"terms": only(0)},),
        )
        sums = "sums" if len(chosen) > 1 else "a sum"
        if name != "W_hh":  # for W_hh it is the same as leaving out the initial state
            yield Fault(
                f"{gradients} of {name} without the first step",
                f"In the {gradients} of {name}, {sums} over all steps, the first step is left out.",
                ({"terms": but(-1)},),
                common=False,
            )
        yield Fault(
            f"{gradients} of {name} without the last step",
            f"In the {gradients} of {name}, {sums} over all steps, the last step is left out.",
            ({"terms": but(0)},),
            common=False,
        )
        counts: dict[str, Callable[[Machine], int]] = {
            "batch": lambda m: m.B,
            "steps": lambda m: m.T,
            "steps and batch": lambda m: m.B * m.T,
        }
        for what, count in counts.items():
            yield Fault(
                f"{gradients} of {name} averaged over the {what}",
                f"The {gradients} of {name} {are} averaged over the {what}; what is meant is the sum. (An average "
                "belongs into the loss, and comes in with the loss's gradient.)",
                ({"d_weights": over(count)},),
            )

    def with_h(which: Callable[[Any, Machine], Array]) -> Tap:
        def tap(term: Weights, m: Machine) -> Weights:
            return term._replace(W_hh=m.step.d_a_h @ which(m.step, m).T)

        return tap

    def previous(step: Any, m: Machine) -> Array:
        return np.zeros_like(step.before[0]) if step.k == 0 else step.before[0]

    yield Fault(
        "the gradient of W_hh formed with h for h_prev",
        "The gradient of W_hh is formed with h of the same step where it should be with h of the step before: Σ d_a "
        "h_prevᵀ.",
        ({"term": with_h(lambda step, m: step.after[0])},),
    )
    yield Fault(
        "the gradient of W_hh without the initial state",
        "In the gradient of W_hh, Σ d_a h_prevᵀ, the first step's h_prev is the initial state h_0; zero is there, "
        "or the first step is left out.",
        ({"term": with_h(previous)},),
    )

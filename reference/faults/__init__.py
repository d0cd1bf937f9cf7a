"""The faults that people make when they write a recurrence by hand, each as a model that can be run.

A known fault is not guessed from symptoms. `Machine` is `scratch` taken apart into single steps, with a *tap* at every
value that goes from one place to another; a `Fault` says what is changed at which tap. So each fault can be computed on
any problem, and if what somebody's implementation gives is equal to that to rounding, in every tensor, the fault is
found for certain.

The steps themselves are those of `scratch`: each is a `bptt.forward` and a `bptt.backward` of one step. What is wrong
*inside* a cell is a change of its pre-activations on the way in, of its gradients on the way in or out, or, where the
equations themselves are others, a cell made of `Equations`, which are differentiated by complex steps.

Nothing here asks which cell it is, only what it has: `cell.gates`, `cell.state`. A fault that makes no difference on a
problem is no fault there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from scratch.nn.cell import Cell

from ..problems import Configuration
from .ends import gradients_kept_outside, leftovers, state_kept_outside, upstreams
from .machine import Fault, Machine, Tap, cell_of, drawn, run_faulty
from .reset import halves_apart, inside_with_reset
from .stack import directions, dropouts, layers, layouts
from .step import derivatives, direct_paths, equations_of_gates, inside_with_memory
from .taps import listed
from .through_time import carries, sums_over_time
from .weights import biases, gate_order, transposed_weights

__all__ = [
    "Fault",
    "Machine",
    "Tap",
    "catalogue",
    "cell_of",
    "drawn",
    "gradients_kept_outside",
    "listed",
    "run_faulty",
    "state_kept_outside",
]

CHAPTERS: tuple[Callable[[Cell, Configuration], Iterator[Fault]], ...] = (
    gate_order,
    equations_of_gates,
    transposed_weights,
    biases,
    upstreams,
    carries,
    derivatives,
    inside_with_memory,
    halves_apart,
    inside_with_reset,
    direct_paths,
    sums_over_time,
    leftovers,
    layers,
    directions,
    layouts,
    dropouts,
)


@cache
def catalogue(configuration: Configuration) -> tuple[Fault, ...]:
    """Every known fault that a recurrence of this configuration can have."""
    cell = cell_of(configuration)
    return tuple(fault for chapter in CHAPTERS for fault in chapter(cell, configuration))

"""Four witnesses of a gradient, since two implementations can be wrong together.

**PyTorch's autograd** differentiates PyTorch's own forward pass.

**Complex-step derivatives** (Squire and Trapp 1998) need the forward pass of `scratch` alone: the loss at p + iεv has
the imaginary part ε ⟨∂L/∂p, v⟩ + O(ε³), with nothing subtracted, so that ε may be 1e-100 and the derivative is exact to
rounding.

**Real-time recurrent learning** (Williams and Zipser 1989; scratch/study/rtrl.md) carries the same gradient forward in
time, with a loop and products of its own. The derivatives inside a step (`linearize`) it has in common with backward;
of those the other three know nothing.

**Central differences**, (L(p + εv) − L(p − εv)) / 2ε, need no complex numbers, only patience with their error: ε²
from the curve, rounding / ε from the difference.

All but PyTorch run in longdouble, as does the truth that they are held against, `scratch`'s backward pass: ordinary
runs of the same code with another dtype.

Complex step and central differences give the derivative along one direction v for each tensor g. With v drawn from the
normal distribution, ⟨g − ĝ, v⟩ has the root mean square ‖g − ĝ‖. So |⟨g, v⟩ − derivative| / ‖g‖ estimates the normwise
relative error, and no wrong entry can hide from it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from scratch.study.rtrl import rtrl
from scratch.types import Array

from .conditioning import MARGIN, tolerances
from .equivalence import relative_error
from .problems import Problem
from .runs import Masks, Run, forward_scratch, initial_state, make_scratch, pack, split, unpack, upstream

STEP = np.longdouble(2) ** -332
"""ε of the complex step: about 1e-100, a power of two, so that dividing by it rounds nothing."""
DIFFERENCE_STEPS = (1e-6, 1e-8)
"""ε of the central differences. The second is tried where the first disagrees: it may have stepped over the kink of a
relu. A wrong gradient agrees with neither."""
DIFFERENCE_TOLERANCE = 1e-8
"""ε² = 1e-12 times a third derivative relative to the first, which is large in steep places."""


class Testimony(NamedTuple):
    """How far a witness is from a gradient, relatively, and how far it may be."""

    error: float
    tolerance: float


Witness = Callable[[Problem, Masks, Run], dict[str, Testimony]]
"""Takes a problem in longdouble, the masks of its dropout, and the run in question."""


def complex_step(problem: Problem, masks: Masks, truth: Run) -> dict[str, Testimony]:
    """Each gradient of `truth` along a random direction, as complex-step derivatives see it."""
    complex_problem, errors = problem.astype(np.clongdouble), {}
    for name, direction in directions(problem):
        moved = with_change(complex_problem, name, 1j * STEP * direction)
        derivative = terms(problem, forward_scratch(moved, masks)).sum().imag / STEP
        errors[name] = error_along(direction, derivative, truth[name])
    return judged(problem, masks, errors)


def forward_in_time(problem: Problem, masks: Masks, truth: Run) -> dict[str, Testimony]:
    """Each tensor of `truth`, as real-time recurrent learning sees it."""
    c, state = problem.configuration, initial_state(problem)
    masks_of_layers = [pack(mask, c) for mask in masks]
    found = rtrl(make_scratch(problem), pack(problem.input, c), state, *upstream(problem), masks_of_layers)
    run = {"output": unpack(found.output)} | split(found.state, c, "{}_n") | {"d_input": unpack(found.d_input)}
    run |= split(found.d_initial, c, "d_{}_0") if c.initial_state else {}
    run |= {f"d_{name}": gradient for name, gradient in found.d_parameters.items()}
    return judged(problem, masks, {name: relative_error(run[name], truth[name]) for name in truth})


def central_differences(problem: Problem, masks: Masks, truth: Run) -> dict[str, Testimony]:
    """Each gradient of `truth` along a random direction, as central differences see it."""
    rounding = float(np.finfo(np.longdouble).eps)
    testimonies = {}
    for name, direction in directions(problem):
        for step in DIFFERENCE_STEPS:
            after, before = (
                terms(problem, forward_scratch(with_change(problem, name, sign * step * direction), masks))
                for sign in (1, -1)
            )
            noise = MARGIN * rounding * float(np.abs(after).sum()) / step
            error = error_along(direction, (after - before).sum() / (2 * step), truth[name], noise)
            size = float(np.linalg.norm(truth[name]))
            testimonies[name] = Testimony(error, DIFFERENCE_TOLERANCE + (noise / size if size else 0.0))
            if error <= testimonies[name].tolerance:
                break
    return testimonies


WITNESSES: dict[str, Witness] = {
    "complex step": complex_step,
    "real-time recurrent learning": forward_in_time,
    "central differences": central_differences,
}
"""Those that do not need PyTorch."""


def directions(problem: Problem) -> Iterator[tuple[str, Array]]:
    """For each gradient a random direction."""
    rng = np.random.default_rng(problem.configuration.seed)
    for name, leaf in problem.leaves.items():
        yield f"d_{name}", rng.standard_normal(leaf.shape).astype(np.longdouble)


def with_change(problem: Problem, name: str, change: Array) -> Problem:
    """The problem with a change added to the leaf whose gradient has this name."""
    leaf = problem.leaves[name.removeprefix("d_")]
    return problem.map(lambda value: value + change if value is leaf else value)


def terms(problem: Problem, run: Mapping[str, Array]) -> Array:
    """What adds up to the number whose gradient is meant: everything computed, times the upstream gradients."""
    products = [(run[name] * weight).ravel() for name, weight in problem.upstream.items()]
    return np.concatenate(products) if products else np.zeros(1, np.longdouble)


def error_along(direction: Array, derivative: Any, gradient: Array, noise: float = 0.0) -> float:
    """How far a derivative along a direction is from what the gradient says, relative to the gradient's norm.

    noise: how far the derivative of something constant may be from 0. It matters for a gradient that is 0.
    """
    error, size = float(abs(derivative - (gradient * direction).sum())), float(np.linalg.norm(gradient))
    return error / size if size else float("inf") if error > noise else 0.0


def judged(problem: Problem, masks: Masks, errors: dict[str, float]) -> dict[str, Testimony]:
    """The errors beside the tolerances of an exact method."""
    allowed = tolerances(problem, errors, masks)
    return {name: Testimony(error, allowed[name]) for name, error in errors.items()}

"""How much error a problem explains by itself.

Two right implementations in floating point differ by rounding, usually by a few 1e-16 in float64. But a gradient that
is the small difference of large terms, or that passes through a saturated tanh (1 − h² with h next to 1), magnifies
rounding. `sensitivity` measures by how much, without any assumption about either implementation: it runs the problem in
longdouble, once as it is and several times with every number that was given and every state on the way disturbed by at
most one rounding of the problem's own dtype.
"""

from collections.abc import Mapping

import numpy as np

from scratch.types import Array

from .equivalence import TOLERANCE, assert_close, compare, relative_error
from .problems import Configuration, Problem, draw
from .runs import Masks, disturbed, make_scratch, run_module, run_scratch, run_torch

MARGIN = 16
"""How much more than the worst of some disturbed runs an error may be: luck, and roundings within a step."""

JUDGED = 0.1
"""Up to which tolerance an error says anything; of bfloat16, which rounds by 0.4 %, 0.25. A wrong term shows near 1."""


def sensitivity(
    problem: Problem, masks: Masks | None = None, samples: int = 8, eps: float | None = None
) -> dict[str, float]:
    """For each tensor that the problem computes, its largest relative change among `samples` disturbed runs.

    eps: how far from 1 the next number is, unless it is that of the problem's own dtype: what is disturbed by less may
    stay on one side of relu's kink.
    """
    # In longdouble itself nothing finer is at hand: the change, proportional to the rounding, is measured at float64's.
    scale, rounding = 1.0, (eps or problem.eps) / 2
    if problem.input.dtype == np.longdouble:
        measured = float(np.finfo(np.float64).eps)
        scale, rounding = problem.eps / measured, measured / 2
    rng = np.random.default_rng(problem.configuration.seed)

    def disturb(value: Array) -> Array:
        return value + value * (rounding * rng.uniform(-1, 1, value.shape))

    exact = problem.astype(np.longdouble)
    truth, _ = run_scratch(exact, masks)
    changes = dict.fromkeys(truth, 0.0)
    for _ in range(samples):
        nearby = exact.map(disturb)
        module = make_scratch(nearby, masks)
        module.cell = disturbed(module.cell, disturb)
        run, _ = run_module(module, nearby)
        for name in truth:
            changes[name] = max(changes[name], relative_error(run[name], truth[name]))
    return {name: scale * change for name, change in changes.items()}


def tolerances(
    problem: Problem,
    errors: Mapping[str, float],
    masks: Masks | None = None,
    eps: float | None = None,
    plain: float | None = None,
) -> dict[str, float]:
    """For each error by how much it may be: the plain tolerance, or where one is above it, what rounding explains.

    So an unlucky problem is told from a wrong formula, whose error is near 1. Where rounding explains more than a tenth
    nothing can be judged, and any error is allowed: infinity. eps: how far from 1 the next number is, unless it is that
    of the problem's own dtype. plain: the plain tolerance, unless it is what the dtype promises.
    """
    if plain is None:  # the promise of 1e-12 is 4,504 times float64's eps; of another eps it is as many
        plain = min(1e-2, TOLERANCE * (eps or problem.eps) / float(np.finfo(np.float64).eps))
    if all(error <= plain for error in errors.values()):
        return dict.fromkeys(errors, plain)
    changes, judged = sensitivity(problem, masks, eps=eps), max(JUDGED, plain, 32 * problem.eps)
    explained = {name: max(plain, MARGIN * changes.get(name, 0.0)) for name in errors}
    return {name: allowed if allowed <= judged else float("inf") for name, allowed in explained.items()}


def assert_matches_pytorch(configuration: Configuration) -> None:
    """Raise AssertionError unless `scratch` and PyTorch agree on the configuration's problem in every tensor.

    Agree means within 1e-12; where that fails, within what rounding alone does to the tensor.
    """
    problem = draw(configuration)
    ours, masks = run_scratch(problem)
    theirs = run_torch(problem, masks)
    errors = {difference.name: difference.error for difference in compare(ours, theirs)}
    assert_close(ours, theirs, tolerances(problem, errors, masks))

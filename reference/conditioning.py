"""How much error a problem explains by itself.

Two right implementations in floating point differ by rounding, usually by a few 1e-16 in float64. But a gradient that
is the small difference of large terms, or that passes through a saturated tanh (1 − h² with h next to 1), magnifies
rounding. `sensitivity` measures by how much, without any assumption about either implementation: it runs the problem in
longdouble, once as it is and several times with every number that was given and every state on the way disturbed by at
most one rounding of the problem's own dtype.
"""

import numpy as np

from scratch.types import Array

from .equivalence import TOLERANCE, assert_close, compare, relative_error
from .problems import Configuration, Problem, draw, run_scratch, run_torch


def sensitivity(problem: Problem, samples: int = 8) -> dict[str, float]:
    """For each tensor that the problem computes, its largest relative change among `samples` disturbed runs."""
    rounding = np.finfo(problem.input.dtype).eps / 2
    rng = np.random.default_rng(problem.configuration.seed)

    def disturb(value: Array) -> Array:
        return value + value * (rounding * rng.uniform(-1, 1, value.shape))

    exact = problem.astype(np.longdouble)
    truth, _ = run_scratch(exact)
    changes = dict.fromkeys(truth, 0.0)
    for _ in range(samples):
        disturbed, _ = run_scratch(exact.map(disturb), disturb)
        for name in truth:
            changes[name] = max(changes[name], relative_error(disturbed[name], truth[name]))
    return changes


def assert_matches_pytorch(configuration: Configuration) -> None:
    """Raise AssertionError unless `scratch` and PyTorch agree on the configuration's problem in every tensor.

    Agree means within 1e-12; where that fails, within what rounding alone does to the tensor: 16 times the largest of
    8 samples, so that an unlucky problem is told from a wrong formula, whose error is near 1.
    """
    problem = draw(configuration)
    ours, masks = run_scratch(problem)
    theirs = run_torch(problem, masks)
    tolerances = {}
    if any(difference.error > TOLERANCE for difference in compare(ours, theirs)):
        tolerances = {name: max(TOLERANCE, 16 * change) for name, change in sensitivity(problem).items()}
    assert_close(ours, theirs, tolerances)

"""Studies of recurrence: how its gradients arise, how they change, and how to look at both.

Five are commands, `python -m scratch study NAME`. NAME.py measures, NAME_command.py prints, NAME_picture.py draws, and
NAME_page.py makes a page.

    explore        one text, step by step, forward and backward
    gradients      how gradients vanish and explode, and what clipping does
    truncation     what truncated backpropagation through time leaves out
    memory         how far back recurrences learn to remember
    cells          what single cells of a character model keep track of

Two are functions with loops over time of their own, so that they are witnesses for the core:

    rtrl           the gradient, carried forward in time: rtrl.md
    second_order   Jacobian- and Hessian-vector products, with second_derivatives.py: second_order.md

curvature.py shows what second order is good for.

They share trace.py (every step of the library's own pass), equations.py (the cells' equations, computed as they are
written), models.py, commands.py, pictures.py and pages.py.
"""

from .cells import Ranking, activations, rankings
from .cells_features import features
from .curvature import (
    Curvature,
    cross_entropy,
    curvature_along,
    gauss_newton,
    largest_eigenvalue,
    linear_in_output,
    squared_error,
)
from .explore import LayerTrace, TextTrace, trace_text
from .explore_page import page
from .rtrl import Gradients, rtrl
from .second_order import HessianProduct, Loss, Outputs, hvp, jvp
from .trace import Step, Trace, trace

__all__ = [
    "Curvature",
    "Gradients",
    "HessianProduct",
    "LayerTrace",
    "Loss",
    "Outputs",
    "Ranking",
    "Step",
    "TextTrace",
    "Trace",
    "activations",
    "cross_entropy",
    "curvature_along",
    "features",
    "gauss_newton",
    "hvp",
    "jvp",
    "largest_eigenvalue",
    "linear_in_output",
    "page",
    "rankings",
    "rtrl",
    "squared_error",
    "trace",
    "trace_text",
]

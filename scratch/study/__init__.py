"""Studies of recurrence: how its gradients arise, how they change, and how both can be looked at."""

from .cells import Ranking, activations, features, rankings
from .curvature import (
    Curvature,
    cross_entropy,
    curvature_along,
    gauss_newton,
    largest_eigenvalue,
    linear_in_output,
    squared_error,
)
from .explore import LayerTrace, TextTrace, page, trace_text
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

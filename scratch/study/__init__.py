"""Studies of recurrence: how its gradients arise, how they change, and how to look at both.

Five are commands, `python -m scratch study NAME` (commands.py). NAME.py measures, NAME_report.py prints and draws.

    explore        one text, step by step, forward and backward; its page: explore_page.py
    gradients      how gradients vanish and explode, and what clipping does
    truncation     what truncated backpropagation through time leaves out
    memory         how far back recurrences learn to remember
    cells          what single cells of a character model keep track of: cells_features.py

Two are functions, each derived on a page:

    rtrl           the gradient, carried forward in time: rtrl.md. It has a loop of its own: a witness for the core
    second_order   Jacobian- and Hessian-vector products, with second_derivatives.py: second_order.md

curvature.py shows what second order is good for.

They share trace.py (every step of the library's own pass), equations.py (the cells' equations, computed as they are
written), models.py and subjects.py (what is studied), pictures.py and pages.py.
"""

from .cells import activations, rankings
from .cells_features import features
from .curvature import cross_entropy, curvature_along, gauss_newton, largest_eigenvalue, linear_in_output, squared_error
from .explore import trace_text
from .explore_page import page
from .rtrl import rtrl
from .second_order import Loss, hvp, jvp
from .trace import trace

__all__ = ["Loss", "activations", "cross_entropy", "curvature_along", "features", "gauss_newton", "hvp", "jvp"]
__all__ += [
    "largest_eigenvalue",
    "linear_in_output",
    "page",
    "rankings",
    "rtrl",
    "squared_error",
    "trace",
    "trace_text",
]

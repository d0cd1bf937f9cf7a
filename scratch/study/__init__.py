"""Studies of recurrence: how its gradients arise."""

from .explore import LayerTrace, Trace, page, trace
from .rtrl import Gradients, rtrl

__all__ = ["Gradients", "LayerTrace", "Trace", "page", "rtrl", "trace"]

"""Studies of recurrence: how its gradients arise."""

from .rtrl import Gradients, rtrl

__all__ = ["Gradients", "rtrl"]

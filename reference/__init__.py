"""PyTorch beside `scratch`: the same models, the weights carried across, and the proof that both compute the same.

>>> from reference import Configuration, assert_equivalent
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assertion import assert_equivalent
    from .problems import Configuration

__all__ = ["Configuration", "assert_equivalent"]


def __getattr__(name: str) -> Any:
    """The two names, when they are asked for: they need PyTorch, which the exercises do without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".problems" if name == "Configuration" else ".assertion", __name__), name)

"""PyTorch beside `scratch`: the same models, the weights carried across, and the proof that both compute the same.

>>> from reference import Configuration, assert_equivalent
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assertion import assert_equivalent
    from .problems import Configuration

__all__ = ["Configuration", "assert_equivalent"]


def __getattr__(name: str) -> Any:
    """The two names, when they are asked for: they need PyTorch, which the exercises do without."""
    if name == "assert_equivalent":
        from .assertion import assert_equivalent

        return assert_equivalent
    if name == "Configuration":
        from .problems import Configuration

        return Configuration
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""A kind of recurrence, for everything that is done with all of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from .cell import Cell


class Kind(NamedTuple):
    """A kind of recurrence, as the list in `nn/__init__.py` has it."""

    module: type[Any]
    """A `Recurrent`, and no more than that, since each has arguments of its own."""
    single: type[Any]
    """The class of its single steps, a `RecurrentCell`."""
    keras: str | None = None
    """The order of its gates in Keras, in PyTorch's letters; None if Keras does not have it."""
    onnx: str | None = None
    """The same in ONNX."""
    options: Mapping[str, Any] = MappingProxyType({})
    """What tells it from others of the same classes: arguments of both constructors."""

    @property
    def cell(self) -> Cell:
        """Its equations."""
        found: Cell = self.module(1, 1, **self.options).cell
        return found

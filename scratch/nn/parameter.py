"""A trainable array and its gradient."""

import threading
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..types import Array
from . import checks


class Changes(threading.local):
    """How often this thread has changed any parameter."""

    count = 0


changes = Changes()
_adding = threading.Lock()


class Parameter:
    """A trainable array, `data`, and the gradient of the loss with respect to it, `grad` (None until a backward pass).

    data is copied. requires_grad: if False the parameter is frozen: no gradient is computed for it, and optimizers
    leave it alone. `np.asarray(parameter)` is `data`.

    Optimizers change `data` in place and say so; of what others write into `data[...]` no tape hears, as in PyTorch:
    assign to `data` instead. `grad` is replaced when gradients are added, never written over, so an array
    once read from it stays as it is. No attribute can be added. A copy has the data and no gradient, as in PyTorch.

    Raises TypeError for anything but an array and for a requires_grad that is not a bool, RuntimeError for a dtype
    without gradients.
    """

    __slots__ = ("_data", "_grad", "_requires_grad", "version")

    def __init__(self, data: Array, requires_grad: bool = True) -> None:
        checks.dtype(checks.array("data", data).dtype)
        self._data = np.array(data, order="C")
        self._grad: Array | None = None
        self._requires_grad = checks.flag("requires_grad", requires_grad)
        self.version = 0
        """Counts the changes of `data`. A tape remembers it, so that backward can refuse changed parameters."""

    @property
    def data(self) -> Array:
        """The values. Assigning copies, and needs the same shape and dtype: raises TypeError or RuntimeError."""
        return self._data

    @data.setter
    def data(self, value: Array) -> None:
        self._data = np.array(checks.floats("data", value, self._data.dtype, self._data.shape), order="C")
        self.changed()

    def changed(self) -> None:
        """Note that `data` has changed: tapes made before cannot be used any more."""
        self.version += 1
        changes.count += 1

    def cast(self, dtype: np.dtype[Any]) -> None:
        """Change the dtype of `data` and `grad`, as `Module.to` does."""
        if dtype != self._data.dtype:
            with np.errstate(over="ignore"):
                self._data = self._data.astype(dtype)
                self._grad = None if self._grad is None else self._grad.astype(dtype)
            self.changed()

    @property
    def grad(self) -> Array | None:
        """The gradient, of the shape and dtype of `data`, or None. Assigning raises TypeError or RuntimeError."""
        return self._grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        self._grad = None if value is None else checks.floats("grad", value, self._data.dtype, self._data.shape)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed. Assigning raises TypeError for anything but a bool."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._requires_grad = checks.flag("requires_grad", value)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad`. Returns the parameter."""
        self.requires_grad = requires_grad
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `data`."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of `data`."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions of `data`."""
        return self._data.ndim

    def size(self, dim: int | None = None) -> Any:
        """The shape of `data`, or its length in one dimension.

        Raises IndexError for a dimension that it does not have.
        """
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """The number of elements."""
        return self._data.size

    def add_grad(self, gradient: Array) -> None:
        """Add to `grad`, by a new array. Several threads may do so at once."""
        with _adding:
            if self._grad is None:
                self.grad = gradient
            else:
                with np.errstate(all="ignore"):
                    self.grad = self._grad + gradient

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self._data, dtype=dtype, copy=copy)

    def __reduce__(self) -> tuple[type[Self], tuple[Array, bool]]:
        return type(self), (self._data, self._requires_grad)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        frozen = "" if self._requires_grad else ", requires_grad=False"
        return f"Parameter({self._data!r}{frozen})"

"""Arrays of other libraries, and what becomes of the arrays that a candidate is given."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..runs import Run, Unexpected, described
from .needs import Unfit


def as_numpy(value: Any, name: str) -> Any:
    """A copy in NumPy of an array of any library, wherever it lies: for a candidate may hand out its own memory.

    bfloat16, which NumPy does not have, becomes float32. None stays None. Raises Unexpected if it is no array.
    """
    if value is None:
        return None
    if hasattr(value, "detach"):  # PyTorch: off the tape, off the GPU
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    elif type(value).__module__.partition(".")[0] == "cupy":
        value = value.get()
    try:
        array = np.array(np.asarray(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise Unexpected(f"expected {name} as an array that NumPy can read, got {described(value)}") from error
    if array.dtype.name == "bfloat16":  # of the package ml_dtypes, as JAX gives it
        return array.astype(np.float32)
    if array.dtype.kind not in "fciub":
        raise Unexpected(f"expected {name} as an array of numbers, got {described(value)}")
    return array


def copied(run: Mapping[str, Any]) -> Run:
    """A run in NumPy's arrays."""
    return {name: as_numpy(value, name) for name, value in run.items()}


class Handed(dict[str, tuple[Any, Any]]):
    """What a candidate is handed, and what it was then: none of it may be written to."""

    def __call__(self, name: str, value: Any) -> Any:
        """The same value, remembered under its name."""
        if value is not None:
            self[name] = value, as_numpy(value, name)
        return value

    def check(self, where: str) -> None:
        """Raise Unfit if something has been written to since it was handed over."""
        for name, (value, before) in self.items():
            if not np.array_equal(as_numpy(value, name), before, equal_nan=True):
                raise Unfit(f"{where} writes to the caller's {name}, which must stay as it is")

"""The door: what every module checks before it does any work.

Each check raises the class of error that PyTorch raises in the same place, and says what was expected and what came.
Where PyTorch lets a mistake pass or fails with an accident of its implementation, the check is stricter.
"""

from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from ..types import Array

without_warnings = np.errstate(all="ignore")
"""Decorates forward and backward: as in PyTorch, numbers beyond the dtype silently become infinite, NaN or zero."""


def integer(name: str, value: Any, *, least: int = np.iinfo(np.int64).min) -> int:
    """A whole number of at least `least`. Raises TypeError for another type, ValueError for a smaller number."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"expected {name} to be an int, got {value!r} of type {type(value).__name__}")
    if value < least:
        raise ValueError(f"expected {name} of at least {least}, got {value}")
    return int(value)


def anything(name: str, value: Any) -> Any:
    """Any value."""
    return value


def flag(name: str, value: Any) -> bool:
    """True or False. Raises TypeError for anything else."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"expected {name} to be a bool, got {value!r} of type {type(value).__name__}")
    return bool(value)


def number(name: str, value: Any, *, least: float = 0.0, below: float = np.inf) -> float:
    """A number, least ≤ value < below. Raises TypeError for another type, ValueError outside the range and for NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"expected {name} to be a number, got {value!r} of type {type(value).__name__}")
    if not least <= float(value) < below:
        limits = f"of at least {least:g}" + (f" and below {below:g}" if below < np.inf else "")
        raise ValueError(f"expected {name} {limits}, got {value}")
    return float(value)


def dtype(value: npt.DTypeLike) -> np.dtype[Any]:
    """A floating-point dtype that the core computes in: float32 (also for None), float64, longdouble or a complex one.

    Raises TypeError for anything but a dtype, RuntimeError for a dtype in which nothing can be differentiated.
    """
    try:
        result = np.dtype(np.float32 if value is None else value).newbyteorder("=")
    except TypeError:
        raise TypeError(f"expected dtype float32, float64, longdouble or complex, got {value!r}") from None
    if result.kind not in "fc" or result == np.float16:
        raise RuntimeError(f"expected dtype float32, float64, longdouble or complex, got {result}")
    return result


def array(name: str, value: Any) -> Array:
    """A NumPy array; a NumPy scalar stands for an array without dimensions, as it is what NumPy makes of those.

    Raises TypeError for anything else: nothing is converted behind the caller's back. A matrix has another product, and
    a mask would be lost on the way: both are something else.
    """
    if isinstance(value, np.generic):
        return np.asarray(value)
    if not isinstance(value, np.ndarray) or isinstance(value, (np.matrix, np.ma.MaskedArray)):
        raise TypeError(f"expected {name} to be a NumPy array, got {type(value).__name__}")
    return value


def floats(
    name: str,
    value: Any,
    dtype: np.dtype[Any],
    shape: tuple[int, ...] | None = None,
    *,
    wrong_dtype: type[Exception] = RuntimeError,
) -> Array:
    """An array of `dtype`, and of `shape` where one is given. Raises TypeError, `wrong_dtype` or RuntimeError."""
    result = array(name, value)
    if result.dtype != dtype:
        raise wrong_dtype(f"expected {name} of dtype {dtype}, as the parameters are, got {result.dtype}")
    if shape is not None and result.shape != shape:
        raise RuntimeError(f"expected {name} of shape {shape}, got {result.shape}")
    return result


def size(name: str, value: Any) -> int:
    """A number of features or of rows; none is allowed.

    Raises TypeError for anything but an int, RuntimeError below 0.
    """
    if integer(name, value) < 0:
        raise RuntimeError(f"expected {name} of at least 0, got {value}")
    return int(value)


def fraction(name: str, value: Any, *, outside: type[Exception], wrong_type: type[Exception] = TypeError) -> float:
    """A number in [0, 1]. Raises `wrong_type` for another type, `outside` for another number and for NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise wrong_type(f"expected {name} to be a number, got {value!r} of type {type(value).__name__}")
    if not 0 <= float(value) <= 1:
        raise outside(f"expected {name} in [0, 1], got {value}")
    return float(value)


def indices(name: str, value: Any, below: int, *, besides: int | None = None) -> Array:
    """An integer array of 0 ≤ index < below, in which the index `besides` is allowed, too.

    Raises TypeError for another kind of value, RuntimeError for another dtype, IndexError outside the range.
    """
    result = array(name, value)
    if result.dtype.kind not in "iu":
        raise RuntimeError(f"expected {name} of an integer dtype, got {result.dtype}")
    wrong = result[((result < 0) | (result >= below)) & (result != besides)]
    if wrong.size > 0:
        raise IndexError(f"expected {name} of at least 0 and below {below}, got {wrong[0]}")
    return result


def members(name: str, value: Any) -> list[Any]:
    """What is in an iterable. Raises TypeError for anything else, such as a module in place of its parameters."""
    if not isinstance(value, Iterable):
        raise TypeError(f"expected {name} to be an iterable, got {type(value).__name__}")
    return list(value)


def gradient(name: str, value: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """An upstream gradient, which must have the dtype and the shape of the value that it belongs to.

    Raises TypeError for another kind of value, RuntimeError for another dtype or shape.
    """
    result = array(name, value)
    if result.dtype != dtype or result.shape != shape:
        raise RuntimeError(f"expected {name} of dtype {dtype} and shape {shape}, got {result.dtype} and {result.shape}")
    return result

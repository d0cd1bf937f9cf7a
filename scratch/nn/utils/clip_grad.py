"""Gradients kept from exploding: by their common norm (Pascanu, Mikolov and Bengio 2013, section 3.2) or one by one.

Backpropagation through time multiplies by W_hhᵀ at every step, so that one long sequence can make a gradient larger
by orders of magnitude than all before it. Clipping bounds the step that the optimizer then takes.
"""

import warnings
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any

import numpy as np

from ...types import Array
from .. import checks
from ..parameter import Parameter


def clip_grad_norm_(
    parameters: Parameter | Iterable[Parameter],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> np.floating[Any]:
    """Scale all gradients together so that their common norm is at most `max_norm`. Returns the norm before.

    (1)  n = ‖(‖g₁‖, ‖g₂‖, …)‖              the norm of the norms, of order `norm_type`; for 1, 2, … and infinity it
                                            is the norm of all the gradients seen as one vector
    (2)  g ← g · min(1, max_norm / (n + 10⁻⁶))

    `parameters`: one, or any iterable; those without a gradient are left out. `max_norm`: at least 0; infinity only
    measures. `norm_type`: any order, also infinity ('inf' too) and 0, which counts the gradients that are not zero.
    The norm has the gradients' dtype (0 in float32 if there are none).

    Every clipped `grad` is a new array: one read before keeps its values. If the norm is not finite, the gradients
    become 0 or NaN, as in PyTorch, unless `error_if_nonfinite`.

    Raises TypeError for anything but parameters, a number and a bool; ValueError for a `max_norm` below 0 and for NaN;
    RuntimeError if `error_if_nonfinite` and the norm is infinite or NaN. Then nothing has changed.
    """
    max_norm, order = _limit("max_norm", max_norm), _order(norm_type)
    checks.flag("error_if_nonfinite", error_if_nonfinite)
    clipped = _with_gradients(parameters)
    if not clipped:
        return np.float32(0)

    with np.errstate(over="ignore", invalid="ignore"):  # a norm beyond all numbers is infinite: that is no accident
        norm = _norm(np.array([_norm(grad, order) for _, grad in clipped]), order)  # (1)
        if error_if_nonfinite and not np.isfinite(norm):
            raise RuntimeError(f"expected gradients of a finite norm, got a norm of {norm}")
        coefficient = max_norm / (norm + 1e-6)  # (2)
        if not coefficient >= 1:  # also if it is NaN
            for parameter, grad in clipped:
                parameter.grad = grad * coefficient.astype(grad.dtype)  # (2)
    return norm


def clip_grad_value_(parameters: Parameter | Iterable[Parameter], clip_value: float) -> None:
    """Limit every element of every gradient to the range from −clip_value to clip_value.

    `parameters`: one, or any iterable; those without a gradient are left out. Every clipped `grad` is a new array.

    Raises TypeError for anything but parameters and a number, ValueError for a `clip_value` below 0 and for NaN. Then
    nothing has changed.
    """
    clip_value = _limit("clip_value", clip_value)
    with np.errstate(over="ignore"):  # a limit beyond the dtype's numbers is none
        for parameter, grad in _with_gradients(parameters):
            limit = grad.dtype.type(clip_value)
            parameter.grad = np.clip(grad, -limit, limit)


def _norm(array: Array, order: float) -> np.floating[Any]:
    """The norm (Σ |x|ᵖ)^(1/p) of all elements, or its limit for the orders p = 0, ∞ and −∞.

    The elements are divided by the one that dominates the sum, so that no power overflows or vanishes.
    """
    magnitudes = np.abs(array)
    norm: np.floating[Any] = magnitudes.max() if order > 0 else magnitudes.min()  # the dominant one
    if order == 0:
        norm = magnitudes.dtype.type(np.count_nonzero(magnitudes))
    elif np.isfinite(order) and np.isfinite(norm) and norm > 0:
        norm = norm * np.sum((magnitudes / norm) ** order) ** (1 / order)
    return norm


def _with_gradients(parameters: Any) -> list[tuple[Parameter, Array]]:
    """The parameters that have a gradient with elements in it. Raises TypeError for anything but a parameter."""
    members = [parameters] if isinstance(parameters, Parameter) else checks.members("parameters", parameters)
    if not members and isinstance(parameters, Iterator):
        # The usual mistake: module.parameters() kept in a variable, and used up by whoever came first.
        warnings.warn("expected parameters to clip, got an iterator without any", stacklevel=3)
    for parameter in members:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"expected every parameter to be a Parameter, got {type(parameter).__name__}")
    return [(each, each.grad) for each in members if each.grad is not None and each.grad.size]


def _order(norm_type: Any) -> float:
    """The order of a norm, also written as text.

    Raises TypeError or ValueError for anything but a number, and for NaN.
    """
    try:
        order = float(norm_type)
    except TypeError:
        raise TypeError(f"expected norm_type to be a number, got {norm_type!r}") from None
    except ValueError:
        order = np.nan
    if np.isnan(order):
        raise ValueError(f"expected norm_type to be a number, got {norm_type!r}")
    return order


def _limit(name: str, value: Any) -> float:
    """A number of at least 0, infinity included. Raises TypeError or ValueError."""
    return np.inf if isinstance(value, Real) and value == np.inf else checks.number(name, value)

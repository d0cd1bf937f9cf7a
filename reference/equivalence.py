"""The comparison of two runs, tensor by tensor.

A run is a mapping from names (output, h_n, d_input, d_weight_hh_l0, …) to arrays. Shape and dtype are compared before
values. The error of a tensor is normwise and relative,

    ‖ours − theirs‖₂ / ‖theirs‖₂,

so that it means the same for a tensor of any size and scale. It is 0 for two tensors that are both zero or empty, and
infinite where one is zero and the other is not, or where anything is not a number.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from scratch.types import Array

TOLERANCE = 1e-12
"""The promise for float64. One rounding is 1.1e-16; the sums of a training step over some hundred terms, and their
propagation through time, leave a few 1e-15. A wrong term shows as an error near 1."""


class Difference(NamedTuple):
    """How one tensor of two runs differs: `error` and `ulps`, and in words `what` if it is not comparable at all."""

    name: str
    error: float
    what: str = ""
    ulps: float = float("nan")


def relative_error(ours: Array, theirs: Array) -> float:
    """The normwise relative error, computed in longdouble. Both arrays of one shape, real or complex."""
    dtype = np.result_type(ours, theirs, np.longdouble)
    ours, theirs = ours.astype(dtype), theirs.astype(dtype)
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    scale = max(np.abs(theirs).max(initial=0), np.abs(ours).max(initial=0))  # keeps squares from under- and overflow
    if scale == 0:
        return 0.0
    norm = np.linalg.norm((theirs / scale).ravel())
    return float(np.linalg.norm(((ours - theirs) / scale).ravel()) / norm) if norm else float("inf")


def largest_ulps(ours: Array, theirs: Array) -> float:
    """The largest deviation of an entry, in units in the last place of the tensor's largest entry, in ours' dtype.

    The unit is the same for all entries: beside an entry that is the small difference of large terms, its own last
    place would say nothing. 0.5 is what rounding the right answer leaves at most; infinite where `relative_error` is.
    """
    exact = theirs.astype(np.result_type(theirs, np.longdouble))
    largest = np.abs(exact).max(initial=0)
    if not (np.isfinite(ours).all() and np.isfinite(largest)):
        return float("inf")
    deviation = np.abs(ours.astype(exact.dtype) - exact).max(initial=0)
    if deviation == 0 or largest == 0:
        return float("inf") if deviation else 0.0
    return float(deviation / np.spacing(largest.astype(np.finfo(ours.dtype).dtype)))


def compare(ours: Mapping[str, Any], theirs: Mapping[str, Array], dtype: Any = None) -> list[Difference]:
    """One `Difference` for each name that either run has, in order of appearance.

    dtype: what ours is to be in, where theirs is more exact; the same as theirs unless given. A tensor of ours that is
    None is not offered, and left out.
    """
    differences = []
    for name in dict.fromkeys([*theirs, *ours]):
        own, exact, what = ours.get(name), theirs.get(name), ""
        if name not in ours or exact is None:
            what = "only in ours" if name in ours else "missing: only in theirs"
        elif own is None:
            continue
        elif not isinstance(own, np.ndarray):
            what = f"{type(own).__name__}, expected an array"
        elif own.shape != exact.shape:
            what = f"shape {own.shape}, expected {exact.shape}"
        elif own.dtype != (dtype or exact.dtype):
            what = f"dtype {own.dtype}, expected {dtype or exact.dtype}"
        inf = float("inf")
        error, ulps = (inf, inf) if what else (relative_error(own, exact), largest_ulps(own, exact))
        differences.append(Difference(name, error, what, ulps))
    return differences


def assert_close(
    ours: Mapping[str, Array], theirs: Mapping[str, Array], tolerances: float | Mapping[str, float] = TOLERANCE
) -> None:
    """Raise AssertionError that names every tensor whose error is above its tolerance, with its worst values.

    tolerances: one for all tensors, or by name, with the promised 1e-12 for names that are not there.
    """
    lines = []
    for name, error, what, _ in compare(ours, theirs):
        tolerance = tolerances.get(name, TOLERANCE) if isinstance(tolerances, Mapping) else tolerances
        if error <= tolerance:
            continue
        if not what:
            distance = np.abs(ours[name] - theirs[name])
            at = np.unravel_index(np.argmax(np.where(np.isnan(distance), np.inf, distance)), distance.shape)
            worst = f"worst at {tuple(map(int, at))}: {ours[name][at]!s}, expected {theirs[name][at]!s}"
            what = f"error {error:.2e} above {tolerance:.0e}, {worst}"
        lines.append(f"{name}: {what}")
    if lines:
        raise AssertionError("tensors differ:\n  " + "\n  ".join(lines))

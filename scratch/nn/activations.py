"""The nonlinearities that NumPy lacks, in any floating-point dtype, real or complex.

Complex arguments serve complex-step derivatives (Squire and Trapp 1998): f′(x) ≈ Im f(x + iε) / ε.
"""

import numpy as np

from ..types import Array


def sigmoid(a: Array) -> None:
    """Replace a by σ(a) = 1 / (1 + e⁻ᵃ), accurate to rounding in relative terms also where σ is tiny.

    (½ tanh(½a) + ½ would be one call, but loses the digits of a closed gate: in float32 σ(−20) would be 0.) For very
    negative a the exponential overflows to infinity, whose reciprocal is the right limit; the modules silence the
    warning. A complex exponential overflows to NaN instead, so complex arguments take the tanh.
    """
    if a.dtype.kind == "c":
        a *= 0.5
        np.tanh(a, out=a)
        a *= 0.5
        a += 0.5
    else:
        np.negative(a, out=a)
        np.exp(a, out=a)
        a += 1
        np.reciprocal(a, out=a)


def relu(a: Array, out: Array) -> None:
    """Fill `out` with max(a, 0). NaN stays NaN. For complex arguments the real part decides, and 0 gives 0."""
    if a.dtype.kind == "c":
        out[...] = np.where(a.real <= 0, 0, a)
    else:
        np.maximum(a, 0, out=out)

"""A linear layer: every row of the input times the same matrix, plus the same bias.

(1)  y = x Wᵀ + b            x: (N, I), W: (O, I), b: (O), y: (N, O)

Differentiated: an element of x acts on its own row of y; W and b act on all rows, and gather from all of them.

     d_x = d_y W             (1)
     d_W = d_yᵀ x            (1)   the sum over rows of the outer products d_y ⊗ x
     d_b = Σ_rows d_y        (1)

N is the number of rows in all leading dimensions together, I is in_features, O is out_features. Kept for backward: x.
"""

import math

import numpy as np
import numpy.typing as npt

from ..types import Array, Seed
from . import checks
from .checks import without_warnings
from .module import Module
from .parameter import Parameter
from .sums import sum_of_outer_products, sum_of_rows


class Linear(Module):
    """y = x Wᵀ + b over the last dimension, as `torch.nn.Linear`: (…, in_features) to (…, out_features).

    `weight`: (out_features, in_features) and `bias`: (out_features), or None with `bias=False`, start uniform in
    ±1/√in_features.

    Raises TypeError for sizes that are not ints and for a `bias` that is not a bool, RuntimeError for negative sizes
    and for a dtype that is not floating-point.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: npt.DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        self.in_features = checks.size("in_features", in_features)
        self.out_features = checks.size("out_features", out_features)
        has_bias = checks.flag("bias", bias)
        dtype = checks.dtype(dtype)
        self._rng = np.random.default_rng(rng)
        self.weight = Parameter(np.empty((self.out_features, self.in_features), dtype))
        self.bias = Parameter(np.empty(self.out_features, dtype)) if has_bias else None
        self.reset_parameters()
        self._seal()

    def reset_parameters(self) -> None:
        """Draw every parameter anew, uniform in ±1/√in_features, as PyTorch does."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0.0
        for parameter in filter(None, (self.weight, self.bias)):
            parameter.data = self._rng.uniform(-bound, bound, parameter.shape).astype(parameter.dtype)

    @without_warnings
    def forward(self, input: Array) -> Array:
        """input: (…, in_features), also with one dimension. Returns (…, out_features).

        Raises TypeError for anything but an array, RuntimeError for no dimension, the wrong width, and another dtype
        than weight's, and if a parameter in place of weight or bias does not fit.
        """
        W = checks.floats("weight", self.weight.data, self.weight.dtype, (self.out_features, self.in_features))
        input = checks.floats("input", input, W.dtype)
        if input.ndim == 0:
            raise RuntimeError("expected input of at least 1 dimension, got 0")
        if input.shape[-1] != self.in_features:
            raise RuntimeError(f"expected input of width {self.in_features} (in_features), got {input.shape[-1]}")
        x = rows_of(input)
        y = x @ W.T  # (1)  N, O
        if self.bias is not None:
            y += checks.floats("bias", self.bias.data, W.dtype, (self.out_features,))  # (1)
        self._keep(input.copy())
        return y.reshape(*input.shape[:-1], self.out_features)

    @without_warnings
    def backward(self, d_output: Array, *, retain_graph: bool = False) -> Array:
        """d_output: (…, out_features). Adds to `weight.grad` and `bias.grad`; returns d_input: (…, in_features).

        Undoes the newest forward pass, and takes it off unless retain_graph. Raises TypeError for anything but an
        array, RuntimeError for another shape or dtype than the output's, if there is no forward pass to undo, and if a
        parameter has changed since.
        """
        (input,) = self._newest(retain_graph)
        d_output = checks.floats("d_output", d_output, input.dtype, (*input.shape[:-1], self.out_features))
        x, d_y = rows_of(input), rows_of(d_output)
        d_x = d_y @ self.weight.data  # (1)  N, I
        self._undone(retain_graph)
        if self.weight.requires_grad:
            self.weight.add_grad(sum_of_outer_products(d_y.T, x))  # (1)  O, I
        if self.bias is not None and self.bias.requires_grad:
            self.bias.add_grad(sum_of_rows(d_y))  # (1)  O
        return d_x.reshape(input.shape)

    def extra_repr(self) -> str:
        """The arguments shown by `repr`."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


def rows_of(array: Array) -> Array:
    """The array as a matrix of rows: all dimensions but the last become one."""
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])

"""The nonlinearities as modules, for models that are made of modules: y = φ(x), entry by entry.

(1)  y = tanh(x)         d_x = d_y ⊙ (1 − y²)
(2)  y = σ(x)            d_x = d_y ⊙ y ⊙ (1 − y)
(3)  y = max(x, 0)       d_x = d_y where y > 0, else 0

Kept for backward: y. Each derivative follows from it.
"""

import numpy as np

from ..types import Array
from . import activations, checks
from .checks import without_warnings
from .module import Module


class Nonlinearity(Module):
    """What the three share. A subclass gives φ and its backward pass."""

    def value(self, x: Array) -> Array:
        """φ(x), a new array."""
        raise NotImplementedError(f"{type(self).__name__} has no value")

    def gradient(self, d_y: Array, y: Array) -> Array:
        """d_x, a new array."""
        raise NotImplementedError(f"{type(self).__name__} has no gradient")

    @without_warnings
    def forward(self, input: Array) -> Array:
        """input: any shape, any floating-point dtype. Returns a new array of the same shape and dtype.

        Raises TypeError for anything but an array, RuntimeError for a dtype that is not floating-point.
        """
        if checks.array("input", input).dtype.kind not in "fc":
            raise RuntimeError(f"expected input of a floating-point dtype, got {input.dtype}")
        y = self.value(input)
        self._keep(y.copy())
        return y

    @without_warnings
    def backward(self, d_output: Array, *, retain_graph: bool = False) -> Array:
        """d_output: like the output. Returns d_input.

        Undoes the newest forward pass, and takes it off unless retain_graph. Raises TypeError for anything but an
        array, RuntimeError for another shape or dtype than the output's, and if there is no forward pass to undo.
        """
        (y,) = self._newest(retain_graph)
        d_output = checks.gradient("d_output", d_output, y.dtype, y.shape)
        self._undone(retain_graph)
        return self.gradient(d_output, y)


class Tanh(Nonlinearity):
    """tanh, as `torch.nn.Tanh`."""

    def value(self, x: Array) -> Array:
        """Equation (1)."""
        return np.asarray(np.tanh(x))  # (1)

    def gradient(self, d_y: Array, y: Array) -> Array:
        """Equation (1), backward."""
        return np.asarray(d_y * (1 - y * y))  # (1)


class Sigmoid(Nonlinearity):
    """σ(x) = 1 / (1 + e⁻ˣ), as `torch.nn.Sigmoid`."""

    def value(self, x: Array) -> Array:
        """Equation (2)."""
        y = np.array(x)
        activations.sigmoid(y)  # (2)
        return y

    def gradient(self, d_y: Array, y: Array) -> Array:
        """Equation (2), backward."""
        return np.asarray(d_y * y * (1 - y))  # (2)


class ReLU(Nonlinearity):
    """max(x, 0), as `torch.nn.ReLU`. The derivative at 0 is taken as 0; NaN stays NaN, and lets gradients pass."""

    def value(self, x: Array) -> Array:
        """Equation (3)."""
        y = np.empty_like(x)
        activations.relu(x, out=y)  # (3)
        return y

    def gradient(self, d_y: Array, y: Array) -> Array:
        """Equation (3), backward."""
        return np.where(y.real <= 0, d_y.dtype.type(0), d_y)  # (3)

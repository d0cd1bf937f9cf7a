"""Dropout (Srivastava et al. 2014): while training, switch elements off at random, so that none is relied upon.

(1)  m = [u ≥ p] / (1 − p)         u uniform in [0, 1), drawn anew for each element
(2)  y = m ⊙ x

Differentiated:  d_x = m ⊙ d_y     (2)

Dividing by 1 − p ("inverted" dropout) keeps the expectation, E[y] = x, so evaluation needs no scaling: y = x.
Kept for backward: m.
"""

from typing import ClassVar

import numpy as np

from ..types import Array, Seed
from . import checks
from .checks import without_warnings
from .module import Module
from .pile import tape_is_on


class Dropout(Module):
    """Zero each element with probability `p` and scale the others by 1/(1 − p), as `torch.nn.Dropout`.

    Does nothing after `eval()`. `rng` says where the random numbers come from; the same seed drops the same elements
    in every dtype.

    Raises TypeError if `p` is not a number, ValueError if it lies outside [0, 1].
    """

    _changeable: ClassVar = {
        **Module._changeable,
        "p": lambda name, value: checks.fraction(name, value, outside=ValueError),
        "rng": checks.anything,
    }

    def __init__(self, p: float = 0.5, *, rng: Seed = None) -> None:
        self.p = checks.fraction("p", p, outside=ValueError)
        self.rng = np.random.default_rng(rng)
        self._seal()

    @property
    def mask(self) -> Array | None:
        """A copy of m of equation (1) in the last forward pass: 0 where an element was dropped, else 1/(1 − p).

        None if nothing was dropped (after `eval()`, or with p = 0), and after a pass that keeps nothing for backward.
        """
        mask: Array | None = self._pile.masks
        return None if mask is None else mask.copy()

    @without_warnings
    def forward(self, input: Array) -> Array:
        """input: any shape, any floating-point dtype. Returns a new array of the same shape and dtype.

        Raises TypeError for anything but an array, RuntimeError for a dtype that is not floating-point.
        """
        input = checks.array("input", input)
        if input.dtype.kind not in "fc":
            raise RuntimeError(f"expected input of a floating-point dtype, got {input.dtype}")
        mask = draw(self.p, input, self.rng) if self.training and self.p > 0 else None
        self._keep(mask, input.shape, input.dtype)
        self._pile.masks = mask if tape_is_on() else None
        return input.copy() if mask is None else input * mask  # (2)

    @without_warnings
    def backward(self, d_output: Array, *, retain_graph: bool = False) -> Array:
        """d_output: like the output. Returns d_input, through the mask of the forward pass.

        Undoes the newest forward pass, and takes it off unless retain_graph. Raises TypeError for anything but an
        array, RuntimeError for another shape or dtype than the output's, and if there is no forward pass to undo.
        """
        mask, shape, dtype = self._newest(retain_graph)
        d_output = checks.gradient("d_output", d_output, dtype, shape)
        self._undone(retain_graph)
        return d_output.copy() if mask is None else d_output * mask  # (2)

    def extra_repr(self) -> str:
        """The arguments shown by `repr`."""
        return f"p={self.p}"


def draw(p: float, input: Array, rng: np.random.Generator) -> Array:
    """A new mask for `input`."""
    mask = np.asarray(rng.random(input.shape) >= p).astype(input.dtype)  # (1)
    if p < 1:  # at p = 1 all is dropped, and there is nothing to scale
        mask /= 1 - p  # (1)
    return mask

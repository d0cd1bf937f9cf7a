"""RMSprop (Tieleman and Hinton 2012, lecture 6.5): gradients divided by the root of their recent mean square.

(1)  g = ∇f + λ θ                              weight_decay λ
(2)  v ← α v + (1 − α) g²                      alpha α
(3)  m ← α m + (1 − α) g,  w = v − m²          if centered: the variance (Graves 2013, arXiv 1308.0850)
     w = v                                     if not
(4)  u = g / (√w + ε)                          eps ε
(5)  b ← μ b + u,  u = b                       with momentum μ above 0
(6)  θ ← θ − η u

Squares, roots and quotients are taken element by element. Kept: v (square_avg), m (grad_avg), b (momentum_buffer) and
the number of steps (step), which the equations do not use.
"""

from typing import Any

import numpy as np

from ..nn import checks
from ..types import Array
from .optimizer import Optimizer, Options, Parameters, State


def _weight(name: str, value: Any) -> float:
    """A number from 0 to 1. PyTorch lets larger ones pass, and then takes roots of negative averages."""
    weight = checks.number(name, value)
    if weight > 1:
        raise ValueError(f"expected {name} of at most 1, got {value}")
    return weight


class RMSprop(Optimizer):
    """RMSprop: equations (1) to (6), with PyTorch's arguments and defaults.

    Every number is at least 0, and `alpha` at most 1. Raises what `Optimizer` raises.
    """

    options = Optimizer.options | {
        "alpha": _weight,
        "eps": checks.number,
        "momentum": checks.number,
        "centered": checks.flag,
    }
    required_state = ("step", "square_avg")
    optional_state = ("grad_avg", "momentum_buffer")

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def update(self, data: Array, grad: Array, state: State, options: Options) -> None:
        """One parameter, equations (1) to (6)."""
        alpha, square_avg = options["alpha"], state["square_avg"]
        state["step"] += 1
        if options["weight_decay"]:
            grad = grad + options["weight_decay"] * data  # (1)
        square_avg *= alpha  # (2)
        square_avg += (1 - alpha) * grad * grad  # (2)
        mean_square = square_avg
        if options["centered"]:
            grad_avg = state["grad_avg"]
            grad_avg *= alpha  # (3)
            grad_avg += (1 - alpha) * grad  # (3)
            # Rounding may take a variance of nearly nothing below zero, where PyTorch's parameters become NaN.
            mean_square = np.maximum(square_avg - grad_avg * grad_avg, 0)  # (3)
        denominator = np.sqrt(mean_square)
        denominator += options["eps"]
        change = grad / denominator  # (4)
        if options["momentum"]:
            buffer = state["momentum_buffer"]
            buffer *= options["momentum"]  # (5)
            buffer += change  # (5)
            change = buffer  # (5)
        data -= options["lr"] * change  # (6)

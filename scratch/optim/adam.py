"""Adam (Kingma and Ba 2015, arXiv 1412.6980) and AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101).

(1)  g = ∇f + λ θ                              weight_decay λ, as part of the gradient: Adam
     θ ← θ − η λ θ,  g = ∇f                    decoupled from the gradient: AdamW
(2)  m ← β₁ m + (1 − β₁) g                     the gradient's running mean; betas (β₁, β₂)
(3)  v ← β₂ v + (1 − β₂) g²                    the square's running mean
(4)  w = v                                     without amsgrad
     w ← max(w, v)                             with amsgrad (Reddi, Kale and Kumar 2018): w never falls
(5)  m̂ = m / (1 − β₁ᵗ),  ŵ = w / (1 − β₂ᵗ)     both means started at zero; step t = 1, 2, …
(6)  θ ← θ − η m̂ / (√ŵ + ε)                    eps ε

Squares, roots and quotients are taken element by element. Kept: t (step), m (exp_avg), v (exp_avg_sq) and, with
amsgrad, w (max_exp_avg_sq). The code multiplies both sides of the fraction in (6) by r = √(1 − β₂ᵗ), which takes the
corrections of (5) out of the arrays (Kingma and Ba, section 2): θ ← θ − η r / (1 − β₁ᵗ) · m / (√w + r ε).
"""

from math import sqrt
from typing import Any

import numpy as np

from ..nn import checks
from ..types import Array
from .optimizer import Optimizer, Options, Parameters, State


def _pair(name: str, value: Any) -> tuple[float, float]:
    """Two numbers in [0, 1). Raises TypeError for anything but a tuple or a list, ValueError for another length."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"expected {name} to be a pair of numbers, got {value!r} of type {type(value).__name__}")
    if len(value) != 2:
        raise ValueError(f"expected {name} to be two numbers, got {len(value)}")
    first, second = (checks.number(f"{name}[{index}]", beta, below=1) for index, beta in enumerate(value))
    return first, second


class Adam(Optimizer):
    """Adam: equations (1) to (6), with PyTorch's arguments and defaults.

    Every number is at least 0, and the betas below 1. Raises what `Optimizer` raises.
    """

    options = Optimizer.options | {
        "betas": _pair,
        "eps": checks.number,
        "amsgrad": checks.flag,
        "decoupled_weight_decay": checks.flag,
    }
    required_state = ("step", "exp_avg", "exp_avg_sq")
    optional_state = ("max_exp_avg_sq",)

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def update(self, data: Array, grad: Array, state: State, options: Options) -> None:
        """One parameter, equations (1) to (6)."""
        lr, (beta1, beta2), weight_decay = options["lr"], options["betas"], options["weight_decay"]
        exp_avg, exp_avg_sq = state["exp_avg"], state["exp_avg_sq"]
        state["step"] += 1
        step = float(state["step"])
        if weight_decay and options["decoupled_weight_decay"]:
            data *= 1 - lr * weight_decay  # (1)  AdamW
        elif weight_decay:
            grad = grad + weight_decay * data  # (1)  Adam
        exp_avg *= beta1  # (2)
        exp_avg += (1 - beta1) * grad  # (2)
        exp_avg_sq *= beta2  # (3)
        exp_avg_sq += (1 - beta2) * grad * grad  # (3)
        if options["amsgrad"]:
            exp_avg_sq = np.maximum(state["max_exp_avg_sq"], exp_avg_sq, out=state["max_exp_avg_sq"])  # (4)
        root = sqrt(1 - beta2**step)  # (5)
        step_size = lr * root / (1 - beta1**step)  # (5)
        denominator = np.sqrt(exp_avg_sq)
        denominator += root * options["eps"]
        data -= step_size * exp_avg / denominator  # (6)


class AdamW(Adam):
    """Adam with weight decay decoupled from the gradient. Arguments and defaults are PyTorch's; raises as Adam does."""

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)

    def checked(self, group: Options) -> dict[str, Any]:
        """As in the base; the weight decay is decoupled, also after loading the state of an Adam."""
        return super().checked(group) | {"decoupled_weight_decay": True}

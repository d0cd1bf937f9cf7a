"""Adagrad (Duchi, Hazan and Singer 2011): steps that shrink where gradients have been large.

(1)  g = ∇f + λ θ                         weight_decay λ
(2)  s ← s + g²                           s starts at initial_accumulator_value
(3)  η′ = η / (1 + (t − 1) κ)             lr_decay κ, step t = 1, 2, …
(4)  θ ← θ − η′ g / (√s + ε)              eps ε

Squares, roots and quotients are taken element by element. Kept: t (step), s (sum).
"""

import numpy as np

from ..nn import checks
from ..types import Array
from .optimizer import Optimizer, Options, Parameters, State


class Adagrad(Optimizer):
    """Adagrad: equations (1) to (4), with PyTorch's arguments and defaults.

    Every number is at least 0. Raises what `Optimizer` raises.
    """

    options = Optimizer.options | dict.fromkeys(("lr_decay", "initial_accumulator_value", "eps"), checks.number)
    required_state = ("step", "sum")

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def update(self, data: Array, grad: Array, state: State, options: Options) -> None:
        """One parameter, equations (1) to (4)."""
        if "sum" not in state:
            state["sum"] = np.full_like(data, options["initial_accumulator_value"])
        state["step"] += 1
        step, total = float(state["step"]), state["sum"]
        if options["weight_decay"]:
            grad = grad + options["weight_decay"] * data  # (1)
        total += grad * grad  # (2)
        lr = options["lr"] / (1 + (step - 1) * options["lr_decay"])  # (3)
        denominator = np.sqrt(total)
        denominator += options["eps"]
        data -= lr * grad / denominator  # (4)

"""Gradient descent with momentum (Polyak 1964; Nesterov's as in Sutskever, Martens, Dahl and Hinton 2013, section 2).

(1)  g = ∇f + λ θ              weight_decay λ
(2)  b ← μ b + (1 − τ) g       momentum μ, dampening τ; the first b is g, undamped
(3)  u = g + μ b               with nesterov
     u = b                     without
     u = g                     if μ is 0: then there is no b
(4)  θ ← θ − η u

Kept: b, under the name momentum_buffer. The learning rate multiplies b only in (4), so changing it acts at once; in
the papers it is part of b.
"""

from functools import partial
from typing import Any

import numpy as np

from ..nn import checks
from ..types import Array
from .optimizer import Optimizer, Options, Parameters, State


class SGD(Optimizer):
    """Gradient descent: equations (1) to (4), with PyTorch's arguments and defaults.

    Every number is at least 0, `dampening` excepted. Raises what `Optimizer` raises, and ValueError for `nesterov`
    without momentum or with dampening.
    """

    options = Optimizer.options | {
        "momentum": checks.number,
        "dampening": partial(checks.number, least=-np.inf),
        "nesterov": checks.flag,
    }
    optional_state = ("momentum_buffer",)

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, locals())

    def checked(self, group: Options) -> dict[str, Any]:
        """As in the base; `nesterov` also needs momentum above 0 and dampening 0."""
        options = super().checked(group)
        momentum, dampening = options["momentum"], options["dampening"]
        if options["nesterov"] and (momentum == 0 or dampening != 0):
            got = f"momentum {momentum}, dampening {dampening}"
            raise ValueError(f"expected momentum above 0 and dampening 0 with nesterov, got {got}")
        return options

    def update(self, data: Array, grad: Array, state: State, options: Options) -> None:
        """One parameter, equations (1) to (4)."""
        momentum = options["momentum"]
        if options["weight_decay"]:
            grad = grad + options["weight_decay"] * data  # (1)
        if momentum:
            if "momentum_buffer" in state:
                buffer = state["momentum_buffer"]
                buffer *= momentum  # (2)
                buffer += (1 - options["dampening"]) * grad  # (2)
            else:
                buffer = state["momentum_buffer"] = np.array(grad)  # (2)  the first: a copy
            grad = grad + momentum * buffer if options["nesterov"] else buffer  # (3)
        data -= options["lr"] * grad  # (4)

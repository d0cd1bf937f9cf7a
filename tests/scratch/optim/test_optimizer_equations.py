"""The numbered equations in the docstrings of the optimizers, in NumPy as they stand there, give the code's updates."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from scratch import nn, optim
from scratch.optim import adagrad, adam, rmsprop, sgd
from tests.scratch.nn.equations import Docstring
from tests.scratch.textbook.equations import assert_close

ETA, LAMBDA, MU, EPSILON = 0.1, 0.3, 0.9, 1e-3
STEPS = 4
Said = Iterator[tuple[Any, Any]]
"""What the equations make of a parameter, and what the code makes of it."""


def steps(optimizer: Any, **options: Any) -> Any:
    """A parameter's way under random gradients: for each step the gradient, the value before and the value after."""
    rng = np.random.default_rng(3)
    parameter = nn.Parameter(rng.standard_normal(5))
    made = optimizer([parameter], lr=ETA, weight_decay=LAMBDA, **options)
    for t in range(1, STEPS + 1):
        before, parameter.grad = parameter.data.copy(), rng.standard_normal(5)
        made.step()
        yield t, parameter.grad, before, parameter.data.copy()


def of_sgd() -> Said:
    for nesterov, tau in (False, 0.2), (True, 0):
        b = np.zeros(5)
        for t, grad, theta, after in steps(optim.SGD, momentum=MU, dampening=tau, nesterov=nesterov):
            g = grad + LAMBDA * theta  # (1)
            b = g if t == 1 else MU * b + (1 - tau) * g  # (2)
            u = g + MU * b if nesterov else b  # (3)
            yield theta - ETA * u, after  # (4)


def of_adagrad() -> Said:
    kappa, s = 0.05, np.full(5, 0.4)
    for t, grad, theta, after in steps(optim.Adagrad, lr_decay=kappa, eps=EPSILON, initial_accumulator_value=0.4):
        g = grad + LAMBDA * theta  # (1)
        s = s + g**2  # (2)
        eta_t = ETA / (1 + (t - 1) * kappa)  # (3)
        yield theta - eta_t * g / (np.sqrt(s) + EPSILON), after  # (4)


def of_adam() -> Said:
    beta_1, beta_2 = 0.8, 0.9
    for optimizer in optim.Adam, optim.AdamW:
        for amsgrad in False, True:
            m, v, w = np.zeros((3, 5))
            for t, grad, theta, after in steps(optimizer, amsgrad=amsgrad, betas=(beta_1, beta_2), eps=EPSILON):
                g = grad + LAMBDA * theta if optimizer is optim.Adam else grad  # (1)
                theta = theta if optimizer is optim.Adam else theta - ETA * LAMBDA * theta  # (1)
                m = beta_1 * m + (1 - beta_1) * g  # (2)
                v = beta_2 * v + (1 - beta_2) * g**2  # (3)
                w = np.maximum(w, v) if amsgrad else v  # (4)
                m_hat, w_hat = m / (1 - beta_1**t), w / (1 - beta_2**t)  # (5)
                yield theta - ETA * m_hat / (np.sqrt(w_hat) + EPSILON), after  # (6)


def of_rmsprop() -> Said:
    alpha = 0.7
    for centered in False, True:
        m, v, b = np.zeros((3, 5))
        for _, grad, theta, after in steps(optim.RMSprop, alpha=alpha, momentum=MU, eps=EPSILON, centered=centered):
            g = grad + LAMBDA * theta  # (1)
            v = alpha * v + (1 - alpha) * g**2  # (2)
            m = alpha * m + (1 - alpha) * g  # (3)
            w = v - m**2 if centered else v  # (3)
            u = g / (np.sqrt(w) + EPSILON)  # (4)
            b = MU * b + u  # (5)
            yield theta - ETA * b, after  # (6)


SAYS: list[tuple[ModuleType, Callable[[], Said], set[str]]] = [
    (sgd, of_sgd, {"b ← μ b + (1 − τ) g", "u = g + μ b", "θ ← θ − η u"}),
    (adagrad, of_adagrad, {"s ← s + g²", "η′ = η / (1 + (t − 1) κ)", "θ ← θ − η′ g / (√s + ε)"}),
    (adam, of_adam, {"m ← β₁ m + (1 − β₁) g", "v ← β₂ v + (1 − β₂) g²", "w = v", "m̂ = m / (1 − β₁ᵗ)",
                     "θ ← θ − η m̂ / (√ŵ + ε)"}),
    (rmsprop, of_rmsprop, {"v ← α v + (1 − α) g²", "m ← α m + (1 − α) g", "u = g / (√w + ε)", "b ← μ b + u",
                           "θ ← θ − η u"}),
]  # fmt: skip
"""The equations behind (1), which is the same for all."""


@pytest.mark.parametrize(("module", "said", "equations"), SAYS)
def test_the_equations_of_the_docstring_give_the_updates_of_the_code(
    module: ModuleType, said: Callable[[], Said], equations: set[str]
) -> None:
    assert Docstring(module.__doc__).numbered() == {"g = ∇f + λ θ", *equations}
    for page, code in said():
        assert_close(page, code)

"""The numbered equations in the docstrings of the optimizers, in NumPy as they stand there, give the code's updates."""

from typing import Any

import numpy as np
import pytest

from scratch import nn, optim
from scratch.optim import adagrad, adam, rmsprop, sgd
from tests.scratch.nn.equations import Docstring

STEPS = 4

SGD, ADAGRAD, ADAM, RMSPROP = (Docstring(module.__doc__) for module in (sgd, adagrad, adam, rmsprop))


def steps(optimizer: Any, **options: Any) -> Any:
    """A parameter's way under random gradients: for each step the gradient, the value before and the value after."""
    rng = np.random.default_rng(3)
    parameter = nn.Parameter(rng.standard_normal(5))
    made = optimizer([parameter], **options)
    for t in range(1, STEPS + 1):
        before, parameter.grad = parameter.data.copy(), rng.standard_normal(5)
        made.step()
        yield t, parameter.grad, before, parameter.data.copy()


def sgd_steps():
    eta, lam, mu, tau = 0.1, 0.3, 0.9, 0.2
    for nesterov, tau_ in (False, tau), (True, 0):
        options = {"lr": eta, "weight_decay": lam, "momentum": mu, "dampening": tau_, "nesterov": nesterov}
        b = np.zeros(5)
        for t, grad, theta, after in steps(optim.SGD, **options):
            g = grad + lam * theta  # (1)
            b = g if t == 1 else mu * b + (1 - tau_) * g  # (2)
            u = g + mu * b if nesterov else b  # (3)
            yield theta - eta * u, after  # (4)


def adagrad_steps():
    eta, lam, kappa, epsilon = 0.1, 0.3, 0.05, 1e-3
    options = {"lr": eta, "weight_decay": lam, "lr_decay": kappa, "eps": epsilon, "initial_accumulator_value": 0.4}
    s = np.full(5, 0.4)
    for t, grad, theta, after in steps(optim.Adagrad, **options):
        g = grad + lam * theta  # (1)
        s = s + g**2  # (2)
        eta_t = eta / (1 + (t - 1) * kappa)  # (3)
        yield theta - eta_t * g / (np.sqrt(s) + epsilon), after  # (4)


def adam_steps():
    eta, lam, beta_1, beta_2, epsilon = 0.1, 0.3, 0.8, 0.9, 1e-3
    options = {"lr": eta, "weight_decay": lam, "betas": (beta_1, beta_2), "eps": epsilon}
    for optimizer in optim.Adam, optim.AdamW:
        for amsgrad in False, True:
            m, v, w = np.zeros((3, 5))
            for t, grad, theta, after in steps(optimizer, amsgrad=amsgrad, **options):
                g = grad + lam * theta if optimizer is optim.Adam else grad  # (1)
                theta = theta if optimizer is optim.Adam else theta - eta * lam * theta  # (1)
                m = beta_1 * m + (1 - beta_1) * g  # (2)
                v = beta_2 * v + (1 - beta_2) * g**2  # (3)
                w = np.maximum(w, v) if amsgrad else v  # (4)
                m_hat, w_hat = m / (1 - beta_1**t), w / (1 - beta_2**t)  # (5)
                yield theta - eta * m_hat / (np.sqrt(w_hat) + epsilon), after  # (6)


def rmsprop_steps():
    eta, lam, alpha, mu, epsilon = 0.1, 0.3, 0.7, 0.9, 1e-3
    options = {"lr": eta, "weight_decay": lam, "alpha": alpha, "momentum": mu, "eps": epsilon}
    for centered in False, True:
        m, v, b = np.zeros((3, 5))
        for _, grad, theta, after in steps(optim.RMSprop, centered=centered, **options):
            g = grad + lam * theta  # (1)
            v = alpha * v + (1 - alpha) * g**2  # (2)
            m = alpha * m + (1 - alpha) * g  # (3)
            w = v - m**2 if centered else v  # (3)
            u = g / (np.sqrt(w) + epsilon)  # (4)
            b = mu * b + u  # (5)
            yield theta - eta * b, after  # (6)


DECAY = "g = ∇f + λ θ"
TESTED = {
    "SGD": (SGD, sgd_steps, [DECAY, "b ← μ b + (1 − τ) g", "u = g + μ b", "θ ← θ − η u"]),
    "Adagrad": (ADAGRAD, adagrad_steps, [DECAY, "s ← s + g²", "η′ = η / (1 + (t − 1) κ)", "θ ← θ − η′ g / (√s + ε)"]),
    "Adam": (
        ADAM,
        adam_steps,
        [
            DECAY,
            "m ← β₁ m + (1 − β₁) g",
            "v ← β₂ v + (1 − β₂) g²",
            "w = v",
            "m̂ = m / (1 − β₁ᵗ)",
            "θ ← θ − η m̂ / (√ŵ + ε)",
        ],
    ),
    "RMSprop": (
        RMSPROP,
        rmsprop_steps,
        [
            DECAY,
            "v ← α v + (1 − α) g²",
            "m ← α m + (1 − α) g",
            "u = g / (√w + ε)",
            "b ← μ b + u",
            "θ ← θ − η u",
        ],
    ),
}
for docstring, check, equations in TESTED.values():
    for equation in equations:
        docstring.equation(equation)(check)


@pytest.mark.parametrize("name", TESTED)
def test_equations_give_the_updates_of_the_code(name: str) -> None:
    docstring, _, (first, *_) = TESTED[name]
    docstring.check(first)  # all of them make the one update


@pytest.mark.parametrize("name", TESTED)
def test_every_equation_of_the_docstring_is_tested(name: str) -> None:
    docstring, *_ = TESTED[name]
    assert docstring.numbered() == set(docstring.tested)

"""Every numbered equation in the docstrings of the other layers, in NumPy as it stands, gives the code's numbers."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from scratch import nn
from scratch.nn import dropout, embedding, linear, loss
from scratch.nn.utils import clip_grad_norm_
from tests.scratch.nn.equations import Docstring
from tests.scratch.textbook.equations import assert_close

N, I, O, V, C = 7, 4, 5, 6, 3
Said = Iterator[tuple[str, Any, Any]]
"""An equation, what it says, and what the code computes."""
normal = np.random.default_rng(1).standard_normal


def of_dropout() -> Said:
    module, p, x, d_y = nn.Dropout(0.3, rng=2), 0.3, normal((N, I)), normal((N, I))
    y, d_x, u, m = module(x), module.backward(d_y), np.random.default_rng(2).random((N, I)), module.mask
    yield "m = [u ≥ p] / (1 − p)", np.where(u >= p, 1, 0) / (1 - p), m
    yield "y = m ⊙ x", m * x, y
    yield "d_x = m ⊙ d_y", m * d_y, d_x


def of_linear() -> Said:
    module, x, d_y = nn.Linear(I, O, dtype=np.float64, rng=0), normal((N, I)), normal((N, O))
    y, d_x, W, b = module(x), module.backward(d_y), module.weight.data, module.bias.data
    yield "y = x Wᵀ + b", x @ W.T + b, y
    yield "d_x = d_y W", d_y @ W, d_x
    yield "d_W = d_yᵀ x", d_y.T @ x, module.weight.grad
    yield "d_W = d_yᵀ x", sum(np.outer(d_y[n], x[n]) for n in range(N)), module.weight.grad
    yield "d_b = Σ_rows d_y", sum(d_y), module.bias.grad


def of_embedding() -> Said:
    module, k, d_y = nn.Embedding(V, I, dtype=np.float64, rng=0), np.array([4, 0, 4, 1, 3, 0, 4]), normal((N, I))
    y, W = module(k), module.weight.data
    module.backward(d_y)
    yield "y_n = W[k_n]", [W[k[n]] for n in range(N)], y
    yield "y_n = W[k_n]", np.eye(V)[k] @ W, y  # the product of a one-hot matrix with W
    sums = [sum((d_y[n] for n in range(N) if k[n] == row), np.zeros(I)) for row in range(V)]
    yield "d_W[k] = Σ_{n: k_n = k} d_y_n", sums, module.weight.grad


def of_cross_entropy() -> Said:
    """Weighted classes, smoothed labels, and one target that is ignored."""
    rng, epsilon, d_loss = np.random.default_rng(5), 0.2, 1.7
    w, x, y = rng.uniform(0.5, 2, C), 5 * rng.standard_normal((N, C)), rng.integers(C, size=N)
    y[-1] = -1

    def classified(reduction: str, d_loss: Any) -> tuple[Any, Any]:
        module = nn.CrossEntropyLoss(weight=w, ignore_index=-1, reduction=reduction, label_smoothing=epsilon)
        value, d_x = module(x, y), module.backward(d_loss)
        assert not d_x[-1].any()
        return value, d_x[:-1]

    (mean, d_x), (total, _), (losses, _) = (
        classified("mean", d_loss),
        classified("sum", 1),
        classified("none", normal(N)),
    )
    X, Y = x[:-1], y[:-1]
    m = X.max(axis=1, keepdims=True)
    log_p = X - m - np.log(np.exp(X - m).sum(axis=1, keepdims=True))
    q = (1 - epsilon) * w[Y][:, None] * (Y[:, None] == np.arange(C)) + epsilon * w / C
    sums = q.sum(axis=1, keepdims=True)
    for j in range(C):  # with targets of the one class j alone, no weights and no smoothing, the loss is −log p_j
        said = -nn.CrossEntropyLoss(reduction="none")(X, np.full(len(X), j))
        yield "log p = x − m − log Σ_j exp(x_j − m)", log_p[:, j], said
    # The gradient of a single loss is p Σ q − q, and p is 1 / C if all logits are equal.
    module = nn.CrossEntropyLoss(weight=w, reduction="none", label_smoothing=epsilon)
    module(np.zeros((len(Y), C)), Y)
    d_zeros = module.backward(np.ones(len(Y)))
    yield "q_j = (1 − ε) w_y [j = y] + ε w_j / C", sums / C - q, d_zeros
    yield "ℓ = −Σ_j q_j log p_j", -(q * log_p).sum(axis=1), losses[:-1]
    yield "L = Σ_n ℓ_n / Σ_n w_{y_n}", losses.sum() / w[Y].sum(), mean
    yield "L = Σ_n ℓ_n / Σ_n w_{y_n}", losses.sum(), total
    d_losses = d_loss / w[Y].sum()  # the same gradient, if each loss is given this as its own
    yield "d_ℓ = d_L / Σ_n w_{y_n}", classified("none", np.full(N, d_losses))[1], d_x
    yield "d_x_j = d_ℓ (p_j Σ_i q_i − q_j)", d_losses * (np.exp(log_p) * sums - q), d_x


def of_squared_error() -> Said:
    x, t, single, mean = normal((N, I)), normal((N, I)), nn.MSELoss("none"), nn.MSELoss()
    yield "ℓ = (x − t)²", (x - t) ** 2, single(x, t)
    yield "L = Σ ℓ / N", ((x - t) ** 2).sum() / x.size, mean(x, t)
    yield "d_x = 2 (x − t) d_ℓ", 2 * (x - t) * (1.7 / x.size), mean.backward(1.7)


def of_clipping() -> Said:
    g_1, g_2 = normal((O, I)), normal(O)
    one, other = nn.Parameter(np.zeros((O, I))), nn.Parameter(np.zeros(O))
    for order, max_norm in ((1, 0.1), (2, 0.1), (2, 1e6), (3, 0.1), (np.inf, 0.1)):
        one.grad, other.grad = g_1, g_2
        n = clip_grad_norm_([one, other], max_norm, order)
        norms = [np.linalg.norm(g.ravel(), order) for g in (g_1, g_2)]
        yield "n = ‖(‖g₁‖, ‖g₂‖, …)‖", np.linalg.norm(norms, order), n
        yield "g ← g · min(1, max_norm / (n + 10⁻⁶))", g_1 * min(1, max_norm / (n + 1e-6)), one.grad


SAYS: dict[str, tuple[Any, list[Callable[[], Said]]]] = {
    "dropout": (dropout, [of_dropout]),
    "linear": (linear, [of_linear]),
    "embedding": (embedding, [of_embedding]),
    "loss": (loss, [of_cross_entropy, of_squared_error]),
    "clipping": (clip_grad_norm_, [of_clipping]),
}


@pytest.mark.parametrize("name", SAYS)
def test_every_equation_of_the_docstring_gives_the_numbers_of_the_code(name: str) -> None:
    documented, generators = SAYS[name]
    tested = set()
    for generator in generators:
        for equation, said, computed in generator():
            assert_close(said, computed)
            tested.add(equation)
    assert tested == Docstring(documented.__doc__).numbered()

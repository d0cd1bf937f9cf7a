"""Every numbered equation in the docstrings of the other layers, in NumPy as it stands, gives the code's numbers."""

import re
from typing import Any

import numpy as np
import pytest

from scratch import nn
from scratch.nn import bptt, dropout, embedding, gru, linear, loss, lstm, rnn
from scratch.nn.utils import clip_grad_norm_
from tests.scratch.nn import test_core_page
from tests.scratch.nn.equations import Docstring
from tests.scratch.textbook import test_gru_page, test_lstm_page, test_rnn_page

DROPOUT, LINEAR, EMBEDDING, LOSS = (Docstring(module.__doc__) for module in (dropout, linear, embedding, loss))
CLIPPING = Docstring(clip_grad_norm_.__doc__)
N, I, O, V, C = 7, 4, 5, 6, 3  # noqa: E741


def dropped() -> Any:
    rng = np.random.default_rng(1)
    module, p = nn.Dropout(0.3, rng=2), 0.3
    x, d_y = rng.standard_normal((2, N, I))
    return module, p, x, d_y, module(x), module.backward(d_y)


@DROPOUT.equation("m = [u ≥ p] / (1 − p)")
def mask():
    module, p, *_ = dropped()
    u = np.random.default_rng(2).random((N, I))
    yield np.where(u >= p, 1, 0) / (1 - p), module.mask


@DROPOUT.equation("y = m ⊙ x")
def dropout_forward():
    module, _, x, _, y, _ = dropped()
    yield module.mask * x, y


@DROPOUT.equation("d_x = m ⊙ d_y")
def dropout_backward():
    module, _, _, d_y, _, d_x = dropped()
    yield module.mask * d_y, d_x


def multiplied() -> Any:
    rng = np.random.default_rng(3)
    module = nn.Linear(I, O, dtype=np.float64, rng=rng)
    x, d_y = rng.standard_normal((N, I)), rng.standard_normal((N, O))
    return module, x, d_y, module(x), module.backward(d_y)


@LINEAR.equation("y = x Wᵀ + b")
def linear_forward():
    module, x, _, y, _ = multiplied()
    yield x @ module.weight.data.T + module.bias.data, y


@LINEAR.equation("d_x = d_y W")
def linear_d_x():
    module, _, d_y, _, d_x = multiplied()
    yield d_y @ module.weight.data, d_x


@LINEAR.equation("d_W = d_yᵀ x")
def linear_d_weight():
    module, x, d_y, _, _ = multiplied()
    yield d_y.T @ x, module.weight.grad
    yield sum(np.outer(d_y[n], x[n]) for n in range(N)), module.weight.grad


@LINEAR.equation("d_b = Σ_rows d_y")
def linear_d_bias():
    module, _, d_y, _, _ = multiplied()
    yield sum(d_y[n] for n in range(N)), module.bias.grad


def looked_up() -> Any:
    rng = np.random.default_rng(4)
    module = nn.Embedding(V, I, dtype=np.float64, rng=rng)
    k, d_y = rng.integers(V - 1, size=N), rng.standard_normal((N, I))
    y = module(k)
    module.backward(d_y)
    assert len(set(k)) < N
    return module, k, d_y, y


@EMBEDDING.equation("y_n = W[k_n]")
def embedding_forward():
    module, k, _, y = looked_up()
    for n in range(N):
        yield module.weight.data[k[n]], y[n]
    yield np.eye(V)[k] @ module.weight.data, y  # the product of a one-hot matrix with W


@EMBEDDING.equation("d_W[k] = Σ_{n: k_n = k} d_y_n")
def embedding_backward():
    module, k, d_y, _ = looked_up()
    yield [sum((d_y[n] for n in range(N) if k[n] == row), np.zeros(I)) for row in range(V)], module.weight.grad


def classified(reduction: str = "mean", d_loss: Any = 1.7) -> Any:
    """Weighted classes, smoothed labels, and one target that is ignored: what is left of logits and targets."""
    rng = np.random.default_rng(5)
    w, epsilon = rng.uniform(0.5, 2, C), 0.2
    module = nn.CrossEntropyLoss(weight=w, ignore_index=-1, reduction=reduction, label_smoothing=epsilon)
    x, y = 5 * rng.standard_normal((N, C)), rng.integers(C, size=N)
    value = module(x, np.append(y[:-1], -1))
    d_x = module.backward(d_loss)
    assert not d_x[-1].any()
    x, y = x[:-1], y[:-1]
    m = x.max(axis=1, keepdims=True)
    log_p = x - m - np.log(np.exp(x - m).sum(axis=1, keepdims=True))
    q = (1 - epsilon) * w[y][:, None] * (y[:, None] == np.arange(C)) + epsilon * w / C
    return x, y, w, log_p, q, value, d_x[:-1]


@LOSS.equation("log p = x − m − log Σ_j exp(x_j − m)")
def log_softmax():
    """With targets of the one class j alone, no weights and no smoothing, the loss is −log p_j."""
    x, _, _, log_p, _, _, _ = classified()
    for j in range(C):
        yield log_p[:, j], -nn.CrossEntropyLoss(reduction="none")(x, np.full(len(x), j))


@LOSS.equation("q_j = (1 − ε) w_y [j = y] + ε w_j / C")
def target_distribution():
    """The gradient of a single loss is p Σ q − q, and p is 1 / C if all logits are equal."""
    _, y, w, _, q, _, _ = classified()
    module = nn.CrossEntropyLoss(weight=w, reduction="none", label_smoothing=0.2)
    module(np.zeros((len(y), C)), y)
    d_x = module.backward(np.ones(len(y)))
    yield q.sum(axis=1, keepdims=True) / C - q, d_x


@LOSS.equation("ℓ = −Σ_j q_j log p_j")
def cross_entropy():
    _, _, _, log_p, q, losses, _ = classified("none", np.ones(N))
    yield -(q * log_p).sum(axis=1), losses[:-1]


@LOSS.equation("L = Σ_n ℓ_n / Σ_n w_{y_n}")
def mean_cross_entropy():
    _, y, w, log_p, q, value, _ = classified()
    losses = -(q * log_p).sum(axis=1)
    yield losses.sum() / w[y].sum(), value
    yield losses.sum(), classified("sum")[5]


@LOSS.equation("d_ℓ = d_L / Σ_n w_{y_n}")
def d_losses():
    """The same gradient, if each loss is given this as its own."""
    _, y, w, *_, d_x = classified()
    yield classified("none", np.full(N, 1.7 / w[y].sum()))[-1], d_x


@LOSS.equation("d_x_j = d_ℓ (p_j Σ_i q_i − q_j)")
def d_logits():
    _, y, w, log_p, q, _, d_x = classified()
    yield 1.7 / w[y].sum() * (np.exp(log_p) * q.sum(axis=1, keepdims=True) - q), d_x


def squared(reduction: str = "mean", d_loss: Any = 1.7) -> Any:
    rng = np.random.default_rng(6)
    x, t = rng.standard_normal((2, N, I))
    module = nn.MSELoss(reduction)
    return x, t, module(x, t), module.backward(d_loss)


@LOSS.equation("ℓ = (x − t)²")
def squared_errors():
    x, t, losses, _ = squared("none", np.ones((N, I)))
    yield (x - t) ** 2, losses


@LOSS.equation("L = Σ ℓ / N")
def mean_squared_error():
    x, t, value, _ = squared()
    yield ((x - t) ** 2).sum() / (N * I), value


@LOSS.equation("d_x = 2 (x − t) d_ℓ")
def d_squared_error():
    x, t, _, d_x = squared()
    yield 2 * (x - t) * (1.7 / (N * I)), d_x


@CLIPPING.equation("n = ‖(‖g₁‖, ‖g₂‖, …)‖")
def norm_of_norms():
    for order in 1, 2, 3, np.inf:
        module, *_ = multiplied()
        norms = [np.linalg.norm(parameter.grad.ravel(), order) for parameter in module.parameters()]
        yield np.linalg.norm(norms, order), clip_grad_norm_(module.parameters(), 1.0, order)


@CLIPPING.equation("g ← g · min(1, max_norm / (n + 10⁻⁶))")
def clipped():
    for max_norm in 0.1, 1e6:
        module, *_ = multiplied()
        before = module.weight.grad
        n = clip_grad_norm_(module.parameters(), max_norm)
        yield before * min(1, max_norm / (n + 1e-6)), module.weight.grad


DOCSTRINGS = {"dropout": DROPOUT, "linear": LINEAR, "embedding": EMBEDDING, "loss": LOSS, "clipping": CLIPPING}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, each in DOCSTRINGS.items() for text in each.tested])
def test_equation_gives_the_numbers_of_the_code(name: str, text: str) -> None:
    DOCSTRINGS[name].check(text)


@pytest.mark.parametrize("name", DOCSTRINGS)
def test_every_equation_of_the_docstring_is_tested(name: str) -> None:
    assert DOCSTRINGS[name].numbered() == set(DOCSTRINGS[name].tested)


@pytest.mark.parametrize(
    ("module", "page"),
    [(rnn, test_rnn_page), (lstm, test_lstm_page), (gru, test_gru_page), (bptt, test_core_page)],
    ids=["rnn", "lstm", "gru", "bptt"],
)
def test_the_numbers_of_the_code_are_numbers_of_the_page(module: Any, page: Any) -> None:
    numbers = re.findall(r"\((T?\d)\)", module.__doc__)
    assert numbers
    assert set(numbers) <= {*page.PAGE.numbered(), "T3"}  # an LSTM's file speaks of its projection

"""The models that are studied: how their weights are drawn, and that the network's gradients are those of its loss."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratch import nn, optim
from scratch.study.memory import MODELS
from scratch.study.models import Model, Network

seeds = st.integers(0, 2**32 - 1)


@given(st.floats(0.01, 10), st.integers(1, 12), st.booleans(), st.floats(-3, 3), seeds)
def test_only_what_is_named_is_drawn_in_another_way(
    radius: float, H: int, orthogonal: bool, bias: float, seed: int
) -> None:
    with pytest.raises(ValueError, match="forget"):
        Model("", "RNN tanh", bias).build(2, 3, seed)
    plain = Model("", "LSTM").build(3, H, seed).state_dict()
    other = Model("", "LSTM", bias, radius, orthogonal).build(3, H, seed).state_dict()
    assert np.array_equal(plain["weight_ih_l0"], other["weight_ih_l0"])
    for W in other["weight_hh_l0"].reshape(4, H, H):
        assert np.isclose(np.abs(np.linalg.eigvals(W)).max(), radius, rtol=1e-10)
        is_orthogonal = np.allclose(W @ W.T, radius**2 * np.eye(H), rtol=0, atol=1e-12 * radius**2)
        assert is_orthogonal or (not orthogonal and np.linalg.norm(W, 2) >= radius * (1 - 1e-10))
    for name in ("bias_ih_l0", "bias_hh_l0"):
        rows, others = other[name].reshape(4, H), np.delete(plain[name].reshape(4, H), 1, axis=0)
        assert np.array_equal(rows[1], np.full(H, bias if name == "bias_ih_l0" else 0))
        assert np.array_equal(np.delete(rows, 1, axis=0), others)


@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.CrossEntropyLoss()], ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("answers", [None, 1, 3])
@pytest.mark.parametrize("model", MODELS[::2], ids=lambda model: model.name)
def test_gradients_are_those_of_the_loss(model: Model, criterion: Any, answers: int | None) -> None:
    """Along a random direction, by central differences, which lose half of the digits. SGD takes that very step."""
    rng = np.random.default_rng(0)
    network = Network(model.build(2, 5, rng), 3, criterion, answers, rng)
    x, shape = rng.standard_normal((4, 2, 2)), (answers or 4, 2)
    y = rng.standard_normal((*shape, 3)) if isinstance(criterion, nn.MSELoss) else rng.integers(0, 3, shape)
    parameters = network.parameters()
    before = [p.data.copy() for p in parameters]
    loss, norm = network.update(optim.SGD(parameters, lr=0.1), x, y, max_norm=0.01)
    g = [p.grad * norm / 0.01 for p in parameters]  # as they were before they were clipped
    assert norm == pytest.approx(np.sqrt(sum((each**2).sum() for each in g)), rel=1e-5)
    for p, data, each in zip(parameters, before, g, strict=True):
        assert np.allclose(p.data, data - 0.1 * 0.01 / norm * each, rtol=1e-5, atol=1e-12)

    direction = [rng.standard_normal(data.shape) for data in before]

    def moved(by: float) -> float:
        for p, data, each in zip(parameters, before, direction, strict=True):
            p.data = data + by * each
        return network.loss(x, y)

    slope = sum(float((each * d).sum()) for each, d in zip(g, direction, strict=True))
    assert moved(0) == loss
    assert (moved(1e-5) - moved(-1e-5)) / 2e-5 == pytest.approx(slope, rel=1e-5)

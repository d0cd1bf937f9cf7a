"""A backward pass of a model made of modules that is interrupted between two of them."""

import copy
from typing import Any

import numpy as np
import pytest

from scratch import nn
from scratch.forecast.model import Forecaster
from scratch.nn import Module
from scratch.text.model import CharacterModel

rng = np.random.default_rng(0)
INTERRUPTED = {
    "Sequential": (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), nn.Tanh, (5, 3)),
    "a chain in a chain": (nn.Sequential(nn.Sequential(nn.Tanh(), nn.Linear(3, 4)), nn.Linear(4, 2)), nn.Tanh, (5, 3)),
    "Forecaster": (Forecaster(2, 4), nn.LSTM, (3, 6, 1)),
    "CharacterModel": (CharacterModel("LSTM", 3, 4, embedding_size=2), nn.Embedding, None),
}


def interrupt(*arguments: Any, **options: Any) -> None:
    """As Ctrl-C does."""
    raise KeyboardInterrupt


@pytest.mark.parametrize(("model", "at", "shape"), INTERRUPTED.values(), ids=INTERRUPTED)
def test_an_interrupted_backward_pass_leaves_no_call_half_undone(
    model: Any, at: type[Module], shape: tuple[int, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [
        rng.integers(0, 3, (2, 5)) if shape is None else rng.standard_normal(shape).astype(np.float32) for _ in range(2)
    ]
    fresh = copy.deepcopy(model)
    output, _ = (np.asarray(output[0] if shape is None else output) for output in map(model, inputs))
    d_output = rng.standard_normal(output.shape).astype(np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(at, "backward", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.backward(d_output)
    with pytest.raises(RuntimeError, match="undone yet"):
        model.backward(d_output)
    model.zero_grad()
    for each in (model, fresh):
        each(inputs[0])
        each.backward(d_output)
    for ours, expected in zip(model.parameters(), fresh.parameters(), strict=True):
        np.testing.assert_array_equal(ours.grad, expected.grad)


def test_what_the_first_module_refuses_can_be_given_again() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    output = model(np.ones((5, 3), np.float32))
    with pytest.raises(RuntimeError, match="expected d_output of"):
        model.backward(output[:1])
    assert model.backward(output).shape == (5, 3)

"""Weights go to PyTorch and back without losing a bit."""

import numpy as np
import pytest
import torch

from reference import models, weights
from scratch import nn, text
from scratch.types import Array
from tests.strategies import MODULES


def same(one: dict[str, Array], other: dict[str, Array]) -> bool:
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cell", MODULES)
def test_round_trip_is_exact(cell: str, dtype: type) -> None:
    ours = text.CharacterModel(cell, 5, 7, num_layers=2, dtype=dtype, rng=0)
    theirs = models.CharacterModel(cell, 5, 7, num_layers=2, dtype=weights.torch_dtype(np.dtype(dtype)))
    back = text.CharacterModel(cell, 5, 7, num_layers=2, dtype=dtype, rng=1)
    weights.to_torch(ours, theirs)
    weights.from_torch(theirs, back)
    assert same({name: value.numpy() for name, value in theirs.state_dict().items()}, ours.state_dict())
    assert same(back.state_dict(), ours.state_dict())
    with torch.no_grad():
        theirs.fc.bias += 1
    assert same(back.state_dict(), ours.state_dict()), "the copies share no memory"


@pytest.mark.parametrize("target", [nn.LSTM(3, 5), nn.LSTM(3, 4, bias=False), nn.LSTM(3, 4, dtype=np.float64)])
def test_what_does_not_fit_is_refused_and_nothing_copied(target: nn.LSTM) -> None:
    before = target.state_dict()
    with pytest.raises(RuntimeError):
        weights.from_torch(torch.nn.LSTM(3, 4), target)
    assert same(target.state_dict(), before)

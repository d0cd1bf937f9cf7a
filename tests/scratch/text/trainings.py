"""Small trainings of every kind, and how two of them are compared."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from reference.models import CharacterModel
from reference.weights import to_torch
from scratch.text import Checkpoint, Settings, Training
from scratch.text.checkpoint import arrays_of, header
from scratch.text.settings import MOMENTUM, OPTIMIZERS
from scratch.types import Array
from tests.strategies import MODULES

TEXT = "the quick brown fox jumps over the lazy dog. " * 3
TEXTS = st.text("abc \né🙂", min_size=4, max_size=90)


@st.composite
def all_settings(draw: st.DrawFn, **fixed: Any) -> Settings:
    """Settings of small models; those in `fixed` are as they are given."""
    optimizer = draw(st.sampled_from(sorted(OPTIMIZERS)))
    drawn: dict[str, st.SearchStrategy[Any]] = {
        "cell": st.sampled_from(MODULES),
        "hidden_size": st.integers(1, 5),
        "num_layers": st.integers(1, 3),
        "embedding_size": st.integers(0, 3),
        "dropout": st.sampled_from([0.0, 0.4]),
        "dtype": st.sampled_from(["float32", "float64"]),
        "optimizer": st.just(optimizer),
        "learning_rate": st.just(OPTIMIZERS[optimizer]),
        "learning_rate_decay": st.sampled_from([1.0, 0.5]),
        "momentum": st.sampled_from([0.0, 0.9]) if optimizer in MOMENTUM else st.just(0.0),
        "weight_decay": st.sampled_from([0.0, 0.01]),
        "clip": st.sampled_from([0.1, 5.0, np.inf]),
        "batch_size": st.integers(1, 4),
        "length": st.integers(1, 9),
        "held_out": st.just(0.2),
        "seed": st.integers(0, 9),
    }
    return Settings(**{name: draw(strategy) for name, strategy in drawn.items() if name not in fixed}, **fixed)


def advanced(settings: Settings, text: str, steps: int) -> Training:
    """A training after so many steps."""
    training = Training(settings, text)
    for _ in range(steps):
        training.advance()
    return training


def assert_same_bits(one: Checkpoint, other: Checkpoint) -> None:
    """Everything is equal, each array bit by bit, but for the time that it took."""
    ours, theirs = (
        {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays_of(each).items()}
        for each in (one, other)
    )
    assert ours == theirs
    assert header(one._replace(seconds=0.0)) == header(other._replace(seconds=0.0))


def in_pytorch(ours: Any, settings: Settings) -> CharacterModel:
    """The same model in PyTorch, in float64."""
    sizes = (settings.hidden_size, settings.num_layers, settings.embedding_size)
    theirs = CharacterModel(settings.cell, ours.fc.bias.data.size, *sizes, dtype=torch.float64)
    to_torch(ours, theirs)
    return theirs


def as_arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def train_in_pytorch(
    settings: Settings, model: Any, optimizer: Any, indices: Array, state: Any = None, first: int = 0
) -> Iterator[float]:
    """Train, from step `first` on, as somebody would who knows PyTorch alone. Yields the loss of each step."""
    text, B, T = torch.from_numpy(indices), settings.batch_size, settings.length
    n = (len(text) - 1) // B
    for step in count(first):
        epoch, segment = divmod(step, -(-n // T))
        places = torch.arange(segment * T, min(segment * T + T, n)) + n * torch.arange(B)[:, None]  # B, T
        logits, state = model(text[places], state if segment else None)
        state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), text[places + 1].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * settings.learning_rate_decay**epoch
        optimizer.step()
        yield loss.item()

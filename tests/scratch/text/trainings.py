"""Small trainings of every kind, and how two of them are compared."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from scratch.text import Checkpoint, Settings, Training
from scratch.text.checkpoint import arrays_of
from scratch.text.settings import MOMENTUM, OPTIMIZERS
from tests.strategies import MODULES

TEXTS = st.text("abc \né🙂", min_size=4, max_size=90)

COMPLETE = {"SGD": 0.5, "Adagrad": 0.01, "RMSprop": 0.002, "Adam": 0.002, "AdamW": 0.002}
"""Learning rates at which nothing diverges."""


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
        "learning_rate": st.just(COMPLETE[optimizer]),
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
    plain = [checkpoint._replace(model={}, optimizer={}, state={}, losses=None, validations=None, seconds=0.0)
             for checkpoint in (one, other)]  # fmt: skip
    assert plain[0] == plain[1]
    ours, theirs = arrays_of(one), arrays_of(other)
    assert sorted(ours) == sorted(theirs)
    for name in ours:
        assert (ours[name].dtype, ours[name].shape) == (theirs[name].dtype, theirs[name].shape), name
        assert ours[name].tobytes() == theirs[name].tobytes(), name

"""Settings and limits: through JSON and back, and nothing wrong is taken."""

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratch import optim
from scratch.text import Settings
from scratch.text.settings import CELLS, OPTIMIZERS, Limits

from .trainings import all_settings

NUMBERS = st.floats(0, 1e300, exclude_min=True)
LIMITS = st.builds(Limits, st.none() | st.integers(1), st.none() | NUMBERS, st.none() | NUMBERS).filter(any)

WRONG: dict[str, list[Any]] = {
    "cell": ["lstm", "Module", "RNNCell", 1],
    "dtype": ["float16", "complex128", np.float32],
    "optimizer": ["adam", "Optimizer", None],
    **{key: [0, -1, 1.0, True, "1"] for key in ["hidden_size", "num_layers", "batch_size", "length", "validate_every"]},
    **{key: [-1, 1.0, None] for key in ["embedding_size", "seed"]},
    **{key: [-1.0, np.nan, np.inf, "1", None, True] for key in ["learning_rate", "weight_decay"]},
    **{key: [-0.1, 1.0, np.nan] for key in ["dropout", "momentum"]},
    "learning_rate_decay": [-0.1, 1.1, np.nan, np.inf],
    "clip": [0.0, -1.0, np.nan, -np.inf, "inf"],
    "held_out": [0.0, 1.0, -1, np.nan],
}


def from_options(options: dict[str, Any]) -> Settings:
    return Settings(**options)


NO_LIMITS: dict[str, Any] = dict.fromkeys(Limits._fields)
NO_NUMBERS = [0, -1, np.nan, np.inf, -np.inf, "1", True, False]
REFUSED: list[tuple[Callable[[Any], Any], Any, str]] = [
    *((from_options, {"optimizer": "SGD", name: value}, name) for name, values in WRONG.items() for value in values),
    *((from_options, {"optimizer": name, "momentum": 0.5}, "momentum") for name in ("Adam", "AdamW", "Adagrad")),
    *((Settings.of, each, "names") for each in (None, [], {}, Settings().as_dict() | {"x": 1}, {"cell": "LSTM"})),
    *((Limits.of, NO_LIMITS | {name: value}, name) for name in Limits._fields for value in NO_NUMBERS),
    *((Limits.of, each, "limit") for each in (NO_LIMITS, {}, None, NO_LIMITS | {"hours": 1})),
]


@pytest.mark.parametrize(("taken_by", "values", "named"), REFUSED)
def test_what_is_wrong_missing_or_unknown_is_refused_by_name(
    taken_by: Callable[[Any], Any], values: Any, named: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=named):
        taken_by(values)


def test_every_setting_is_checked_and_every_choice_is_one_of_the_library() -> None:
    assert WRONG.keys() == {field.name for field in fields(Settings)}
    assert {"RNN", "LSTM"} <= set(CELLS)
    assert OPTIMIZERS.keys() == set(optim.__all__) - {"Optimizer"}


@given(LIMITS, st.integers(0, 10**6), NUMBERS, NUMBERS)
def test_the_first_limit_that_is_reached_ends_a_training(
    limits: Limits, steps: int, epochs: float, minutes: float
) -> None:
    now = (steps, epochs, minutes)
    reached = [value >= limit for value, limit in zip(now, limits, strict=True) if limit is not None]
    done = limits.done(*now)
    assert 0 <= done <= 1
    assert (done == 1) == any(reached) or done > 1 - 1e-15  # or all but rounding
    assert Limits.of(json.loads(json.dumps(limits._asdict(), allow_nan=False))) == limits


@given(all_settings())
def test_the_optimizer_and_the_model_are_as_the_settings_say(settings: Settings) -> None:
    model = settings.model(4)
    optimizer = settings.optimizer_of(model)
    assert type(optimizer) is getattr(optim, settings.optimizer)
    options = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay, "momentum": settings.momentum}
    assert {name: optimizer.defaults.get(name, 0.0) for name in options} == options
    assert (model.rnn.hidden_size, model.rnn.num_layers) == (settings.hidden_size, settings.num_layers)
    assert model.dropout.p == settings.dropout
    assert model.rnn.dropout == (settings.dropout if settings.num_layers > 1 else 0)
    assert {str(parameter.data.dtype) for parameter in model.parameters()} == {settings.dtype}
    again = Settings.of(json.loads(json.dumps(settings.as_dict(), allow_nan=False)))
    assert again == settings
    np.testing.assert_equal(model.state_dict(), again.model(4).state_dict())
    assert [settings.learning_rate_at(epoch) for epoch in (0, 2)] == [
        settings.learning_rate * settings.learning_rate_decay**epoch for epoch in (0, 2)
    ]

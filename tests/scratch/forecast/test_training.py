"""The forecaster's gradient, its training, and the comparison on a series."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.equivalence import assert_close
from reference.weights import to_torch
from scratch.forecast import Comparison, Forecaster, Recipe, Series, compare, rmse, train, windows_of

sizes = st.integers(1, 5)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32),
    batch=sizes,
    window=st.integers(1, 9),
    horizon=sizes,
    hidden=st.integers(2, 8),  # of one alone all terms of a gradient may happen to cancel, and with them its digits
    layers=st.integers(1, 3),
)
def test_gradients_match_pytorch(seed: int, batch: int, window: int, horizon: int, hidden: int, layers: int) -> None:
    rng = np.random.default_rng(seed)
    model = Forecaster(horizon, hidden, layers, np.float64, rng)
    lstm = torch.nn.LSTM(1, hidden, layers, batch_first=True, dtype=torch.float64)
    plain = torch.nn.ModuleDict({"lstm": lstm, "fc": torch.nn.Linear(hidden, horizon, dtype=torch.float64)})
    to_torch(model, plain)
    x, d_y = rng.normal(size=(batch, window, 1)), rng.normal(size=(batch, horizon))
    x_torch = torch.from_numpy(x).requires_grad_()
    y_torch = plain["fc"](lstm(x_torch)[0][:, -1])
    y_torch.backward(torch.from_numpy(d_y))
    y = model(x)
    d_x = model.backward(d_y)
    ours = {"output": y, "d_input": d_x, **{name: p.grad for name, p in model.named_parameters()}}
    theirs = {"output": y_torch.detach(), "d_input": x_torch.grad, **{n: p.grad for n, p in plain.named_parameters()}}
    assert_close(ours, {name: tensor.numpy() for name, tensor in theirs.items()})
    assert np.array_equal(model.predict(x), y)
    with pytest.raises(RuntimeError, match="forward"):
        model.backward(d_y)  # to forecast leaves nothing to undo


QUICK = Recipe(epochs=60, patience=60, batch_size=16, learning_rate=0.02)
TIMES = np.arange(200)
SINE = Series("sine", 100 + 10 * np.sin(2 * np.pi * TIMES / 17.3), "t", tuple(map(str, TIMES)))


def quick(series: Series = SINE, epochs: int = 2, **options: Any) -> Comparison:
    sizes = {"window": 8, "horizon": 3, "hidden_size": 8, "runs": 2}
    return compare(series, recipe=replace(QUICK, epochs=epochs), **sizes | options)


def test_sine_is_learned_far_better_than_the_baselines() -> None:
    found = quick(epochs=60)
    for run in found.lstm:
        assert rmse(run, found.truth) < 0.15 * found.best_baseline("RMSE")[1]
    for measure in ("RMSE", "MAE"):
        assert "beats the best baseline" in found.verdict(measure) and "both runs" in found.verdict(measure)
        assert found.lost_steps(measure) == []
    truth = 100 + 10 * np.sin(2 * np.pi * np.arange(200, 203) / 17.3)
    assert rmse(found.future, truth) < 2, "the values after the end, in the unit of the series"


@pytest.mark.parametrize(("difference", "lag"), [(None, 0), (1, 1), ("season", 17)])
def test_forecasts_are_of_the_rows_named(difference: str | int | None, lag: int) -> None:
    found = quick(difference=difference)
    assert found.difference == lag
    rows = found.origins[:, None] + np.arange(3)
    assert np.array_equal(found.truth, found.series.values[rows])
    assert (rows.min(), rows.max()) == (found.parts.test.start, 199)
    assert found.lstm.shape == (2, *rows.shape)
    assert found.future.shape == (2, 3)


def test_later_values_change_nothing_that_was_learned() -> None:
    first, changed = quick(), SINE.values.copy()
    changed[first.parts.test.start :] *= 3
    second = quick(replace(SINE, values=changed))
    assert (first.standard, first.season, first.histories) == (second.standard, second.season, second.histories)
    for one, other in zip(first.models, second.models, strict=True):
        np.testing.assert_equal(one.state_dict(), other.state_dict())

    changed[first.parts.validation.start :] *= 2
    third = quick(replace(SINE, values=changed))
    assert (first.standard, first.season) == (third.standard, third.season)
    assert [h.training for h in first.histories] == [h.training for h in third.histories]
    assert [h.validation for h in first.histories] != [h.validation for h in third.histories]


def test_same_seed_gives_the_same_bits() -> None:
    first, again, other = (quick(seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.lstm, again.lstm) and np.array_equal(first.future, again.future)
    assert not np.array_equal(first.lstm, other.lstm)
    assert not np.array_equal(first.lstm[0], first.lstm[1]), "the runs differ"


def test_weights_of_the_best_epoch_are_kept() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=60)  # noise: what is learned soon fits the training part alone
    learned, watched = windows_of(values, range(40), 4, 1), windows_of(values, range(40, 60), 4, 1)
    model, epochs = Forecaster(1, 16, rng=rng), []
    history = train(model, learned, watched, rng, Recipe(epochs=100, patience=5, learning_rate=0.05), epochs.append)
    assert epochs == list(range(1, len(history.validation) + 1))
    assert len(epochs) == history.best_epoch + 5 < 100
    error = np.square(model.predict(watched.inputs) - watched.targets).mean()
    assert error == min(history.validation) == history.validation[history.best_epoch - 1]


def test_verdict_says_plainly_who_loses() -> None:
    found = quick()
    worse, better = found.truth + 100, found.truth + 0.001
    both_lose = replace(found, lstm=np.stack([worse, worse]))
    assert "LOSES to last value in both runs" in both_lose.verdict("RMSE").replace("seasonal naive", "last value")
    assert both_lose.lost_steps("MAE") == [1, 2, 3]
    assert "Undecided" in replace(found, lstm=np.stack([worse, better])).verdict("MAE")
    exact = replace(found, baselines={"last value": found.truth})
    assert "LOSES" in exact.verdict("RMSE"), "nothing is better than no error at all"


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.where(TIMES < 150, 5.0, SINE.values), {}, "varies, got 5"),
        (SINE.values[:10], {}, "at least"),
        (np.where(TIMES < 150, SINE.values, 1e200), {}, "magnitude"),
        (SINE.values, {"difference": 2}, "--difference 1 or 'season', got 2"),
        (SINE.values, {"season": 141}, "season from 1 to 140"),
        (SINE.values, {"season": 0}, "season"),
        (SINE.values, {"runs": 0}, "run"),
        (SINE.values, {"season": 140, "difference": "season"}, "at least"),
    ],
)
def test_series_that_cannot_be_learned_are_refused(values: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quick(replace(SINE, values=values), **options)


@pytest.mark.parametrize("count", ["epochs", "patience", "batch_size"])
def test_counts_below_one_are_refused(count: str) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        replace(QUICK, **{count: -1})


def test_a_training_that_diverges_is_refused() -> None:
    with pytest.raises(FloatingPointError, match="finite"):
        compare(SINE, runs=1, recipe=Recipe(epochs=2, learning_rate=1e38))

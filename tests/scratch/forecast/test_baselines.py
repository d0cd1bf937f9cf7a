"""Forecasts without a model, seasons and errors, beside plain computations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratch.forecast import autocorrelation, find_season, last_value, mae, rmse, seasonal_naive

seeds = st.integers(0, 2**32)


@given(seed=seeds, length=st.integers(2, 40), horizon=st.integers(1, 9), season=st.integers(1, 12))
def test_baselines_match_plain_computation(seed: int, length: int, horizon: int, season: int) -> None:
    values = np.random.default_rng(seed).normal(size=length + season)
    origins = np.arange(season, season + length)
    last, seasonal = last_value(values, origins, horizon), seasonal_naive(values, origins, horizon, season)
    for b, t in enumerate(origins):
        known = list(values[:t])
        for j in range(horizon):
            assert last[b, j] == values[t - 1]
            known.append(known[-season])  # what was forecast stands for what is not known yet
            assert seasonal[b, j] == known[-1]
    for bad in (0, -1, season + 1):
        with pytest.raises(ValueError, match=f"season from 1 to {season}"):
            seasonal_naive(values, origins, horizon, bad)


@given(seed=seeds, length=st.integers(3, 40))
def test_autocorrelation_matches_plain_computation(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=length) + rng.normal() * np.arange(length)
    rest = values - np.polyval(np.polyfit(np.arange(length), values, 1), np.arange(length))
    plain = [sum(rest[t] * rest[t + s] for t in range(length - s)) for s in range(length // 2 + 1)]
    # What is left may be small beside the values: their rounding, 1e-16 each, is what counts.
    assert np.allclose(autocorrelation(values) * (rest @ rest), plain, rtol=0, atol=1e-12 * (values @ values))
    assert np.array_equal(autocorrelation(values[:2]), [0, 0]), "two points are a straight line"


@given(seed=seeds, season=st.integers(3, 20), slope=st.floats(-0.1, 0.1), scale=st.sampled_from([1e-9, 1.0, 1e9]))
def test_season_is_found(seed: int, season: int, slope: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    t = np.arange(12 * season)
    values = np.sin(2 * np.pi * t / season + rng.uniform(0, 6)) + slope * t + 0.05 * rng.normal(size=len(t))
    assert find_season(scale * values) == season


@pytest.mark.parametrize("values", [np.arange(50.0), np.full(9, 0.1), np.array([1.0, 2.0]), np.array([1.0, -1, 3])])
def test_no_season_is_found_where_none_is(values: np.ndarray) -> None:
    assert find_season(values) is None


@given(seed=seeds, scale=st.sampled_from([1e-200, 1.0, 1e200]))
def test_errors_match_plain_computation(seed: int, scale: float) -> None:
    a, b = np.random.default_rng(seed).normal(size=(2, 3, 4, 5))
    squares, errors = np.square(a - b).mean(axis=(1, 2)), np.abs(a - b)
    assert np.allclose(rmse(scale * a, scale * b, (1, 2)) / scale, np.sqrt(squares))
    assert np.allclose(mae(scale * a, scale * b) / scale, errors.mean())
    assert rmse(a, a) == mae(a, a) == 0

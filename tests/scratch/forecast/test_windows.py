"""No look ahead: parts, windows and standardisation."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scratch.forecast import Standard, differences, split, summed, windows_of

shares = st.floats(0.01, 0.45)
sizes = st.integers(1, 12)
series = arrays(np.float64, st.integers(2, 40), elements=st.floats(-1e6, 1e6))


@given(extra=st.integers(0, 50), window=sizes, horizon=sizes, validation=shares, test=shares)
def test_windows_never_look_ahead(extra: int, window: int, horizon: int, validation: float, test: float) -> None:
    with pytest.raises(ValueError, match="at least") as caught:
        split(1, window, horizon, validation, test)
    least = int(str(caught.value).split()[3].replace(",", ""))
    with pytest.raises(ValueError, match=f"expected at least {least:,} values"):
        split(least - 1, window, horizon, validation, test)
    try:
        parts = split(least + extra, window, horizon, validation, test)
    except ValueError:
        assert extra  # rounding may take a value from a part as the series grows, but never at the length named
        return
    rows = np.arange(least + extra)
    assert np.array_equal(np.concatenate(parts), rows)
    for part in parts:
        found = windows_of(rows, part, window, horizon)
        assert np.array_equal(found.origins, np.arange(max(part.start, window), part.stop - horizon + 1))
        assert len(found.origins) > 0
        assert np.isin(found.targets, part).all()
        assert np.array_equal(found.inputs[..., 0], found.origins[:, None] + np.arange(-window, 0))
        assert np.array_equal(found.targets, found.origins[:, None] + np.arange(horizon))


BAD = [("validation", 0.0), ("test", -0.1), ("validation", np.nan), ("test", np.inf), ("window", 0), ("horizon", 0)]


@pytest.mark.parametrize("options", [*({name: value} for name, value in BAD), {"validation": 0.5, "test": 0.5}])
def test_bad_divisions_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        split(100, **{"window": 3, "horizon": 2} | options)


@given(values=series, scale=st.sampled_from([1e-100, 1, 1e100]))
def test_standardised_values_and_back(values: np.ndarray, scale: float) -> None:
    values = np.append(values, values.max() + 1) * scale
    standard = Standard.of(values)
    z = standard.apply(values)
    largest = np.abs(z).max() + abs(standard.mean / standard.deviation)  # 1 rounding each
    assert abs(z.mean()) <= 4e-16 * len(z) * largest
    assert np.isclose(z.std(), 1, rtol=1e-9)
    assert np.allclose(standard.undo(z), values, rtol=1e-14, atol=1e-14 * np.abs(values).max())


@pytest.mark.parametrize("values", [[0.1] * 7, [3.0], [1e308, -1e308], [0, 1e-320], [1e-200, 2e-200]])
def test_values_that_do_not_vary_or_cannot_be_squared_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Standard.of(np.array(values))


@given(values=series, lag=sizes, horizon=sizes, data=st.data())
def test_differences_summed_are_the_values(values: np.ndarray, lag: int, horizon: int, data: st.DataObject) -> None:
    whole = np.concatenate([np.zeros(lag), values, np.ones(horizon)])
    origins = np.array(data.draw(st.lists(st.integers(lag, len(whole) - horizon), min_size=1, max_size=5)))
    rows = origins[:, None] + np.arange(horizon)
    exact = differences(whole, lag)[rows - lag]
    known = np.where(np.arange(len(whole)) < origins.max(), whole, np.nan)  # nothing after the last origin is read
    found = summed(exact, known, origins, lag)
    assert np.allclose(found, whole[rows], rtol=0, atol=1e-9)
    assert np.array_equal(differences(whole, 0), whole) and summed(exact, whole, origins, 0) is exact

"""Made-up times give the medians, ratios and exponents that they were made with."""

from math import comb, gamma, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import statistics
from benchmarks.statistics import Spread, across, power_law, quartiles, rank, ratios

times = st.floats(1e-6, 10)
spreads = st.lists(st.sampled_from([0.5, 1.0, 2.0]) | st.floats(0.1, 10), min_size=3, max_size=3).map(
    lambda ends: Spread(sorted(ends)[1], min(ends), max(ends))
)


@given(st.lists(times, min_size=1, max_size=30), st.floats(0.1, 10), st.data())
def test_medians_lie_within_their_spread_and_ratios_are_taken_pair_by_pair(
    seconds: list[float], factor: float, data: st.DataObject
) -> None:
    drift = data.draw(st.lists(st.floats(1, 100), min_size=len(seconds), max_size=len(seconds)))
    ours = [one * slow for one, slow in zip(seconds, drift, strict=True)]
    theirs = [factor * one * slow for one, slow in zip(seconds, drift, strict=True)]
    assert ratios(theirs, ours) == pytest.approx((factor,) * 3), "what slows both of a pair drops out"
    for spread in (quartiles(seconds), ratios(seconds, [1.0] * len(seconds))):
        assert spread.median == pytest.approx(np.median(seconds))
        assert min(seconds) <= spread.low * (1 + 1e-12) and spread.high <= max(seconds) * (1 + 1e-12)
        assert spread.low <= spread.median * (1 + 1e-12) and spread.median <= spread.high * (1 + 1e-12)


def test_the_interval_over_passes_holds_the_truth_as_often_as_it_says() -> None:
    """What differs from pass to pass is far more than what differs within one, and that is what the interval tells."""
    for degrees, quantile in enumerate(statistics.STUDENT, 1):
        t = np.linspace(0, quantile, 10_001)
        density = (1 + t * t / degrees) ** (-(degrees + 1) / 2) / sqrt(degrees * pi)
        density *= gamma((degrees + 1) / 2) / gamma(degrees / 2)
        assert np.trapezoid(density, t) == pytest.approx(0.475, abs=2e-5), "Student's distribution"
    rng, runs = np.random.default_rng(3), 2000
    ratio = 1.5 * np.exp(0.1 * rng.standard_normal((runs, 3, 1)) + 0.001 * rng.standard_normal((runs, 3, 7)))
    found = [across(run.tolist()) for run in ratio]
    assert np.mean([a.overlaps(b) for a, b in zip(found[::2], found[1::2], strict=True)]) >= 0.9
    assert 0.935 < np.mean([one.low <= 1.5 <= one.high for one in found]) < 0.965
    assert all(one.low <= one.median <= one.high for one in found)


def test_the_interval_holds_the_median_with_the_confidence_that_is_told() -> None:
    for count in range(1, 60):
        k, missed = rank(count), [sum(2 * comb(count, below) for below in range(k)) / 2**count for k in range(32)]
        assert 1 <= k <= max(1, count // 2)
        assert missed[k] <= 0.05 or k == 1, "as sure as is told, if there are pairs enough"
        assert k >= count // 2 or missed[k + 1] > 0.05, "and no wider than need be"


@given(st.floats(-3, 3), st.floats(1e-6, 1e3), st.integers(3, 9))
def test_exponents_of_power_laws(exponent: float, factor: float, count: int) -> None:
    x = [2**k for k in range(count)]
    assert power_law(x, [factor * one**exponent for one in x]) == pytest.approx((exponent, factor), rel=1e-6, abs=1e-6)
    assert statistics.slope(x, [factor + exponent * one for one in x]) == pytest.approx(exponent, rel=1e-6, abs=1e-6)


def test_exponents_are_those_of_the_upper_part() -> None:
    x = [1, 2, 4, 8, 16, 32, 64, 128]
    seconds = [16.0**2] * 4 + [one**2.0 for one in x[4:]]
    assert power_law(x, seconds) == power_law(x[::-1], seconds[::-1]) == pytest.approx((2, 1))


def test_the_largest_difference_has_a_name_and_nothing_is_close_to_no_number() -> None:
    error, name = statistics.difference({"a": [1.0], "b": [3.0, 4.5]}, {"a": [1.0], "b": [3.0, 4.0]})
    assert name == "b" and error == pytest.approx(0.1)
    for wrong in ([float("nan"), 4.0], [float("inf"), 4.0]):
        assert statistics.difference({"a": wrong}, {"a": [3.0, 4.0]})[0] == float("inf")


@given(spreads, spreads)
def test_intervals_overlap_where_they_share_a_value(a: Spread, b: Spread) -> None:
    assert a.overlaps(b) == b.overlaps(a) == (max(a.low, b.low) <= min(a.high, b.high))


def test_what_rounds_up_to_a_further_digit_or_unit_is_shown_so() -> None:
    shown = [statistics.in_seconds(one) for one in (0.9996, 9.996e-3, 0.09996, 0.9994)]
    assert shown == ["1.00 s", "10.0 ms", "100 ms", "999 ms"]
    assert (statistics.in_bytes(2**20 - 1), statistics.percent(0.0997), statistics.digits(0.0996)) == (
        "1.00 MiB",
        "10 %",
        "0.10",
    )


@given(st.floats(1e-12, 1e12))
def test_no_number_is_shown_as_nothing(number: float) -> None:
    assert float(statistics.digits(number)) == pytest.approx(number, rel=0.06)
    assert float(statistics.percent(number).removesuffix(" %")) == pytest.approx(100 * number, rel=0.3)

"""The whole of it: an LSTM trained several times on one series, beside forecasts that need no model, on the same test.

Everything that is chosen is chosen without the test part: μ, σ and the season from the training part, the weights from
the training part, the epoch from the validation part. The test part is forecast once, at the end.

A trend leads out of what the training part has shown, and a season must be learned before anything else can be. The
model may learn differences instead, over one value or over one season; its forecasts are summed back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import floor, log10

import numpy as np

from ..types import Array
from .baselines import find_season, last_value, mae, rmse, seasonal_naive
from .model import Forecaster, History, Recipe, train
from .series import Series
from .windows import Parts, Standard, differences, split, summed, windows_of

LAST_VALUE, SEASONAL = "last value", "seasonal naive"
MEASURES = {"RMSE": rmse, "MAE": mae}


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came out. B test windows, K values forecast from each, R runs; all values in the unit of the series."""

    series: Series
    parts: Parts
    window: int
    season: int | None  # given, or found on the training part; None if none was found
    origins: Array  # (B,) int64: the row of the first target of each test window
    truth: Array  # (B, K)
    lstm: Array  # (R, B, K): the forecasts of each run; averaged they are a forecast, too, the better one as a rule
    baselines: dict[str, Array]  # by name, (B, K) each; without a season there is no seasonal naive
    future: Array  # (R, K): the forecasts of each run for the K values after the end of the series
    standard: Standard
    histories: list[History]
    models: list[Forecaster]
    difference: int = 0  # the lag of the differences that the model learned; 0: it learned the values

    @property
    def horizon(self) -> int:
        """K."""
        return int(self.truth.shape[1])

    def written(self, value: float) -> str:
        """A value in the unit of the series as text, to three digits of its standard deviation."""
        decimals = 2 - floor(log10(self.standard.deviation))
        return f"{value:,.{max(decimals, 0)}f}" if -10 < decimals < 10 else f"{value:.4g}"

    def best_baseline(self, measure: str) -> tuple[str, float]:
        """The baseline with the smallest error on the test part, and that error. measure: 'RMSE' or 'MAE'."""
        errors = {name: float(MEASURES[measure](predicted, self.truth)) for name, predicted in self.baselines.items()}
        return min(errors.items(), key=lambda item: item[1])

    def verdict(self, measure: str) -> str:
        """Who is better on the test part, in words. measure: 'RMSE' or 'MAE'."""
        name, least = self.best_baseline(measure)
        errors = MEASURES[measure](self.lstm, self.truth, axis=(1, 2))  # R
        runs, wins, mean = len(errors), int((errors < least).sum()), float(errors.mean())
        change = f"{abs(mean / least - 1):.0%} {'less' if mean < least else 'more'}" if least > 0 else "more"
        of_runs = "the mean of its runs, " if runs > 1 else ""
        figures = f"{measure} {self.written(mean)}, {of_runs}against {self.written(least)}: {change}"
        every = {1: "the one run", 2: "both runs"}.get(runs, f"all {runs} runs")
        if wins == runs:
            return f"The LSTM beats the best baseline, {name}, in {every}: {figures}."
        if wins == 0:
            return f"The LSTM LOSES to {name} in {every}: {figures}."
        return f"Undecided: the LSTM beats the best baseline, {name}, in only {wins} of {runs} runs: {figures}."

    def advice(self) -> str | None:
        """What to try when a forecast that needs no model has the smaller RMSE; None when the LSTM has it."""
        name, least = self.best_baseline("RMSE")
        if float(rmse(self.lstm, self.truth, axis=(1, 2)).mean()) < least:
            return None
        again = "season" if self.season and self.difference != self.season else "1"
        tries = {
            f"--difference {again}": str(self.difference) != again,
            f"--window {2 * (self.season or 0)}": self.season and self.window < self.season,
            "a shorter --horizon": self.horizon > 1,
        }
        what = " or ".join(each for each, helps in tries.items() if helps) or "a longer series"
        return f"The {name} forecast needs no model and is the better one here: use it, or try {what}."

    def lost_steps(self, measure: str) -> list[int]:
        """The steps ahead, from 1, at which some baseline has a smaller error than the runs have on the mean."""
        ours = MEASURES[measure](self.lstm, self.truth, axis=1).mean(axis=0)  # K
        others = [MEASURES[measure](predicted, self.truth, axis=0) for predicted in self.baselines.values()]
        return [int(step) + 1 for step in np.flatnonzero(np.min(others, axis=0) < ours)]


def compare(
    series: Series,
    *,
    window: int = 24,
    horizon: int = 5,
    hidden_size: int = 32,
    num_layers: int = 1,
    validation: float = 0.15,
    test: float = 0.15,
    season: int | None = None,
    difference: str | int | None = None,
    runs: int = 5,
    seed: int = 0,
    recipe: Recipe | None = None,
    progress: Callable[[int, int], None] = lambda run, epoch: None,
) -> Comparison:
    """Train `runs` forecasters on a series, and compare their forecasts of its end with the baselines'.

    window: W, the values read. horizon: K, the values forecast. validation, test: the shares of these parts. season: of
    the seasonal naive forecast; if left out, it is looked for in the training part. difference: 1 or 'season', over
    which the model learns differences; without a season it is the calendar's, such as 12 for months. seed: run r draws
    from (seed, r): the same seed gives the same bits. progress: is called with the run, from 0, after each epoch.

    Raises ValueError if the series is too short, constant over its training part or not to be computed with, and for
    a season longer than the training part; FloatingPointError if training diverges.
    """
    if runs < 1:
        raise ValueError(f"expected at least 1 run, got {runs}")
    parts = split(len(series), window, horizon, validation, test)
    values, past = series.values, series.values[: parts.training.stop]
    if season is not None and not 1 <= season <= len(past):
        raise ValueError(f"expected a season from 1 to {len(past)}, the values of the training part, got {season}")
    standard = Standard.of(past)
    season = season or find_season(standard.apply(past))
    grid = series.axis.grid if series.axis else None
    lags = {"None": 0, "1": 1, "season": season or (grid.season if grid else None)}
    if (lag := lags.get(str(difference), -1)) is None or lag < 0:
        without = "" if lag else " without a --season, and the training part shows none"
        raise ValueError(f"expected as --difference 1 or 'season', got {difference!r}{without}")
    split(len(series), window + lag, horizon, validation, test)  # the first `lag` values have no difference
    changes = differences(values, lag)
    scale = Standard.of(changes[: len(past) - lag])
    z = scale.apply(changes)
    if not np.abs(z).max() < np.sqrt(np.finfo(np.float32).max):
        raise ValueError("expected values of one magnitude, got some beyond all measure of the training part")
    shifted = (range(max(part.start - lag, 0), part.stop - lag) for part in parts)
    learned, watched, held_out = (windows_of(z, part, window, horizon) for part in shifted)
    models, histories = [], []
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        models.append(Forecaster(horizon, hidden_size, num_layers, rng=rng))
        histories.append(train(models[-1], learned, watched, rng, recipe, partial(progress, run)))
    origins, after = held_out.origins + lag, np.array([len(values)])
    baselines = {LAST_VALUE: last_value(values, origins, horizon)}
    baselines |= {SEASONAL: seasonal_naive(values, origins, horizon, season)} if season else {}
    truth, end = windows_of(values, parts.test, window, horizon).targets, z[np.newaxis, -window:, np.newaxis]
    tested = [summed(scale.undo(model.predict(held_out.inputs)), values, origins, lag) for model in models]
    future = [summed(scale.undo(model.predict(end)), values, after, lag)[0] for model in models]
    outcome = (np.stack(tested), baselines, np.stack(future), standard, histories, models, lag)
    return Comparison(series, parts, window, season, origins, truth, *outcome)

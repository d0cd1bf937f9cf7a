"""The whole of it: an LSTM trained several times on one series, beside forecasts that need no model, on the same test.

Everything that is chosen is chosen without the test part: μ, σ and the season from the training part, the weights from
the training part, the epoch from the validation part. The test part is forecast once, at the end.

A trend leads out of what the training part has shown, and a season must be learned before anything else can be. The
model may learn differences instead, over one value or over one season; its forecasts are summed back.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..types import Array
from .baselines import find_season, last_value, seasonal_naive
from .errors import mae, rmse, written
from .model import Forecaster
from .series import Series
from .training import History, Recipe, train
from .windows import Parts, Standard, differences, split, summed, windows_of

LAST_VALUE = "last value"
SEASONAL = "seasonal naive"

MEASURES = {"RMSE": rmse, "MAE": mae}


@dataclass(frozen=True, eq=False)
class Comparison:
    """What came out. B test windows, K values forecast from each, R runs; all values in the unit of the series."""

    series: Series
    parts: Parts
    window: int
    season: int | None
    """Given, or found on the training part; None if none was found."""
    origins: Array
    """(B,) int64: the row of the first target of each test window."""
    truth: Array
    """(B, K)"""
    lstm: Array
    """(R, B, K): the forecasts of each run. Averaged they are a forecast, too, the better one as a rule."""
    baselines: dict[str, Array]
    """By name, (B, K) each; without a season there is no seasonal naive."""
    future: Array
    """(R, K): the forecasts of each run for the K values after the end of the series."""
    standard: Standard
    histories: list[History]
    models: list[Forecaster]
    difference: int = 0
    """The lag of the differences that the model learned; 0: it learned the values."""

    @property
    def horizon(self) -> int:
        """K."""
        return int(self.truth.shape[1])

    def written(self, value: float) -> str:
        """A value in the unit of the series as text, to three digits of its standard deviation."""
        return written(value, self.standard.deviation)

    def best_baseline(self, measure: str) -> tuple[str, float]:
        """The baseline with the smallest error on the test part, and that error. measure: 'RMSE' or 'MAE'."""
        errors = {name: float(MEASURES[measure](predicted, self.truth)) for name, predicted in self.baselines.items()}
        return min(errors.items(), key=lambda item: item[1])

    def verdict(self, measure: str) -> str:
        """Who is better on the test part, in words. measure: 'RMSE' or 'MAE'."""
        name, least = self.best_baseline(measure)
        runs = MEASURES[measure](self.lstm, self.truth, axis=(1, 2))  # R
        wins, mean = int((runs < least).sum()), float(runs.mean())
        change = f"{abs(mean / least - 1):.0%} {'less' if mean < least else 'more'}" if least > 0 else "more"
        of_runs = "the mean of its runs, " if len(runs) > 1 else ""
        figures = f"{measure} {self.written(mean)}, {of_runs}against {self.written(least)}: {change}"
        if wins == len(runs):
            return f"The LSTM beats the best baseline, {name}, in {_all(wins)}: {figures}."
        if wins == 0:
            return f"The LSTM LOSES to {name} in {_all(len(runs))}: {figures}."
        return f"Undecided: the LSTM beats the best baseline, {name}, in only {wins} of {len(runs)} runs: {figures}."

    def advice(self) -> str | None:
        """What to try when a forecast that needs no model has the smaller RMSE; None when the LSTM has it."""
        name, least = self.best_baseline("RMSE")
        if float(rmse(self.lstm, self.truth, axis=(1, 2)).mean()) < least:
            return None
        again = "season" if self.season and self.difference != self.season else "1"
        tries = [f"--difference {again}"] if str(self.difference) != again else []
        if self.season and self.window < self.season:
            tries.append(f"--window {2 * self.season}")
        return (
            f"The {name} forecast needs no model and is the better one here: use it, or try "
            f"{' or '.join([*tries, 'a shorter --horizon'] if self.horizon > 1 else tries) or 'a longer series'}."
        )

    def lost_steps(self, measure: str) -> list[int]:
        """The steps ahead, from 1, at which some baseline has a smaller error than the runs have on the mean."""
        runs = MEASURES[measure](self.lstm, self.truth, axis=1).mean(axis=0)  # K
        others = np.min(
            [MEASURES[measure](predicted, self.truth, axis=0) for predicted in self.baselines.values()], axis=0
        )
        return [int(step) + 1 for step in np.flatnonzero(others < runs)]


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
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Train `runs` forecasters on a series, and compare their forecasts of its end with the baselines'.

    window: W, the values read. horizon: K, the values forecast. validation, test: the shares of these parts. season: of
    the seasonal naive forecast; if left out, it is looked for in the training part. difference: 1 or 'season', over
    which the model learns differences; without a season given or found it is the calendar's, such as 12 for months.
    seed: run r draws its weights and the order of its windows from (seed, r), so that the same seed gives the same
    numbers, to the last bit. progress: is called with the number of the run, from 0, and of the epoch, from 1, that is
    over.

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
    lag = _lag(difference, season or (series.axis.grid.season if series.axis and series.axis.grid else None))
    split(len(series), window + lag, horizon, validation, test)  # the first `lag` values have no difference
    z, scale = _standardised(differences(values, lag), len(past) - lag)
    shifted = (range(max(part.start - lag, 0), part.stop - lag) for part in parts)
    learned, watched, held_out = (windows_of(z, part, window, horizon) for part in shifted)

    models, histories = [], []
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        model = Forecaster(horizon, hidden_size, num_layers, rng=rng)
        report = None if progress is None else _of_run(progress, run)
        histories.append(train(model, learned, watched, rng, recipe, report))
        models.append(model)

    origins = held_out.origins + lag
    baselines = {LAST_VALUE: last_value(values, origins, horizon)}
    if season is not None:
        baselines[SEASONAL] = seasonal_naive(values, origins, horizon, season)

    def forecasts(model: Forecaster, windows: Array, where: Array) -> Array:
        return summed(scale.undo(model.predict(windows)), values, where, lag)

    end = z[np.newaxis, -window:, np.newaxis]  # 1, W, 1
    return Comparison(
        series,
        parts,
        window,
        season,
        origins,
        windows_of(values, parts.test, window, horizon).targets,
        np.stack([forecasts(model, held_out.inputs, origins) for model in models]),
        baselines,
        np.stack([forecasts(model, end, np.array([len(values)]))[0] for model in models]),
        standard,
        histories,
        models,
        lag,
    )


def _standardised(values: Array, known: int) -> tuple[Array, Standard]:
    """The values as the model sees them, by the measure of the first `known` of them."""
    scale = Standard.of(values[:known])
    z = scale.apply(values)
    if not np.abs(z).max() < np.sqrt(np.finfo(np.float32).max):
        raise ValueError("expected values of one magnitude, got some beyond all measure of the training part")
    return z, scale


def _lag(difference: str | int | None, season: int | None) -> int:
    """Over how many values differences are taken."""
    if str(difference) not in ("None", "1", "season"):
        raise ValueError(f"expected as --difference 1 or 'season', got {difference!r}")
    if difference == "season" and season is None:
        raise ValueError("expected a --season for --difference season, got none, as the training part shows none")
    return 0 if difference is None else season if difference == "season" and season else 1


def _of_run(progress: Callable[[int, int], None], run: int) -> Callable[[int], None]:
    return lambda epoch: progress(run, epoch)


def _all(runs: int) -> str:
    return {1: "the one run", 2: "both runs"}.get(runs, f"all {runs} runs")

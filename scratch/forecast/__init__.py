"""Forecasting a time series: an LSTM that reads a window of values and forecasts the next ones.

    comparison                       model and baselines on one series, the test
    model, baselines                 LSTM and linear layer and their training; what they are measured against and by
    windows                          parts in time, standardisation, examples
    series                           one column of a file or of pandas, in the order of time
    tables                           the tables in files and in pandas
    cells                            numbers and dates as people write them
    times                            times, their even step, and how they go on

command and picture are the command `python -m scratch forecast`, which needs the extra packages `apps`.
"""

from .baselines import autocorrelation, find_season, last_value, mae, rmse, seasonal_naive
from .comparison import Comparison, compare
from .model import Forecaster, History, Recipe, train
from .series import Series, read_series, sunspots
from .windows import Parts, Standard, Windows, differences, split, summed, windows_of

__all__ = [
    "Comparison",
    "Forecaster",
    "History",
    "Parts",
    "Recipe",
    "Series",
    "Standard",
    "Windows",
    "autocorrelation",
    "compare",
    "differences",
    "find_season",
    "last_value",
    "mae",
    "read_series",
    "rmse",
    "seasonal_naive",
    "split",
    "summed",
    "sunspots",
    "train",
    "windows_of",
]

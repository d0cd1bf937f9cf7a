"""Forecasting a time series.

    baselines, errors                what a forecast is measured against and by
    windows                          parts in time, standardisation, examples
    series                           CSV
"""

from .baselines import autocorrelation, find_season, last_value, seasonal_naive
from .errors import mae, rmse
from .series import Series, read_series, sunspots
from .windows import Parts, Standard, Windows, split, windows_of

__all__ = [
    "Parts",
    "Series",
    "Standard",
    "Windows",
    "autocorrelation",
    "find_season",
    "last_value",
    "mae",
    "read_series",
    "rmse",
    "seasonal_naive",
    "split",
    "sunspots",
    "windows_of",
]

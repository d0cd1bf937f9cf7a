"""The command `python -m scratch forecast`: an LSTM forecasts a time series, beside forecasts that need no model."""

from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.text import Text

from ..terminal import count, drawable, option, progress, save, say, table, taking
from .comparison import MEASURES, SEASONAL, Comparison, compare
from .model import Recipe
from .series import SUNSPOTS_SOURCE, read_series, sunspots

SHOWN = 6
"""How many steps ahead have a column of their own."""


DEFAULTS = {name: value.default for each in (compare, Recipe) for name, value in signature(each).parameters.items()}
READING = {
    "column": option(str, "That column, by name or number; needed if several have numbers."),
    "dates": option(
        str, "The column of dates, by name or number, or 'row' for none [default: found].", "--dates", "--time"
    ),
    "where": option(list[str], "Only rows with this value, such as country=A."),
    "lines": option(str, "Only these lines of the file, such as 4-100 or 4-."),
    "dayfirst": option(bool, "How 01/02/2020 is meant.", "--dayfirst/--monthfirst"),
    "date_format": option(str, "Of the dates, such as %d.%m.%Y."),
    "decimal": option(str, "The mark before decimals, '.' or ','."),
    "thousands": option(str, "The mark between thousands, or 'none'."),
    "separator": option(str, "What stands between two cells, or 'tab', 'space'."),
    "encoding": option(str, "Of the file.", default="utf-8"),
    "na_values": option(list[str], "What stands for no value besides the usual, such as -999."),
    "duplicates": option(str, "Of rows with one date: first, last, mean or sum."),
    "fill": option(str, "Gaps: forward (the value before), linear (looks ahead), or none (take rows as neighbours)."),
}
TRAINING: dict[str, tuple[Any, ...]] = {
    "horizon": ("How many values ahead are forecast.", 10**6),
    "window": ("How many values are read.", 10**6),
    "validation": ("The share that says when training ends.",),
    "test": ("The share at the end that is held out.",),
    "hidden_size": ("The LSTM's hidden size.", 65536),
    "num_layers": ("Its layers.", 1024),
    "epochs": ("At most so many.",),
    "patience": ("So many epochs without a gain on the validation part end the training.",),
    "batch_size": ("How many windows make a training step.",),
    "learning_rate": ("Adam's.",),
    "runs": ("How often the LSTM is trained anew.", 1000),
    "seed": ("Draws the initial weights and the order of the windows.",),
}
"""What each is, and the most that it may be."""
OPTIONS = READING | {
    "difference": option(str, "1 or season: let the LSTM learn differences over 1 value or one season."),
    "season": option(int, "Of the seasonal naive forecast [default: found on the training part].", min=1),
}
for name, (help, *most) in TRAINING.items():
    whole = {"min": int(name != "seed"), "max": most[0] if most else None} if type(DEFAULTS[name]) is int else {}
    OPTIONS[name] = option(type(DEFAULTS[name]), help, default=DEFAULTS[name], **whole)


@taking(OPTIONS)
def forecast(
    csv: Annotated[
        Path | None, typer.Argument(metavar="CSV", help="A file with a column of numbers [default: sunspots].")
    ] = None,
    plot: Annotated[Path, typer.Option(help="Where the picture goes: .png, .svg or .pdf.")] = Path("forecast.png"),
    **given: Any,
) -> None:
    """Forecast a time series with an LSTM, and measure it against forecasts that need no model.

    The series is divided in time: the LSTM learns from the first part, the second says when to stop, and the last is
    forecast once, at the end. Beside it stand the last value, and the value one season before. Then the values after
    the end of the series are forecast.

    Without a file it is the yearly mean sunspot numbers 1700 to 2008, version 1 (SIDC), from NOAA's National
    Geophysical Data Center.
    """
    reading = {name: given.pop(name) for name in READING if name in given}
    if csv is None and reading:
        raise typer.BadParameter("--column, --dates and all else that says how a file is read need a CSV file")
    drawable("--plot", plot)
    out = Console()
    try:
        recipe = Recipe(**{each.name: given.pop(each.name) for each in fields(Recipe) if each.name in given})
        series = sunspots() if csv is None else read_series(csv, **reading)
        for line, style in zip(map(clean, series.understood), ("bold", ""), strict=False):
            say(out, line, style)
        if csv is None:
            say(out, f"source: {SUNSPOTS_SOURCE}")
        bar = progress("{task.completed} of at most {task.total} epochs")
        bar.disable = not bar.console.is_terminal  # elsewhere it would leave an empty line beside what is wrong
        with bar:
            task = bar.add_task("training", total=given.get("runs", DEFAULTS["runs"]) * recipe.epochs)
            found = compare(series, **given, recipe=recipe, progress=lambda run, epoch: bar.advance(task))
    except OSError as error:
        if error.filename is None:  # it is the output that cannot be written
            raise
        raise typer.BadParameter(f"cannot read {csv}: {error.strerror}") from None
    except (ValueError, FloatingPointError) as error:
        raise typer.BadParameter(str(error)) from None

    from .picture import picture  # late: it takes half a second, and bad input should not wait for it

    for show in (show_parts, show_errors, show_verdict, show_future):
        show(out, found)
    save(out, picture(found), plot, dpi=150)


def clean(text: str) -> str:
    """Text from a file, fit to be printed: control characters are written out."""
    return text if text.isprintable() else repr(text)


def show_parts(out: Console, found: Comparison) -> None:
    """How the series is divided, and how it is looked at."""
    parts = table("part", clean(found.series.time), "values", "windows")
    for name, part in found.parts._asdict().items():
        windows = len(part) - found.horizon + 1 - (found.window + found.difference if part.start == 0 else 0)
        parts.add_row(name, Text(clean(found.series.between(part))), f"{len(part):,}", f"{windows:,}")
    out.print(parts)
    ahead, read = count(found.horizon, "value"), count(found.window, "value")
    say(out, f"A window: {read} that are read, and in its part the {ahead} after them to forecast.")
    if found.difference:
        lag = count(found.difference, "value")
        say(out, f"The LSTM learns differences over {lag}; its forecasts are summed back.")
    epochs = ", ".join(f"{history.best_epoch} of {len(history.validation)}" for history in found.histories)
    if len(epochs) <= 100:
        say(out, f"Epochs, the best on the validation part of all: {epochs}.")


def show_errors(out: Console, found: Comparison) -> None:
    """The errors over all test windows, of several runs the mean, the least and the largest; then by step ahead."""
    runs, K, several = len(found.lstm), found.horizon, len(found.lstm) > 1
    rows = {f"LSTM, {count(runs, 'run')}": found.lstm}  # (R, B, K) each, R = 1 where there is one
    rows |= {"LSTM, the runs averaged": found.lstm.mean(axis=0, keepdims=True)} if several else {}
    season = {SEASONAL: f"{SEASONAL}, season {found.season}"}
    rows |= {season.get(name, name): one[np.newaxis] for name, one in found.baselines.items()}

    def spread(values: np.ndarray) -> str:
        mean, least, largest = map(found.written, (values.mean(), values.min(), values.max()))
        return mean if len(values) == 1 else f"{mean} ({least}–{largest})"

    windows = count(len(found.truth), "window")
    say(out, f"\nerrors on the test part, {windows}, in the unit of {clean(found.series.name)}", "bold")
    errors, steps = table("forecast", *MEASURES), np.unique(np.linspace(1, K, SHOWN).round().astype(int))
    by_step = table("forecast", *map(str, steps))
    for name, predicted in rows.items():
        errors.add_row(name, *(spread(measure(predicted, found.truth, (1, 2))) for measure in MEASURES.values()))
        each = MEASURES["RMSE"](predicted, found.truth, 1).mean(axis=0)  # K
        by_step.add_row(name, *(found.written(each[step - 1]) for step in steps))
    out.print(errors)
    if found.season is None:
        say(out, "No season was found in the training part, so that there is no seasonal naive forecast.")
    if K > 1:
        some = f", for {len(steps)} of the {K:,} steps" if len(steps) < K else ""
        say(out, f"\nRMSE by step ahead{some}" + ", of several runs the mean" * several, "bold")
        out.print(by_step)


def show_verdict(out: Console, found: Comparison) -> None:
    """Who is better, and how far that can be trusted."""
    out.print()
    for measure in MEASURES:
        say(out, found.verdict(measure), "bold")
    lost = found.lost_steps("RMSE")
    if 0 < len(lost) < found.horizon:
        say(out, f"By RMSE, some baseline is better at {count(len(lost), 'step')} ahead: {', '.join(map(str, lost))}.")
    if advice := found.advice():
        say(out, advice, "bold")
    if len(found.lstm) > 1:
        say(
            out,
            "The runs differ in their initial weights and in the order of their windows. Their range says how far "
            "chance moves the training; it does not say how another test part would have come out.",
        )


def show_future(out: Console, found: Comparison) -> None:
    """The values after the end of the series."""
    series, runs = found.series, len(found.future)
    read = range(len(series) - found.window, len(series))
    trained, chosen, here = (clean(series.between(part)) for part in (*found.parts[:2], read))
    say(out, f"\nafter the end: forecast of {clean(series.name)}", "bold")
    say(
        out,
        f"The LSTM is the one that was tested: trained on {trained}, its epoch chosen on {chosen}, not trained again "
        f"since. Here it reads {here}.",
    )
    future = table(clean(series.time), *(["the runs averaged", "lowest run", "highest run"] if runs > 1 else ["LSTM"]))
    for when, values in zip(series.after(found.horizon)[0], found.future.T, strict=True):
        future.add_row(when, *map(found.written, [values.mean(), values.min(), values.max()] if runs > 1 else values))
    out.print(future)

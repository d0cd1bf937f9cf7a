"""The command `python -m benchmarks text`: characters a second of training on text."""

from __future__ import annotations

import tempfile
from os.path import relpath
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from scratch.terminal import progress, table
from scratch.text.corpus import read_text, standard_library

from . import text as race
from .contestants import on_cpu
from .options import Json, Quick, Threads, checked, write
from .process import Failed, Workers
from .report import console, in_seconds, percent, show_environment, times
from .results import environment, rounded, spread

CHARACTERS = 1_000_000
"""How much of the standard library is read."""


def text(
    file: Annotated[
        Path | None, typer.Argument(help="A UTF-8 text [default: the beginning of Python's standard library].")
    ] = None,
    quick: Quick = False,
    threads: Threads = None,
    json: Json = None,
) -> int:
    """Measure how fast character models are trained on a text, in scratch (NumPy) beside PyTorch on the CPU.

    Both train the same models from the same weights, each library in a process of its own, in turns; what is measured
    is the whole step: reading a segment, forward, loss, backward, clipping, Adam. Speed is PyTorch's time by scratch's,
    pair by pair, with a 95 % interval over passes with new processes. The losses of the first steps are compared.

    Exit status: 0, 1 if the libraries computed different losses or something failed, 2 if the command is wrong.
    """
    options = checked(threads, "cpu", None, json, None, 0)
    try:
        content = read_text(file) if file is not None else standard_library()[:CHARACTERS]
    except OSError as error:
        raise typer.BadParameter(f"cannot read {file}: {error.strerror}") from None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if len(content) < 100_000:
        raise typer.BadParameter(f"expected a text of at least 100,000 characters, got {len(content):,}")
    pace = race.QUICK if quick else race.Pace()
    with Workers(options.threads) as workers:
        found = environment(workers, on_cpu(), 0) | {"passes": pace.passes}
    out = console()
    show_environment(out, found)
    try:
        with progress("{task.percentage:.0f} %", idle=True) as bar, tempfile.TemporaryDirectory() as folder:
            task = bar.add_task("training", total=pace.passes * pace.turns * 2 * len(race.MODELS))
            rows = race.measure(
                race.MODELS,
                content,
                Path(folder),
                options.threads,
                pace,
                lambda name: bar.update(task, description=name, advance=1, refresh=True),
            )
    except Failed as error:
        raise typer.BadParameter(str(error)) from None
    out.print(as_table(rows, f"training on {file.name if file else 'the standard library'}"))
    figures = {"environment": found, "rows": [of_measured(row) for row in rows]}
    path = write(options, "text", figures, None, not quick and file is None, None)
    if path:
        out.print(f"written to {relpath(path)}", soft_wrap=True)
    return 0 if all(row.difference <= race.TOLERANCE for row in rows) else 1


def as_table(rows: list[race.Measured], title: str) -> Table:
    """The models, both libraries side by side."""
    shown = table(
        title, "scratch: characters/s", "a step", "PyTorch: characters/s", "a step", "speed", "losses differ", "reading"
    )
    for row in rows:
        cells = []
        for library in ("scratch", "PyTorch"):
            cells += [f"{row.characters_a_second(library):,.0f}", in_seconds(row.step(library).median)]
        cells += [times(row.speed), f"{row.difference:.0e}", percent(row.share_of_reading("scratch"))]
        shown.add_row(row.name, *map(Text, cells))
    return shown


def of_measured(row: race.Measured) -> dict[str, Any]:
    """A row in JSON's terms."""
    return {
        "model": row.name,
        "settings": row.settings.as_dict(),
        "speed of scratch (95 %)": spread(row.speed),
        "difference of losses": rounded(row.difference),
    } | {
        library: {
            "characters a second": rounded(row.characters_a_second(library)),
            "seconds of a step (quartile, median, quartile)": spread(row.step(library)),
            "share of reading": rounded(row.share_of_reading(library)),
            "turns": [[rounded(seconds) for seconds in one] for one in row.seconds[library]],
        }
        for library in ("scratch", "PyTorch")
    }

"""The command `python -m benchmarks show`: results that are kept, as a table in Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .kept import as_markdown
from .results import available_cores, results_file


def show(
    file: Annotated[Path | None, typer.Argument(help="Results of a whole run [default: this machine's].")] = None,
) -> int:
    """Show the results of a whole run that are kept in a file, as a table in Markdown.

    Speeds are PyTorch's time by scratch's, so that above 1 scratch is faster, with a 95 % interval for the training
    step; memory is PyTorch's by scratch's at the peak of a step.
    """
    path = file or results_file("cpu", available_cores(), None)
    try:
        print(as_markdown(path))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return 0

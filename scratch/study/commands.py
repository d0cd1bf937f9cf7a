"""What the commands of the studies share: options, progress, and how they refuse what they cannot use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from .. import terminal
from ..files import write_whole
from ..text import Checkpoint, CheckpointError, built, read
from ..text.model import CharacterModel

Plot = Annotated[Path, typer.Option(help="Where the picture goes: .png, .svg or .pdf.")]
Page = Annotated[Path, typer.Option(help="Where the page goes.")]
Seed = Annotated[int, typer.Option(min=0, help="Draws everything.")]
Runs = Annotated[int, typer.Option(min=1, max=100, help="How often weights and sequences are drawn.")]


@contextmanager
def quiet_progress(done: str | None = None) -> Iterator[Progress]:
    """A progress bar for work of seconds; without a terminal, no more than a line every ten seconds."""
    bar = terminal.progress(done)
    bar.disable = not bar.console.is_terminal  # it would leave an empty line beside an error
    with bar:
        yield bar


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what a study refuses into what a command refuses: one line, exit status 2."""
    try:
        yield
    except (ValueError, FloatingPointError) as error:
        raise typer.BadParameter(str(error)) from None


def opened(path: Path) -> tuple[Checkpoint, CharacterModel]:
    """A checkpoint and its model. Raises typer.BadParameter if the file is not one."""
    try:
        found = read(path)
        return found, built(found)[0]
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}") from None
    except CheckpointError as error:
        raise typer.BadParameter(f"{path}: {error}") from None


def span(low: str, high: str) -> str:
    """Two ends of a range, written out, or one if they read the same."""
    return low if low == high else f"{low} to {high}"


def write_page(path: Path, content: str) -> None:
    """Write a page as the --out. Raises typer.BadParameter if that fails."""
    try:
        write_whole(path, content.encode())
    except OSError as error:
        raise typer.BadParameter(f"cannot write --out {path}: {error.strerror}") from None

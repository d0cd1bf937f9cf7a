"""The command `python -m reference losses`: a training goes on in both libraries, loss beside loss.

What differs is rounding, and training magnifies it: Adam divides each gradient by its own size, so that the sign of
what is nearly nothing decides about a whole step. How much it does so can be seen in `scratch` alone: it makes the same
steps again from weights that are each moved by one rounding, up or down. In float32 that is the measure of what the two
libraries may differ; in float64 the promise is 1e-9.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from rich.console import Console
from rich.text import Text

from scratch import text as scratch
from scratch.terminal import progress, table
from scratch.text import Checkpoint, Diverged
from scratch.text.settings import DTYPES
from scratch.text.train_command import one_of, resumed

from ..side_by_side import LOSS_TOLERANCE, MARGIN
from . import files
from .commands import File, Texts, described
from .training import Training

SHOWN = 10
"""How many steps are printed."""


class Row(NamedTuple):
    """The loss of one step in both libraries, and how far it differs."""

    step: int
    scratch: float
    torch: float
    difference: float
    """Between the libraries."""
    rounding: float
    """What one rounding at the start has become."""


def follow(checkpoint: Checkpoint, text: str, steps: int) -> Iterator[Row]:
    """The next steps in both libraries, without dropout, of which each would draw its own.

    Raises what `Training.resumed` raises, at once; with the steps, Diverged.
    """
    checkpoint = checkpoint._replace(settings=replace(checkpoint.settings, dropout=0.0))
    rng = np.random.default_rng(checkpoint.step)
    moved = {
        name: np.nextafter(value, rng.choice([-np.inf, np.inf], value.shape).astype(value.dtype))
        for name, value in checkpoint.model.items()
    }
    ours = scratch.Training.resumed(checkpoint, text)
    theirs = Training.resumed(checkpoint, text)
    nearby = scratch.Training.resumed(checkpoint._replace(model=moved), text)

    def step() -> Row:
        here, there, moved = ours.advance(), theirs.advance(), nearby.advance()
        return Row(ours.step, here, there, abs(here - there), abs(here - moved))

    return (step() for _ in range(steps))


def losses(
    file: File,
    texts: Texts = None,
    steps: Annotated[int, typer.Option(min=1, help="How many steps.")] = 100,
    dtype: Annotated[
        str | None, typer.Option(help="What is computed in [default: as in the checkpoint].", **one_of(DTYPES))
    ] = None,
) -> int:
    """Make the next steps of a training in scratch and in PyTorch, and compare the losses. Nothing is written.

    Both begin with the checkpoint's weights, optimizer and state, and go through the text without dropout. Beside their
    difference stands what training makes of rounding: how far scratch comes from itself if each weight is moved by one
    rounding before the first of these steps.

    Where that is more than 1e-9, no two ways of computing agree, and a difference says nothing.

    Exit status: 0 if the losses agree, to 1e-9 in float64, in float32 to a margin over what one rounding becomes; 1 if
    not; 2 if the command or a file is wrong.
    """
    torch.set_num_threads(1)  # in one process the thread pools of NumPy and PyTorch hinder each other

    def begun(found: Checkpoint, text: str) -> tuple[Checkpoint, Iterator[Row]]:
        found = files.in_dtype(found, dtype or found.settings.dtype)
        return found, follow(found, text, steps)

    found, following = resumed(file, texts or [], None, files.read, begun)
    rows = []
    try:
        with progress() as bar:
            task = bar.add_task("training in both libraries", total=steps)
            for row in following:
                rows.append(row)
                bar.advance(task)
    except Diverged as error:
        print(f"reference: {error}", file=sys.stderr)
        return 1
    worst, spread = max(rows, key=lambda row: row.difference), max(row.rounding for row in rows)
    limit, where = LOSS_TOLERANCE, ""
    if found.settings.dtype != "float64":
        eps = float(np.finfo(found.settings.dtype).eps)
        limit, where = MARGIN * max(spread, eps * max(row.scratch for row in rows)), f", {MARGIN} × one rounding"
    out = Console()
    out.print(Text(f"\n{described(found)}, and {steps:,} more", style="bold"), soft_wrap=True)
    shown, every = table("step", "scratch", "PyTorch", "difference", "one rounding"), -(-len(rows) // SHOWN)
    shown.columns[0].justify = "right"
    for step, ours, theirs, *errors in rows[(len(rows) - 1) % every :: every]:
        shown.add_row(f"{step:,}", f"{ours:.12f}", f"{theirs:.12f}", *(f"{error:.1e}" for error in errors))
    out.print(shown)
    differs = f"{worst.difference:.1e} at step {worst.step:,}; allowed: {limit:.1e}{where}"
    out.print(f"the worst difference: {differs}", highlight=False, soft_wrap=True)
    if worst.difference <= limit:
        return 0
    if spread > limit:
        out.print(f"This training magnifies rounding: scratch comes {spread:.1e} from itself.", highlight=False)
    print(f"reference: disagreement: loss at step {worst.step} differs by {worst.difference:.1e}", file=sys.stderr)
    return 1

"""The command `python -m scratch study truncation`: what truncated backpropagation leaves out, in figures."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from ..processes import one_blas_thread
from ..terminal import count, drawable, save, say, table
from ..text.settings import CELLS
from ..text.train_command import text_of
from ..types import Array
from .commands import Plot, Runs, Seed, quiet_progress, refusals, span
from .truncation import METHODS, Findings, study

CLOSE = 0.1
"""The relative error that the verdict asks for."""


def truncation(
    text: Annotated[
        Path | None,
        typer.Argument(metavar="TEXT", help="A file [default: this library's pages about the RNN and the LSTM]."),
    ] = None,
    encoding: Annotated[str, typer.Option(help="Of the text.")] = "utf-8",
    steps: Annotated[int, typer.Option(min=2, max=1024, help="T, the characters of a sequence.")] = 128,
    hidden_size: Annotated[int, typer.Option(min=1, max=512, help="H.")] = 32,
    batch_size: Annotated[int, typer.Option(min=1, max=256, help="Over how many sequences a gradient is taken.")] = 8,
    updates: Annotated[int, typer.Option(min=1, max=100_000, help="How long a model is trained.")] = 300,
    runs: Runs = 3,
    seed: Seed = 0,
    plot: Plot = Path("truncation.png"),
) -> None:
    """Measure how far the gradient of truncated backpropagation through time is from the whole gradient.

    For an RNN, an LSTM and a GRU that predict the next character, as drawn and after a short training, and for every
    truncation length 1, 2, 4, … up to all steps.
    """
    drawable("--plot", plot)
    characters = None if text is None else text_of([text], encoding)
    with quiet_progress() as bar, one_blas_thread(), refusals():
        task = bar.add_task("models", total=2 * len(CELLS) * runs)
        found = study(
            characters,
            hidden_size=hidden_size,
            steps=steps,
            batch_size=batch_size,
            updates=updates,
            runs=runs,
            seed=seed,
            progress=lambda: bar.advance(task),
        )

    from .truncation_picture import picture  # late: it takes half a second, and bad input should not wait for it

    out = Console()
    for trained in (0, 1):
        show_errors(out, found, trained)
    show_verdict(out, found)
    save(out, picture(found), plot)


NAMES = {"segments": "cut every k", "windows": "look back k"}


def show_errors(out: Console, found: Findings, trained: int) -> None:
    """The relative errors, as a mean of the runs."""
    runs = found.loss.shape[2]
    when = f"after {count(found.updates, 'update')}" if trained else "weights as drawn"
    mean = f", mean of {runs} runs" if runs > 1 else ""
    say(out, f"{when}: relative error of the truncated gradient over {count(found.steps, 'step')}{mean}", "bold")
    lengths = found.lengths[:-1]
    errors = table("k", *map(str, lengths))
    for c, cell in enumerate(found.cells):
        for m, method in enumerate(METHODS):
            means = found.error[c, trained, m].mean(axis=0)[: len(lengths)]
            errors.add_row(f"{cell}, {NAMES[method]}", *map(written, means))
    out.print(errors)


def written(error: float) -> str:
    """An error in few characters."""
    return f"{error:.2f}" if error >= 0.095 else f"{error:.0e}".replace("e-0", "e-")


def show_verdict(out: Console, found: Findings) -> None:
    """How long a truncation is long enough, and how large chance is beside it."""
    worst = found.error.max(axis=3)  # C, 2, 2, K   of all runs
    for c, cell in enumerate(found.cells):
        cut, back = (shortest(found, worst[c, 1, m]) for m in range(len(METHODS)))
        last = found.cosine[c, 1, 0].min(axis=0)
        noise = found.noise[c, 1]
        middle = len(found.lengths) // 2
        say(
            out,
            f"{cell}, trained to {found.loss[c, 1].mean():.2f} nats per character: in all runs below {CLOSE:.0%} of "
            f"error from k = {cut} where the gradient is cut every k steps, from k = {back} where each loss looks back "
            f"k steps. Cut every {count(found.lengths[middle], 'step')} its cosine with the whole gradient is at least "
            f"{last[middle]:.2f}. The choice of {count(found.batch_size, 'sequence')} moves the whole gradient by "
            f"{span(f'{noise.min():.0%}', f'{noise.max():.0%}')} of its norm.",
        )
    say(
        out,
        "What chance moves is averaged away over many updates; what truncation leaves out is always left out. Once k "
        "is longer than gradients last, the error of a cut gradient falls only like 1/k, as the number of cuts does; "
        "the other falls as gradients vanish.",
    )


def shortest(found: Findings, worst: Array) -> int:
    """The least k from which on the error stays close."""
    far = np.flatnonzero(~(worst <= CLOSE))
    return int(found.lengths[far[-1] + 1 if len(far) else 0])

"""The commands `python -m scratch study …`: their options, what they refuse, and the order of events in all of them.

Each refuses what it cannot use, measures, prints (`show`) and draws (`picture`) what it has found.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from ..files import write_whole
from ..processes import available_cores, one_blas_thread
from ..terminal import drawable, progress, save, writable
from ..text.settings import CELLS
from ..text.train_command import text_of
from . import cells as of_cells
from . import explore_page, gradients_report, subjects
from . import gradients as of_gradients
from . import memory as of_memory
from . import truncation as of_truncation

MOST_CHECKPOINTS = 3  # as many models of `explore` as stand side by side in a wide window
LONGEST = 100  # the longest text of `explore`, in characters: nobody steps through more

Plot = Annotated[Path, typer.Option(help="Where the picture goes: .png, .svg or .pdf.")]
Page = Annotated[Path, typer.Option(help="Where the page goes.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")]
Runs = Annotated[int, typer.Option(min=1, max=100, help="Number of runs, each with weights and sequences of its own.")]
Encoding = Annotated[str, typer.Option(help="Encoding of the text.")]
BatchSize = Annotated[int, typer.Option(min=1, max=256, help="Sequences in a batch, B.")]
Jobs = Annotated[
    int, typer.Option("--jobs", "--processes", min=0, max=64, help="Processes that share the work; 0: one per core.")
]


def listed(values: Sequence[float]) -> str:
    """What stands in the help text of an option that can be repeated."""
    return f"can be repeated [default: {', '.join(map(str, values))}]."


@contextmanager
def measuring() -> Iterator[Progress]:
    """While a study measures: progress, one BLAS thread, and what it refuses as what a command refuses, one line."""
    bar = progress()
    bar.disable = not bar.console.is_terminal  # a bar would leave an empty line there; what takes long says so
    try:
        with bar, one_blas_thread():
            yield bar
    except (ValueError, FloatingPointError) as error:
        raise typer.BadParameter(str(error)) from None


def report(module: Any, plot: Path, *found: Any, dpi: int = 130) -> None:
    """Print what was found, and draw it, even if nobody reads on (`| head`)."""
    out = Console()
    try:
        module.show(out, *found)
    finally:
        save(out, module.picture(*found), plot, dpi=dpi)


def apart(read: Sequence[Path | None], *written: Path) -> None:
    """Refuse to write into what is read, or twice into one file. Raises typer.BadParameter."""
    before, places = ({os.path.realpath(path) for path in paths if path is not None} for paths in (read, written))
    if len(places) < len(written) or places & before:
        raise typer.BadParameter("expected different files, those that are written and those that are read")


def write_page(path: Path, content: str) -> None:
    """Write a page as the --out, whole or not at all if that is a file. Raises typer.BadParameter if that fails."""
    write = path.write_bytes if path.exists() and not path.is_file() else partial(write_whole, path)
    try:
        write(content.encode())
    except OSError as error:
        raise typer.BadParameter(f"cannot write --out {path}: {error.strerror}") from None
    print(f"page: {path}")


def explore(
    text: Annotated[str, typer.Option("--string", help=f"What is read, 2 to {LONGEST} characters.")] = "hello world",
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help=f"What `train` has written; up to {MOST_CHECKPOINTS} stand side by side."),
    ] = None,
    hidden_size: Annotated[
        int, typer.Option(min=1, max=64, help="Hidden units of the models that are trained for this.")
    ] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of their initial weights.")] = 0,
    out: Page = Path("explore.html"),
) -> None:
    """Make a page that steps through a text, forward and backward, with every number that is computed on the way.

    A model of each kind of recurrence stands beside the others. They are small, and are trained on the text itself
    until their loss is half of what it was, so that the gradients still have something to say. A checkpoint is shown in
    their place.
    """
    if not 2 <= len(text) <= LONGEST:
        raise typer.BadParameter(f"expected a --string of 2 to {LONGEST} characters, got {len(text)}")
    if any("\ud800" <= character <= "\udfff" for character in text):  # half a character, as of bytes in no encoding
        raise typer.BadParameter("expected a --string of Unicode characters, got other bytes")
    if len(checkpoint or ()) > MOST_CHECKPOINTS:
        raise typer.BadParameter(f"expected at most {MOST_CHECKPOINTS} checkpoints, got {len(checkpoint or ())}")
    apart(checkpoint or (), out)
    writable("--out", out)
    with measuring() as bar:
        models = [subjects.of_checkpoint(path, text) for path in checkpoint or ()]
        if not models:
            kinds = bar.track(CELLS, description="training")
            models = [subjects.trained(cell, text, hidden_size, seed) for cell in kinds]
        content = explore_page.page(text, models)
    for shown in models:
        print(f"{type(shown.model.rnn).__name__}: {shown.origin}")
    write_page(out, content)


def gradients(
    radius: Annotated[
        list[float] | None, typer.Option(help=f"A spectral radius of W_hh; {listed(of_gradients.RADII)}")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Steps in a sequence, T.")] = 100,
    hidden_size: Annotated[int, typer.Option(min=2, max=256, help="Hidden units, H.")] = 32,
    draws: Annotated[int, typer.Option(min=1, max=100, help="How often to draw weights and input.")] = 3,
    orthogonal: Annotated[
        bool, typer.Option("--orthogonal", help="W_hh as a multiple of an orthogonal matrix, not Gaussian.")
    ] = False,
    trainings: Annotated[int, typer.Option(min=0, max=100, help="How often to train with clipping and without.")] = 4,
    seed: Seed = 0,
    plot: Plot = Path("gradients.png"),
) -> None:
    """Measure how gradients vanish and explode over time, and what clipping does about it.

    For recurrences whose W_hh has a given spectral radius: the norm of the gradient at every step, the singular
    values of the Jacobians of one step and of many, and the bound of Pascanu, Mikolov and Bengio (2013).
    """
    radii = sorted(set(radius or of_gradients.RADII))
    for value in radii:
        if not (isfinite(value) and 0 < value <= 100):
            raise typer.BadParameter(f"expected a --radius above 0 and at most 100, got {value}")
    drawable("--plot", plot)
    sizes: dict[str, Any] = {"hidden_size": hidden_size, "steps": steps, "draws": draws, "seed": seed}
    with measuring() as bar:
        task = bar.add_task("measuring gradients", total=len(of_gradients.MODELS) * len(radii) * draws)
        found = of_gradients.study(radii=radii, orthogonal=orthogonal, progress=lambda: bar.advance(task), **sizes)
        task = bar.add_task("training with and without clipping", total=2 * trainings)
        limits: tuple[of_gradients.Training, ...] = ()
        if trainings:
            limits = of_gradients.clipping(trainings=trainings, seed=seed, progress=lambda: bar.advance(task))
    report(gradients_report, plot, found, limits)


def truncation(
    text: Annotated[
        Path | None,
        typer.Argument(metavar="TEXT", help="A file [default: this library's pages about the RNN and the LSTM]."),
    ] = None,
    encoding: Encoding = "utf-8",
    steps: Annotated[int, typer.Option(min=2, max=1024, help="Characters in a sequence, T.")] = 128,
    hidden_size: Annotated[int, typer.Option(min=1, max=512, help="Hidden units, H.")] = 32,
    batch_size: BatchSize = 8,
    updates: Annotated[int, typer.Option(min=1, max=100_000, help="Updates in a training.")] = 300,
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
    sizes = {"hidden_size": hidden_size, "steps": steps, "batch_size": batch_size, "updates": updates, "runs": runs}
    with measuring() as bar:
        task = bar.add_task("models", total=len(CELLS) * runs)
        found = of_truncation.study(characters, seed=seed, progress=lambda: bar.advance(task), **sizes)
    report(of_truncation, plot, found)


def memory(
    length: Annotated[
        list[int] | None, typer.Option(min=of_memory.SHORTEST, max=1000, help=f"T; {listed(of_memory.LENGTHS)}")
    ] = None,
    hidden_size: Annotated[int, typer.Option(min=1, max=256, help="Hidden units, H.")] = 32,
    batch_size: BatchSize = 32,
    updates: Annotated[int, typer.Option(min=1, max=100_000, help="Updates after which a run is given up.")] = 1000,
    runs: Runs = 5,
    seed: Seed = 0,
    processes: Jobs = 0,
    plot: Plot = Path("memory.png"),
) -> None:
    """Measure over how many steps an RNN, an LSTM and a GRU learn to remember, and where each stops.

    On the adding problem and the copy task, for every length T, in several runs: small models, briefly trained, all in
    the same way. The findings do not depend on how many processes share the work.
    """
    drawable("--plot", plot)
    lengths = sorted(set(length or of_memory.LENGTHS))
    total = len(of_memory.TASKS) * len(of_memory.MODELS) * len(lengths) * runs
    sizes: dict[str, Any] = {"hidden_size": hidden_size, "batch_size": batch_size, "updates": updates, "runs": runs}
    processes = min(processes or available_cores(), total)
    with measuring() as bar:
        task = bar.add_task("trainings", total=total)
        found = of_memory.study(lengths, seed=seed, processes=processes, progress=lambda: bar.advance(task), **sizes)
    report(of_memory, plot, found)


def cells(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            metavar="CHECKPOINT",
            help="What `train` has written. Without: an LSTM is trained first, on the sources of the standard library.",
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A text [default: what was held out when the model was trained]."),
    ] = None,
    encoding: Encoding = "utf-8",
    characters: Annotated[
        int, typer.Option(min=of_cells.SHORTEST, max=1_000_000, help="How much of the text is read.")
    ] = 40_000,
    shown: Annotated[int, typer.Option(min=1, max=20_000, help="How many characters of it are on the page.")] = 2000,
    steps: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Steps of the training, if there is no checkpoint.")
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of that training and of the chance level.")] = 0,
    out: Page = Path("cells.html"),
    plot: Plot = Path("cells.png"),
) -> None:
    """Find the cells of a character model that keep track of line position, indentation, quotes, comments, brackets.

    Each cell's activation over a text is correlated with features of the text. The cells are ranked on the first half
    of what is read and judged on the second, beside the best that chance would find. The page and the picture show the
    text in the colours of the best cells.
    """
    drawable("--plot", plot)
    apart((checkpoint, text), out, plot)
    writable("--out", out)

    subject = subjects.fresh(steps, seed) if checkpoint is None else subjects.learned(checkpoint, text is None)
    whole, source = (subject.held_out, "held-out text") if text is None else (text_of([text], encoding), text.name)
    part = whole[:characters]
    if len(part) < of_cells.SHORTEST:
        raise typer.BadParameter(f"expected at least {of_cells.SHORTEST} characters in {source}, got {len(part)}")
    try:
        indices = subject.vocabulary.encode(part)
    except ValueError as error:
        raise typer.BadParameter(f"{error} in {source} (the model's vocabulary)") from None
    if subject.training is not None:
        subjects.train(subject.training, steps)
    models = subject.model, subject.settings.model(len(subject.vocabulary))
    with measuring() as bar:
        task = bar.add_task("reading, as trained and as drawn", total=2 * len(part))
        names = subject.origin, source
        found = of_cells.study(*models, indices, part, *names, seed, lambda more: bar.advance(task, more))

    from . import cells_report  # late: it imports Matplotlib, and bad input should not wait for that

    write_page(out, cells_report.page(found, shown))
    report(cells_report, plot, found, dpi=125)

"""The command `python -m scratch study cells`: what single cells of a character model keep track of."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from rich.console import Console

from ..processes import one_blas_thread
from ..terminal import count, drawable, progress, save, say, table, writable
from ..text import CharacterModel, Checkpoint, Diverged, Settings, Training, Vocabulary
from ..text.corpus import digest, split
from ..text.train_command import description, text_of
from .cells import SHORTEST, Findings, study
from .cells_page import page
from .commands import Page, Plot, opened, refusals, write_page

NO_BETTER = 0.05
"""A correlation that is larger by no more than this is called about as good."""

MARGIN = "\n\n\n"
"""After two empty lines something new begins: in most texts no quote and no bracket is open there."""


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
    encoding: Annotated[str, typer.Option(help="Of --text.")] = "utf-8",
    characters: Annotated[
        int, typer.Option(min=SHORTEST, max=1_000_000, help="How much of the text is read, from its beginning.")
    ] = 40_000,
    shown: Annotated[int, typer.Option(min=1, max=20_000, help="How many characters of it are on the page.")] = 2000,
    steps: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="How long a model is trained first, if there is no checkpoint.")
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Draws that model, and the chance level.")] = 0,
    out: Page = Path("cells.html"),
    plot: Plot = Path("cells.png"),
) -> None:
    """Find the cells of a character model that keep track of line position, indentation, quotes, comments, brackets.

    Each cell's activation over a text is correlated with features of the text. The cells are ranked on the first half
    of what is read and judged on the second, beside the best that chance would find. The page and the picture show the
    text in the colours of the best cells.

    Exit status: 0, or 2 if the command or a file is wrong.
    """
    drawable("--plot", plot)
    files = [os.path.realpath(path) for path in (out, plot, checkpoint, text) if path is not None]
    if len(set(files)) < len(files):
        raise typer.BadParameter("expected different files for --out, --plot, the checkpoint and the text")
    writable("--out", out)

    subject = fresh(steps, seed) if checkpoint is None else loaded(checkpoint, with_text=text is None)
    whole, source = (subject.held_out, "held-out text") if text is None else (text_of([text], encoding), text.name)
    part = whole[:characters]
    if len(part) < SHORTEST:
        raise typer.BadParameter(f"expected at least {SHORTEST} characters in {source}, got {len(part)}")
    try:
        indices = subject.vocabulary.encode(part)
    except ValueError as error:
        raise typer.BadParameter(f"{error} in {source} (the model's vocabulary)") from None
    if subject.training is not None:
        train(subject.training, steps)
    drawn = subject.settings.model(len(subject.vocabulary))
    with progress() as bar, refusals():
        task = bar.add_task("reading, as trained and as drawn", total=2 * len(part))
        found = study(
            subject.model, drawn, indices, part, subject.origin, source, seed, lambda more: bar.advance(task, more)
        )

    from .cells_picture import missing, picture  # late: it takes half a second, and bad input should not wait for it

    write_page(out, page(found, shown))
    show(Console(), found)
    print(f"\npage: {out}", end="")
    save(Console(), picture(found), plot, dpi=125)
    if line := missing(found.text):
        print(line, file=sys.stderr)


class Subject(NamedTuple):
    """A model, and what belongs to it."""

    model: CharacterModel
    settings: Settings
    vocabulary: Vocabulary
    origin: str
    """Where it comes from, in a few words."""
    held_out: str
    """Text that it was not trained on; empty if it is not needed."""
    training: Training | None
    """The training that the model still needs."""


def fresh(steps: int, seed: int) -> Subject:
    """A new model, before its training."""
    whole = text_of([])
    training = Training(Settings(seed=seed), whole)
    origin = f"{description(training.settings)}, trained for {count(steps, 'step')} on Python's standard library"
    held_out = beginning(split(whole, training.settings.held_out)[1])
    return Subject(training.model, training.settings, training.vocabulary, origin, held_out, training)


def loaded(path: Path, with_text: bool) -> Subject:
    """The model of a checkpoint. Raises typer.BadParameter if the file is not one, or if its text is gone."""
    found, model = opened(path)
    origin = f"{path.name}, {description(found.settings)}, {count(found.step, 'training step')}"
    held_out = held_out_of(found) if with_text else ""
    return Subject(model, found.settings, Vocabulary(found.vocabulary), origin, held_out, None)


def held_out_of(found: Checkpoint) -> str:
    """The text that was held out when a model was trained. Raises typer.BadParameter if it is gone."""
    for source in found.sources:
        if not Path(source).is_file():
            raise typer.BadParameter(
                f"there is no file {source!r}, whose end was held out from training: name a --text"
            )
    whole = text_of(found.sources, found.encoding)
    if digest(whole) != found.digest:
        where = ", ".join(found.sources) or "the standard library"
        raise typer.BadParameter(f"{where} is not what the model was trained on any more: name a --text")
    return beginning(split(whole, found.settings.held_out)[1])


def beginning(text: str) -> str:
    """The rest of a text that was cut off somewhere, from where something new begins, or all of it."""
    start = text.find(MARGIN, 0, len(text) // 2)
    return text if start < 0 else text[start + len(MARGIN) :]


def train(training: Training, steps: int) -> None:
    """Take so many steps, with progress. Raises typer.BadParameter if the training diverges."""
    what = f"training {description(training.settings)}"
    print(f"no checkpoint is given: {what} for {count(steps, 'step')} on Python's standard library", file=sys.stderr)
    try:
        # By another number of threads other roundings come out, and after many steps another model, with other cells.
        with progress() as bar, one_blas_thread():
            task = bar.add_task(what, total=steps)
            for _ in range(steps):
                training.advance()
                bar.advance(task)
    except Diverged as error:
        raise typer.BadParameter(str(error)) from None


def show(out: Console, found: Findings) -> None:
    """The best cell for each feature, and what to make of it."""
    say(out, found.origin)
    cells = found.activations.shape[1] * found.activations.shape[2]
    say(
        out,
        f"{count(cells, 'cell')} as {found.held} over {count(len(found.text), 'character')} of {found.source}: for "
        "each feature the best on the first half, and its correlation r on both",
        "bold",
    )
    ranked = table("feature", "layer", "unit", "first half", "second half", "chance", "as drawn")
    for each, drawn in zip(found.rankings, found.as_drawn, strict=True):
        layer, unit = found.place(each.best)
        place = ("–", "–") if each.absent else (f"{layer}", f"{unit}")
        numbers = (each.chosen[each.best], each.reported[each.best], each.level, drawn)
        ranked.add_row(each.name, *place, *map(written, numbers))
    out.print(ranked)
    say(out, verdict(found))


def written(r: float) -> str:
    """A correlation."""
    return "–" if np.isnan(r) else f"{r:.2f}".replace("-", "−")


def verdict(found: Findings) -> str:
    """Which features a cell tracks, which none, and what training had to do with it."""
    pairs = list(zip(found.rankings, found.as_drawn, strict=True))
    above = [each.name for each, _ in pairs if each.tracked]
    not_above = [each.name for each, _ in pairs if not each.tracked and not each.absent]
    absent = [each.name for each, _ in pairs if each.absent]
    untaught = [
        each.name for each, drawn in pairs if each.tracked and abs(drawn) > abs(each.reported[each.best]) - NO_BETTER
    ]
    parts = [
        f"Above chance: {', '.join(above) or 'none'}.",
        f"Not above: {', '.join(not_above)}." if not_above else "",
        f"Nothing to track in one half of this text or in both: {', '.join(absent)}." if absent else "",
        f"About as good in a model that has learned nothing: {', '.join(untaught)}." if untaught else "",
        "Chance is what the best of all cells stays below, 95 times of 100, when the feature is shifted against the "
        "text; as drawn is what the best cell reaches before any training.",
    ]
    return " ".join(filter(None, parts))

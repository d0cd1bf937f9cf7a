"""The command `python -m scratch study explore`: one text, step by step through each kind of recurrence, on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from .. import nn, optim
from ..files import write_whole
from ..terminal import progress, writable
from ..text import CharacterModel, CheckpointError, Vocabulary, built, read
from ..text.settings import CELLS
from .explore import Shown, page, with_article

MOST_CHECKPOINTS = 3
"""As many models as stand side by side in a wide window."""

LONGEST = 100
"""Characters that a text may have: nobody steps through more."""

MOST_STEPS = 500
"""Training steps, if the loss does not become half of what it was before."""

LEARNING_RATE = 0.02
"""Adam's."""


def explore(
    text: Annotated[str, typer.Option("--string", help=f"What is read, 2 to {LONGEST} characters.")] = "hello world",
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help=f"What `train` has written; up to {MOST_CHECKPOINTS} stand side by side."),
    ] = None,
    hidden_size: Annotated[int, typer.Option(min=1, max=64, help="Of the models that are trained for this.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Draws their initial weights.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("explore.html"),
) -> None:
    """Make a page that steps through a text, forward and backward, with every number that is computed on the way.

    A model of each kind of recurrence stands beside the others. They are small, and are trained on the text itself
    until their loss is half of what it was, so that the gradients still have something to say. A checkpoint is shown in
    their place.

    Exit status: 0, or 2 if the command or a file is wrong.
    """
    if not 2 <= len(text) <= LONGEST:
        raise typer.BadParameter(f"expected a --string of 2 to {LONGEST} characters, got {len(text)}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("expected a --string of Unicode characters, got bytes that are none") from None
    if len(checkpoint or ()) > MOST_CHECKPOINTS:
        raise typer.BadParameter(f"expected at most {MOST_CHECKPOINTS} checkpoints, got {len(checkpoint or ())}")
    writable("--out", out)
    models = [opened(path, text) for path in checkpoint or ()] or trained(text, hidden_size, seed)
    try:
        content = page(text, models)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        write_whole(out, content.encode())
    except OSError as error:
        raise typer.BadParameter(f"cannot write --out {out}: {error.strerror}") from None
    for shown in models:
        print(f"{type(shown.model.rnn).__name__}: {shown.origin}")
    print(f"page: {out}")


def opened(path: Path, text: str) -> Shown:
    """The model of a checkpoint. Raises typer.BadParameter if there is none, or if it does not know the text."""
    try:
        found = read(path)
        model, _ = built(found)
        Vocabulary(found.vocabulary).encode(text)
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # CheckpointError is one
        what = "" if isinstance(error, CheckpointError) else " (the model's vocabulary)"
        raise typer.BadParameter(f"{path}: {error}{what}") from None
    layers = "" if found.settings.num_layers == 1 else f", {found.settings.num_layers} layers"
    return Shown(model, found.vocabulary, f"{path.name}, {found.step:,} training steps{layers}")


def trained(text: str, hidden_size: int, seed: int) -> list[Shown]:
    """A model of each kind that has begun to learn the text by heart."""
    vocabulary = Vocabulary.of(text)
    indices = vocabulary.encode(text)
    x, y = indices[None, :-1], indices[None, 1:]
    models = []
    bar = progress("{task.completed} of at most {task.total} steps")
    bar.disable = not bar.console.is_terminal  # it takes a second
    with bar:
        for cell in CELLS:
            model = CharacterModel(cell, len(vocabulary), hidden_size, dtype=np.float64, rng=seed)
            optimizer, criterion = optim.Adam(model.parameters(), lr=LEARNING_RATE), nn.CrossEntropyLoss()
            at_first: float | None = None
            task = bar.add_task(f"training {with_article(cell)}", total=MOST_STEPS)
            for step in range(MOST_STEPS + 1):
                logits, _ = model(x)
                loss = float(criterion(logits.swapaxes(1, 2), y))
                at_first = loss if at_first is None else at_first
                if loss <= at_first / 2 or step == MOST_STEPS:
                    break
                optimizer.zero_grad()
                model.backward(criterion.backward().swapaxes(1, 2))
                optimizer.step()
                bar.update(task, completed=step + 1)
            bar.update(task, completed=MOST_STEPS)
            origin = f"trained on this text for {step} steps, loss {at_first:.3f} → {loss:.3f}"
            models.append(Shown(model, vocabulary.characters, origin))
    return models

"""The command `python -m scratch study explore`: one text, step by step through each kind of recurrence, on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from .. import nn, optim
from ..terminal import writable
from ..text import CharacterModel, Vocabulary
from ..text.settings import CELLS
from .commands import Page, opened, quiet_progress, refusals, write_page
from .explore_page import Shown, page, with_article

MOST_CHECKPOINTS = 3
"""As many models as stand side by side in a wide window."""

LONGEST = 100
"""The longest text, in characters: nobody steps through more."""

MOST_STEPS = 500
"""Training ends after so many steps, if the loss has not halved by then."""

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
    out: Page = Path("explore.html"),
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
        raise typer.BadParameter("expected a --string of Unicode characters, got other bytes") from None
    if len(checkpoint or ()) > MOST_CHECKPOINTS:
        raise typer.BadParameter(f"expected at most {MOST_CHECKPOINTS} checkpoints, got {len(checkpoint or ())}")
    writable("--out", out)
    models = [loaded(path, text) for path in checkpoint or ()] or trained(text, hidden_size, seed)
    with refusals():
        content = page(text, models)
    write_page(out, content)
    for shown in models:
        print(f"{type(shown.model.rnn).__name__}: {shown.origin}")
    print(f"page: {out}")


def loaded(path: Path, text: str) -> Shown:
    """The model of a checkpoint. Raises typer.BadParameter if the file is not one, or does not know the text."""
    found, model = opened(path)
    try:
        Vocabulary(found.vocabulary).encode(text)
    except ValueError as error:
        raise typer.BadParameter(f"{path}: {error} (the model's vocabulary)") from None
    layers = "" if found.settings.num_layers == 1 else f", {found.settings.num_layers} layers"
    return Shown(model, found.vocabulary, f"{path.name}, {found.step:,} training steps{layers}")


def trained(text: str, hidden_size: int, seed: int) -> list[Shown]:
    """A model of each kind that has begun to learn the text by heart."""
    vocabulary = Vocabulary.of(text)
    indices = vocabulary.encode(text)
    x, y = indices[None, :-1], indices[None, 1:]
    models = []
    with quiet_progress("{task.completed} of at most {task.total} steps") as bar:
        for cell in CELLS:
            model = CharacterModel(cell, len(vocabulary), hidden_size, dtype=np.float64, rng=seed)
            optimizer, criterion = optim.Adam(model.parameters(), lr=LEARNING_RATE), nn.CrossEntropyLoss()
            losses: list[float] = []
            task = bar.add_task(f"training {with_article(cell)}", total=MOST_STEPS)
            for step in range(MOST_STEPS + 1):
                logits, _ = model(x)
                losses.append(float(criterion(logits.swapaxes(1, 2), y)))
                if losses[-1] <= losses[0] / 2 or step == MOST_STEPS:
                    break
                optimizer.zero_grad()
                model.backward(criterion.backward().swapaxes(1, 2))
                optimizer.step()
                bar.update(task, completed=step + 1)
            bar.update(task, completed=MOST_STEPS)
            origin = f"trained on this text for {step} steps, loss {losses[0]:.3f} → {losses[-1]:.3f}"
            models.append(Shown(model, vocabulary.characters, origin))
    return models

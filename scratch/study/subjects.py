"""The character models that `study explore` and `study cells` look at: from a checkpoint, or trained for this."""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import typer

from .. import nn, optim
from ..processes import one_blas_thread
from ..terminal import count, progress
from ..text import CharacterModel, Checkpoint, CheckpointError, Diverged, Settings, Training, Vocabulary, built, read
from ..text.corpus import digest, split
from ..text.train_command import description, text_of
from .explore_page import Shown

MOST_STEPS = 500  # training on a short text ends after so many steps, if the loss has not halved by then
LEARNING_RATE = 0.02  # Adam's, on a short text
MARGIN = "\n\n\n"  # after two empty lines something new begins: in most texts no quote and no bracket is open there


def opened(path: Path) -> tuple[Checkpoint, CharacterModel]:
    """A checkpoint and its model. Raises typer.BadParameter if the file is not one."""
    try:
        found = read(path)
        return found, built(found)[0]
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}") from None
    except CheckpointError as error:
        raise typer.BadParameter(f"{path}: {error}") from None


def of_checkpoint(path: Path, text: str) -> Shown:
    """The model of a checkpoint. Raises typer.BadParameter if the file is not one, or does not know the text."""
    found, model = opened(path)
    try:
        Vocabulary(found.vocabulary).encode(text)
    except ValueError as error:
        raise typer.BadParameter(f"{path}: {error} (the model's vocabulary)") from None
    layers = "" if found.settings.num_layers == 1 else f", {found.settings.num_layers} layers"
    return Shown(model, found.vocabulary, f"{path.name}, {found.step:,} training steps{layers}")


def trained(cell: str, text: str, hidden_size: int, seed: int) -> Shown:
    """A model that has begun to learn a short text by heart."""
    vocabulary = Vocabulary.of(text)
    indices = vocabulary.encode(text)
    x, y = indices[None, :-1], indices[None, 1:]
    model = CharacterModel(cell, len(vocabulary), hidden_size, dtype=np.float64, rng=seed)
    optimizer, criterion = optim.Adam(model.parameters(), lr=LEARNING_RATE), nn.CrossEntropyLoss()
    losses: list[float] = []
    while True:
        logits, _ = model(x)
        losses.append(float(criterion(logits.swapaxes(1, 2), y)))
        step = len(losses) - 1
        if losses[-1] <= losses[0] / 2 or step == MOST_STEPS:
            break
        optimizer.zero_grad()
        model.backward(criterion.backward().swapaxes(1, 2))
        optimizer.step()
    origin = f"trained on this text for {step} steps, loss {losses[0]:.3f} → {losses[-1]:.3f}"
    return Shown(model, vocabulary.characters, origin)


class Subject(NamedTuple):
    """A model whose cells are looked at, and what belongs to it."""

    model: CharacterModel
    settings: Settings
    vocabulary: Vocabulary
    origin: str  # where it comes from, in a few words
    held_out: str  # text that it was not trained on; empty if it is not asked for
    training: Training | None = None
    """The training that the model still needs."""


def fresh(steps: int, seed: int) -> Subject:
    """A new model, before its training."""
    whole = text_of([])
    training = Training(Settings(seed=seed), whole)
    settings = training.settings
    origin = f"{description(settings)}, trained for {count(steps, 'step')} on Python's standard library"
    return Subject(training.model, settings, training.vocabulary, origin, end_of(whole, settings), training)


def learned(path: Path, with_text: bool) -> Subject:
    """The model of a checkpoint. Raises typer.BadParameter for another file, and if its text is asked for but gone."""
    found, model = opened(path)
    origin, held_out = f"{path.name}, {description(found.settings)}, {count(found.step, 'training step')}", ""
    if with_text:
        for source in found.sources:
            if not Path(source).is_file():
                raise typer.BadParameter(
                    f"there is no file {source!r}, whose end was held out from training: name a --text"
                )
        whole = text_of(found.sources, found.encoding)
        if digest(whole) != found.digest:
            where = ", ".join(found.sources) or "the standard library"
            raise typer.BadParameter(f"{where} is not what the model was trained on any more: name a --text")
        held_out = end_of(whole, found.settings)
    return Subject(model, found.settings, Vocabulary(found.vocabulary), origin, held_out)


def end_of(whole: str, settings: Settings) -> str:
    """What was held out of a text, from where something new begins, or all of it."""
    text = split(whole, settings.held_out)[1]
    start = text.find(MARGIN, 0, len(text) // 2)
    return text if start < 0 else text[start + len(MARGIN) :]


def train(training: Training, steps: int) -> None:
    """Take so many steps, with progress. Raises typer.BadParameter if the training diverges."""
    what = f"training {description(training.settings)}"
    print(f"no checkpoint is given: {what} for {count(steps, 'step')} on Python's standard library", file=sys.stderr)
    try:
        # By another number of threads other roundings come out, and after many steps another model, with other cells.
        with progress() as bar, one_blas_thread():
            for _ in bar.track(range(steps), description=what):
                training.advance()
    except Diverged as error:
        raise typer.BadParameter(str(error)) from None

"""Training a character model: truncated backpropagation through time, one segment of the text to a step.

A step reads a segment of B × T characters and predicts the next of each. The state goes on from segment to segment, and
starts from zeros with each pass over the text; the gradient is cut between segments, so a character's influence is
learned over at most T steps, though the state carries it farther.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite, log
from statistics import median
from time import perf_counter
from types import FrameType
from typing import Any, Self

import numpy as np

from .. import nn, optim
from ..nn.pile import no_grad
from ..nn.utils import clip_grad_norm_
from ..types import Array
from .checkpoint import Checkpoint, CheckpointError, arrays_of, built, write
from .corpus import Streams, Vocabulary, digest, split
from .model import CharacterModel
from .settings import Limits, Settings

FAR = 3.0
"""How many times the loss of a guess, ln V, the loss is when a training has gone astray: none was seen to come back."""

RECENT = 100
"""Over how many steps that is looked at."""


class Diverged(ArithmeticError):
    """Raised when a training goes astray, or meets a loss, a gradient or a weight that is not a finite number.

    No checkpoint is made of either.
    """


class Training:
    """A character model on its way through a text.

    settings: what is trained, and how. text: what is learned; its end is held out for validation. sources: where the
    text is from, as a note for whoever resumes. begun: what is trained on; new if left out. Raises what `split` raises
    for a text that is too short.
    """

    def __init__(
        self,
        settings: Settings,
        text: str,
        sources: Sequence[str | os.PathLike[str]] = (),
        begun: tuple[Vocabulary, CharacterModel, optim.Optimizer] | None = None,
    ) -> None:
        if begun is None:
            vocabulary = Vocabulary.of(text)
            model = settings.model(len(vocabulary))
            begun = vocabulary, model, settings.optimizer_of(model)
        self.vocabulary, self.model, self.optimizer = begun
        self.settings, self.digest = settings, digest(text)
        self.sources, self.encoding = tuple(os.fspath(source) for source in sources), "utf-8"
        smallest = np.min_scalar_type(len(self.vocabulary))
        self.streams, self.validation_streams = (
            Streams(self.vocabulary.encode(part).astype(smallest), settings.batch_size, settings.length)
            for part in split(text, settings.held_out)
        )
        self.step = 0  # how many steps have been made
        self.seconds = 0.0  # how long they took; counted by whoever makes them
        self.limits = Limits(epochs=1.0)  # when whoever makes them will stop
        self.state: Any = None  # of the recurrence, after the last segment
        self.losses: list[float] = []  # of every step, in nats per character
        self.validations: list[tuple[int, float]] = []  # after how many steps, and the loss then

    @classmethod
    def resumed(cls, checkpoint: Checkpoint, text: str) -> Self:
        """The training as it was when the checkpoint was made: it goes on bit by bit as if it had not stopped.

        Raises ValueError if the text is another than the one that the training began with, CheckpointError if the parts
        of the checkpoint do not fit together.
        """
        if digest(text) != checkpoint.digest:
            raise ValueError("expected the text that the training began with, got another")
        begun = Vocabulary(checkpoint.vocabulary), *built(checkpoint)
        try:
            self = cls(checkpoint.settings, text, checkpoint.sources, begun)
        except ValueError as error:
            raise CheckpointError(f"expected settings and a vocabulary that fit the text: {error}") from None
        self.step, self.seconds, self.limits = checkpoint.step, checkpoint.seconds, checkpoint.limits
        self.encoding = checkpoint.encoding
        shape = (self.settings.num_layers, self.streams.batch_size, self.settings.hidden_size)
        for name, part in checkpoint.state.items():
            if part.shape != shape or part.dtype != self.settings.dtype:
                raise CheckpointError(f"expected state.{name} of shape {shape} and dtype {self.settings.dtype}")
        parts = tuple(checkpoint.state.values())
        self.state = None if not parts else parts if len(parts) > 1 else parts[0]
        self.losses = checkpoint.losses.tolist()
        self.validations = [(int(step), float(loss)) for step, loss in checkpoint.validations]
        return self

    @property
    def epoch(self) -> int:
        """The pass over the text that the next step belongs to; the first is 0."""
        return self.step // self.streams.segments

    @property
    def epochs(self) -> float:
        """How many passes over the text have been made."""
        return self.step / self.streams.segments

    @property
    def done(self) -> float:
        """Which fraction of the way to its limits is behind; 1 when it is done."""
        return self.limits.done(self.step, self.epochs, self.seconds / 60)

    @property
    def characters(self) -> int:
        """How many characters have been read."""
        passes, segments = divmod(self.step, self.streams.segments)
        return passes * self.streams.characters + segments * self.streams.batch_size * self.streams.length

    def advance(self) -> float:
        """One step: read a segment, compute the gradients, clip them, update. Returns the loss, nats per character.

        Raises Diverged if loss or gradients are not finite; then weights and optimizer are as they were.
        """
        segment = self.step % self.streams.segments
        if segment == 0:
            self.state = None
        loss, norm, state = self._gradients(segment)
        self._check("norm of the gradients", norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(self.epoch)
        self.optimizer.step()
        self.state = state
        self.losses.append(loss)
        self.step += 1
        return loss

    def _gradients(self, segment: int) -> tuple[float, float, Any]:
        """Those of the loss on a segment, clipped. Returns the loss, their norm before clipping, and the state."""
        x, y = self.streams.segment(segment)  # B, T
        criterion = nn.CrossEntropyLoss()
        logits, state = self.model(x, self.state)  # B, T, V
        loss = float(criterion(logits.reshape(y.size, -1), y.reshape(-1)))
        self._check("loss", loss)
        self.model.zero_grad()
        self.model.backward(criterion.backward().reshape(logits.shape))
        return loss, float(clip_grad_norm_(self.model.parameters(), self.settings.clip)), state

    def predict(self, x: Array, state: Any) -> tuple[Array, Any]:
        """What the model says now: see `Predict`."""
        logits, state = self.model(x, state)
        return logits, state

    def validate(self) -> float:
        """The loss on the text that is held out, in nats per character, which is noted. Raises Diverged if not finite.

        It is read in parallel streams, too, each from a state of zeros, and without dropout.
        """
        if self.validations and self.validations[-1][0] == self.step:
            return self.validations[-1][1]
        self.model.eval()
        loss = self._held_out()
        self.model.train()
        self._check("validation loss", loss)
        self.validations.append((self.step, loss))
        return loss

    def _held_out(self) -> float:
        """The mean loss on the text that is held out."""
        criterion, state, total, count = nn.CrossEntropyLoss(reduction="sum"), None, 0.0, 0
        with no_grad():
            for index in range(self.validation_streams.segments):
                x, y = self.validation_streams.segment(index)  # B, T
                logits, state = self.model(x, state)  # B, T, V
                total += float(criterion(logits.reshape(y.size, -1), y.reshape(-1)))
                count += y.size
        return total / count

    def checkpoint(self) -> Checkpoint:
        """All that is needed to go on, as a copy. Raises Diverged if any of its numbers is not finite."""
        checkpoint = Checkpoint(
            settings=self.settings,
            vocabulary=self.vocabulary.characters,
            sources=self.sources,
            digest=self.digest,
            limits=self.limits,
            step=self.step,
            seconds=self.seconds,
            losses=np.array(self.losses, np.float64),
            validations=np.array(self.validations, np.float64).reshape(-1, 2),
            encoding=self.encoding,
            **self._learned(),
        )
        for name, value in arrays_of(checkpoint).items():
            self._check(f"largest element of {name}", float(np.abs(value).max(initial=0)))
        return checkpoint

    def _learned(self) -> dict[str, Any]:
        """What only the library that trains knows: these fields of the checkpoint."""
        names = [name for name, _ in self.model.named_parameters()]
        states: dict[int, dict[str, Array]] = self.optimizer.state_dict()["state"]
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        return {
            "rng": self.model.rng.bit_generator.state,
            "model": self.model.state_dict(),
            "optimizer": {names[index]: values for index, values in states.items()},
            "state": {} if self.state is None else dict(zip(self.model.rnn.cell.state, parts, strict=True)),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint in place of what is at `path`. Raises as `checkpoint` and `write` do."""
        write(path, self.checkpoint())

    def astray(self, steps: int = RECENT) -> bool:
        """Whether the loss is far above that of a guess, ln V: the last one, and the median of the last steps."""
        recent = self.losses[-steps:]
        return bool(recent) and min(median(recent), recent[-1]) > FAR * log(len(self.vocabulary))

    def diverged(self, what: str) -> Diverged:
        """The error that says so, and what to try."""
        now = self.settings.learning_rate_at(self.epoch)
        clip = "a clip" if self.settings.clip == np.inf else "a smaller clip"
        return Diverged(
            f"the {what}: try a smaller learning rate (it is {now:g}) or {clip} (it is {self.settings.clip:g})"
        )

    def _check(self, what: str, value: float) -> None:
        if not isfinite(value):
            raise self.diverged(f"{what} is {value} at step {self.step + 1}")


def resumed_anew(checkpoint: Checkpoint, text: str) -> Training:
    """A training that begins on another text, with the weights and the optimizer of a checkpoint.

    Raises ValueError if the text has characters that the model does not know, and as `Training.resumed` does.
    """
    Vocabulary(checkpoint.vocabulary).encode(text)
    begun = checkpoint._replace(digest=digest(text), step=0, seconds=0.0, state={})
    return Training.resumed(begun._replace(losses=np.empty(0), validations=np.empty((0, 2))), text)


AGAIN = 1.0
"""Seconds after which a signal counts as a second one: launchers pass on what the terminal has sent to all."""


@contextmanager
def interrupts_noted() -> Iterator[list[signal.Signals]]:
    """While this is entered, Ctrl-C and SIGTERM are listed, so that a step can be finished; a second one interrupts."""
    came, when = list[signal.Signals](), 0.0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal when
        if not came:
            came.append(signal.Signals(number))
            when = perf_counter()
        elif perf_counter() - when > AGAIN:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(
    training: Training,
    path: str | os.PathLike[str],
    save_every: float = 10.0,
    stepped: Callable[[Training], object] = lambda training: None,
    validated: Callable[[Training], object] = lambda training: None,
) -> signal.Signals | None:
    """Train until the limits are reached, with a checkpoint at `path` at the start, now and then, and at the end.

    save_every: seconds from one checkpoint to the next; 0 writes one after every step. `stepped` and `validated` are
    called after each step and each validation. Returns the signal that interrupted it, if one did; then the checkpoint
    is of the last whole step.

    Raises OSError if a checkpoint cannot be written, Diverged if the training does; the last good checkpoint stays.
    """
    with interrupts_noted() as came:
        training.save(path)
        saved = perf_counter()
        while training.done < 1 and not came:
            start = perf_counter()
            training.advance()
            validates = training.step % training.settings.validate_every == 0
            if validates:
                training.validate()
            training.seconds += perf_counter() - start
            if validates:
                validated(training)
            stepped(training)
            if training.astray() and training.step >= RECENT:
                break
            if perf_counter() - saved >= save_every and not training.astray(1):
                training.save(path)
                saved = perf_counter()
        if training.astray():
            raise training.diverged(f"loss is {training.losses[-1]:.3g} at step {training.step}, far above a guess's")
        if not came and not (training.validations and training.validations[-1][0] == training.step):
            training.validate()
            validated(training)
        training.save(path)
        return came[0] if came else None

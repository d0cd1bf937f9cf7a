"""The same model trained twice, in `scratch` and in PyTorch, from the same initial weights on the same text.

Both learn to predict the next character, with cross-entropy and Adam, in float64, on the whole text at once. Nothing is
exchanged after the start: what differs in the end is rounding, carried through every step of the training.

How far rounding is carried depends on the training. A short text is forgiving; gradients that explode over hundreds of
steps magnify 1e-16 to anything. So a third model runs along: the one in `scratch` again, started one rounding away. How
far it parts from the first measures what rounding alone does to this training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scratch import nn, no_grad, optim, text
from scratch.types import Array

from . import models, weights

LOSS_TOLERANCE = 1e-9
"""The promise for the losses of a whole training run, unless the training itself magnifies rounding to more."""

MARGIN = 100
"""How much further than the third model, a single sample of rounding, PyTorch may part from the first."""


@dataclass(frozen=True)
class Example:
    """A text to learn, and the model that learns it."""

    title: str
    cell: str
    """'RNN' or 'LSTM'."""
    text: str
    """The input is the text without its last character, the target the text without its first."""
    hidden_size: int
    num_layers: int = 1
    vocabulary: str = ""
    """The characters in the order of their indices; empty: those of the text, sorted."""
    learning_rate: float = 0.01
    epochs: int = 100
    every: int = 10
    """After how many epochs a row is printed."""
    generates: bool = True
    """Whether the trained model continues the first character by itself; if not, it predicts each next character."""
    seed: int = 0


EXAMPLES = [
    Example("hello, RNN", "RNN", "hello", hidden_size=8, vocabulary="helo", every=20, generates=False),
    Example("hello world, RNN", "RNN", "hello world", hidden_size=50),
    Example("hello world, LSTM", "LSTM", "hello world", hidden_size=50),
]
"""The three classic character examples."""


@dataclass(frozen=True)
class Row:
    """The losses of one epoch, before its update."""

    epoch: int
    scratch: float
    torch: float
    nearby: float
    """In `scratch`, started one rounding away."""

    @property
    def difference(self) -> float:
        """How far the two libraries lie apart."""
        return abs(self.scratch - self.torch)

    @property
    def rounding(self) -> float:
        """How far rounding alone has carried the loss."""
        return abs(self.scratch - self.nearby)


@dataclass(frozen=True)
class Result:
    """What training side by side has shown."""

    example: Example
    input_shape: tuple[int, ...]
    hidden_shape: tuple[int, ...]
    rows: list[Row]
    expected: str
    scratch: str
    """What the model in `scratch` says after training: see `Example.generates`."""
    torch: str

    def disagreements(self) -> Iterator[str]:
        """Everything that is not the same in both libraries, in words."""
        bound = LOSS_TOLERANCE
        for row in self.rows:
            bound = max(bound, MARGIN * row.rounding)
            if not row.difference <= bound:
                yield f"{self.example.title}: loss at epoch {row.epoch} differs by {row.difference:.1e}"
        if self.scratch != self.torch and not self.is_chaotic:
            yield f"{self.example.title}: the trained models say {self.scratch!r} and {self.torch!r}"

    @property
    def is_chaotic(self) -> bool:
        """Whether this training magnifies rounding beyond what two correct implementations could agree to."""
        return max(row.rounding for row in self.rows) * MARGIN > LOSS_TOLERANCE


def train(example: Example, advance: Callable[[], None] = lambda: None) -> Result:
    """Train the example in both libraries. `advance` is called after each epoch."""
    vocabulary = text.Vocabulary(example.vocabulary) if example.vocabulary else text.Vocabulary.of(example.text)
    indices = vocabulary.encode(example.text)
    x, target = vocabulary.one_hot(indices[None, :-1], np.float64), indices[None, 1:]

    sizes = (example.cell, len(vocabulary), example.hidden_size, example.num_layers)
    ours = text.CharacterModel(*sizes, dtype=np.float64, rng=example.seed)
    theirs = models.CharacterModel(*sizes, dtype=torch.float64)
    weights.to_torch(ours, theirs)
    nearby = text.CharacterModel(*sizes, dtype=np.float64)
    nearby.load_state_dict({name: np.nextafter(value, np.inf) for name, value in ours.state_dict().items()})
    steps = [
        step_in_scratch(ours, x, target, example),
        step_in_torch(theirs, x, target, example),
        step_in_scratch(nearby, x, target, example),
    ]

    rows = []
    for epoch in range(1, example.epochs + 1):
        losses = [step() for step in steps]
        if epoch % example.every == 0 or epoch == example.epochs:
            rows.append(Row(epoch, *losses))
        advance()

    expected = example.text if example.generates else example.text[1:]

    def says(model: text.Predict) -> str:
        if example.generates:
            return text.generate(model, vocabulary, expected[0], len(expected), np.float64)
        return vocabulary.decode(model(x, None)[0].argmax(-1))

    def in_torch(x: Array, state: Any) -> tuple[Array, Any]:
        with torch.no_grad():
            logits, state = theirs(torch.from_numpy(x), state)
        return logits.numpy(), state

    with no_grad():
        _, state = ours(x)
        h_n = state[0] if isinstance(state, tuple) else state
        return Result(example, x.shape, h_n.shape, rows, expected, says(ours), says(in_torch))


def step_in_scratch(model: text.CharacterModel, x: Array, target: Array, example: Example) -> Callable[[], float]:
    """One training step in `scratch`, as a function that returns the loss before the update."""
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=example.learning_rate)

    def step() -> float:
        logits, _ = model(x)
        loss = criterion(logits.swapaxes(1, 2), target)
        optimizer.zero_grad()
        model.backward(criterion.backward().swapaxes(1, 2))
        optimizer.step()
        return float(loss)

    return step


def step_in_torch(model: torch.nn.Module, x: Array, target: Array, example: Example) -> Callable[[], float]:
    """The same step in PyTorch."""
    inputs, targets = torch.from_numpy(x), torch.from_numpy(target)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=example.learning_rate)

    def step() -> float:
        logits, _ = model(inputs)
        loss = criterion(logits.swapaxes(1, 2), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step

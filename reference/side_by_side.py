"""The same model trained twice, in `scratch` and in PyTorch, from the same initial weights on the same text.

Both learn to predict the next character, with cross-entropy and Adam, in float64, on the whole text at once. Nothing is
exchanged after the start: what differs in the end is rounding, carried through every step of the training.

How far it is carried depends on the training. A short text is forgiving; gradients that explode over hundreds of steps
turn 1e-16 into anything. So each printed epoch also compares one step by itself: PyTorch computes the loss and every
gradient from the weights that `scratch` has reached.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scratch import nn, no_grad, optim, text
from scratch.types import Array

from .equivalence import Difference, compare
from .models import twin
from .runs import disturbed

LOSS_TOLERANCE = 1e-9
"""The promise for losses and gradients along a training run."""

MARGIN = 100
"""How much more than one sample of rounding may explain of the error of one step, where rounding is magnified."""


@dataclass(frozen=True)
class Example:
    """A text to learn, and the model that learns it."""

    title: str
    cell: str
    """The name of the class in both libraries."""
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
    forgiving: bool = True
    """Whether training this example is known to carry rounding nowhere near the tolerance."""
    seed: int = 0


EXAMPLES = [
    Example("hello, RNN", "RNN", "hello", hidden_size=8, vocabulary="helo", every=20, generates=False),
    Example("hello world, RNN", "RNN", "hello world", hidden_size=50),
    Example("hello world, LSTM", "LSTM", "hello world", hidden_size=50),
]
"""The three classic character examples."""


@dataclass(frozen=True)
class Row:
    """One epoch: the losses before its update, and the worst difference of the step taken from the same weights."""

    epoch: int
    scratch: float
    torch: float
    step: Difference
    step_tolerance: float

    @property
    def difference(self) -> float:
        """How far the losses of the two training runs lie apart."""
        return abs(self.scratch - self.torch)


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

    @property
    def parted(self) -> bool:
        """Whether the two training runs have come further apart than the tolerance."""
        return not all(row.difference <= LOSS_TOLERANCE for row in self.rows)

    def disagreements(self) -> Iterator[str]:
        """Everything that should be the same in both libraries and is not, in words.

        Training runs may part where the training magnifies rounding, unless the example is known to be forgiving;
        a single step may not.
        """
        for row in self.rows:
            name, error, what, _ = row.step
            if not error <= row.step_tolerance:
                yield f"{self.example.title}: {name} of epoch {row.epoch} {what or f'differs by {error:.1e}'}"
            if self.example.forgiving and not row.difference <= LOSS_TOLERANCE:
                yield f"{self.example.title}: loss at epoch {row.epoch} differs by {row.difference:.1e}"
        if self.scratch != self.torch and not self.parted:
            yield f"{self.example.title}: the trained models say {self.scratch!r} and {self.torch!r}"


def train(example: Example, advance: Callable[[], None] = lambda: None) -> Result:
    """Train the example in both libraries. `advance` is called after each epoch."""
    vocabulary = text.Vocabulary(example.vocabulary) if example.vocabulary else text.Vocabulary.of(example.text)
    indices = vocabulary.encode(example.text)
    x, target = indices[None, :-1], indices[None, 1:]  # 1, T

    sizes = (example.cell, len(vocabulary), example.hidden_size, example.num_layers)
    ours = text.CharacterModel(*sizes, dtype=np.float64, rng=example.seed)
    theirs = twin(ours)
    our_optimizer = optim.Adam(ours.parameters(), lr=example.learning_rate)
    their_optimizer = torch.optim.Adam(theirs.parameters(), lr=example.learning_rate)

    rows = []
    for epoch in range(1, example.epochs + 1):
        our_step, their_step = run_in_scratch(ours, x, target), run_in_torch(theirs, x, target)
        if epoch % example.every == 0 or epoch == example.epochs:
            losses = float(our_step["loss"]), float(their_step["loss"])
            rows.append(Row(epoch, *losses, *compare_step(example, ours, our_step, x, target)))
        our_optimizer.step()
        their_optimizer.step()
        advance()

    def in_torch(x: Array, state: Any) -> tuple[Array, Any]:
        with torch.no_grad():
            logits, state = theirs(torch.from_numpy(x), state)
        return logits.numpy(), state

    expected = example.text if example.generates else example.text[1:]
    with no_grad():
        _, state = ours(x)
        h_n = state[0] if isinstance(state, tuple) else state
        said = [
            text.generate(model, vocabulary, expected[0], len(expected) - 1, temperature=0)
            if example.generates
            else vocabulary.decode(model(x, None)[0].argmax(-1))
            for model in (ours, in_torch)
        ]
    return Result(example, (*x.shape, len(vocabulary)), h_n.shape, rows, expected, *said)


def run_in_scratch(model: text.CharacterModel, x: Array, target: Array) -> dict[str, Array]:
    """The loss and all its gradients, which are left in the parameters."""
    criterion = nn.CrossEntropyLoss()
    logits, _ = model(x)
    loss = criterion(logits.swapaxes(1, 2), target)
    model.zero_grad()
    model.backward(criterion.backward().swapaxes(1, 2))
    gradients = {f"d_{name}": each.grad for name, each in model.named_parameters() if each.grad is not None}
    return {"loss": np.asarray(loss), **gradients}


def run_in_torch(model: torch.nn.Module, x: Array, target: Array) -> dict[str, Array]:
    """The same in PyTorch."""
    logits, _ = model(torch.from_numpy(x))
    loss = torch.nn.CrossEntropyLoss()(logits.swapaxes(1, 2), torch.from_numpy(target))
    model.zero_grad()
    loss.backward()
    gradients = {f"d_{name}": each.grad.numpy() for name, each in model.named_parameters() if each.grad is not None}
    return {"loss": loss.detach().numpy(), **gradients}


def compare_step(
    example: Example, ours: text.CharacterModel, our_step: Mapping[str, Array], x: Array, target: Array
) -> tuple[Difference, float]:
    """The worst difference of one step if PyTorch takes it from the same weights, and its tolerance.

    Where that is above 1e-9, the step itself may magnify rounding. Then it is taken again in `scratch` with every
    parameter and every state on the way moved by one rounding, up or down, to see how much that explains.
    """
    worst = max(compare(our_step, run_in_torch(twin(ours), x, target)), key=lambda difference: difference.error)
    if worst.error <= LOSS_TOLERANCE:
        return worst, LOSS_TOLERANCE
    nearby = deepcopy(ours)
    rng = np.random.default_rng(example.seed)

    def move(value: Array) -> Array:
        return np.nextafter(value, rng.choice([-np.inf, np.inf], value.shape))

    nearby.load_state_dict({name: move(value) for name, value in ours.state_dict().items()})
    nearby.rnn.cell = disturbed(nearby.rnn.cell, move)
    explained = max(difference.error for difference in compare(run_in_scratch(nearby, x, target), our_step))
    return worst, max(LOSS_TOLERANCE, MARGIN * explained)

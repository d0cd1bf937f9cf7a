"""Training a forecaster: small batches, clipped gradients, and an end when the validation part no longer gains.

Each epoch takes the training windows in a new random order. After it the validation windows are forecast, and the
weights with the smallest squared error there are kept. When that error has not fallen for `patience` epochs, training
ends, and the model has the kept weights: more training would fit the training part only (early stopping; Prechelt
1998, Early stopping – but when?).

The defaults are those of a dozen combinations of window, hidden size and learning rate that had the smallest error on
the validation part of the sunspots, or nearly so, one step and five steps ahead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .. import nn, optim
from ..types import Seed
from .model import Forecaster
from .windows import Windows


@dataclass(frozen=True)
class Recipe:
    """How to train. Raises ValueError for a learning rate that is not a finite number above 0."""

    epochs: int = 300  # at most so many times through the training windows
    patience: int = 40  # so many epochs without a smaller error on the validation part end the training
    batch_size: int = 32
    learning_rate: float = 0.01  # Adam's
    max_norm: float = 1.0  # what the common norm of all gradients is clipped to

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < np.inf:
            raise ValueError(f"expected a finite learning rate above 0, got {self.learning_rate}")


class History(NamedTuple):
    """Mean squared errors of standardised values, after each epoch, and when the weights were best."""

    training: list[float]  # over the batches of the epoch, each forecast before its step
    validation: list[float]
    best_epoch: int  # counts from 1; the model has the weights of this epoch


def train(
    model: Forecaster,
    training: Windows,
    validation: Windows,
    rng: Seed = None,
    recipe: Recipe | None = None,
    progress: Callable[[int], object] = lambda epoch: None,
) -> History:
    """Train a model on windows of standardised values. It ends with the weights of the best epoch.

    rng: the order of the windows. progress: is called with the number of each epoch that is over.

    Raises FloatingPointError if no epoch had a finite error on the validation part.
    """
    recipe = recipe or Recipe()
    generator = np.random.default_rng(rng)
    dtype = model.fc.weight.data.dtype
    inputs, targets = training.inputs.astype(dtype), training.targets.astype(dtype)
    parameters = list(model.parameters())
    optimizer, criterion = optim.Adam(parameters, lr=recipe.learning_rate), nn.MSELoss()
    losses: list[float] = []
    errors: list[float] = []
    best, best_epoch, best_weights = np.inf, 0, model.state_dict()
    for epoch in range(1, recipe.epochs + 1):
        total = 0.0
        order = generator.permutation(len(inputs))
        for start in range(0, len(order), recipe.batch_size):
            batch = order[start : start + recipe.batch_size]
            total += len(batch) * float(criterion(model(inputs[batch]), targets[batch]))
            optimizer.zero_grad()
            model.backward(criterion.backward())
            nn.utils.clip_grad_norm_(parameters, recipe.max_norm)
            optimizer.step()
        losses.append(total / len(order))
        with np.errstate(over="ignore", invalid="ignore"):
            errors.append(float(np.square(model.predict(validation.inputs) - validation.targets).mean()))
        if errors[-1] < best:
            best, best_epoch, best_weights = errors[-1], epoch, model.state_dict()
        progress(epoch)
        if epoch - best_epoch >= recipe.patience:
            break
    if best_epoch == 0:
        raise FloatingPointError(f"expected a finite error on the validation part, got none in {len(errors)} epochs")
    model.load_state_dict(best_weights)
    return History(losses, errors, best_epoch)

"""The forecaster: an LSTM reads a window, value by value, and a linear layer turns its last h into what comes next.

(1)  h_t, c_t = LSTM(z_t, h_{t−1}, c_{t−1})     for the W values of the window
(2)  ẑ = W_fc h_W + b_fc                         the next K values, all at once

With K = 1 this is the classic many-to-one model. With K > 1 it is the direct forecast of several steps: nothing that
was forecast is fed back, so that errors do not pile up from step to step.

Backward, only the last step has a gradient from outside:

     d_h_W = W_fcᵀ d_ẑ                          (2)
     d_z   = the LSTM's backward of d_h_W       (1)

It is trained in small batches, with clipped gradients. Each epoch takes the training windows in a new random order.
After it the validation windows are forecast, and the weights with the smallest squared error there are kept. When that
error has not fallen for `patience` epochs, training ends with the kept weights: more of it would fit the training part
only (early stopping; Prechelt 1998, Early stopping – but when?).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .. import nn, no_grad, optim
from ..types import Array, Seed
from .windows import Windows

CHUNK = 1024
"""How many windows are read at once when nothing is learned: this bounds the memory that a long series takes."""


class Forecaster(nn.Module):
    """Windows (B, W, 1) → LSTM → the last h → Linear → the next values (B, K).

    horizon: K. hidden_size: H. rng draws the parameters, which are named lstm.… and fc.…; the dtype is that of the
    windows, too. Raises what `nn.LSTM` and `nn.Linear` raise for their sizes.
    """

    def __init__(
        self,
        horizon: int = 1,
        hidden_size: int = 32,
        num_layers: int = 1,
        dtype: npt.DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        generator = np.random.default_rng(rng)
        self.lstm = nn.LSTM(1, hidden_size, num_layers, batch_first=True, dtype=dtype, rng=generator)
        self.fc = nn.Linear(hidden_size, horizon, dtype=dtype, rng=generator)

    def forward(self, windows: Array) -> Array:
        """windows: (B, W, 1). Returns (B, K)."""
        _, (h_n, _) = self.lstm(windows)  # (1)  L, B, H: h after the last step, of each layer
        forecast: Array = self.fc(h_n[-1])  # (2)
        return forecast

    def backward(self, d_forecast: Array, *, retain_graph: bool = False) -> Array:
        """d_forecast: (B, K). Adds to every parameter's grad; returns d_windows: (B, W, 1).

        Undoes the newest forward pass, and takes it off unless retain_graph. Raises what the modules raise.
        """
        with self._undoing():
            d_h = self.fc.backward(d_forecast, retain_graph=retain_graph)  # (2)
            d_h_n = np.zeros((self.lstm.num_layers, *d_h.shape), d_h.dtype)
            d_h_n[-1] = d_h
            d_windows: Array = self.lstm.backward(None, (d_h_n, None), retain_graph=retain_graph)[0]  # (1)
        return d_windows

    def predict(self, windows: Array) -> Array:
        """As `forward`, for windows of any dtype and number, and without a tape. Returns (B, K)."""
        dtype = self.fc.weight.data.dtype
        with no_grad():
            chunks = [
                self.forward(windows[start : start + CHUNK].astype(dtype)) for start in range(0, len(windows), CHUNK)
            ]
        return np.concatenate(chunks)


@dataclass(frozen=True)
class Recipe:
    """How to train. Raises ValueError for counts below 1 and a learning rate that is not a finite number above 0.

    The defaults had the smallest error, or nearly so, on the validation part of the sunspots, of a dozen combinations.
    """

    epochs: int = 300  # at most so many times through the training windows
    patience: int = 40  # so many epochs without a smaller error on the validation part end the training
    batch_size: int = 32
    learning_rate: float = 0.01  # Adam's
    max_norm: float = 1.0  # what the common norm of all gradients is clipped to

    def __post_init__(self) -> None:
        if min(self.epochs, self.patience, self.batch_size) < 1:
            raise ValueError(f"expected epochs, patience and batch_size of at least 1, got {self}")
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

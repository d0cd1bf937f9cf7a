"""What a training is: every choice that decides what it computes, checked once, and the same for every library.

And when it is done, which changes nothing of what is computed until then.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from .. import nn, optim
from ..nn import checks
from .model import CharacterModel

CELLS = tuple(dict.fromkeys(kind.module.__name__ for kind in nn.RECURRENCES.values()))
"""The recurrences, by the names of their classes in `scratch.nn`."""

DTYPES, MOMENTUM = ("float32", "float64"), ("SGD", "RMSprop")
"""What can be computed in, as NumPy calls it; the optimizers that have a momentum."""

OPTIMIZERS = {"SGD": 0.5, "Adagrad": 0.01, "RMSprop": 0.002, "Adam": 0.002, "AdamW": 0.002}
"""The optimizers, by the names of their classes in `scratch.optim`, and the learning rate for whoever names none."""


def string(name: str, value: Any) -> str:
    """A text. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"expected {name} to be a text, got {type(value).__name__}")
    return value


def number(name: str, value: Any, most: float = np.inf, excluded: Collection[float] = (np.inf,)) -> float:
    """A number, 0 ≤ value ≤ most, but none of the excluded. Raises TypeError or ValueError."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"expected {name} to be a number, got {value!r} of type {type(value).__name__}")
    if not 0 <= float(value) <= most or value in excluded:
        least = "above 0" if 0 in excluded else "of at least 0"
        upper = f" and {'below' if most in excluded else 'at most'} {most:g}" if most < np.inf else ""
        finite = ", finite" if most == np.inf and np.inf in excluded else ""
        raise ValueError(f"expected {name} {least}{upper}{finite}, got {value}")
    return float(value)


def setting(default: Any, help: str, choices: Collection[str] = (), **limits: Any) -> Any:
    """A setting, what it is, and what it may be: one of several names, or a number within limits."""

    def check(name: str, value: Any) -> Any:
        if isinstance(default, str):
            if string(name, value) not in choices:
                raise ValueError(f"expected {name} to be one of {', '.join(choices)}, got {value!r}")
            return value
        return checks.integer(name, value, **limits) if isinstance(default, int) else number(name, value, **limits)

    return field(default=default, metadata={"help": help, "check": check, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """A character model, its optimizer, and how it is trained.

    Two trainings of the same settings on the same text compute the same numbers, bit by bit.

    Raises TypeError for a wrong type, ValueError for a wrong value.
    """

    cell: str = setting("LSTM", "The recurrence.", CELLS)
    hidden_size: int = setting(128, "H, its hidden size.", least=1)
    num_layers: int = setting(1, "L, its layers.", least=1)
    embedding_size: int = setting(0, "A character's width; 0: one-hot.", least=0)
    dropout: float = setting(0.0, "Between the layers and after the last.", most=1, excluded=(1,))
    dtype: str = setting("float32", "What is computed in.", DTYPES)
    optimizer: str = setting("Adam", "The optimizer.", OPTIMIZERS)
    learning_rate: float = setting(OPTIMIZERS["Adam"], "The learning rate.")
    learning_rate_decay: float = setting(1.0, "Multiplies it after every pass over the text.", most=1)
    momentum: float = setting(0.0, "Of SGD and RMSprop.", most=1, excluded=(1,))
    weight_decay: float = setting(0.0, "Of any optimizer.")
    clip: float = setting(5.0, "The largest norm of all gradients together; inf: any.", excluded=(0,))  # Pascanu et al.
    batch_size: int = setting(32, "B, how many places are read side by side.", least=1)
    length: int = setting(64, "T, after how many characters the gradient is cut.", least=1)
    held_out: float = setting(0.1, "The part of the text, its end, for validation.", most=1, excluded=(0, 1))
    validate_every: int = setting(500, "Steps between two validations.", least=1)
    seed: int = setting(0, "Draws weights and dropout.", least=0)

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, each.metadata["check"](each.name, getattr(self, each.name)))
        if self.momentum and self.optimizer not in MOMENTUM:
            raise ValueError(f"expected no momentum for {self.optimizer} (only {' and '.join(MOMENTUM)} have one)")

    @classmethod
    def of(cls, values: Any) -> Settings:
        """The settings that `as_dict` gave. Raises TypeError or ValueError for anything else."""
        names = {each.name for each in fields(cls)}
        if not isinstance(values, dict) or values.keys() != names:
            raise ValueError("expected settings with exactly the names that settings have")
        known: dict[str, Any] = values | ({"clip": np.inf} if values["clip"] is None else {})
        return cls(**known)

    def as_dict(self) -> dict[str, Any]:
        """The settings by name, for JSON: an infinite clip is None."""
        return asdict(self) | {"clip": None if self.clip == np.inf else self.clip}

    @property
    def optimizer_options(self) -> dict[str, float]:
        """The options of the optimizer by PyTorch's names, which are `scratch`'s."""
        options = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        return options | ({"momentum": self.momentum} if self.optimizer in MOMENTUM else {})

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate in a pass over the text; the first is 0."""
        return float(self.learning_rate * self.learning_rate_decay**epoch)

    def model(self, vocabulary_size: int) -> CharacterModel:
        """A new model, drawn with the seed."""
        sizes = (self.hidden_size, self.num_layers, self.embedding_size)
        return CharacterModel(self.cell, vocabulary_size, *sizes, self.dropout, np.dtype(self.dtype), rng=self.seed)

    def optimizer_of(self, model: nn.Module) -> optim.Optimizer:
        """A new optimizer for a model."""
        made: optim.Optimizer = getattr(optim, self.optimizer)(model.parameters(), **self.optimizer_options)
        return made


class Limits(NamedTuple):
    """When a training is done: after so many steps, passes over the text or minutes in all, whichever comes first."""

    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None

    @classmethod
    def of(cls, values: Any) -> Limits:
        """The limits in a mapping. Raises TypeError or ValueError for anything else, and if there is none at all."""
        if not isinstance(values, dict) or values.keys() != set(cls._fields):
            raise ValueError(f"expected limits of exactly {', '.join(cls._fields)}")
        if all(value is None for value in values.values()):
            raise ValueError("expected a limit, got none")
        for name, value in values.items():
            if value is not None:
                checks.integer(name, value, least=1) if name == "steps" else number(name, value, excluded=(0, np.inf))
        return cls(**values)

    def done(self, steps: int, epochs: float, minutes: float) -> float:
        """Which fraction of the way is behind; 1 when it is done."""
        now = zip(self, (steps, epochs, minutes), strict=True)
        return min(1.0, max(reached / limit for limit, reached in now if limit is not None))

"""The tapes that wait for a backward pass, and the switch that turns tapes off. The rule is told in module.py."""

import inspect
import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from contextvars import ContextVar
from itertools import count
from typing import Any, NamedTuple, TypeVar

from .parameter import Parameter, changes

LEFT_OVER = 16
"""How many tapes from before the last change of any parameter a module without trainable parameters keeps."""

_inside: ContextVar[int] = ContextVar("inside_no_grad", default=0)
"""How many times `no_grad` is entered."""


Function = TypeVar("Function", bound=Callable[..., Any])


class no_grad(ContextDecorator):
    """While this is entered, forward passes keep nothing for a backward pass, as with `torch.no_grad`."""

    def __call__(self, function: Function) -> Function:
        """Decorate a function. Raises TypeError for a generator or a coroutine."""
        run_later = inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction
        if any(is_one(function) for is_one in run_later):
            raise TypeError("expected a plain function, got one that runs after no_grad() has ended: enter it inside")
        return super().__call__(function)

    def __enter__(self) -> None:
        _inside.set(_inside.get() + 1)

    def __exit__(self, *error: object) -> None:
        _inside.set(_inside.get() - 1)


def tape_is_on() -> bool:
    """Whether a forward pass made now shall keep what its backward pass needs."""
    return _inside.get() == 0


Versions = list[tuple[Parameter, int]]
"""Parameters, each with its version."""


numbers = count()
"""Tapes are numbered in the order in which they are made, over all modules."""


class Kept(NamedTuple):
    """The tape of one forward pass, and what is known about it."""

    tape: Any
    versions: Versions
    """Of the module's own parameters."""
    changes: int
    """How many changes of parameters this thread had made."""
    nbytes: int
    number: int


class Pile(threading.local):
    """The tapes of a module's forward passes that no backward pass has undone, the newest last; one for each thread."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything, in this thread."""
        self.kept: list[Kept] = []
        self.nbytes = 0
        self.dropped = False
        """Whether tapes were dropped because of `tape_limit`."""
        self.masks: Any = None
        """What dropout multiplied with in the last forward pass."""

    def add(self, kept: Kept) -> None:
        """Lay a tape on top."""
        self.kept.append(kept)
        self.nbytes += kept.nbytes

    def remove(self, index: int) -> None:
        """Take a tape out."""
        self.nbytes -= self.kept.pop(index).nbytes

    def take(self, after: int) -> list[Kept]:
        """Take out the tapes that were made after this number was given."""
        taken = [kept for kept in self.kept if kept.number > after]
        self.kept[:] = [kept for kept in self.kept if kept.number <= after]
        self.nbytes -= sum(kept.nbytes for kept in taken)
        return taken

    def drop_useless(self, versions: Versions) -> None:
        """Drop the tapes that no backward pass can undo, and those that none is going to."""
        if self.kept and self.kept[-1].versions != versions:  # then those below it, as they were of use with it
            self.kept.clear()
            self.nbytes = 0
        if len(self.kept) > LEFT_OVER and not any(parameter.requires_grad for parameter, _ in versions):
            while len(self.kept) > LEFT_OVER and self.kept[LEFT_OVER].changes != changes.count:
                self.remove(0)


def nbytes(value: Any) -> int:
    """The memory of the arrays in a tape."""
    size: int | None = getattr(value, "nbytes", None)
    if size is None:
        size = sum(map(nbytes, value)) if isinstance(value, (tuple, list)) else 0
    return size

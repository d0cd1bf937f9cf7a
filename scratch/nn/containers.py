"""Modules made of modules: a chain that is called as one, and a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from .module import Module
from .pile import Kept, Pile, Versions, numbers


class ModuleList(Module):
    """Modules in a list, whose parameters are found by their numbers, as in `torch.nn.ModuleList`.

    Raises TypeError for anything but a module.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end. Returns the list. Raises TypeError for anything but a module."""
        self._add(str(next(n for n in count(len(self)) if str(n) not in vars(self))), module)
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add modules at the end. Returns the list."""
        for module in modules:
            self.append(module)
        return self

    def _add(self, name: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"expected a Module, got {type(module).__name__}")
        if not isinstance(name, str) or not name or "." in name or hasattr(type(self), name):
            raise KeyError(f"expected a name for a module, that no attribute has and without a dot, got {name!r}")
        setattr(self, name, module)

    def __len__(self) -> int:
        return len(self._own(Module))

    def __iter__(self) -> Iterator[Module]:
        return iter([module for _, module in self._own(Module)])

    def __getitem__(self, index: int | slice) -> Any:
        found = list(self)[index]
        return found if isinstance(found, Module) else type(self)(found)


class Sequential(ModuleList):
    """Modules that are called one after the other, each with what the one before it gave, as `torch.nn.Sequential`.

    `Sequential(embedding, dropout, linear)`, or a dict of modules by their names. A module whose output is a pair, as a
    recurrence's is, does not fit between others. Raises TypeError for anything but a module.
    """

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self._add(name, module)
        else:
            self.extend(modules)

    def __getitem__(self, index: int | slice) -> Any:
        if not isinstance(index, slice):
            return super().__getitem__(index)
        return Sequential(dict(self._own(Module)[index]))  # with the names that they have here, as in PyTorch

    def _versions(self) -> Versions:
        return [(parameter, parameter.version) for parameter in self.parameters()]

    def forward(self, input: Any) -> Any:
        """Raises what the modules raise."""
        calls = []
        for module in self:
            calls.append((next(numbers), module))
            input = module(input)
        self._keep(calls)
        return input

    def backward(self, d_output: Any, *, retain_graph: bool = False) -> Any:
        """Undo the newest call, module by module, from the last to the first. Returns d_input, as the first gives it.

        The call is taken off unless retain_graph. Raises what the modules raise: RuntimeError if there is no call to
        undo, or a parameter has changed since. If one raises after others are undone, all tapes are cleared.
        """
        (calls,) = self._newest(retain_graph)
        retained: list[tuple[Pile, Kept]] = []
        with self._undoing():
            try:
                for number, module in reversed(calls):
                    # A caller's own module may have a backward without retain_graph.
                    d_output = module.backward(d_output, **({"retain_graph": True} if retain_graph else {}))
                    if retain_graph:  # out of the way: the next in line may be the same module, with an older tape
                        piles = [each._pile for each in module.modules()]
                        retained[:0] = [(pile, kept) for pile in piles for kept in pile.take(after=number)]
            finally:
                for pile, kept in retained:
                    pile.add(kept)
        self._undone(retain_graph)
        return d_output

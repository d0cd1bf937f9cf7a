"""A candidate that is a class with `scratch.nn`'s interface."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from scratch.types import Array

from ..problems import Configuration, Problem
from ..runs import Masks, Run, Unexpected, described, initial_state, pack, pair, split, unpack, upstream
from .arrays import Handed, as_numpy, copied
from .base import OF_OUTPUT, Implementation, all_dropped, draws_masks
from .manner import ToDo
from .needs import NotOffered
from .refusals import ERRORS, Owners, in_words, refuses


class ModuleCandidate(Implementation):
    """A class with `scratch.nn`'s interface."""

    expected = "expected output, state = module(input, state); d_input, d_state = module.backward(d_output, d_state)"

    def attempt(self, problem: Problem, calls: int) -> tuple[list[Run], Masks | None]:
        """See `Implementation`."""
        c = problem.configuration
        module = construct(self.target, self.owners, c, {"dtype": problem.input.dtype})
        random, hidden = draws_masks(c), draws_masks(c) and not hasattr(module, "dropout_masks")
        if hidden:
            module = construct(self.target, self.owners, self.dropping_all(c), {"dtype": problem.input.dtype})
        own = parameters(module)
        if own.keys() != problem.parameters.keys():
            raise Unexpected(f"expected parameters {', '.join(problem.parameters)}, got {', '.join(own) or 'none'}")
        for name, value in problem.parameters.items():
            set_data(name, own[name], value)
        if hasattr(module, "train"):
            module.train(c.training)
        runs = []
        for _ in range(calls):
            if hasattr(module, "zero_grad"):
                module.zero_grad()
            else:
                for parameter in own.values():
                    parameter.grad = None if getattr(parameter, "grad", None) is None else np.zeros_like(parameter.grad)
            runs.append(self.passes(module, problem))
        masks = [unpack(mask) for mask in getattr(module, "dropout_masks", [])]
        return runs, all_dropped(runs[0], c) if hidden else masks if random else None

    def passes(self, module: Any, problem: Problem) -> Run:
        """Once forward and once backward."""
        c, handed = problem.configuration, Handed()
        for name, value in (problem.leaves | problem.upstream).items():
            handed(f"d_{name}" if name in problem.upstream else name, value)
        for name, parameter in module.named_parameters():
            handed(name, parameter.data)
        state, (d_output, d_state) = initial_state(problem), upstream(problem)
        output, final = pair(module(pack(problem.input, c), *([] if state is None else [state])))
        run = copied({"output": unpack(output)} | split(final, c, "{}_n"))  # before backward uses their memory again
        handed.check("forward")
        if self.forward_only:
            return run
        if output is None and d_output is not None:
            raise NotOffered(OF_OUTPUT, "no output is returned")
        if not hasattr(module, "backward"):
            raise ToDo("there is no backward")
        d_input, d_initial = pair(self.given_back(module.backward, d_output, *([] if d_state is None else [d_state])))
        handed.check("backward")
        run |= {"d_input": as_numpy(unpack(d_input), "d_input")}
        if c.initial_state or d_initial is not None:
            run |= copied(split(d_initial, c, "d_{}_0"))
        return run | copied({f"d_{name}": getattr(own, "grad", None) for name, own in module.named_parameters()})


def parameters(module: Any) -> dict[str, Any]:
    """A module's parameters by name. Raises Unexpected if it does not name them."""
    named = getattr(module, "named_parameters", None)
    if not callable(named):
        raise Unexpected(f"expected an object with named_parameters() to be constructed, got {described(module)}")
    return dict(named())


def set_data(name: str, parameter: Any, value: Array) -> None:
    """Give a parameter its values: in the memory that it has, where they fit, for others may look there too."""
    data: Any = getattr(parameter, "data", None)
    if np.shape(data) != value.shape:
        raise Unexpected(f"expected {name} of shape {value.shape}, got {np.shape(data)}")
    if isinstance(data, np.ndarray) and data.dtype == value.dtype and data.flags.writeable:
        data[...] = value
    else:
        parameter.data = value.copy()


def construct(target: Callable[..., Any], owners: Owners, configuration: Configuration, extra: dict[str, Any]) -> Any:
    """The candidate's object for the configuration, from the options that differ from PyTorch's defaults.

    `extra` are arguments that are given only where they are known by name. Raises NotOffered for an option that is
    not known, or refused.
    """
    defaults = {each.name: each.default for each in fields(Configuration)} | {"nonlinearity": "tanh"}
    arguments = configuration.arguments()
    sizes: dict[str, Any] = {name: arguments.pop(name) for name in ("input_size", "hidden_size")}
    options = [name for name, value in arguments.items() if value != defaults.get(name)]
    kinds = kinds_of(target)
    for name in options:
        if not takes(kinds, name):
            raise NotOffered(name, "the constructor has no such argument")
    wanted = {name: arguments[name] for name in options}
    wanted |= {name: value for name, value in extra.items() if takes(kinds, name)}
    try:
        if kinds is not None and all(kinds.get(name) is inspect.Parameter.KEYWORD_ONLY for name in sizes):
            return target(**sizes, **wanted)
        return target(*sizes.values(), **wanted)
    except ERRORS as error:
        if options and refuses(error, owners, {"relu"}, constructing=True):
            raise NotOffered(", ".join(options), f"the constructor refuses: {in_words(error)}") from error
        raise


def kinds_of(target: Callable[..., Any]) -> dict[str, Any] | None:
    """The kinds of a callable's arguments by their names, or None if they cannot be told."""
    try:
        return {name: parameter.kind for name, parameter in inspect.signature(target).parameters.items()}
    except (TypeError, ValueError):
        return None


def takes(kinds: dict[str, Any] | None, name: str) -> bool:
    """Whether an argument can be given by this name, as far as can be told."""
    return kinds is None or name in kinds or inspect.Parameter.VAR_KEYWORD in kinds.values()

"""A candidate that is a class with `scratch.nn`'s interface."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from scratch.types import Array

from ..problems import Configuration, Problem
from ..runs import Masks, Run, Unexpected, described, initial_state, pack, pair, split, unpack, upstream
from .arrays import Handed, as_numpy, copied
from .base import OF_OUTPUT, Candidate, ToDo, all_dropped, draws_masks
from .implementation import NotOffered
from .refusals import ERRORS, Owners, in_words, refuses


class ModuleCandidate(Candidate):
    """A class with `scratch.nn`'s interface."""

    expected = "expected output, state = module(input, state); d_input, d_state = module.backward(d_output, d_state)"

    def attempt(self, problem: Problem, calls: int) -> tuple[list[Run], Masks | None]:
        """See `Candidate`."""
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
    defaults: dict[str, Any] = {
        "num_layers": 1,
        "bias": True,
        "batch_first": False,
        "dropout": 0.0,
        "bidirectional": False,
    }
    defaults |= {"nonlinearity": "tanh"}
    arguments = configuration.arguments()
    sizes: tuple[Any, ...] = (arguments.pop("input_size"), arguments.pop("hidden_size"))
    wanted = {name: value for name, value in arguments.items() if value != defaults.get(name)}
    known = parameters_of(target)
    options = list(wanted)
    for name in options:
        if known is not None and name not in known:
            raise NotOffered(name, "the constructor has no such argument")
    wanted |= {name: value for name, value in extra.items() if known is None or name in known}
    keyword_only = known_as(target, inspect.Parameter.KEYWORD_ONLY)
    if {"input_size", "hidden_size"} <= keyword_only:
        wanted, sizes = {"input_size": sizes[0], "hidden_size": sizes[1]} | wanted, ()
    try:
        return target(*sizes, **wanted)
    except ERRORS as error:
        if options and refuses(error, owners, {"relu"}, constructing=True):
            raise NotOffered(", ".join(options), f"the constructor refuses: {in_words(error)}") from error
        raise


def parameters_of(target: Callable[..., Any]) -> set[str] | None:
    """The names of a callable's arguments, or None if it takes any."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return set(parameters)


def known_as(target: Callable[..., Any], kind: Any) -> set[str]:
    """The names of a callable's arguments of one kind."""
    try:
        return {name for name, parameter in inspect.signature(target).parameters.items() if parameter.kind is kind}
    except (TypeError, ValueError):
        return set()

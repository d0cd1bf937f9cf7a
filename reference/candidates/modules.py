"""A candidate that is a class with `scratch.nn`'s interface."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from scratch.types import Array

from ..problems import Configuration, Problem, draw
from ..runs import Masks, Run, Unexpected, described, initial_state, pack, pair, split, unpack, upstream
from .arrays import Handed, as_numpy, copied
from .base import Implementation
from .needs import OF_OUTPUT, NotOffered, ToDo
from .refusals import ERRORS, in_words, refuses


class ConstructedCandidate(Implementation):
    """A class, or another callable that constructs a module."""

    def construct(self, configuration: Configuration, **extra: Any) -> Any:
        """An object for the configuration, from the options that differ from PyTorch's defaults.

        `extra` are arguments that are given only where they are known by name. Where dropout is random, and its masks
        cannot be had, everything is dropped: that is all that can be known. Raises NotOffered for an option that is
        not known, or refused.
        """
        defaults = {each.name: each.default for each in fields(Configuration)} | {"nonlinearity": "tanh"}
        arguments = configuration.arguments()
        sizes = {name: arguments.pop(name) for name in ("input_size", "hidden_size")}
        wanted = {name: value for name, value in arguments.items() if value != defaults.get(name)}
        kinds = kinds_of(self.target)
        for name in wanted:
            if not takes(kinds, name):
                raise NotOffered(name, "the constructor has no such argument")
        known = {name: value for name, value in extra.items() if takes(kinds, name)}
        try:
            if kinds is not None and all(kinds.get(name) is inspect.Parameter.KEYWORD_ONLY for name in sizes):
                return self.target(**sizes, **wanted, **known)
            return self.target(*sizes.values(), **wanted, **known)
        except ERRORS as error:
            if wanted and refuses(error, self.owners, {"relu"}, constructing=True):
                raise NotOffered(", ".join(wanted), f"the constructor refuses: {in_words(error)}") from error
            raise

    def dropping_all(self, configuration: Configuration) -> Configuration:
        """The configuration with dropout 1: for a candidate whose masks cannot be had, all that can be known."""
        self.lacking["dropout masks"] = "they cannot be had, so that dropout is checked at p = 1 and in eval() only"
        return replace(configuration, dropout=1.0)


class ModuleCandidate(ConstructedCandidate):
    """A class with `scratch.nn`'s interface."""

    expected = "expected output, state = module(input, state); d_input, d_state = module.backward(d_output, d_state)"

    def attempt(self, *problems: Problem) -> tuple[list[Run], Masks | None]:
        """See `Implementation`."""
        problem = problems[0]
        c = problem.configuration
        module = self.made(c, problem)
        hidden = draws_masks(c) and not hasattr(module, "dropout_masks")
        if hidden:
            module = self.made(self.dropping_all(c), problem)
        own = dict(module.named_parameters())
        runs = []
        for each in problems:
            for name, value in each.parameters.items():
                set_data(name, own[name], value)
            if hasattr(module, "zero_grad"):
                module.zero_grad()
            else:
                for parameter in own.values():
                    parameter.grad = None if getattr(parameter, "grad", None) is None else np.zeros_like(parameter.grad)
            runs.append(self.passes(module, each))
        if hidden or not draws_masks(c):
            return runs, all_dropped(runs[0], c) if hidden else None
        masks = [unpack(mask) for mask in module.dropout_masks]
        if len(masks) != c.num_layers - 1:
            raise Unexpected(f"expected {c.num_layers - 1} dropout_masks, one between two layers, got {len(masks)}")
        if masks and c.cell not in self.rates:
            self.rates[c.cell] = ""
            with suppress(*ERRORS):  # what it cannot do at that size is told elsewhere
                self.rates[c.cell] = self.wrong_rate(problem)
        if masks and self.rates[c.cell]:
            raise Unexpected(self.rates[c.cell])
        return runs, masks

    @cached_property
    def rates(self) -> dict[str, str]:
        """Of each cell what is wrong with how often its dropout drops, in words, once that has been looked at."""
        return {}

    def wrong_rate(self, asked: Problem) -> str:
        """What is wrong with how often dropout drops, which masks of few numbers cannot show."""
        cell, p = asked.configuration.cell, asked.configuration.dropout
        c = Configuration(cell, 4, 50, num_layers=2, lengths=(20,) * 10, dropout=p, initial_state=False)
        problem = draw(c).astype(asked.input.dtype)
        module = self.made(c, problem)
        module(problem.input)
        (mask,) = module.dropout_masks
        kept, deviation = np.mean(np.asarray(mask) != 0), np.sqrt(p * (1 - p) / np.size(mask))
        if abs(kept - (1 - p)) <= 6 * deviation:
            return ""
        return f"expected dropout={p:g} to keep {1 - p:.0%} of the numbers, got {kept:.0%}"

    def made(self, configuration: Configuration, problem: Problem) -> Any:
        """A module that has the problem's parameters, with values of its own. Raises Unexpected."""
        module = self.construct(configuration, dtype=problem.input.dtype)
        if not callable(getattr(module, "named_parameters", None)):
            raise Unexpected(f"expected an object with named_parameters() to be constructed, got {described(module)}")
        own = dict(module.named_parameters())
        if own.keys() != problem.parameters.keys():
            raise Unexpected(f"expected parameters {', '.join(problem.parameters)}, got {', '.join(own) or 'none'}")
        if hasattr(module, "train"):
            module.train(configuration.training)
        return module

    def passes(self, module: Any, problem: Problem) -> Run:
        """Once forward and once backward."""
        c, handed = problem.configuration, Handed()
        given = {"input": problem.input, **problem.initial, **{f"d_{n}": v for n, v in problem.upstream.items()}}
        for name, value in (given | {name: own.data for name, own in module.named_parameters()}).items():
            handed(name, value)
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
        d_input, d_initial = pair(given_back(module.backward, d_output, *([] if d_state is None else [d_state])))
        handed.check("backward")
        run |= {"d_input": as_numpy(unpack(d_input), "d_input")}
        if c.initial_state or d_initial is not None:
            run |= copied(split(d_initial, c, "d_{}_0"))
        return run | copied({f"d_{name}": getattr(own, "grad", None) for name, own in module.named_parameters()})


def given_back(backward: Callable[..., Any], *upstream: Any) -> Any:
    """What backward gives. Raises ToDo if it is not written yet."""
    try:
        result = backward(*upstream)
    except NotImplementedError as error:
        raise ToDo(in_words(error)) from error
    if result is None:
        raise ToDo("backward returns None")
    return result


def set_data(name: str, parameter: Any, value: Array) -> None:
    """Give a parameter its values: in the memory that it has, where they fit, for others may look there too."""
    data: Any = getattr(parameter, "data", None)
    if np.shape(data) != value.shape:
        raise Unexpected(f"expected {name} of shape {value.shape}, got {np.shape(data)}")
    if isinstance(data, np.ndarray) and data.dtype == value.dtype and data.flags.writeable:
        data[...] = value
    else:
        parameter.data = value.copy()


def kinds_of(target: Callable[..., Any]) -> dict[str, Any] | None:
    """The kinds of a callable's arguments by their names, or None if they cannot be told."""
    try:
        return {name: parameter.kind for name, parameter in inspect.signature(target).parameters.items()}
    except (TypeError, ValueError):
        return None


def takes(kinds: dict[str, Any] | None, name: str) -> bool:
    """Whether an argument can be given by this name, as far as can be told."""
    return kinds is None or name in kinds or inspect.Parameter.VAR_KEYWORD in kinds.values()


def draws_masks(configuration: Configuration) -> bool:
    """Whether dropout is random."""
    return configuration.training and 0 < configuration.dropout < 1


def all_dropped(run: Run, configuration: Configuration) -> Masks:
    """The masks of dropout 1."""
    return [np.zeros(np.shape(run["output"]))] * (configuration.num_layers - 1)

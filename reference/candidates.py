"""Implementations that can be held against the truth: `scratch` itself, and whatever somebody else wrote.

Three forms are understood.

**A class with `scratch.nn`'s interface**: constructed with `input_size`, `hidden_size` and the options it has (by
PyTorch's names); `named_parameters()` with PyTorch's names and shapes, each with `.data` and `.grad`;
`output, state = module(input, state)`; `d_input, d_state = module.backward(d_output, d_state)`, which leaves each
parameter's gradient in `.grad`. States are h, or the tuple (h, c). A state that is not given is not passed, nor is its
gradient; one that is not returned is not offered.

**A pair of functions** for one layer and one direction,

    forward(x, state, parameters) → output, state, tape
    backward(d_output, d_state, tape) → d_x, d_state, d_parameters

with x (T, B, I), the state h or (h, c) of (B, H), output (T, B, H), and `parameters` a dict of arrays by the names
weight_ih, weight_hh, bias_ih, bias_hh (and weight_hr, if it projects), as `d_parameters` is. An RNN's `forward`
that takes the keyword `nonlinearity` is checked with "tanh" and with "relu"; one that does not take it has to compute
tanh, unless the cell is given.

**A `torch.nn.Module`** with `torch.nn.LSTM`'s interface: same constructor, parameters' names, call.

What a candidate does not have is not an error: `NotOffered` says so. It does not have an option that its constructor
does not name or refuses; a kind of input, or of upstream gradient, at which it raises in the simplest case, except for
an error that is nobody's refusal, as a name that is not defined. An option that it accepts has to work.

Each problem is run twice on the same object: what is left over from one call must not change the next.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scratch import nn
from scratch.types import Array

from .problems import CELLS, Configuration, Problem, draw
from .runs import Masks, Run, run_module, run_scratch, run_torch
from .weights import torch_dtype

DTYPES = ("float64", "float32")

ERRORS = (Exception, SystemExit)
"""What a candidate may raise without ending the check."""

BLUNDERS = (NameError, ZeroDivisionError, ImportError, SyntaxError)
"""Errors by which nobody refuses anything."""


class NotOffered(Exception):
    """The candidate does not have an option that a problem needs. The arguments: the option, and how that was seen."""


class Raised(Exception):
    """The candidate raised an error where it should have computed something. The argument: the error in words."""


class Implementation:
    """Something that runs problems."""

    name: str
    cells: tuple[str, ...]
    dtypes: tuple[str, ...] = DTYPES
    lacking: Mapping[str, str] = {}
    """What has been found not to be offered, and how that was seen."""
    first: Run | None = None
    """What the first of two calls gave, if the last run made two and dropout did not draw other masks."""

    @property
    def source(self) -> tuple[str, str]:
        """How somebody gets at it in Python: the statement that imports it, and the expression that it is then."""
        raise NotImplementedError

    def run(self, problem: Problem) -> tuple[Run, Masks | None]:
        """Everything that the problem asks for, in the dtype of its numbers, and the masks that dropout drew.

        A tensor that is not offered is None. Raises NotOffered if the whole problem is not, Raised for an error.
        """
        raise NotImplementedError

    def first_run(self, problem: Problem) -> Run:
        """The first run of a new object, where `run` gives the second."""
        return self.run(problem)[0]

    def nearest(self, configuration: Configuration) -> Configuration:
        """The configuration, without the upstream gradients that it could not do anything with."""
        return configuration

    def offers(self, configuration: Configuration) -> bool:
        """Whether nothing that the configuration needs is lacking."""
        return configuration.cell in self.cells


class Scratch(Implementation):
    """`scratch` itself."""

    name = "scratch"
    cells = tuple(CELLS)
    source = f"from {__name__} import Scratch", "Scratch()"

    def run(self, problem: Problem) -> tuple[Run, Masks | None]:
        """See `Implementation`."""
        return run_scratch(problem)


NEEDS: dict[str, dict[str, Any]] = {
    "nonlinearity": {},
    "initial state": {"initial_state": True},
    "upstream gradient of the final state": {"upstream": ("output", "h_n", "c_n")},
    "backward without d_output": {"upstream": ("h_n", "c_n")},
    "unbatched input": {"layout": "unbatched", "lengths": (5,)},
    "packed input": {"layout": "packed", "lengths": (3, 5)},
    "empty batch": {"lengths": ()},
    "num_layers": {"num_layers": 2},
    "bias": {"bias": False},
    "batch_first": {"batch_first": True},
    "bidirectional": {"bidirectional": True},
    "proj_size": {"proj_size": 2},
    "dropout": {"num_layers": 2, "dropout": 1.0},
}
"""What some problems need and a candidate may lack, and what is added to the simplest configuration to see."""

OPTIONS = ("nonlinearity", "num_layers", "bias", "batch_first", "bidirectional", "proj_size", "dropout")
"""Those among them that are options of the constructor."""


def needs(configuration: Configuration) -> list[str]:
    """What the configuration needs of `NEEDS`."""
    c = configuration
    final = [name for name in c.upstream if name.removesuffix("_n") in c.parts]
    needed = {
        "nonlinearity": CELLS[c.cell].get("nonlinearity", "tanh") != "tanh",
        "initial state": c.initial_state,
        "upstream gradient of the final state": bool(final),
        "backward without d_output": "output" not in c.upstream,
        "unbatched input": c.layout == "unbatched",
        "packed input": c.layout == "packed",
        "empty batch": not c.lengths,
        "num_layers": c.num_layers > 1,
        "bias": not c.bias,
        "batch_first": c.batch_first,
        "bidirectional": c.bidirectional,
        "proj_size": c.proj_size > 0,
        "dropout": c.dropout > 0,
    }
    return [name for name, is_needed in needed.items() if is_needed]


class Candidate(Implementation):
    """What the forms of candidates share: finding out what is offered."""

    imported: tuple[str, str] | None = None
    """Its source, for one that its importer has named."""
    options: tuple[str, ...] = OPTIONS
    """What the constructor accepts, which therefore has to work; it refuses or does not know the others."""

    def __init__(self, target: Any, name: str, cells: tuple[str, ...] = ()) -> None:
        self.target, self.name = target, name
        self.cells = cells or self.recognized()
        self.lacking: dict[str, str] = {}
        self._reasons: dict[tuple[str, str], str | None] = {}  # by cell and need; None where there is nothing amiss
        self.dtypes = tuple(dtype for dtype in DTYPES if self.computes_in(np.dtype(dtype))) or DTYPES[:1]

    @property
    def source(self) -> tuple[str, str]:
        """See `Implementation`."""
        if self.imported is not None:
            return self.imported
        parts = self.target if isinstance(self.target, tuple) else (self.target,)
        names = [getattr(part, "__qualname__", type(part).__name__) for part in parts]
        expression = names[0] if len(names) == 1 else f"({', '.join(names)})"
        module = getattr(parts[0], "__module__", None) or "__main__"
        if not all(name.isidentifier() for name in [*module.split("."), *names]):
            return f"# {expression} of {module}, as it was given", expression
        return f"from {module} import {', '.join(names)}", expression

    def attempt(self, problem: Problem, calls: int) -> tuple[list[Run], Masks | None]:
        """Run the problem on a new object so many times; every run. May raise anything, NotOffered included."""
        raise NotImplementedError

    def nearest(self, configuration: Configuration) -> Configuration:
        """See `Implementation`."""
        of_final = "upstream gradient of the final state"
        if "output" in configuration.upstream and self.lacks(configuration.cell, of_final) is not None:
            self.lacking[of_final] = str(self.lacks(configuration.cell, of_final))
            return replace(configuration, upstream=("output",))
        return configuration

    def offers(self, configuration: Configuration) -> bool:
        """See `Implementation`."""
        c = configuration
        return c.cell in self.cells and all(self.lacks(c.cell, need) is None for need in needs(self.nearest(c)))

    def recognized(self) -> tuple[str, ...]:
        """The cells that the candidate's name says it has. Raises ValueError if it says nothing."""
        given = [cell for cell, row in CELLS.items() if row["module"].lower() in self.name.lower()]
        if not given:
            modules = ", ".join(dict.fromkeys(row["module"] for row in CELLS.values()))
            raise ValueError(
                f"expected a name that tells the cell ({modules}), or to be told (cell, --cell), got {self.name!r}"
            )
        return tuple(given)

    def run(self, problem: Problem) -> tuple[Run, Masks | None]:
        """See `Implementation`."""
        return self._run(problem, calls=2)

    def first_run(self, problem: Problem) -> Run:
        """See `Implementation`."""
        return self._run(problem, calls=1)[0]

    def _run(self, problem: Problem, calls: int) -> tuple[Run, Masks | None]:
        c = problem.configuration
        given = problem.map(np.copy)
        try:
            self.require(needs(c), c.cell)
            runs, masks = self.attempt(given, calls)
        except NotOffered as missing:
            self.lacking[str(missing.args[0])] = str(missing.args[-1])
            raise
        except ERRORS as error:
            raise Raised(in_words(error)) from error
        for name, value in (problem.leaves | problem.upstream).items():
            if not np.array_equal(value, (given.leaves | given.upstream)[name]):
                written = f"d_{name}" if name in problem.upstream else name
                raise Raised(f"no error, but writes to the caller's {written}")
        for run in runs:
            for name in [name for name, value in run.items() if value is None]:
                if name == "output" or name.removeprefix("d_") in problem.parameters:
                    del run[name]  # it is missing: this is no option
                else:
                    self.lacking[name] = "None is returned in its place, or nothing"
        # Two calls with masks that are drawn differ, even if those of the last happen to drop everything.
        self.first = None if draws_masks(c) and "dropout masks" not in self.lacking else runs[0]
        return runs[-1], masks

    def require(self, needed: list[str], cell: str) -> None:
        """Note what of it the candidate lacks. Raises NotOffered if it lacks anything."""
        if "nonlinearity" in needed and self.lacks(cell, "nonlinearity") is not None:
            needed = ["nonlinearity"]  # without it nothing else can be tried
        missing = {need: reason for need in needed if (reason := self.lacks(cell, need)) is not None}
        self.lacking |= missing
        for need, reason in missing.items():
            raise NotOffered(need, reason)

    def lacks(self, cell: str, need: str) -> str | None:
        """Why the candidate does not have what is needed, or None if it has."""
        if (cell, need) not in self._reasons:
            plain = self.cells[0] if need == "nonlinearity" else cell
            simplest = Configuration(plain, initial_state=False, upstream=("output",))
            problems = draw(simplest), draw(replace(simplest, cell=cell, **NEEDS[need]))
            self._reasons[cell, need] = self.refusal(*problems, need)
        return self._reasons[cell, need]

    def refusal(self, simplest: Problem, problem: Problem, need: str) -> str | None:
        """How the candidate refuses a problem with one need more than the simplest, or None if it does not."""
        try:
            self.attempt(problem, calls=1)
        except NotOffered as refusal:
            return str(refusal.args[-1])
        except NotImplementedError as error:
            return in_words(error)
        except BLUNDERS:
            return None
        except ERRORS as error:
            if need in self.options:
                return None
            return None if self.refuses(simplest) else in_words(error)
        return None

    def refuses(self, problem: Problem) -> bool:
        """Whether the candidate raises anything."""
        try:
            self.attempt(problem, calls=1)
        except ERRORS:
            return True
        return False

    def computes_in(self, dtype: np.dtype[Any]) -> bool:
        """Whether numbers of this dtype give an output of this dtype. (A candidate that raises is told so later.)"""
        configuration = Configuration(self.cells[0], initial_state=False, upstream=("output",))
        try:
            (run,), _ = self.attempt(draw(configuration).astype(dtype), calls=1)
        except ERRORS:
            return dtype == np.float64
        return getattr(run["output"], "dtype", None) == dtype

    def dropping_all(self, configuration: Configuration) -> Configuration:
        """The configuration with dropout 1: for a candidate whose masks cannot be had, all that can be known."""
        self.lacking["dropout masks"] = "they cannot be had, so that dropout is checked at p = 1 and in eval() only"
        return replace(configuration, dropout=1.0)


def draws_masks(configuration: Configuration) -> bool:
    """Whether dropout is random."""
    return configuration.training and 0 < configuration.dropout < 1


def all_dropped(run: Run, configuration: Configuration) -> Masks:
    """The masks of dropout 1."""
    return [np.zeros(np.shape(run["output"]))] * (configuration.num_layers - 1)


class ModuleCandidate(Candidate):
    """A class with `scratch.nn`'s interface."""

    def attempt(self, problem: Problem, calls: int) -> tuple[list[Run], Masks | None]:
        """See `Candidate`."""
        c = problem.configuration
        module = construct(self.target, c, {"dtype": problem.input.dtype})
        random, hidden = draws_masks(c), draws_masks(c) and not hasattr(module, "dropout_masks")
        if hidden:
            module = construct(self.target, self.dropping_all(c), {"dtype": problem.input.dtype})
        own = dict(module.named_parameters())
        if own.keys() != problem.parameters.keys():
            raise TypeError(f"expected parameters {list(problem.parameters)}, got {list(own)}")
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
            run, masks = run_module(module, problem)
            runs.append(copied(run))
        return runs, all_dropped(runs[0], c) if hidden else masks if random else None


def set_data(name: str, parameter: Any, value: Array) -> None:
    """Give a parameter its values: in the memory that it has, where they fit, for others may look there too."""
    data = parameter.data
    if np.shape(data) != value.shape:
        raise TypeError(f"expected {name} of shape {value.shape}, got {np.shape(data)}")
    if isinstance(data, np.ndarray) and data.dtype == value.dtype and data.flags.writeable:
        data[...] = value
    else:
        parameter.data = value.copy()


class TorchCandidate(Candidate):
    """A class of PyTorch modules with `torch.nn.LSTM`'s interface."""

    def attempt(self, problem: Problem, calls: int) -> tuple[list[Run], Masks | None]:
        """See `Candidate`."""
        c, dtype = problem.configuration, torch_dtype(problem.input.dtype)
        hidden = draws_masks(c)
        module = construct(self.target, self.dropping_all(c) if hidden else c, {"dtype": dtype}).to(dtype)
        runs = [run_torch(problem, make=lambda *_, **__: module) for _ in range(calls)]
        return runs, all_dropped(runs[0], c) if hidden else None


class FunctionsCandidate(Candidate):
    """A pair of functions for one layer in one direction.

    An RNN's `forward` that takes the keyword `nonlinearity` is told it, and checked with each. Otherwise the pair has
    one nonlinearity: tanh, unless the cell is given.
    """

    options = ()  # there is no constructor; an error says that they do without a bias, or a projection

    def recognized(self) -> tuple[str, ...]:
        """See `Candidate`."""
        cells = super().recognized()
        told = tuple(cell for cell in cells if self.keywords(cell))
        return told or cells[:1]

    def keywords(self, cell: str) -> dict[str, str]:
        """What `forward` is told besides its arrays: the cell's nonlinearity, if `forward` takes it."""
        known = parameters_of(self.target[0]) or ()
        return {name: value for name, value in CELLS[cell].items() if name == "nonlinearity" and name in known}

    def attempt(self, problem: Problem, calls: int) -> tuple[list[Run], Masks | None]:
        """See `Candidate`."""
        c = problem.configuration
        for need in needs(c):
            if need in ("num_layers", "batch_first", "bidirectional", "dropout", "unbatched input", "packed input"):
                raise NotOffered(need, "the functions are for one layer in one direction, over a batch (T, B, I)")
        forward, backward = self.target
        parameters = {name.removesuffix("_l0"): value for name, value in problem.parameters.items()}
        batch, outputs = len(c.lengths), c.proj_size or c.hidden_size
        features = {part: outputs if part == "h" else c.hidden_size for part in c.parts}

        def state(values: dict[str, Array], pattern: str) -> Any:
            zeros = {part: np.zeros((1, batch, features[part]), problem.input.dtype) for part in c.parts}
            parts = tuple(values.get(pattern.format(part), zeros[part])[0].copy() for part in c.parts)
            return parts if len(parts) > 1 else parts[0]

        def split(value: Any, pattern: str) -> Run:
            parts = value if isinstance(value, (tuple, list)) else (value,)
            return {
                pattern.format(part): None if one is None else np.asarray(one)[None]
                for part, one in zip(c.parts, parts, strict=True)
            }

        d_output = problem.upstream.get("output", np.zeros((*problem.input.shape[:2], outputs), problem.input.dtype))
        runs = []
        for _ in range(calls):
            output, final, tape = forward(
                problem.input, state(problem.initial, "{}_0"), parameters, **self.keywords(c.cell)
            )
            run = copied({"output": output} | split(final, "{}_n"))
            d_x, d_initial, d_parameters = backward(d_output, state(problem.upstream, "{}_n"), tape)
            run |= {"d_input": d_x} | (split(d_initial, "d_{}_0") if c.initial_state else {})
            runs.append(copied(run | {f"d_{name}_l0": value for name, value in d_parameters.items()}))
        return runs, None


def construct(target: Callable[..., Any], configuration: Configuration, extra: dict[str, Any]) -> Any:
    """The candidate's object for the configuration, from the options that differ from PyTorch's defaults.

    `extra` are arguments that are given only where they are known by name. Raises NotOffered for an option that is
    not known, or refused.
    """
    defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
    defaults |= {"nonlinearity": "tanh"}
    arguments = configuration.arguments()
    sizes = arguments.pop("input_size"), arguments.pop("hidden_size")
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
    except BLUNDERS:
        raise
    except ERRORS as error:
        if options:
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


def copied(run: Run) -> Run:
    """The same numbers in arrays of their own, for a candidate may hand out its own memory."""
    return {name: None if value is None else np.array(value) for name, value in run.items()}


def in_words(error: BaseException) -> str:
    """An error in one line: its class, what it says, and where in the candidate's own code it came from."""
    said = " ".join(str(error).split())
    places = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    machinery = ("", "importlib")  # Python's own frozen modules have no folder
    ours = Path(__file__).parent
    elsewhere = [
        (path.name, line) for path, line in places if path.parent != ours and path.parent.name not in machinery
    ]
    where = " ({}, line {})".format(*elsewhere[-1]) if elsewhere else ""
    return f"{type(error).__name__}{': ' if said else ''}{said[:300]}{where}"


def candidate(target: Any, name: str | None = None, cell: str | Sequence[str] | None = None) -> Candidate:
    """The implementation that a class, a module, or a pair of functions is.

    target: a class or another callable that constructs the recurrence; or a pair (forward, backward); or anything with
    the functions as attributes `forward` and `backward`. cell: which of `CELLS`, if the name does not tell.

    Raises TypeError if it is nothing of the kind, ValueError if its cell cannot be told, or is none of `CELLS`.
    """
    cells = (cell,) if isinstance(cell, str) else tuple(cell or ())
    for each in cells:
        if each not in CELLS:
            raise ValueError(f"expected a cell among {', '.join(map(repr, CELLS))}, got {each!r}")
    if isinstance(target, tuple) and len(target) == 2 and all(map(callable, target)):
        names = ",".join(getattr(function, "__qualname__", "?") for function in target)
        return FunctionsCandidate(target, name or f"{target[0].__module__}:{names}", cells)
    name = name or getattr(target, "__name__", type(target).__name__)
    is_object = isinstance(target, (torch.nn.Module, nn.Module))
    functions = getattr(target, "forward", None), getattr(target, "backward", None)
    static = all(
        isinstance(inspect.getattr_static(target, each, None), staticmethod) for each in ("forward", "backward")
    )
    if (static or not isinstance(target, type)) and not is_object and all(map(callable, functions)):
        return FunctionsCandidate(functions, name, cells)
    if is_object or not callable(target):
        raise TypeError(
            f"expected a class, a function that constructs, or a pair of functions, got a {type(target).__name__}"
        )
    return TorchCandidate(target, name, cells) if makes_torch_modules(target) else ModuleCandidate(target, name, cells)


def makes_torch_modules(target: Callable[..., Any]) -> bool:
    """Whether what the candidate constructs is PyTorch's."""
    if isinstance(target, type):
        return issubclass(target, torch.nn.Module)
    try:
        return isinstance(target(2, 3), torch.nn.Module)
    except ERRORS:
        return False

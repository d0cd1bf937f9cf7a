"""A candidate that is a pair of functions for one layer in one direction."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from scratch.types import Array

from ..problems import CELLS, Problem
from ..runs import Masks, Run, Unexpected, described, split
from ..weights.forms import PYTORCH, Form
from .arrays import Handed, as_numpy, copied
from .base import Implementation
from .modules import given_back, kinds_of
from .needs import OF_OUTPUT, NotOffered, ToDo, Unfit, needs
from .refusals import ERRORS, in_words

SINGLE = ("num_layers", "batch_first", "bidirectional", "dropout", "unbatched input", "packed input")


class FunctionsCandidate(Implementation):
    """A pair of functions for one layer in one direction, of which the second, backward, may be None.

    An RNN's `forward` that takes the keyword `nonlinearity` is told it, and checked with each. Otherwise the pair has
    one nonlinearity: tanh, unless the cell is given.
    """

    expected = (
        "expected forward(x, state, parameters) → output, state, tape; "
        "backward(d_output, d_state, tape) → d_x, d_state, d_parameters"
    )
    options = ()  # there is no constructor; an error says that they do without a bias, or a projection
    form: Form = PYTORCH

    def __init__(self, target: Any, name: str, cells: tuple[str, ...] = (), only: str | None = None) -> None:
        super().__init__(target, name, cells, only)
        self.cells = tuple(cell for cell in self.cells if self.keywords(cell)) or self.cells[:1]

    def keywords(self, cell: str) -> dict[str, str]:
        """What `forward` is told besides its arrays: the cell's nonlinearity, if `forward` takes it."""
        known = kinds_of(self.target[0]) or ()
        return {name: value for name, value in CELLS[cell].items() if name == "nonlinearity" and name in known}

    def adapted(self, problem: Problem) -> Problem:
        """See `Implementation`."""
        return self.form.adapted(problem)

    def optional(self, gradient: str) -> bool:
        """See `Implementation`."""
        return gradient.startswith("d_bias_hh") and self.form.bias == "one"

    def refusal(self, simplest: Problem, problem: Problem, need: str) -> str | None:
        """See `Implementation`. What is the same without `weight_hr` never reads it."""
        told = super().refusal(simplest, problem, need)
        if told is not None or need != "proj_size":
            return told
        seen = []
        for unread in ("", "weight_hr"):
            parameters = {n: v for n, v in problem.parameters.items() if not unread or unread not in n}
            try:
                seen.append(str(self.forward(problem, parameters, Handed())[0]))
            except ERRORS as error:
                seen.append(in_words(error))
        return "weight_hr is never read" if seen[0] == seen[1] else None

    def attempt(self, *problems: Problem) -> tuple[list[Run], Masks | None]:
        """See `Implementation`."""
        for need in needs(problems[0].configuration):
            if need in SINGLE:
                raise NotOffered(need, "the functions are for one layer in one direction, over a batch (T, B, I)")
        return [self.passes(problem) for problem in problems], None

    def passes(self, problem: Problem) -> Run:
        """Once forward and once backward."""
        c, handed = problem.configuration, Handed()
        run, tape = self.forward(problem, problem.parameters, handed)
        if self.forward_only:
            return run
        d_output = problem.upstream.get("output")
        if run["output"] is None and d_output is not None:
            raise NotOffered(OF_OUTPUT, "no output is returned")
        if d_output is None and run["output"] is not None:
            d_output = np.zeros((*problem.input.shape[:2], c.proj_size or c.hidden_size), problem.input.dtype)
        if self.target[1] is None:
            raise ToDo("there is no backward")
        d_output = handed("d_output", None if d_output is None else d_output.copy())
        d_state = state_of(problem, {f"d_{name}": value for name, value in problem.upstream.items()}, "d_{}_n", handed)
        result = given_back(self.target[1], d_output, d_state, tape)
        d_x, d_initial, d_parameters = unpacked(result, "d_x, d_state, d_parameters")
        if not isinstance(d_parameters, Mapping):
            raise Unexpected(f"expected d_parameters as a dict of arrays, got {described(d_parameters)}")
        run |= {"d_input": as_numpy(d_x, "d_x")} | states(d_initial, "d_{}_0", problem)
        named = {str(k): as_numpy(v, f"d_{k}") for k, v in d_parameters.items() if k in handed}
        if d_parameters and not named:
            own = {name.removesuffix("_l0"): value for name, value in problem.parameters.items()}
            names, given = ", ".join(self.form.give(own, c.module)), ", ".join(map(str, d_parameters))
            raise Unexpected(f"expected d_parameters with the names {names}, got {given}")
        gradients = self.form.take(named, c.module)
        handed.check("backward")
        return run | {f"d_{name}_l0": value for name, value in gradients.items()}

    def forward(self, problem: Problem, parameters: dict[str, Array], handed: Handed) -> tuple[Run, Any]:
        """What forward gives, and its tape."""
        c = problem.configuration
        given = self.form.give({name.removesuffix("_l0"): value for name, value in parameters.items()}, c.module)
        for name, value in given.items():
            handed(name, value)
        x, state, passed = (
            handed("x", problem.input.copy()),
            state_of(problem, problem.initial, "{}_0", handed),
            {**given},
        )
        try:
            result = self.target[0](x, state, passed, **self.keywords(c.cell))
        except KeyError as error:
            if error.args[:1] and error.args[0] in (*given, "weight_hr", "relu"):
                raise
            form = ", or another form to be declared (weights=…, --weights)" if c.bias else ""
            raise Unexpected(f"parameters[{error.args[0]!r}] is read; expected {', '.join(given)}{form}") from error
        output, final, tape = unpacked(result, "output, state, tape")
        run = {"output": as_numpy(output, "output")} | states(final, "{}_n", problem)
        handed.check("forward")
        if passed.keys() != given.keys() or any(passed[name] is not value for name, value in given.items()):
            raise Unfit("forward writes to the caller's parameters, which must stay as they are")
        return run, tape


def state_of(problem: Problem, values: Mapping[str, Array], pattern: str, handed: Handed) -> Any:
    """The state, or its gradient, as the functions take it: zeros for what is not there."""
    c = problem.configuration
    parts = []
    for part in c.parts:
        name, width = pattern.format(part), (c.proj_size if part == "h" else 0) or c.hidden_size
        zeros = np.zeros((1, len(c.lengths), width), problem.input.dtype)
        parts.append(handed(name, values.get(name, zeros)[0].copy()))
    return tuple(parts) if len(parts) > 1 else parts[0]


def states(value: Any, pattern: str, problem: Problem) -> Run:
    """A state that was returned, with an axis for the one layer."""
    run = copied(split(value, problem.configuration, pattern))
    return {name: None if part is None else part[None] for name, part in run.items()}


def unpacked(result: Any, what: str) -> Any:
    """The three things that a function gives. Raises Unexpected if it gives something else."""
    if not isinstance(result, (tuple, list)) or len(result) != 3:
        raise Unexpected(f"expected {what}, got {described(result)}")
    return result

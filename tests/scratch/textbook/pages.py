"""The pages of the textbook, listed once for all their tests, and the one way in which the tests run them."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st

from reference.conditioning import tolerances
from reference.equivalence import assert_close, compare
from reference.problems import Configuration, Problem, draw
from reference.runs import Run, join, split
from scratch.textbook import gru, lstm, rnn


class Page(NamedTuple):
    """A recurrence and the functions that compute it: those of a module, or of something that stands in for one."""

    cell: str
    functions: Any
    keywords: dict[str, str]

    def __str__(self) -> str:
        return self.cell


PAGES = [
    Page("RNN tanh", rnn, {}),
    Page("RNN relu", rnn, {"nonlinearity": "relu"}),
    Page("LSTM", lstm, {}),
    Page("GRU", gru, {}),
]
MODULES = list(dict.fromkeys(page.functions for page in PAGES))

each_page = pytest.mark.parametrize("page", PAGES, ids=str)
each_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
SIZES = st.integers(1, 5)


OPTIONS = st.fixed_dictionaries({
    "input_size": SIZES,
    "hidden_size": SIZES,
    "lengths": st.builds(lambda steps, batch: (steps,) * batch, SIZES, st.just(0) | SIZES),
    "bias": st.booleans(),
    "weight_scale": st.sampled_from((1.0, 3.0)),
    "seed": st.integers(0, 2**32 - 1),
})  # fmt: skip
"""The options of a configuration that a page has."""


def rich(page: Page) -> Problem:
    """A problem in which everything happens, and no two sizes are the same."""
    return draw(Configuration(page.cell, input_size=4, hidden_size=5, lengths=(3, 3), weight_scale=2.0))


def run(page: Page, problem: Problem, xp: Any = np) -> Run:
    """Everything that the page computes, on arrays of the library `xp`; named and shaped as `run_torch` does it."""
    c = problem.configuration
    x, d_output = xp.asarray(problem.input), xp.asarray(problem.upstream["output"])
    parameters = {name.removesuffix("_l0"): xp.asarray(value) for name, value in problem.parameters.items()}
    state, d_state = (
        join({name: xp.asarray(value[0]) for name, value in values.items() if name != "output"}, c, pattern)
        for values, pattern in ((problem.initial, "{}_0"), (problem.upstream, "{}_n"))
    )
    output, state, tape = page.functions.forward(x, state, parameters, xp=xp, **page.keywords)
    d_x, d_state, d_parameters = page.functions.backward(d_output, d_state, tape, xp=xp)
    states = split(state, c, "{}_n") | split(d_state, c, "d_{}_0")
    others = {"output": output, "d_input": d_x} | {f"d_{name}_l0": value for name, value in d_parameters.items()}
    assert {type(value) for value in (states | others).values()} == {type(x)}, "arrays of another library"
    return {name: np.asarray(value)[None] for name, value in states.items()} | {
        name: np.asarray(value) for name, value in others.items()
    }


def assert_agree(problem: Problem, ours: Run, theirs: Run) -> None:
    """Raise AssertionError for a tensor with an error above 1e-12, unless rounding alone explains it."""
    errors = {difference.name: difference.error for difference in compare(ours, theirs)}
    assert_close(ours, theirs, tolerances(problem, errors))

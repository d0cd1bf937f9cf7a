"""Each page agrees with PyTorch, with the core and with itself, on the arrays of every library."""

import re
import sys
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import array_api_compat.torch
import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given

from reference.__main__ import main
from reference.candidates import candidate
from reference.check import check
from reference.equivalence import assert_close
from reference.problems import Configuration, Problem, draw
from reference.runs import run_scratch, run_torch
from reference.space import examples, grid
from scratch.textbook import rnn
from scratch.types import Array

from .pages import MODULES, OPTIONS, PAGES, Page, assert_agree, each_module, each_page, rich, run

LIBRARIES = [np, array_api_strict, array_api_compat.torch, torch]


@each_page
@given(options=OPTIONS)
def test_every_tensor_is_right_on_every_library_and_in_every_dtype(page: Page, options: dict[str, Any]) -> None:
    """As PyTorch has it, and as the core has it."""
    problem = draw(Configuration(page.cell, **options))
    theirs = run_torch(problem)
    for library in LIBRARIES:
        assert_agree(problem, run(page, problem, library), theirs)
    for dtype in (np.float32, np.float64, np.longdouble):
        same = problem.astype(dtype)
        assert_agree(same, run(page, same), run_scratch(same)[0])


@each_page
def test_every_tensor_matches_pytorch_on_jax(page: Page) -> None:
    """Of one size: JAX compiles anew for each."""
    jax = pytest.importorskip("jax")
    problem = rich(page)
    with jax.enable_x64(True):
        assert_agree(problem, run(page, problem, jax.numpy), run_torch(problem))


def saturated(problem: Problem) -> Problem:
    """The problem with most pre-activations near ±1000."""
    rng = np.random.default_rng(problem.configuration.seed)
    bias = problem.parameters["bias_ih_l0"]
    biases = {"bias_ih_l0": rng.choice([-1000.0, 0.5, 1000.0], bias.shape).astype(bias.dtype)}
    return replace(problem, parameters=problem.parameters | biases)


@each_page
@given(options=OPTIONS)
def test_saturated_gates_are_right_and_give_no_warning(page: Page, options: dict[str, Any]) -> None:
    problem = saturated(draw(Configuration(page.cell, **options | {"bias": True})))
    for dtype in (np.float32, np.float64, np.longdouble, np.complex128):
        with np.errstate(all="raise", under="ignore"):
            ours = run(page, problem.astype(dtype))
        assert all(value.dtype == dtype and np.isfinite(value).all() for value in ours.values())
        if dtype in (np.float32, np.float64):
            assert_agree(problem.astype(dtype), ours, run_torch(problem.astype(dtype)))


@pytest.mark.parametrize("module", [module for module in MODULES if hasattr(module, "sigmoid")])
def test_sigmoid_is_accurate_down_to_where_it_underflows(module: ModuleType) -> None:
    a = np.linspace(-110, 110, 100_001, dtype=np.float32)
    exact = 1 / (1 + np.exp(-a.astype(np.longdouble)))
    computed, numbers = module.sigmoid(a, np), np.finfo(np.float32)
    assert computed.dtype == np.float32
    # Two roundings of exp, of the sum and of the quotient; below the normal numbers the last place is all there is.
    assert np.all(abs(computed - exact) <= 4 * numbers.eps * exact + numbers.smallest_subnormal)


@each_page
def test_arrays_that_are_returned_are_the_callers_own_and_backward_can_be_called_again(page: Page) -> None:
    def again(*given: Array, **keywords: Any) -> Any:
        page.functions.backward(*given, **keywords)
        return page.functions.backward(*given, **keywords)

    problem = rich(page).map(lambda value: np.broadcast_to(value, value.shape))  # read-only
    run_once = run(page, problem)
    caller = [*problem.leaves.values(), *problem.upstream.values()]
    pairs = [*combinations(run_once.values(), 2), *product(run_once.values(), caller)]
    assert not any(np.shares_memory(one, other) for one, other in pairs)
    twice = page._replace(functions=SimpleNamespace(forward=page.functions.forward, backward=again))
    assert_close(run(twice, problem), run_once, 0.0)


def test_another_nonlinearity_is_refused() -> None:
    with pytest.raises(ValueError, match="'tanh' or 'relu', got 'sine'"):
        run(Page("RNN tanh", rnn, {"nonlinearity": "sine"}), rich(PAGES[0]))


@each_module
def test_the_instrument_proves_the_page(module: ModuleType) -> None:
    subject = candidate((module.forward, module.backward))
    assert set(subject.cells) == {page.cell for page in PAGES if page.functions is module}
    some = examples(np.random.default_rng(0), subject.offers, 10)
    found = check([*grid(), *some], subject, witnesses=False)
    assert found.disagreements == []
    offered = {(c.cell, c.bias, c.initial_state) for c in found.configurations}
    assert offered == set(product(subject.cells, (True, False), (True, False)))


def test_the_readme_shows_what_the_instrument_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (Path(rnn.__file__).parent / "README.md").read_text()
    ((command, first),) = re.findall(r"```sh\npython -m (reference .*)\n```\n\n```text\n(.*)\n```", readme)
    monkeypatch.setattr(sys, "argv", [*command.split(), "--jobs", "1"])
    assert main() == 0
    assert capsys.readouterr().out.strip().splitlines()[0] == first

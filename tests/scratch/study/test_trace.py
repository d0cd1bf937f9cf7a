"""The trace is the module's own pass, and its steps are what the gradients are made of."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given

from reference.equivalence import assert_close
from reference.problems import Configuration, draw
from reference.runs import initial_state, make_scratch, pack, run_module, split, unpack, upstream
from scratch import nn, no_grad
from scratch.nn.recurrent import Recurrent
from scratch.study.trace import Trace, trace
from tests.scratch.nn.test_new_cell import mgu
from tests.strategies import configurations


def assert_steps_are_of_their_places(module: Recurrent[Any], found: Trace) -> None:
    """Each layer and direction has the steps that its own gradients are sums of, one after the other."""
    suffixes = [f"_l{k}{end}" for k in range(module.num_layers) for end in ("", "_reverse")[: 1 + module.bidirectional]]
    assert len(found.steps) == len(suffixes)
    for before, after in (pair for steps in found.steps for pair in pairwise(steps)):
        B = min(before.a.shape[-1], after.a.shape[-1])  # as many sequences take part in both
        left, found_there = ([part[:, :B] for part in parts] for parts in (before.state, after.state_prev))
        skipped = 1 if module.proj_size else 0  # h is projected in between
        assert all(map(np.array_equal, left[skipped:], found_there[skipped:]))
    ours: dict[str, Any] = {}
    for suffix, steps in zip(suffixes, found.steps, strict=True):
        rows = len(module.cell.gates) * module.hidden_size
        halves = [[half.reshape(rows, -1) for half in module.cell.halves(step.d_a)] for step in steps]
        of_input, of_state = (np.concatenate(half, axis=1) for half in zip(*halves, strict=True))
        h_prev = np.concatenate([step.state_prev[0] for step in steps], axis=1)
        sums = {"weight_hh": of_state @ h_prev.T, "bias_ih": of_input.sum(axis=1), "bias_hh": of_state.sum(axis=1)}
        ours |= {f"{name}{suffix}": value for name, value in sums.items() if module.bias or name == "weight_hh"}
    assert_close(ours, {name: found.d_parameters[name] for name in ours})


@given(configurations())
@example(Configuration("LSTM", num_layers=2, dropout=0.4, batch_first=True))
def test_the_pass_is_the_modules_own_and_its_steps_add_up_to_it(configuration: Configuration) -> None:
    """To the last bit, dropout masks included, whatever the module has done before."""
    c, problem = configuration, draw(configuration)
    module = make_scratch(problem)
    found = trace(module, pack(problem.input, c), initial_state(problem), *upstream(problem))
    assert all(parameter.grad is None for parameter in module.parameters())
    expected, masks = run_module(module, problem)
    ours = {"output": unpack(found.output)} | split(found.state, c, "{}_n") | {"d_input": unpack(found.d_input)}
    ours |= split(found.d_initial, c, "d_{}_0") if c.initial_state else {}
    ours |= {f"d_{name}": gradient for name, gradient in found.d_parameters.items()}
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array_equal(ours[name], value), name
    assert len(found.dropout_masks) == len(masks)
    for mask, drawn in zip(found.dropout_masks, masks, strict=True):
        assert np.array_equal(unpack(mask), drawn)
    assert_steps_are_of_their_places(module, found)


@pytest.mark.parametrize("checkpoint_every", [None, 2])
def test_a_new_cell_is_traced(checkpoint_every: int | None) -> None:
    """One in which h_prev acts on h directly, and a gate has its halves apart. What it made, it makes again."""
    module = mgu.MGU(3, 4, 2, bidirectional=True, dtype=np.float64, rng=0, checkpoint_every=checkpoint_every)
    x, d_output = (np.random.default_rng(1).standard_normal((5, 2, width)) for width in (3, 8))
    found, cell = trace(module, x, None, d_output), module.cell
    assert_steps_are_of_their_places(module, found)
    for step in (step for steps in found.steps for step in steps):
        left, slopes, d_a = step.a.copy(), np.empty_like(step.slopes), np.empty_like(step.d_a)
        state, kept = (tuple(map(np.empty_like, parts)) for parts in (step.state, step.kept))
        cell.step(left, step.state_prev, state, kept)
        cell.linearize(step.left, step.state_prev, step.state, step.kept, slopes)
        direct, rest = cell.step_backward(tuple(part.copy() for part in step.d_state), step.slopes.copy(), d_a)
        again = [left, *state, *kept, slopes, d_a, direct, *rest]
        written = [step.left, *step.state, *step.kept, step.slopes, step.d_a, step.d_h_direct, *step.d_rest]
        assert_close(dict(enumerate(again)), dict(enumerate(written)))
        assert all(array.flags.owndata for array in (step.a, *step.state_prev, *step.d_state, *written))


def test_the_modules_tape_is_still_there_and_what_it_refuses_is_refused() -> None:
    module, x = nn.GRU(3, 4, dtype=np.float64, rng=0), np.random.default_rng(3).standard_normal((5, 2, 3))
    output, _ = module(x)
    cell = module.cell
    trace(module, -x, None, output)
    assert module.cell is cell
    d_x, _ = module.backward(output)
    assert np.array_equal(d_x, trace(module, x, None, output).d_input)
    with pytest.raises(RuntimeError, match="width 3"):
        trace(module, x[..., :2])
    with no_grad(), pytest.raises(RuntimeError, match="forward"):
        trace(module, x)

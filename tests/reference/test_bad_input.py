"""The table of bad calls holds, and its runner can fail. At the end: what is no bad call."""

import io
import re
from collections import Counter
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from reference.bad_calls import RECURRENCES, SEVERAL_PARTS, TABLE, Row
from reference.bad_input import Result, disagreements, run, show
from reference.scenes import PYTORCH, SCRATCH, B, H, I, Library, T
from scratch import nn
from scratch.nn.utils.rnn import pack_padded_sequence

CALLS = [(row, name) for row in TABLE for name in row.of or ()]
GROUPS = {
    "constructor",
    "forward",
    "state",
    "packing",
    "backward",
    "cell",
    "layer",
    "loss",
    "optimizer",
    "clipping",
    "load_state_dict",
    "parameter",
}


@cache
def result_of(row: Row, name: str) -> Result:
    return run(row, name)


@pytest.mark.parametrize(("row", "name"), CALLS, ids=[f"{row.group}: {row.what} [{name}]" for row, name in CALLS])
def test_a_bad_call_is_refused_as_by_pytorch_or_more_strictly_and_changes_nothing(row: Row, name: str) -> None:
    result = result_of(row, name)
    assert result.verdict in ("same", "stricter")
    assert result.unchanged


def test_every_refusal_says_in_one_line_what_was_expected_and_what_came() -> None:
    messages = {result.label: result.scratch.message for result in (result_of(*call) for call in CALLS)}
    assert [call for call in messages.items() if not re.fullmatch(r"expected .+, got .+", call[1])] == []


def test_the_table_has_every_group_and_no_call_twice() -> None:
    assert len(TABLE) >= 80
    assert {row.group for row in TABLE} == GROUPS
    count = Counter(f"{row.group}: {row.what} [{name}]" for row, name in CALLS)
    assert [label for label, times in count.items() if times > 1] == []
    assert {name for row, name in CALLS if row.group == "forward"} == set(RECURRENCES)


# The runner can fail.


class Bad(ValueError):
    """No class of error that PyTorch raises."""


def planted(forward: Any) -> Library:
    """`scratch`, but with an RNN whose forward is this: of the module, what it had been, and the arguments."""

    class Planted(nn.RNN):
        def forward(self, *arguments: Any) -> Any:
            return forward(self, super().forward, *arguments)

    modules = SimpleNamespace(**{name: getattr(nn, name) for name in nn.__all__})
    modules.RNN = Planted
    return Library(**{**vars(SCRATCH), "nn": modules})


def row_of(group: str, what: str) -> Row:
    (row,) = (row for row in TABLE if (row.group, row.what) == (group, what))
    return row


WIDTH = row_of("forward", "wrong width")


def test_the_runner_passes_what_is_right() -> None:
    assert run(WIDTH, "RNN", planted(lambda module, forward, *arguments: forward(*arguments))).verdict == "same"


def test_the_runner_sees_a_call_that_is_accepted() -> None:
    def accept(module: nn.RNN, forward: Any, input: Any, hx: Any = None) -> Any:
        return forward(input, hx) if input.shape[-1] == I else None

    assert run(WIDTH, "RNN", planted(accept)).verdict == "WRONG: expected RuntimeError, got accepted"


def test_the_runner_sees_another_class() -> None:
    def refuse(module: nn.RNN, forward: Any, input: Any, hx: Any = None) -> Any:
        if input.shape[-1] != I:
            raise Bad("expected another width")
        return forward(input, hx)

    assert run(WIDTH, "RNN", planted(refuse)).verdict == (
        "WRONG: expected RuntimeError, got Bad (expected another width)"
    )


def change_parameter(module: nn.RNN, input: Any) -> None:
    module.weight_hh_l0.data[1, 2] += 1e-6


def change_gradient(module: nn.RNN, input: Any) -> None:
    module.bias_hh_l0.grad = None


def change_mode(module: nn.RNN, input: Any) -> None:
    module.eval()


def change_random_numbers(module: nn.RNN, input: Any) -> None:
    module.rng.random()


def change_tape(module: nn.RNN, input: Any) -> None:
    module.clear_tape()


def change_input(module: nn.RNN, input: Any) -> None:
    input[0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (change_parameter, "weight_hh_l0._data"),
        (change_gradient, "bias_hh_l0._grad"),
        (change_mode, "training"),
        (change_random_numbers, "rng.state.state"),
        (change_tape, "the gradients of the earlier forward pass"),
        (change_input, "the caller's arrays"),
    ],
)
def test_the_runner_sees_what_a_refusal_has_changed(change: Any, name: str) -> None:
    def change_and_refuse(module: nn.RNN, forward: Any, input: Any, hx: Any = None) -> Any:
        if input.shape[-1] != I:
            change(module, input)
        return forward(input, hx)

    result = run(WIDTH, "RNN", planted(change_and_refuse))
    assert result.scratch.error is RuntimeError
    assert result.verdict.startswith("WRONG: expected everything as it was, got changes of ")
    assert name in result.verdict


def test_the_runner_sees_that_a_module_does_not_work_any_more() -> None:
    refused = False

    def break_down(module: nn.RNN, forward: Any, input: Any, hx: Any = None) -> Any:
        nonlocal refused
        refused |= input.shape[-1] != I
        output, h_n = forward(input, hx)
        return (output + 1, h_n) if refused else (output, h_n)

    result = run(WIDTH, "RNN", planted(break_down))
    assert result.verdict == "WRONG: expected everything as it was, got changes of the answer to a good call"


def test_the_runner_sees_that_a_reason_is_not_true_or_is_missing() -> None:
    row = row_of("forward", "a list")
    silent = Row(**{**vars(row), "stricter": ""})
    assert run(silent, "RNN").verdict == "WRONG: expected TypeError in PyTorch, too, or a reason, got AttributeError"
    untrue = Row(**{**vars(WIDTH), "stricter": "PyTorch lets it pass"})
    assert run(untrue, "RNN").verdict == (
        "WRONG: expected PyTorch not to raise RuntimeError (PyTorch lets it pass), got it"
    )


def test_what_is_wrong_is_shown() -> None:
    results = [result_of(WIDTH, name) for name in RECURRENCES]
    wrong = run(WIDTH, "RNN", planted(lambda module, forward, input, hx=None: forward(input[..., :I], hx)))
    out = io.StringIO()
    show([*results, wrong], Console(file=out, width=120))
    shown = out.getvalue()
    assert re.search(rf"wrong width +{', '.join(RECURRENCES)} +RuntimeError +RuntimeError", shown)
    assert re.search(r"accepted +RuntimeError +WRONG: expected RuntimeError", shown)
    assert f"Bad calls: 1, made {len(RECURRENCES) + 1} times in both libraries." in shown
    assert "scratch is stricter: 0; wrong: 1." in " ".join(shown.split())
    assert disagreements(results) == []
    assert disagreements([wrong]) == ["forward: wrong width [RNN]: WRONG: expected RuntimeError, got accepted"]


def test_a_class_that_pytorch_lacks_is_looked_at_alone() -> None:
    """What `scratch` raises, and leaves behind, is checked all the same."""
    lacking = Library(**{**vars(PYTORCH), "nn": SimpleNamespace(**{**vars(torch.nn), "RNN": None})})
    del lacking.nn.RNN
    alone = run(WIDTH, "RNN", theirs=lacking)
    assert (alone.verdict, alone.scratch.error, alone.torch.name) == ("alone", RuntimeError, "no such class")

    def change(module: nn.RNN, forward: Any, input: Any, hx: Any = None) -> Any:
        if input.shape[-1] != I:
            change_mode(module, input)
        return forward(input, hx)

    assert run(WIDTH, "RNN", planted(change), lacking).verdict.startswith("WRONG: expected everything as it was")
    accepting = planted(lambda module, forward, input, hx=None: forward(input[..., :I], hx))
    assert run(WIDTH, "RNN", accepting, lacking).verdict == "WRONG: expected RuntimeError, got accepted"
    out = io.StringIO()
    show([alone, result_of(WIDTH, "RNN")], Console(file=out, width=120))
    assert "same class of error: 1; scratch is stricter: 0; not there in PyTorch: 1; wrong: 0." in " ".join(
        out.getvalue().split()
    )


# What is no bad call.


@pytest.mark.parametrize("name", RECURRENCES)
def test_dropout_with_one_layer_only_warns(name: str) -> None:
    for library in (nn, torch.nn):
        with pytest.warns(UserWarning, match="dropout"):
            getattr(library, name)(I, H, dropout=0.5)


@pytest.mark.parametrize("name", RECURRENCES)
def test_an_empty_batch_is_allowed(name: str) -> None:
    module = getattr(nn, name)(I, H, bidirectional=True, rng=0)
    output, _ = module(np.zeros((T, 0, I), np.float32))
    d_input, _ = module.backward(output)
    assert output.shape == getattr(torch.nn, name)(I, H, bidirectional=True)(torch.zeros(T, 0, I))[0].shape
    assert d_input.shape == (T, 0, I)
    assert not module.weight_hh_l0.grad.any()


@pytest.mark.parametrize("name", SEVERAL_PARTS)
def test_a_list_may_stand_for_a_tuple_of_states(name: str) -> None:
    for library, zeros in ((nn, np.zeros), (torch.nn, torch.zeros)):
        dtype = {"dtype": np.float32} if library is nn else {}
        x, h = zeros((T, B, I), **dtype), zeros((1, B, H), **dtype)
        assert getattr(library, name)(I, H)(x, [h, h])[0].shape == (T, B, H)


def test_a_packed_gradient_may_name_the_order_that_the_input_left_out() -> None:
    module = nn.RNN(I, H, rng=0)
    output, _ = module(pack_padded_sequence(np.ones((T, B, I), np.float32), [4, 3, 2]))
    wanted, _ = module.backward(output, retain_graph=True)
    same_order, _ = module.backward(output._replace(sorted_indices=np.arange(B), unsorted_indices=np.arange(B)))
    assert np.array_equal(same_order.data, wanted.data)

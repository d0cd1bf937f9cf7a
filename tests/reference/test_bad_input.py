"""The table of bad calls holds, and its runner can fail. At the end: what is no bad call."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from reference.bad_calls import PAGE, RECURRENCES, SEVERAL_PARTS, TABLE, Row, each, table
from reference.bad_input import disagreements, run, show
from reference.scenes import PYTORCH, SCRATCH, SIZES, Library
from scratch import nn
from scratch.nn.utils.rnn import pack_padded_sequence

T, B, WIDTH, H = (SIZES[letter] for letter in "TBIH")
CALLS = {
    f"{row.group}: {row.text} [{name}{row.subject.how}]": (row, name) for row in TABLE for name in row.subject.names
}


@pytest.mark.parametrize(("row", "name"), CALLS.values(), ids=CALLS)
def test_a_bad_call_is_refused_as_by_pytorch_or_more_strictly_and_changes_nothing(row: Row, name: str) -> None:
    assert run(row, name).verdict in ("same", "stricter")


def test_the_table_has_every_line_of_the_page_and_no_call_twice() -> None:
    lines = re.findall(r"^(\S.*?)  # \w+: ", PAGE.read_text(), flags=re.MULTILINE)
    assert sum(len(each(line)) for line in lines) == len(TABLE) > 300
    assert sum(len(row.subject.names) for row in TABLE) == len(CALLS)
    assert {name for row in TABLE if row.group == "forward" for name in row.subject.names} == set(RECURRENCES)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("module(x(9))", "`call  # Error: expected …`"),
        ("module(x(9))  # ValueError", "`call  # Error: expected …`"),
        ("module(x(9))  # ValueError: got 9", "`call  # Error: expected …`"),
        ("module(x(9))  # Valueerror: expected more", "`call  # Error: expected …`"),
        ("# every recurrence of mine", "names or 'every …'"),
        ("```\n```text\nmodule(x(9))  # ValueError: expected more", "`call  # Error: expected …`"),
    ],
)
def test_a_line_that_is_no_row_is_refused(line: str, expected: str) -> None:
    page = PAGE.read_text().replace("module(x(0, B, I))", f"{line}\nmodule(x(0, B, I))", 1)
    with pytest.raises(ValueError, match=f"^{re.escape(f'expected {expected} in bad_calls.md, got ')}"):
        list(table(page))


# The runner can fail.


class Bad(ValueError):
    """No class of error that PyTorch raises."""


ACCEPTED = object()


def planted(bad: Callable[[nn.RNN, Any], Any]) -> Library:
    """`scratch`, but with an RNN that does this first where the input is too wide: of the module and the input.

    Where it gives ACCEPTED, the call is accepted.
    """

    class Planted(nn.RNN):
        def forward(self, input: Any, hx: Any = None) -> Any:
            if input.shape[-1] != WIDTH and bad(self, input) is ACCEPTED:
                return None
            return super().forward(input, hx)

    return replace(SCRATCH, nn=SimpleNamespace(**{**vars(nn), "RNN": Planted}))


def row_of(group: str, text: str) -> Row:
    (row,) = (row for row in TABLE if (row.group, row.text) == (group, text))
    return row


TOO_WIDE = row_of("forward", "module(x(T, B, 9))")


def test_the_runner_passes_what_is_right() -> None:
    assert run(TOO_WIDE, "RNN", planted(lambda module, input: None)).verdict == "same"


def test_the_runner_sees_a_call_that_is_accepted() -> None:
    accepting = planted(lambda module, input: ACCEPTED)
    assert run(TOO_WIDE, "RNN", accepting).verdict == "WRONG: expected RuntimeError, got accepted"


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (Bad("expected more"), "expected RuntimeError, got Bad (expected more)"),
        (RuntimeError("expected more, got 9"), "expected the message 'TOO_WIDE, got …', got 'expected more, got 9'"),
        (RuntimeError("TOO_WIDE"), "expected the message 'TOO_WIDE, got …', got 'TOO_WIDE'"),
        (RuntimeError("TOO_WIDE, got\n9"), r"expected the message 'TOO_WIDE, got …', got 'TOO_WIDE, got\n9'"),
    ],
)
def test_the_runner_sees_another_class_or_message(error: Exception, verdict: str) -> None:
    def refuse(module: nn.RNN, input: Any) -> None:
        raise type(error)(str(error).replace("TOO_WIDE", *TOO_WIDE.message))

    assert run(TOO_WIDE, "RNN", planted(refuse)).verdict == "WRONG: " + verdict.replace("TOO_WIDE", *TOO_WIDE.message)


def break_down(module: Any, input: Any) -> None:
    """From now on every call is answered wrongly."""
    type(module).forward = lambda self, *arguments: tuple(part + 1 for part in nn.RNN.forward(self, *arguments))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda module, input: np.add.at(module.weight_hh_l0.data, (1, 2), 1e-6), "module.weight_hh_l0._data"),
        (lambda module, input: setattr(module.bias_hh_l0, "grad", None), "bias_hh_l0._grad"),
        (lambda module, input: module.eval(), "training"),
        (lambda module, input: module.rng.random(), "rng.state.state"),
        (lambda module, input: module.clear_tape(), "the gradients of the earlier forward pass"),
        (lambda module, input: np.put(input, 0, np.nan), "the caller's arrays"),
        (break_down, "the answer to a good call"),
    ],
)
def test_the_runner_sees_what_a_refusal_has_changed(change: Any, name: str) -> None:
    result = run(TOO_WIDE, "RNN", planted(change))
    assert result.scratch.error is RuntimeError
    assert result.verdict.startswith("WRONG: expected everything as it was, got changes of ")
    assert name in result.verdict


def test_the_runner_sees_that_a_reason_is_not_true_or_is_missing() -> None:
    silent = replace(row_of("forward", "module(None)"), why="")
    assert run(silent, "RNN").verdict == "WRONG: expected TypeError in PyTorch, too, or a reason, got AttributeError"
    untrue = replace(TOO_WIDE, why="PyTorch lets it pass")
    assert run(untrue, "RNN").verdict == (
        "WRONG: expected PyTorch not to raise RuntimeError (PyTorch lets it pass), got it"
    )


def shown(*results: Any, verbose: bool = False) -> str:
    """What is printed of them, on one line."""
    out = io.StringIO()
    show(results, Console(file=out, width=80), verbose)
    assert max(map(len, out.getvalue().splitlines())) <= 80
    return " ".join(out.getvalue().split())


def test_the_verdict_and_what_is_wrong_come_first() -> None:
    results = [run(TOO_WIDE, name) for name in RECURRENCES]
    stricter = run(row_of("forward", "module(None)"), "RNN")
    wrong = run(TOO_WIDE, "RNN", planted(lambda module, input: ACCEPTED))
    label = "forward: module(x(T, B, 9)) [RNN]: WRONG: expected RuntimeError, got accepted"
    assert disagreements(results) == [] and disagreements([wrong]) == [label]
    told = shown(*results, stricter, wrong)
    assert told.startswith(f"1 of {len(RECURRENCES) + 2} calls: WRONG {label} Bad calls: 2, made ")
    assert f"same class of error: {len(RECURRENCES)}; scratch is stricter: 1; wrong: 1." in told
    assert f"│ forward │ {len(RECURRENCES)} │ 1 │ 1 │" in told
    assert shown(*results).startswith("Every bad call is refused as it should be. Bad calls: 1, made ")
    listed = shown(*results, stricter, verbose=True)
    assert f"forward: every recurrence {', '.join(RECURRENCES)}: RuntimeError in both module(x(T, B, 9))" in listed
    assert "RNN: TypeError; PyTorch: AttributeError (PyTorch stumbles over a missing attribute) module(None)" in listed


def test_a_class_that_pytorch_lacks_is_looked_at_alone() -> None:
    """What `scratch` raises, and leaves behind, is checked all the same."""
    lacking = replace(PYTORCH, nn=SimpleNamespace(**{k: v for k, v in vars(torch.nn).items() if k != "RNN"}))
    alone = run(TOO_WIDE, "RNN", theirs=lacking)
    assert (alone.verdict, alone.scratch.error, alone.torch.name) == ("alone", RuntimeError, "no such class")

    changing, accepting = (planted(bad) for bad in (lambda module, _: module.eval(), lambda *_: ACCEPTED))
    assert run(TOO_WIDE, "RNN", changing, lacking).verdict.startswith("WRONG: expected everything as it was")
    assert run(TOO_WIDE, "RNN", accepting, lacking).verdict == "WRONG: expected RuntimeError, got accepted"
    told = shown(alone, run(TOO_WIDE, "RNN"))
    assert "same class of error: 1; scratch is stricter: 0; not there in PyTorch: 1; wrong: 0." in told


# What is no bad call.


@pytest.mark.parametrize("name", RECURRENCES)
def test_dropout_with_one_layer_only_warns(name: str) -> None:
    for library in (nn, torch.nn):
        with pytest.warns(UserWarning, match="dropout"):
            getattr(library, name)(WIDTH, H, dropout=0.5)


@pytest.mark.parametrize("name", RECURRENCES)
def test_an_empty_batch_is_allowed(name: str) -> None:
    module = getattr(nn, name)(WIDTH, H, bidirectional=True, rng=0)
    output, _ = module(np.zeros((T, 0, WIDTH), np.float32))
    d_input, _ = module.backward(output)
    assert output.shape == getattr(torch.nn, name)(WIDTH, H, bidirectional=True)(torch.zeros(T, 0, WIDTH))[0].shape
    assert d_input.shape == (T, 0, WIDTH)
    assert not module.weight_hh_l0.grad.any()


@pytest.mark.parametrize("name", SEVERAL_PARTS)
def test_a_list_may_stand_for_a_tuple_of_states(name: str) -> None:
    for library, zeros in ((nn, np.zeros), (torch.nn, torch.zeros)):
        dtype = {"dtype": np.float32} if library is nn else {}
        x, h = zeros((T, B, WIDTH), **dtype), zeros((1, B, H), **dtype)
        assert getattr(library, name)(WIDTH, H)(x, [h, h])[0].shape == (T, B, H)


def test_a_packed_gradient_may_name_the_order_that_the_input_left_out() -> None:
    module = nn.RNN(WIDTH, H, rng=0)
    output, _ = module(pack_padded_sequence(np.ones((T, B, WIDTH), np.float32), [4, 3, 2]))
    wanted, _ = module.backward(output, retain_graph=True)
    same_order, _ = module.backward(output._replace(sorted_indices=np.arange(B), unsorted_indices=np.arange(B)))
    assert np.array_equal(same_order.data, wanted.data)

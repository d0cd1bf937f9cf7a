"""The table of bad calls holds, and its runner can fail. At the end: what is no bad call."""

import io
import re
from collections.abc import Callable
from itertools import groupby
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import scratch
from reference.bad_calls import PAGE, RECURRENCES, TABLE, Row, each, table
from reference.bad_input import run, show
from reference.scenes import SIZES
from scratch import nn
from scratch.nn.utils.rnn import pack_padded_sequence

from .carried import Command

T, B, WIDTH, H = (SIZES[letter] for letter in "TBIH")
BLOCKS = {f"{group}: {subject.line}": list(rows) for (group, subject), rows in groupby(TABLE, lambda row: row[:2])}


@pytest.mark.parametrize("rows", BLOCKS.values(), ids=BLOCKS)
def test_bad_calls_are_refused_as_by_pytorch_or_more_strictly_and_change_nothing(rows: list[Row]) -> None:
    results = [run(row, name) for row in rows for name in row.subject.names]
    assert [result.label for result in results if result.verdict not in ("same", "stricter")] == []


def test_the_table_has_every_line_of_the_page_and_no_call_twice() -> None:
    lines = re.findall(r"^(\S.*?)  # \w+: ", PAGE.read_text(), flags=re.MULTILINE)
    assert sum(len(each(line)) for line in lines) == len(TABLE) > 300
    assert sum(map(len, BLOCKS.values())) == len(TABLE)
    calls = [(row.group, row.text, name, *row.subject[1:3]) for row in TABLE for name in row.subject.names]
    assert len(calls) == len(set(calls))
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


def planted(bad: Callable[[nn.RNN, Any], Any]) -> Any:
    """`scratch`, but with an RNN that does this first where the input is too wide; True accepts it."""

    class Planted(nn.RNN):
        def forward(self, input: Any, hx: Any = None) -> Any:
            if input.shape[-1] != WIDTH and bad(self, input) is True:
                return None
            return super().forward(input, hx)

    return without(scratch, RNN=Planted)


def without(library: Any, **classes: Any) -> Any:
    """A library with other classes of these names, or with none."""
    own = {name: value for name, value in vars(library.nn).items() if name not in classes}
    classes = {name: value for name, value in classes.items() if value}
    changed = ModuleType("library")
    vars(changed).update(vars(library), nn=SimpleNamespace(**own, **classes))
    return changed


def row_of(group: str, text: str) -> Row:
    (row,) = (row for row in TABLE if (row.group, row.text) == (group, text))
    return row


TOO_WIDE, NONE = row_of("forward", "module(x(T, B, 9))"), row_of("forward", "module(None)")
LACKING = without(torch, RNN=None)
MESSAGE = f"expected the message '{TOO_WIDE.message[0]}, got …', got "


def verdict(bad: Callable[[nn.RNN, Any], Any], theirs: Any = torch) -> str:
    return run(TOO_WIDE, "RNN", planted(bad), theirs).verdict


def raising(error: Exception) -> Callable[[nn.RNN, Any], Any]:
    """A refusal by another error."""

    def refuse(module: nn.RNN, input: Any) -> None:
        raise error

    return refuse


def break_down(module: Any, input: Any) -> None:
    """From now on every call is answered wrongly."""
    type(module).forward = lambda self, *arguments: tuple(part + 1 for part in nn.RNN.forward(self, *arguments))


CHANGED = "expected everything as it was, got changes of "


@pytest.mark.parametrize(
    ("bad", "told", "name"),
    [
        (raising(Bad("expected more")), "expected RuntimeError, got Bad (expected more)", ""),
        (raising(RuntimeError("expected more, got 9")), f"{MESSAGE}'expected more, got 9'", ""),
        (raising(RuntimeError(TOO_WIDE.message[0])), f"{MESSAGE}'{TOO_WIDE.message[0]}'", ""),
        (raising(RuntimeError(f"{TOO_WIDE.message[0]}, got\n9")), rf"{MESSAGE}'{TOO_WIDE.message[0]}, got\n9'", ""),
        (lambda module, input: True, "expected RuntimeError, got accepted", ""),
        (lambda module, input: np.add.at(module.weight_hh_l0.data, (1, 2), 1e-6), CHANGED, "module.weight_hh_l0._data"),
        (lambda module, input: setattr(module.bias_hh_l0, "grad", None), CHANGED, "bias_hh_l0._grad"),
        (lambda module, input: module.eval(), CHANGED, "training"),
        (lambda module, input: module.rng.random(), CHANGED, "rng.state.state"),
        (lambda module, input: module.clear_tape(), CHANGED, "the gradients of the earlier forward pass"),
        (lambda module, input: np.put(input, 0, np.nan), CHANGED, "the caller's arrays"),
        (break_down, CHANGED, "the answer to a good call"),
    ],
)
def test_the_runner_sees_another_error_and_what_a_refusal_has_changed(bad: Any, told: str, name: str) -> None:
    """Also of a class that PyTorch lacks, which is looked at alone."""
    said = [verdict(bad)] if bad is break_down else [verdict(bad), verdict(bad, LACKING)]
    assert all(each.startswith(f"WRONG: {told}") and name in each for each in said)
    assert name or {f"WRONG: {told}"} == set(said)


def test_the_runner_sees_that_a_reason_is_not_true_or_is_missing() -> None:
    assert (verdict(lambda *_: None), verdict(lambda *_: None, LACKING)) == ("same", "alone")
    silent, untrue = NONE._replace(why=""), TOO_WIDE._replace(why="PyTorch lets it pass")
    assert run(silent, "RNN").verdict == "WRONG: expected TypeError in PyTorch, too, or a reason, got AttributeError"
    told = "WRONG: expected PyTorch not to raise RuntimeError (PyTorch lets it pass), got it"
    assert run(untrue, "RNN").verdict == told


def test_what_is_printed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    alone = run(TOO_WIDE, "RNN", theirs=LACKING)
    show(
        [run(TOO_WIDE, "GRU"), run(NONE, "RNN"), run(TOO_WIDE, "RNN", planted(lambda *_: True)), alone],
        Console(file=out),
    )
    told = " ".join(out.getvalue().split())
    label = "forward: module(x(T, B, 9)) [RNN]: WRONG: expected RuntimeError, got accepted"
    assert told.startswith(f"1 of 4 calls: WRONG {label} Bad calls: 2, made ")
    assert "same class of error: 1; scratch is stricter: 1; not there in PyTorch: 1; wrong: 1." in told

    monkeypatch.setattr("reference.bad_input.TABLE", [TOO_WIDE, NONE])
    both = f"{', '.join(RECURRENCES)}: RuntimeError in both"
    stricter = "TypeError; PyTorch: AttributeError (PyTorch stumbles over a missing attribute)"
    for options, several in ((), ["--verbose lists every call"]), (("--verbose",), [both, stricter]):
        status, printed, _ = command("bad-input", *options)
        assert status == 0 and printed.startswith("Every bad call is refused as it should be.\nBad calls: 2, made ")
        assert all(each in " ".join(printed.split()) for each in several)
    monkeypatch.setattr("reference.bad_input.TABLE", [NONE._replace(why="")])
    assert command("bad-input")[0] == 1


# What is no bad call.


@pytest.mark.parametrize("name", RECURRENCES)
def test_dropout_with_one_layer_warns_and_an_empty_batch_is_allowed(name: str) -> None:
    for library in (nn, torch.nn):
        with pytest.warns(UserWarning, match="dropout"):
            getattr(library, name)(WIDTH, H, dropout=0.5)
    module = getattr(nn, name)(WIDTH, H, bidirectional=True, rng=0)
    output, _ = module(np.zeros((T, 0, WIDTH), np.float32))
    d_input, _ = module.backward(output)
    assert output.shape == getattr(torch.nn, name)(WIDTH, H, bidirectional=True)(torch.zeros(T, 0, WIDTH))[0].shape
    assert d_input.shape == (T, 0, WIDTH)
    assert not module.weight_hh_l0.grad.any()


def test_a_packed_sequence_of_pytorch_is_told_from_ours() -> None:
    with pytest.raises(TypeError, match=r"got <class 'torch\.nn\.utils\.rnn\.PackedSequence'>"):
        nn.RNN(4, 5)(torch.nn.utils.rnn.pack_sequence([torch.ones(3, 4)]))


def test_a_list_may_stand_for_a_tuple_of_states() -> None:
    h = np.zeros((1, B, H), np.float32)
    assert nn.LSTM(WIDTH, H)(np.zeros((T, B, WIDTH), np.float32), [h, h])[0].shape == (T, B, H)


def test_a_packed_gradient_may_name_the_order_that_the_input_left_out() -> None:
    module = nn.RNN(WIDTH, H, rng=0)
    output, _ = module(pack_padded_sequence(np.ones((T, B, WIDTH), np.float32), [4, 3, 2]))
    wanted, _ = module.backward(output, retain_graph=True)
    same_order, _ = module.backward(output._replace(sorted_indices=np.arange(B), unsorted_indices=np.arange(B)))
    assert np.array_equal(same_order.data, wanted.data)

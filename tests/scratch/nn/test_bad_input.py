"""Bad input to the recurrences, beside PyTorch: the same class of error, or a stricter answer with its reason."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from scratch import nn
from scratch.nn.utils.rnn import PackedSequence, pack_padded_sequence

T, B, WIDTH, H = 3, 2, 4, 5
x = np.random.default_rng(0).standard_normal((T, B, WIDTH)).astype(np.float32)
h = np.zeros((1, B, H), np.float32)
packed = pack_padded_sequence(x, [3, 2])


def as_torch(value: Any) -> Any:
    """The same argument for PyTorch."""
    if isinstance(value, PackedSequence):
        return torch.nn.utils.rnn.PackedSequence(*(None if part is None else torch.from_numpy(part) for part in value))
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, tuple):
        return tuple(map(as_torch, value))
    return {np.float32: torch.float32, np.int64: torch.int64}.get(value, value) if isinstance(value, type) else value


def label(value: Any) -> str:
    return value if isinstance(value, str) else ""


def error_of(call: Callable[[], Any]) -> type[Exception] | None:
    try:
        call()
    except Exception as error:
        return type(error)
    return None


# What is wrong, the arguments, the error; and where ours differs from PyTorch's, why.
CONSTRUCTIONS = [
    ("input_size 0", (0, H), {}, ValueError, ""),
    ("hidden_size 0", (WIDTH, 0), {}, ValueError, ""),
    ("hidden_size negative", (WIDTH, -1), {}, ValueError, ""),
    ("input_size no int", (4.0, H), {}, TypeError, ""),
    ("hidden_size no int", (WIDTH, "5"), {}, TypeError, ""),
    ("num_layers 0", (WIDTH, H), {"num_layers": 0}, ValueError, ""),
    ("num_layers no int", (WIDTH, H), {"num_layers": 1.5}, TypeError, ""),
    ("num_layers a bool", (WIDTH, H), {"num_layers": True}, TypeError, "a bool is no number of layers"),
    ("bias no bool", (WIDTH, H), {"bias": 1}, TypeError, ""),
    ("batch_first no bool", (WIDTH, H), {"batch_first": 1}, TypeError, ""),
    ("bidirectional no bool", (WIDTH, H), {"bidirectional": 1}, TypeError, "PyTorch fails at the call"),
    ("dropout above 1", (WIDTH, H, 2), {"dropout": 1.5}, ValueError, ""),
    ("dropout negative", (WIDTH, H, 2), {"dropout": -0.1}, ValueError, ""),
    ("dropout NaN", (WIDTH, H, 2), {"dropout": float("nan")}, ValueError, ""),
    ("dropout a bool", (WIDTH, H, 2), {"dropout": True}, ValueError, ""),
    ("dropout a text", (WIDTH, H, 2), {"dropout": "much"}, ValueError, ""),
    ("dtype of integers", (WIDTH, H), {"dtype": np.int64}, RuntimeError, ""),
    ("dtype no dtype", (WIDTH, H), {"dtype": "no such"}, TypeError, ""),
]


@pytest.mark.parametrize("name", ["RNN", "LSTM"])
@pytest.mark.parametrize(("what", "args", "kwargs", "error", "stricter"), CONSTRUCTIONS, ids=label)
def test_wrong_construction(
    name: str, what: str, args: tuple[Any, ...], kwargs: dict[str, Any], error: type[Exception], stricter: str
) -> None:
    assert error_of(lambda: getattr(nn, name)(*args, **kwargs)) is error
    theirs = error_of(lambda: getattr(torch.nn, name)(*args, **{k: as_torch(v) for k, v in kwargs.items()}))
    assert (theirs is not error) if stricter else (theirs is error)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("RNN", {"nonlinearity": "sigmoid"}),
        ("RNN", {"nonlinearity": None}),
        ("RNN", {"proj_size": 2}),
        ("LSTM", {"proj_size": -1}),
        ("LSTM", {"proj_size": H}),
        ("LSTM", {"proj_size": 1.5}),
    ],
)
def test_wrong_construction_of_one_kind(name: str, kwargs: dict[str, Any]) -> None:
    ours, theirs = (error_of(lambda lib=lib: getattr(lib, name)(WIDTH, H, **kwargs)) for lib in (nn, torch.nn))
    assert ours is theirs is not None


def state(name: str, value: Any) -> Any:
    return (value, value) if name.startswith("LSTM") else value


CALLS = [
    ("wrong width", np.zeros((T, B, 9), np.float32), None, RuntimeError, ""),
    ("no step", np.zeros((0, B, WIDTH), np.float32), None, RuntimeError, ""),
    ("1-D", np.zeros(WIDTH, np.float32), None, ValueError, ""),
    ("4-D", np.zeros((1, T, B, WIDTH), np.float32), None, ValueError, ""),
    ("0-D", np.zeros((), np.float32), None, ValueError, ""),
    ("float64 for float32", x.astype(np.float64), None, ValueError, ""),
    ("integers", np.ones((T, B, WIDTH), np.int64), None, ValueError, ""),
    ("a list", [[1.0]], None, TypeError, "PyTorch fails with AttributeError"),
    ("state of another batch", x, np.zeros((1, 3, H), np.float32), RuntimeError, ""),
    ("state of another width", x, np.zeros((1, B, 9), np.float32), RuntimeError, ""),
    ("state of too many layers", x, np.zeros((2, B, H), np.float32), RuntimeError, ""),
    ("2-D state for a 3-D input", x, np.zeros((1, H), np.float32), RuntimeError, ""),
    ("3-D state for a 2-D input", x[:, 0], h, RuntimeError, ""),
    ("state of another dtype", x, h.astype(np.float64), RuntimeError, ""),
    ("state of integers", x, h.astype(np.int64), RuntimeError, ""),
    ("state no array", x, 3.0, TypeError, "PyTorch fails with AttributeError"),
    ("packed, wrong width", pack_padded_sequence(np.zeros((T, B, 9), np.float32), [3, 2]), None, RuntimeError, ""),
    ("packed, state of another batch", packed, np.zeros((1, 3, H), np.float32), RuntimeError, ""),
    ("packed, state of another width", packed, np.zeros((1, B, 9), np.float32), RuntimeError, ""),
    ("packed, float64", pack_padded_sequence(x.astype(np.float64), [3, 2]), None, ValueError, "LSTM"),
    ("packed, 2-D state", packed, np.zeros((1, H), np.float32), RuntimeError, "LSTM"),
    ("packed, 3-D data", pack_padded_sequence(np.zeros((T, B, WIDTH, 1), np.float32), [3, 2]), None, RuntimeError, ""),
]


@pytest.mark.parametrize("name", ["RNN", "LSTM"])
@pytest.mark.parametrize(("what", "input", "hx", "error", "stricter"), CALLS, ids=label)
def test_wrong_call(name: str, what: str, input: Any, hx: Any, error: type[Exception], stricter: str) -> None:
    """`stricter` names the class in which PyTorch skips the check and fails by accident, or says why both differ."""
    ours, theirs = getattr(nn, name)(WIDTH, H, rng=0), getattr(torch.nn, name)(WIDTH, H)
    hx = None if hx is None else state(name, hx)
    output, _ = ours(x)
    before = ours.state_dict()
    assert error_of(lambda: ours(input, hx)) is error
    if not (stricter and (name in stricter or "PyTorch" in stricter)):
        assert error_of(lambda: theirs(as_torch(input), as_torch(hx))) is error
    # The module still works, the last tape is still there, and nothing has changed.
    ours.backward(output)
    assert np.array_equal(ours(x)[0], output)
    assert all(np.array_equal(value, before[key]) for key, value in ours.state_dict().items())


WRONG_UPSTREAM = [
    ("shape of d_output", np.zeros((T, B, 9), np.float32), None, RuntimeError),
    ("rank of d_output", np.zeros((T, H), np.float32), None, RuntimeError),
    ("dtype of d_output", np.zeros((T, B, H)), None, RuntimeError),
    ("d_output no array", 1.0, None, TypeError),
    ("d_output packed", packed, None, TypeError),
    ("shape of d_h_n", None, np.zeros((1, 3, H), np.float32), RuntimeError),
    ("dtype of d_h_n", None, np.zeros((1, B, H)), RuntimeError),
    ("d_h_n no array", None, "zeros", TypeError),
]


@pytest.mark.parametrize("name", ["RNN", "LSTM"])
@pytest.mark.parametrize(("what", "d_output", "d_state", "error"), WRONG_UPSTREAM, ids=label)
def test_wrong_upstream_gradient(name: str, what: str, d_output: Any, d_state: Any, error: type[Exception]) -> None:
    module = getattr(nn, name)(WIDTH, H, rng=0)
    output, _ = module(x)
    assert error_of(lambda: module.backward(d_output, None if d_state is None else state(name, d_state))) is error
    assert all(parameter.grad is None for parameter in module.parameters())
    module.backward(output)


def test_lstm_state_is_a_pair() -> None:
    lstm = nn.LSTM(WIDTH, H)
    assert error_of(lambda: lstm(x, h)) is TypeError
    assert error_of(lambda: lstm(x, (h,))) is RuntimeError
    assert error_of(lambda: lstm(x, (h, h, h))) is RuntimeError
    assert error_of(lambda: lstm(x, (h, None))) is TypeError
    assert error_of(lambda: torch.nn.LSTM(WIDTH, H)(as_torch(x), as_torch((h, h, h)))) is RuntimeError
    assert error_of(lambda: lstm(x, [h, h])) is None
    lstm(x)
    assert error_of(lambda: lstm.backward(None, h)) is TypeError


def test_packed_gradient_belongs_to_the_packed_input() -> None:
    module = nn.RNN(WIDTH, H, rng=0)
    output, _ = module(packed)
    other = pack_padded_sequence(np.zeros((T, B, H), np.float32), [2, 2])
    longer = PackedSequence(output.data, np.array([2, 1, 1, 1]))
    assert error_of(lambda: module.backward(longer)) is RuntimeError
    swapped = pack_padded_sequence(np.zeros((T, B, H), np.float32), [2, 3], enforce_sorted=False)
    assert error_of(lambda: module.backward(other)) is RuntimeError
    assert error_of(lambda: module.backward(swapped)) is RuntimeError
    assert error_of(lambda: module.backward(output.data)) is TypeError
    as_sorted = output._replace(sorted_indices=np.arange(B), unsorted_indices=np.arange(B))
    assert error_of(lambda: module.backward(as_sorted)) is None


@pytest.mark.parametrize(
    ("what", "batch_sizes"),
    [("sum", [2, 2, 2]), ("grows", [1, 2, 2]), ("zero", [3, 2, 0]), ("empty", []), ("floats", [2.0, 2.0, 1.0])],
)
def test_inconsistent_packing_is_refused(what: str, batch_sizes: list[float]) -> None:
    broken = PackedSequence(packed.data, np.array(batch_sizes))
    assert error_of(lambda: nn.LSTM(WIDTH, H)(broken)) in (RuntimeError, TypeError)


CELL_CALLS = [
    ("3-D", np.zeros((1, B, WIDTH), np.float32), None, ValueError, ""),
    ("0-D", np.zeros((), np.float32), None, ValueError, ""),
    ("wrong width", np.zeros((B, 9), np.float32), None, RuntimeError, ""),
    ("float64", x[0].astype(np.float64), None, RuntimeError, ""),
    ("integers", np.ones((B, WIDTH), np.int64), None, RuntimeError, ""),
    ("a list", [1.0], None, TypeError, "PyTorch fails with AttributeError"),
    ("state of another batch", x[0], np.zeros((3, H), np.float32), RuntimeError, ""),
    ("state of another width", x[0], np.zeros((B, 6), np.float32), RuntimeError, ""),
    ("3-D state", x[0], h, ValueError, ""),
    ("1-D state for a 2-D input", x[0], np.zeros(H, np.float32), RuntimeError, ""),
    ("2-D state for a 1-D input", x[0, 0], np.zeros((B, H), np.float32), RuntimeError, ""),
    ("state of another dtype", x[0], np.zeros((B, H)), RuntimeError, ""),
]


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell"])
@pytest.mark.parametrize(("what", "input", "hx", "error", "stricter"), CELL_CALLS, ids=label)
def test_wrong_call_of_a_cell(name: str, what: str, input: Any, hx: Any, error: type[Exception], stricter: str) -> None:
    ours, theirs = getattr(nn, name)(WIDTH, H, rng=0), getattr(torch.nn, name)(WIDTH, H)
    hx = None if hx is None else state(name, hx)
    assert error_of(lambda: ours(input, hx)) is error
    assert stricter or error_of(lambda: theirs(as_torch(input), as_torch(hx))) is error
    assert error_of(ours.backward) is RuntimeError, "a refused call leaves no tape"
    ours(x[0])


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell"])
def test_wrong_construction_of_a_cell(name: str) -> None:
    """Stricter than PyTorch, which lets most of these pass and fails at the call or computes nothing."""
    cell = getattr(nn, name)
    assert error_of(lambda: cell(0, H)) is ValueError
    assert error_of(lambda: cell(WIDTH, -1)) is ValueError
    assert error_of(lambda: cell(WIDTH, 1.5)) is TypeError
    assert error_of(lambda: cell(WIDTH, H, bias=1)) is TypeError
    assert error_of(lambda: nn.RNNCell(WIDTH, H, nonlinearity="sigmoid")) is ValueError


@pytest.mark.parametrize("name", ["RNN", "LSTM"])
def test_dropout_with_one_layer_warns(name: str) -> None:
    for library in (nn, torch.nn):
        with pytest.warns(UserWarning, match="dropout"):
            getattr(library, name)(WIDTH, H, dropout=0.5)


@pytest.mark.parametrize("name", ["RNN", "LSTM"])
def test_empty_batch_is_allowed(name: str) -> None:
    module = getattr(nn, name)(WIDTH, H, bidirectional=True, rng=0)
    output, _ = module(np.zeros((T, 0, WIDTH), np.float32))
    d_input, _ = module.backward(output)
    assert output.shape == (T, 0, 2 * H)
    assert d_input.shape == (T, 0, WIDTH)
    assert not module.weight_hh_l0.grad.any()

"""A refusal begins with the name of what it refuses."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scratch import nn, optim
from scratch.nn import utils
from scratch.nn.utils.rnn import PackedSequence, pack_sequence

REFUSALS = (TypeError, ValueError, RuntimeError)
NOTHING: Any = object()  # no argument is of this type

POSITIONAL: dict[Any, tuple[Any, ...]] = {
    nn.RNN: (3, 4),
    nn.LSTM: (3, 4),
    nn.RNNCell: (3, 4),
    nn.LSTMCell: (3, 4),
    nn.Linear: (3, 4),
    nn.Embedding: (3, 4),
    nn.Dropout: (),
    nn.CrossEntropyLoss: (),
    nn.MSELoss: (),
    **dict.fromkeys((optim.SGD, optim.Adagrad, optim.RMSprop, optim.Adam, optim.AdamW), ([nn.Parameter(np.ones(2))],)),
    utils.clip_grad_norm_: ([], 1.0),
    utils.clip_grad_value_: ([], 1.0),
    utils.rnn.pack_padded_sequence: (np.ones((3, 2)), [3, 2]),
    utils.rnn.pad_packed_sequence: (pack_sequence([np.ones(2)]),),
    utils.rnn.pack_sequence: ([np.ones(2)],),
    utils.rnn.pad_sequence: ([np.ones(2)],),
    utils.rnn.unpad_sequence: (np.ones((3, 2)), [3, 2]),
}
UNNAMED = {"rng", "sequence", "sequences"}
"""The first goes to NumPy as it is; the others are refused by what they should be."""

ARGUMENTS = [
    (function, name)
    for function in POSITIONAL
    for name in inspect.signature(function).parameters
    if name not in UNNAMED
]


@pytest.mark.parametrize(
    ("function", "name"), ARGUMENTS, ids=lambda value: value if isinstance(value, str) else value.__name__
)
def test_an_argument_of_another_type_is_refused_by_its_name(function: Callable[..., Any], name: str) -> None:
    arguments = dict(zip(inspect.signature(function).parameters, POSITIONAL[function], strict=False))
    with pytest.raises(REFUSALS, match=f"^expected {name} .*, got "):
        function(**arguments | {name: NOTHING})


x, h = np.ones((2, 1, 3), np.float32), np.ones((1, 1, 4), np.float32)
packed = pack_sequence([np.ones((2, 3), np.float32)])
state = {
    "RNN": ("RNN(3, 4)", x, h, ["h_0"], ["d_h_n"]),
    "LSTM": ("LSTM(3, 4)", x, (h, h), ["h_0", "c_0"], ["d_h_n", "d_c_n"]),
    "RNNCell": ("RNNCell(3, 4)", x[0], h[0], ["h"], ["d_h"]),
    "LSTMCell": ("LSTMCell(3, 4)", x[0], (h[0], h[0]), ["h", "c"], ["d_h", "d_c"]),
}
each_recurrence = pytest.mark.parametrize("name", ["RNN", "LSTM", "RNNCell", "LSTMCell"])


@each_recurrence
@pytest.mark.parametrize(
    "wrong",
    [NOTHING, np.ones(5, int), np.ones((7, 7), np.float32), np.ones((1, 1, 1, 4), np.float32)],
    ids=["type", "dtype", "shape", "rank"],
)
def test_each_part_of_a_state_is_refused_by_its_name(name: str, wrong: Any) -> None:
    _, x, h, parts, d_parts = state[name]
    module = getattr(nn, name)(3, 4)
    module(x)
    for index in range(len(parts)):
        spoilt = wrong if len(parts) == 1 else tuple(wrong if k == index else h[k] for k in range(len(parts)))
        with pytest.raises(REFUSALS, match=f"^expected {parts[index]} .*, got "):
            module(x, spoilt)
        with pytest.raises(REFUSALS, match=f"^expected {d_parts[index]} .*, got "):
            module.backward(*[None] * ("Cell" not in name), spoilt)
    if len(parts) > 1:
        for spoilt in (NOTHING, h[:1]):
            with pytest.raises(REFUSALS, match=r"^expected hx to be a tuple \(h, c\), got "):
                module(x, spoilt)
            with pytest.raises(REFUSALS, match=r"^expected d_state to be a tuple \(h, c\), got "):
                module.backward(*[None] * ("Cell" not in name), spoilt)


INPUTS: list[tuple[Callable[[], Any], Any, dict[str, list[Any]]]] = [
    (lambda: nn.RNN(3, 4), x, {"input": [NOTHING, x.astype(int), x[..., :2]], "d_output": [NOTHING, x, x[0]]}),
    (lambda: nn.LSTMCell(3, 4), x[0], {"input": [NOTHING, x[0].astype(int), x[0, :, :2], x]}),
    (lambda: nn.Linear(3, 4), x, {"input": [NOTHING, x.astype(int), x[..., :2]], "d_output": [NOTHING, x]}),
    (lambda: nn.Embedding(3, 4), x.astype(int), {"input": [NOTHING, x, 3 * x.astype(int)], "d_output": [NOTHING, x]}),
    (nn.Dropout, x, {"input": [NOTHING, x.astype(int)], "d_output": [NOTHING, x[0]]}),
]


@pytest.mark.parametrize(("make", "good", "wrong"), INPUTS, ids=["RNN", "LSTMCell", "Linear", "Embedding", "Dropout"])
def test_inputs_and_upstream_gradients_are_refused_by_their_names(
    make: Callable[[], Any], good: Any, wrong: dict[str, list[Any]]
) -> None:
    module = make()
    module(good)
    for name, values in wrong.items():
        for value in values:
            with pytest.raises((*REFUSALS, IndexError), match=f"^expected {name} .*, got "):
                (module if name == "input" else module.backward)(value)


def test_a_packed_upstream_gradient_is_refused_by_its_name() -> None:
    module = nn.RNN(3, 4)
    output, _ = module(packed)
    with pytest.raises(TypeError, match=r"^expected d_output to be a PackedSequence, .*, got ndarray$"):
        module.backward(x)
    with pytest.raises(RuntimeError, match=r"^expected d_output packed in the order of the input, got "):
        module.backward(PackedSequence(output.data, np.array([2])))
    with pytest.raises(RuntimeError, match=r"^expected d_output\.data of dtype float32, .*, got float64$"):
        module.backward(output._replace(data=output.data.astype(np.float64)))
    with pytest.raises(RuntimeError, match=r"^expected d_output\.data of shape \(2, 4\), got \(2, 3\)$"):
        module.backward(output._replace(data=output.data[:, 1:]))


def test_losses_refuse_by_name() -> None:
    X, y = np.ones((2, 3)), np.zeros(2, int)
    for criterion, target in ((nn.CrossEntropyLoss(), y), (nn.MSELoss(), X)):
        criterion(X, target)
        for arguments, name in (
            ((NOTHING, target), "prediction"),
            ((y, target), "prediction"),
            ((X, NOTHING), "target"),
        ):
            with pytest.raises((*REFUSALS, NotImplementedError), match=f"^expected {name} .*, got "):
                criterion(*arguments)
        for wrong in (NOTHING, X[0]):
            with pytest.raises(REFUSALS, match=r"^expected d_loss .*, got "):
                criterion.backward(wrong)


def test_parameters_refuse_by_name() -> None:
    with pytest.raises(TypeError, match=r"^expected data to be "):
        nn.Parameter(NOTHING)
    parameter = nn.Parameter(np.ones(2))
    for attribute in ("data", "grad"):
        for wrong in (NOTHING, np.ones(3), np.ones(2, np.float32)):
            with pytest.raises(REFUSALS, match=f"^expected {attribute} .*, got "):
                setattr(parameter, attribute, wrong)


def test_members_are_refused_by_name() -> None:
    for function in (utils.rnn.pack_sequence, utils.rnn.pad_sequence):
        with pytest.raises(TypeError, match=r"^expected every sequence to be a NumPy array, got object$"):
            function([np.ones(2), NOTHING])


def test_numbers_are_refused_with_their_limits() -> None:
    parameters = [nn.Parameter(np.ones(2))]
    with pytest.raises(ValueError, match=r"^expected betas\[1\] of at least 0 and below 1, got 1\.5$"):
        optim.Adam(parameters, betas=(0.5, 1.5))
    with pytest.raises(ValueError, match=r"^expected .* with nesterov, got momentum 0\.9, dampening 0\.1$"):
        optim.SGD(parameters, momentum=0.9, dampening=0.1, nesterov=True)


def test_one_of_two_betas_is_refused_by_its_place() -> None:
    for index in (0, 1):
        betas = tuple(NOTHING if k == index else 0.5 for k in range(2))
        with pytest.raises(TypeError, match=re.escape(f"expected betas[{index}] to be a number, got ")):
            optim.Adam([nn.Parameter(np.ones(2))], betas=betas)  # type: ignore[arg-type]


def test_a_state_dict_of_an_optimizer_is_refused_by_the_names_of_its_parts() -> None:
    optimizer = optim.Adagrad([nn.Parameter(np.ones(2))])
    saved, state = optimizer.state_dict(), {"step": 1.0, "sum": np.ones(2)}
    for spoilt, what in [
        (NOTHING, "state_dict to be a mapping"),
        (saved | {"param_groups": [NOTHING]}, "each parameter group to be a mapping"),
        (saved | {"state": NOTHING}, "state to be a mapping"),
        (saved | {"state": {0: NOTHING}}, "state 0 to be a mapping"),
        (saved | {"state": {0: state | {"step": 0.5}}}, "step of state 0 to be a whole number"),
        (saved | {"state": {0: state | {"sum": np.ones(3)}}}, "sum of state 0 of shape"),
    ]:
        with pytest.raises(REFUSALS, match=f"^expected {what}.*, got "):
            optimizer.load_state_dict(spoilt)


def test_a_gradient_that_does_not_fit_is_refused_by_an_optimizer_by_its_name() -> None:
    parameter = nn.Parameter(np.ones(2))
    parameter.grad = np.ones(2)
    parameter.grad.resize(3, refcheck=False)
    with pytest.raises(RuntimeError, match=r"^expected grad of shape \(2,\), got \(3,\)$"):
        optim.SGD([parameter]).step()


def test_a_key_that_is_missing_is_named_with_what_misses_it() -> None:
    optimizer = optim.SGD([nn.Parameter(np.ones(2))])
    saved, (group,) = optimizer.state_dict(), optimizer.state_dict()["param_groups"]
    without_params = {name: value for name, value in group.items() if name != "params"}
    for call, what in [
        (lambda: optimizer.load_state_dict({"state": {}}), "state_dict with the key 'param_groups', got 'state'"),
        (lambda: optimizer.load_state_dict({"param_groups": [group]}), "state_dict with the key 'state', got "),
        (
            lambda: optimizer.load_state_dict(saved | {"param_groups": [without_params]}),
            "each parameter group with the key 'params', got 'lr', 'weight_decay'",
        ),
        (lambda: optimizer.add_param_group({}), "param_group with the key 'params', got no key"),
    ]:
        with pytest.raises(KeyError, match=f"^.expected {what}"):
            call()

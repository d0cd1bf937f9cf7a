"""A refusal begins with the name of what it refuses."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scratch import nn, optim
from scratch.nn import utils
from scratch.nn.utils.rnn import pack_sequence

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

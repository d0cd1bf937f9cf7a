"""Every argument of every function and class is refused by its name. (All other refusals: reference/bad_calls.md)"""

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

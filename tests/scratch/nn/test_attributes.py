"""The arguments of a module are its attributes, named as in PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch

from scratch import nn

ARGUMENTS = [
    ("RNN", {"input_size": 3, "hidden_size": 4, "num_layers": 2, "nonlinearity": "relu", "dropout": 0.5}),
    ("RNN", {"input_size": 3, "hidden_size": 4, "bias": False, "batch_first": True, "bidirectional": True}),
    ("LSTM", {"input_size": 3, "hidden_size": 4, "num_layers": 2, "dropout": 0.5, "proj_size": 2}),
    ("LSTM", {"input_size": 3, "hidden_size": 4, "bias": False, "batch_first": True, "bidirectional": True}),
    ("GRU", {"input_size": 3, "hidden_size": 4, "num_layers": 2, "dropout": 0.5}),
    ("GRU", {"input_size": 3, "hidden_size": 4, "bias": False, "batch_first": True, "bidirectional": True}),
    ("RNNCell", {"input_size": 3, "hidden_size": 4, "nonlinearity": "relu"}),
    ("RNNCell", {"input_size": 3, "hidden_size": 4, "bias": False}),
    ("LSTMCell", {"input_size": 3, "hidden_size": 4}),
    ("LSTMCell", {"input_size": 3, "hidden_size": 4, "bias": False}),
    ("GRUCell", {"input_size": 3, "hidden_size": 4}),
    ("GRUCell", {"input_size": 3, "hidden_size": 4, "bias": False}),
    ("Linear", {"in_features": 3, "out_features": 4}),
    ("Embedding", {"num_embeddings": 3, "embedding_dim": 4, "padding_idx": -1}),
    ("Dropout", {"p": 0.25}),
    ("CrossEntropyLoss", {"ignore_index": 7, "reduction": "sum", "label_smoothing": 0.1}),
    ("MSELoss", {"reduction": "none"}),
]
DEFAULTS = {
    "num_layers": 1,
    "nonlinearity": "tanh",
    "bias": True,
    "batch_first": False,
    "dropout": 0.0,
    "bidirectional": False,
}
SEEDED = [
    ("RNNCell", (3, 4)),
    ("LSTMCell", (3, 4)),
    ("GRUCell", (3, 4)),
    ("RNN", (3, 4)),
    ("LSTM", (3, 4)),
    ("GRU", (3, 4)),
    ("Linear", (3, 4)),
    ("Embedding", (3, 4)),
]


@pytest.mark.parametrize(("name", "arguments"), ARGUMENTS)
def test_arguments_are_attributes_as_in_pytorch(name: str, arguments: dict[str, Any]) -> None:
    ours, theirs = (getattr(library, name)(**arguments) for library in (nn, torch.nn))
    for attribute in (DEFAULTS | arguments).keys() & vars(theirs).keys() - {"bias" if name == "Linear" else ""}:
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
        assert type(getattr(ours, attribute)) is type(getattr(theirs, attribute)), attribute


@pytest.mark.parametrize(("name", "sizes"), SEEDED)
def test_a_seed_decides_the_parameters_and_a_generator_goes_on(name: str, sizes: tuple[int, int]) -> None:
    def drawn(rng: Any) -> np.ndarray:
        return np.concatenate([each.data.ravel() for each in getattr(nn, name)(*sizes, rng=rng).parameters()])

    generator = np.random.default_rng(7)
    assert np.array_equal(drawn(7), drawn(7))
    assert np.array_equal(drawn(7), drawn(generator))
    assert not np.array_equal(drawn(7), drawn(generator))
    assert not np.array_equal(drawn(None), drawn(None))

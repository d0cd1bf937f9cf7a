"""The trace of a text says what the textbook says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.equivalence import assert_close
from scratch import nn
from scratch.nn.recurrent import Recurrent
from scratch.study import trace_text
from scratch.study.equations import blocks
from scratch.text import CharacterModel
from scratch.text.settings import CELLS
from scratch.textbook import gru as gru_page
from scratch.textbook import lstm as lstm_page
from scratch.textbook import rnn as rnn_page
from scratch.types import Array
from tests.scratch.nn.test_new_cell import mgu
from tests.scratch.textbook.equations import named

OTHERS: dict[str, Any] = {
    "RNN relu": lambda *sizes, **options: nn.RNN(*sizes, "relu", batch_first=True, **options),
    "MGU": lambda *sizes, **options: mgu.MGU(*sizes, batch_first=True, **options),
}
"""What a character model does not have by itself. In an MGU h_prev also acts directly and a gate's halves are apart."""


def character_model(
    kind: str, vocabulary_size: int, hidden_size: int, num_layers: int = 1, embedding_size: int = 0, rng: Any = 0
) -> CharacterModel:
    """With random parameters.

    No pre-activation is beyond ±4.5, where 1 − tanh² still has all but three of its digits.
    """
    rng = np.random.default_rng(rng)
    sizes = vocabulary_size, hidden_size, num_layers, embedding_size
    model = CharacterModel("RNN" if kind in OTHERS else kind, *sizes, dtype=np.float64, rng=rng)
    if kind in OTHERS:
        model.rnn = OTHERS[kind](model.rnn.input_size, hidden_size, num_layers, dtype=np.float64, rng=rng)
    for parameter in model.parameters():
        parameter.data = rng.uniform(-0.5, 0.5, parameter.shape)
    return model


@st.composite
def problems(draw: st.DrawFn) -> tuple[CharacterModel, Array]:
    """A model with random parameters and a random text."""
    seed, V = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 6))
    rng = np.random.default_rng(seed)
    sizes = draw(st.integers(1, 6)), draw(st.integers(1, 3)), draw(st.sampled_from([0, 3]))
    model = character_model(draw(st.sampled_from((*CELLS, *OTHERS))), V, *sizes, rng)
    return model, rng.integers(0, V, draw(st.integers(2, 9)))


def by_the_textbook(model: CharacterModel, x: Array, d_output: Array) -> list[dict[str, Array]]:
    """For each layer everything at each step that has a name in the textbook's file. x: (T, I), d_output: (T, H)."""
    rnn, weights = model.rnn, model.rnn.state_dict()
    page = {nn.RNN: rnn_page, nn.LSTM: lstm_page, nn.GRU: gru_page}[type(rnn)]
    options = {"nonlinearity": rnn.nonlinearity} if type(rnn) is nn.RNN else {}
    x, d_output, zeros, runs, layers = x[:, None], d_output[:, None], np.zeros((1, rnn.hidden_size)), [], []
    zero = (zeros,) * len(rnn.cell.state) if len(rnn.cell.state) > 1 else zeros
    for k in range(rnn.num_layers):
        parameters = {name[:-3]: value for name, value in weights.items() if name.endswith(f"_l{k}")}
        (x, _, tape), made = named([page.step], page.forward, x, zero, parameters, **options)
        runs.append((tape, made))
    for tape, made in reversed(runs):
        (d_output, _, d), undone = named([page.step_backward], page.backward, d_output, zero, tape)
        steps = [step | back for step, back in zip(made, undone[::-1], strict=True)]
        names = [name for name, value in steps[0].items() if isinstance(value, np.ndarray) and name not in ("x", "d_x")]
        values = {name: np.concatenate([step[name] for step in steps]) for name in names}
        layers.insert(0, values | {"d_x": d_output[:, 0], "d_W_hh": d["weight_hh"]})
    return layers


@given(problems())
def test_everything_is_what_the_textbook_computes(problem: tuple[CharacterModel, Array]) -> None:
    """Or where it has no such cell, what the module's own pass does; what is said of the steps holds in any case."""
    model, indices = problem
    found, state = trace_text(model, indices), model.rnn.cell.state
    (logits,), T, criterion = model(indices[None, :-1])[0], len(indices) - 1, nn.CrossEntropyLoss()
    loss, d_logits = criterion(logits, indices[1:]), criterion.backward()
    model.backward(d_logits[None])
    p = T * d_logits + np.eye(logits.shape[1])[indices[1:]]
    ours = {
        "logits": found.logits,
        "loss": found.loss,
        "d": found.d_logits,
        "p": found.probabilities,
        "ℓ": found.losses,
    }
    theirs = {"logits": logits, "loss": loss, "d": d_logits, "p": p, "ℓ": -np.log(p[np.arange(T), indices[1:]])}
    assert_close({name: np.array(value) for name, value in ours.items()}, {n: np.array(v) for n, v in theirs.items()})
    is_in_textbook = not isinstance(model.rnn, mgu.MGU)
    by_name = by_the_textbook(model, found.layers[0].x, d_logits @ model.fc.weight.data) if is_in_textbook else []
    for k, layer in enumerate(found.layers):
        growing, values = layer.d_W_hh(), layer.values
        assert_close({"of some": layer.d_W_hh(slice(1, 3))}, {"of some": growing[:, :, 1:3, 1:3]})
        whole = getattr(model.rnn, f"weight_hh_l{k}").grad
        assert_close({"d_W_hh": growing[0].reshape(whole.shape)}, {"d_W_hh": whole})
        if by_name:
            ours = values | {"d_x": layer.d_x, "d_W_hh": growing[0].reshape(whole.shape)}
            names = ours.keys() & by_name[k].keys()
            assert names >= {"d_x", "d_W_hh", *state, *(f"d_{block}" for block in blocks(layer.cell)[:1])}
            assert_close({name: ours[name] for name in names}, {name: by_name[k][name] for name in names})
        for gate in layer.cell.summed:
            suffix = "" if len(layer.cell.gates) == 1 else f"_{gate}"
            sums = values[f"from_input{suffix}"] + values[f"from_state{suffix}"]
            assert_close({"a": sums}, {"a": values[f"a{suffix}"]})
        for name in state:
            assert np.array_equal(values[f"{name}_prev"][1:], values[name][:-1]) and not values[f"{name}_prev"][0].any()
            after = values[f"d_{name}_after"]
            assert np.array_equal(after[:-1], values[f"d_{name}_prev"][1:]) and not after[-1].any()
        assert_close({"d_h": values["d_output"] + values["d_h_after"]}, {"d_h": values["d_h"]})


def test_the_model_is_only_read() -> None:
    model = CharacterModel("LSTM", 4, 3, 2, dropout=0.5, rng=0)
    indices = np.array([0, 1, 2, 3, 2])
    logits, _ = model.eval()(indices[None, :-1])
    before = {name: value.copy() for name, value in model.train().state_dict().items()}
    found = trace_text(model, indices)
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())
    assert_close({"logits": found.logits}, {"logits": logits[0]}, 1e-6)  # nothing is dropped; both in float32
    model.backward(np.ones_like(logits))  # its tape is still there


def without_equations() -> Recurrent[Array]:
    module = mgu.MGU(4, 3, dtype=np.float32, rng=0)
    module.cell = module.cell._replace(equations=None)
    return module


@pytest.mark.parametrize(
    ("rnn", "length", "message"),
    [
        (nn.LSTM(4, 3, bidirectional=True), 3, "one direction"),
        (nn.LSTM(4, 3, proj_size=2), 3, "without a projection"),
        (nn.Linear(4, 3), 3, "a recurrence"),
        (without_equations(), 3, "a cell with equations"),
        (nn.LSTM(4, 3), 0, "at least 2"),
        (nn.LSTM(4, 3), 1, "at least 2"),
    ],
)
def test_what_cannot_be_traced_is_refused(rnn: nn.Module, length: int, message: str) -> None:
    model = CharacterModel("LSTM", 4, 3)
    model.rnn = rnn
    with pytest.raises(ValueError, match=message):
        trace_text(model, np.arange(length))

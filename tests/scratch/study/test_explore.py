"""The trace of a text says what PyTorch says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.equivalence import assert_close
from scratch import nn
from scratch.nn.recurrent import Recurrent
from scratch.study import trace_text
from scratch.study.equations import blocks
from scratch.text import CharacterModel
from scratch.text.settings import CELLS
from scratch.types import Array
from tests.scratch.nn.test_new_cell import mgu

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


def torch_step(kind: str, from_input: Any, from_state: Any, h: Any, c: Any) -> tuple[list[Any], dict[str, Any]]:
    """One step, written from the equations and not with torch.nn: the blocks of a, and what comes of them."""
    a = [part.clone() for part in from_input + from_state]
    if kind == "MGU":
        a = [a[0], from_state[1].clone(), from_input[1].clone()]
        f = torch.sigmoid(a[0])
        n = torch.tanh(a[2] + f * a[1])
        return a, {"f": f, "n": n, "h": (1 - f) * h + f * n}
    if kind == "GRU":
        a = [a[0], a[1], from_state[2].clone(), from_input[2].clone()]
        r, z = torch.sigmoid(a[0]), torch.sigmoid(a[1])
        n = torch.tanh(a[3] + r * a[2])
        return a, {"r": r, "z": z, "n": n, "h": (1 - z) * n + z * h}
    if kind == "LSTM":
        (i, f, o), g = (torch.sigmoid(a[n]) for n in (0, 1, 3)), torch.tanh(a[2])
        c = f * c + i * g
        return a, {"i": i, "f": f, "g": g, "o": o, "c": c, "h": o * torch.tanh(c), "tanh_c": torch.tanh(c)}
    return a, {"h": torch.relu(a[0]) if kind == "RNN relu" else torch.tanh(a[0])}


def by_pytorch(model: CharacterModel, indices: Array) -> tuple[list[dict[str, Array]], dict[str, Array]]:
    """By autograd: for each layer everything at each step, and what belongs to no layer."""
    weights = {name: torch.tensor(value, requires_grad=True) for name, value in model.rnn.state_dict().items()}
    embedded = isinstance(model.embed, nn.Embedding)
    table = torch.tensor(model.embed.weight.data) if embedded else torch.eye(model.rnn.input_size, dtype=torch.float64)
    read, taken = table[indices[:-1]].requires_grad_(), []
    x = list(read)
    H, names = model.rnn.hidden_size, blocks(model.rnn.cell)
    kind = "RNN relu" if getattr(model.rnn, "nonlinearity", "") == "relu" else type(model.rnn).__name__
    of_gradients = (*names, *model.rnn.cell.state)
    first = torch.zeros(2, model.rnn.num_layers, H, dtype=torch.float64, requires_grad=True)
    for k in range(model.rnn.num_layers):
        W_ih, W_hh, b_ih, b_hh = (weights[f"{name}_l{k}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        steps: list[dict[str, torch.Tensor]] = []
        h, c = first[:, k]
        for x_t in x:
            from_input, from_state = (W_ih @ x_t + b_ih).view(-1, H), (W_hh @ h + b_hh).view(-1, H)
            a, made = torch_step(kind, from_input, from_state, h, c)
            h, c = made["h"], made.get("c", c)
            steps.append(dict(zip(names, a, strict=True)) | made)
            for name in of_gradients:
                steps[-1][name].retain_grad()
        taken.append(steps)
        x = [each["h"] for each in steps]
    logits = torch.stack(x) @ torch.tensor(model.fc.weight.data).T + torch.tensor(model.fc.bias.data)
    logits.retain_grad()
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(indices[1:]))
    loss.backward()
    whole = {"logits": logits.detach(), "d_logits": logits.grad, "loss": loss.detach(), "d_x": read.grad}
    whole["d_initial"] = first.grad[: len(model.rnn.cell.state)]
    return [
        {name: torch.stack([each[name].detach() for each in steps]).numpy() for name in steps[0]}
        | {f"d_{name}": torch.stack([each[name].grad for each in steps]).numpy() for name in of_gradients}
        | {"d_W_hh": weights[f"weight_hh_l{k}"].grad.numpy()}
        for k, steps in enumerate(taken)
    ], {name: value.numpy() for name, value in whole.items()}


@given(problems())
def test_everything_is_what_autograd_says(problem: tuple[CharacterModel, Array]) -> None:
    model, indices = problem
    found, (layers, whole) = trace_text(model, indices), by_pytorch(model, indices)
    ours = {
        "logits": found.logits,
        "d_logits": found.d_logits,
        "loss": np.array(found.loss),
        "d_x": found.layers[0].d_x,
    }
    state = model.rnn.cell.state
    ours["d_initial"] = np.array([[layer.values[f"d_{name}_prev"][0] for layer in found.layers] for name in state])
    assert_close(ours, whole)
    for layer, truth in zip(found.layers, layers, strict=True):
        growing = layer.d_W_hh()
        values = layer.values | {"d_W_hh": growing[0].reshape(truth["d_W_hh"].shape)}
        assert_close({name: values[name] for name in truth}, truth)
        assert_close({"of some": layer.d_W_hh(slice(1, 3))}, {"of some": growing[:, :, 1:3, 1:3]})
        for gate in layer.cell.summed:
            suffix = "" if len(layer.cell.gates) == 1 else f"_{gate}"
            assert_close(
                {"a": values[f"from_input{suffix}"] + values[f"from_state{suffix}"]}, {"a": values[f"a{suffix}"]}
            )
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

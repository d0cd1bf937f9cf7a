"""The trace says what the module and PyTorch say; the page, in a real browser, says what the trace says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from hypothesis import given
from hypothesis import strategies as st

from reference.equivalence import assert_close
from scratch import nn, terminal
from scratch.nn.recurrent import Recurrent
from scratch.study import TextTrace, page, trace_text
from scratch.study.equations import blocks
from scratch.study.explore import (
    MOST_NUMBERS,
    SHOWN_UNITS,
    Shown,
    largest,
    numbers_of,
    rounded,
    rows,
    scales_of,
    units_on_page,
    with_article,
)
from scratch.study.explore_command import CELLS, LONGEST, MOST_CHECKPOINTS, explore, trained
from scratch.text import CharacterModel, Settings, Training, Vocabulary, write
from scratch.types import Array
from tests.scratch.nn.test_new_cell import mgu

TEXT = "hello world"


def relu_rnn(input_size: int, hidden_size: int, num_layers: int, **options: Any) -> nn.RNN:
    return nn.RNN(input_size, hidden_size, num_layers, "relu", batch_first=True, **options)


def mgu_rnn(input_size: int, hidden_size: int, num_layers: int, **options: Any) -> Recurrent[Array]:
    """The cell of adding_a_cell.md, in which h_prev acts on h directly and a gate has its halves apart."""
    found: Recurrent[Array] = mgu.MGU(input_size, hidden_size, num_layers, batch_first=True, **options)
    return found


def without_equations() -> Recurrent[Array]:
    module = mgu_rnn(4, 3, 1, dtype=np.float32, rng=0)
    module.cell = module.cell._replace(equations=None)
    return module


OTHERS: dict[str, Callable[..., Recurrent[Any]]] = {"RNN relu": relu_rnn, "MGU": mgu_rnn}
"""What a character model does not have by itself."""


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
def problems(draw: st.DrawFn, kinds: tuple[str, ...] = (*CELLS, *OTHERS)) -> tuple[CharacterModel, Array]:
    """A model with random parameters and a random text."""
    seed, V = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 6))
    rng = np.random.default_rng(seed)
    sizes = draw(st.integers(1, 6)), draw(st.integers(1, 3)), draw(st.sampled_from([0, 3]))
    model = character_model(draw(st.sampled_from(kinds)), V, *sizes, rng)
    return model, rng.integers(0, V, draw(st.integers(2, 9)))


@given(problems())
def test_trace_is_what_the_module_computes(problem: tuple[CharacterModel, Array]) -> None:
    model, indices = problem
    found = trace_text(model, indices)
    criterion = nn.CrossEntropyLoss()
    logits, final = model(indices[None, :-1])
    loss = criterion(logits.swapaxes(1, 2), indices[None, 1:])
    d_initial = model.backward(criterion.backward().swapaxes(1, 2))

    last = np.stack([np.stack([part[-1] for part in layer.state.values()]) for layer in found.layers], axis=1)
    first = np.stack([np.stack([d[0] for d in layer.d_state_prev.values()]) for layer in found.layers], axis=1)
    ours = {"logits": found.logits, "loss": np.array(found.loss), "final": last, "d_initial": first}
    theirs = {
        "logits": logits[0],
        "loss": np.array(loss),
        "final": np.stack(final)[:, :, 0] if isinstance(final, tuple) else final[None, :, 0],
        "d_initial": np.stack(d_initial)[:, :, 0] if isinstance(d_initial, tuple) else d_initial[None, :, 0],
    }
    for k, layer in enumerate(found.layers):
        names = [f"{name}_l{k}" for name in ("weight_hh", "weight_ih", "bias_ih", "bias_hh")]
        halves = layer.cell.halves(layer.d_a.swapaxes(0, 1))
        of_input, of_state = (half.swapaxes(0, 1).reshape(len(layer.d_a), -1) for half in halves)  # T, G·H
        growing = layer.d_W_hh()
        d_W_hh, d_W_ih = growing[0].reshape(of_state.shape[1], -1), of_input.T @ layer.x
        sums = [d_W_hh, d_W_ih, of_input.sum(axis=0), of_state.sum(axis=0)]
        ours |= dict(zip(names, sums, strict=True))
        theirs |= {name: getattr(model.rnn, name).grad for name in names}
        assert_close({"d_W_hh of some": layer.d_W_hh(slice(1, 3))}, {"d_W_hh of some": growing[:, :, 1:3, 1:3]})
    if isinstance(model.embed, nn.Embedding):
        ours["embed"] = np.zeros_like(model.embed.weight.data)
        np.add.at(ours["embed"], indices[:-1], found.layers[0].d_x)
        theirs["embed"] = model.embed.weight.grad
    assert_close(ours, theirs)


def by_pytorch(model: CharacterModel, indices: Array) -> list[dict[str, Array]]:
    """For each layer everything at each step, by autograd: written from the equations, not with torch.nn.LSTM."""
    weights = {name: torch.tensor(value, requires_grad=True) for name, value in model.rnn.state_dict().items()}
    embedded = isinstance(model.embed, nn.Embedding)
    table = torch.tensor(model.embed.weight.data) if embedded else torch.eye(model.rnn.input_size, dtype=torch.float64)
    x, taken = list(table[indices[:-1]]), []
    H, names = model.rnn.hidden_size, blocks(model.rnn.cell)
    kind = "RNN relu" if getattr(model.rnn, "nonlinearity", "") == "relu" else type(model.rnn).__name__
    for k in range(model.rnn.num_layers):
        W_ih, W_hh, b_ih, b_hh = (weights[f"{name}_l{k}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        steps: list[dict[str, torch.Tensor]] = []
        h = c = torch.zeros(H, dtype=torch.float64)
        for x_t in x:
            from_input, from_state = (W_ih @ x_t + b_ih).view(-1, H), (W_hh @ h + b_hh).view(-1, H)
            if kind == "MGU":
                a = [from_input[0] + from_state[0], from_state[1].clone(), from_input[1].clone()]
                f = torch.sigmoid(a[0])
                n = torch.tanh(a[2] + f * a[1])
                h = (1 - f) * h + f * n
                made = {"f": f, "n": n, "h": h}
            elif kind == "GRU":
                a = [
                    *(part.clone() for part in (from_input + from_state)[:2]),
                    from_state[2].clone(),
                    from_input[2].clone(),
                ]
                r, z = torch.sigmoid(a[0]), torch.sigmoid(a[1])
                n = torch.tanh(a[3] + r * a[2])
                h = (1 - z) * n + z * h
                made = {"r": r, "z": z, "n": n, "h": h}
            else:
                a = [part.clone() for part in from_input + from_state]
                if kind == "LSTM":
                    (i, f, o), g = (torch.sigmoid(a[n]) for n in (0, 1, 3)), torch.tanh(a[2])
                    c = f * c + i * g
                    h = o * torch.tanh(c)
                    made = {"i": i, "f": f, "g": g, "o": o, "c": c, "h": h, "tanh_c": torch.tanh(c)}
                else:
                    h = torch.relu(a[0]) if kind == "RNN relu" else torch.tanh(a[0])
                    made = {"h": h}
            steps.append(dict(zip(names, a, strict=True)) | made)
        taken.append(steps)
        x = [each["h"] for each in steps]
    logits = torch.stack(x) @ torch.tensor(model.fc.weight.data).T + torch.tensor(model.fc.bias.data)
    of_gradients = (*names, *model.rnn.cell.state)
    for steps in taken:
        for each in steps:
            for name in of_gradients:
                each[name].retain_grad()
    torch.nn.functional.cross_entropy(logits, torch.tensor(indices[1:])).backward()
    return [
        {name: torch.stack([each[name].detach() for each in steps]).numpy() for name in steps[0]}
        | {f"d_{name}": torch.stack([each[name].grad for each in steps]).numpy() for name in of_gradients}
        | {"d_W_hh": weights[f"weight_hh_l{k}"].grad.numpy()}
        for k, steps in enumerate(taken)
    ]


@given(problems())
def test_every_step_is_what_autograd_says(problem: tuple[CharacterModel, Array]) -> None:
    model, indices = problem
    for layer, truth in zip(trace_text(model, indices).layers, by_pytorch(model, indices), strict=True):
        values = layer.values | {"d_W_hh": layer.d_W_hh()[0].reshape(truth["d_W_hh"].shape)}
        assert_close({name: values[name] for name in truth}, truth)
        shown = {name: layer.a[:, n] for n, name in enumerate(blocks(layer.cell))}
        shown |= {f"d_{name}": layer.d_a[:, n] for n, name in enumerate(blocks(layer.cell))}
        shown |= {name: part[1:] for name, part in layer.state.items()}
        shown |= {f"{name}_prev": part[:-1] for name, part in layer.state.items()}
        shown |= {f"d_{name}": part for name, part in layer.d_state.items()}
        shown |= {f"d_{name}_prev": part for name, part in layer.d_state_prev.items()}
        for name, array in shown.items():
            assert np.array_equal(layer.values[name], array), name
        summed = len(layer.cell.gates) - layer.cell.apart
        assert_close(
            {"a": layer.a[:, :summed], "apart": layer.a[:, summed:]},
            {
                "a": (layer.from_input + layer.from_state)[:, :summed],
                "apart": np.concatenate([layer.from_state[:, summed:], layer.from_input[:, summed:]], axis=1),
            },
        )
        for name in layer.state:
            after = layer.d_state_after(name)
            assert np.array_equal(after[:-1], layer.d_state_prev[name][1:]) and not after[-1].any()


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


@pytest.mark.parametrize("length", [0, 1])
def test_too_few_characters_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        trace_text(CharacterModel("RNN", 4, 3), np.zeros(length, int))


@pytest.mark.parametrize(
    ("rnn", "message"),
    [
        (nn.LSTM(4, 3, bidirectional=True), "one direction"),
        (nn.LSTM(4, 3, proj_size=2), "without a projection"),
        (nn.Linear(4, 3), "a recurrence"),
        (without_equations(), "a cell with equations"),
    ],
)
def test_another_recurrence_is_refused(rnn: nn.Module, message: str) -> None:
    model = CharacterModel("LSTM", 4, 3)
    model.rnn = rnn
    with pytest.raises(ValueError, match=message):
        trace_text(model, np.array([0, 1, 2]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("RNN", "an RNN"), ("LSTM", "an LSTM"), ("GRU", "a GRU"), ("MGU", "an MGU"), ("Elman", "an Elman")],
)
def test_article(name: str, expected: str) -> None:
    assert with_article(name) == expected


def test_numbers_that_are_not_finite_are_refused() -> None:
    model = CharacterModel("LSTM", 2, 3, rng=0)
    model.fc.weight.data[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        page("abab", [Shown(model, "ab", "broken")])


@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_rounding_keeps_six_digits(x: float) -> None:
    (once,) = rounded(np.array([x]))
    assert abs(once - x) <= 5.1e-6 * abs(x)
    assert float(f"{once:.6g}") == once


@given(st.floats(1e-100, 1e100))
def test_a_scale_holds_every_number(x: float) -> None:
    assert x * (1 - 1e-12) <= largest(np.array([-x, x / 3])) <= 1.11 * x


def embedded(content: str) -> dict[str, Any]:
    """The numbers in a page."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', content, flags=re.DOTALL)
    data: dict[str, Any] = json.loads(found)
    return data


def test_the_page_holds_the_numbers_of_the_trace() -> None:
    text = "</script><!--&amp;\u2028 é𝒳\"'"
    vocabulary = Vocabulary.of(text)
    model = CharacterModel("LSTM", len(vocabulary), 20, 2, dtype=np.float64, rng=0)
    data = embedded(page(text, [Shown(model, vocabulary.characters, "<b>&")]))
    found, (shown,) = trace_text(model, vocabulary.encode(text)), data["models"]
    assert data["text"] == text and shown["origin"] == "<b>&"
    for layer, numbers in zip(found.layers, shown["layers"], strict=True):
        pairs = {name: (numbers["values"][name], value) for name, value in numbers_of(layer).items()}
        groups = [slice(0, 16), slice(16, 20)]
        for n, group in enumerate(groups):
            pairs[f"d_W_hh, units {group}"] = ([step[n] for step in numbers["d_W_hh"]], layer.d_W_hh(group))
        ours, theirs = ({name: np.array(pair[n]) for name, pair in pairs.items()} for n in (0, 1))
        assert_close(ours, theirs, 1e-5)  # six digits


@pytest.mark.parametrize(("hidden_size", "length", "layers"), [(256, 10, 1), (256, 99, 2), (20, 99, 1), (8, 99, 40)])
def test_a_large_model_is_shown_in_part(hidden_size: int, length: int, layers: int) -> None:
    model = CharacterModel("LSTM", 3, hidden_size, layers, rng=0)
    found = trace_text(model, np.arange(length + 1) % 3)
    units = units_on_page(found)
    assert units == hidden_size or units % SHOWN_UNITS == 0
    assert min(hidden_size, SHOWN_UNITS) <= units <= hidden_size
    numbers = layers * length * units * (4 * SHOWN_UNITS + len(numbers_of(found.layers[0])))
    assert numbers <= MOST_NUMBERS or units <= SHOWN_UNITS
    assert (hidden_size, length) != (256, 10) or units == 256


def test_rows_are_those_of_time_and_of_the_cell() -> None:
    forward, backward = rows(mgu.CELL)
    sums = "Σⱼ W_hh[n {unit}, j] · h_prev[j] + b_hh[n {unit}]", "Σⱼ W_ih[n {unit}, j] · x[j] + b_ih[n {unit}]"
    assert forward[:3] == [
        ("T1", "a_f", "a_f = W_ih x + b + W_hh h_prev", "from_input_f + from_state_f"),
        ("T1", "a_n_h", "a_n_h = W_hh h_prev + b_hh", sums[0]),
        ("T1", "a_n_x", "a_n_x = W_ih x + b_ih", sums[1]),
    ]
    direct = "d_h_prev = W_hhᵀ d_a + d_h_direct", "Σⱼ W_hh[j, {unit}] · d_a[j] + d_h_direct"
    assert backward[0] == ("", "d_h", "d_h = d_output + d_h_after", "d_output + d_h_after")
    assert backward[-1] == ("T1", "d_h_prev", *direct)
    equations = mgu.CELL.equations
    assert equations is not None
    assert [(row.number, row.text) for row in (*forward[3:], *backward[1:-1])] == [
        *equations.forward,
        *equations.backward,
    ]

    forward, backward = rows(nn.LSTM(2, 3).cell)
    assert forward[0] == ("T1", "a_i", "a_i = W_ih x + b + W_hh h_prev", "from_input_i + from_state_i")
    assert forward[-1].numbers == "o ⊙ tanh(c)"
    assert backward[1].numbers == "d_h ⊙ tanh_c ⊙ o ⊙ (1 − o)"  # which is known since forward
    assert backward[-1] == ("T1", "d_h_prev", "d_h_prev = W_hhᵀ d_a", "Σⱼ W_hh[j, {unit}] · d_a[j]")

    forward, backward = rows(nn.RNN(2, 3).cell)
    assert forward == [
        ("T1", "a", "a = W_ih x + b + W_hh h_prev", "from_input + from_state"),
        ("1", "h", "h = tanh(a)", "tanh(a)"),
    ]


@pytest.mark.parametrize(
    ("kind", "bounded", "others", "legend"),
    [
        ("RNN", (), ("h",), (["a", "h"], ["d_h", "d_a"])),
        ("LSTM", ("i", "f", "g", "o"), ("c",), (["a", "i, f, g, o", "c", "h"], ["d_h, d_c", "d_a of i, f, g, o"])),
        ("RNN relu", (), ("h",), (["a", "h"], ["d_h", "d_a"])),
        ("MGU", ("f", "n"), (), (["a", "f, n", "h"], ["d_h", "d_a of f, n_h, n_x"])),
    ],
)
def test_scales_of_colours(kind: str, bounded: tuple[str, ...], others: tuple[str, ...], legend: Any) -> None:
    model = character_model(kind, 5, 6, rng=1)
    model.rnn.weight_ih_l0.data *= 9  # beyond 1, where a cell goes there
    (layer,) = trace_text(model, np.arange(10) % 5).layers
    scales, said = scales_of(layer)
    names, (forward, backward) = blocks(layer.cell), rows(layer.cell)
    assert scales.keys() >= {row.name for row in (*forward, *backward)}
    assert {scales[name] for name in names} == {largest(layer.a)}
    assert all(scales[name] == 1 for name in bounded)
    assert all(scales[name] == max(largest(layer.values[name]), name == "h") for name in others)
    assert scales["h"] == max(1, largest(layer.values["h"]))
    assert all(scales[f"d_{name}"] == largest(layer.values[f"d_{name}"]) for name in names)
    rest = {row.name for row in backward} - {f"d_{name}" for name in names}
    assert {scales[name] for name in rest} == {largest(*(layer.values[name] for name in rest))}
    assert tuple([label for label, _ in said[phase]] for phase in ("forward", "backward")) == legend
    assert said["backward"][1][1] == [scales[f"d_{name}"] for name in names]


# The command


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command. Returns exit status, standard output and standard error."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(explore)
    status = terminal.run(lambda: app(arguments, standalone_mode=False), "scratch")
    return status, *capsys.readouterr()


def checkpoint(path: Path, cell: str, layers: int = 1) -> Path:
    """What `train` writes, after a step."""
    training = Training(Settings(cell=cell, hidden_size=5, num_layers=layers, length=8, batch_size=2), TEXT * 9)
    training.advance()
    write(path, training.checkpoint())
    return path


@pytest.mark.parametrize("text", [TEXT, "ab", "aa", "äö€\n\t𝒳", "x" * LONGEST])
def test_command_writes_the_page(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str) -> None:
    out = tmp_path / "page.html"
    status, printed, error = run(capsys, "--string", text, "--out", str(out))
    assert (status, error) == (0, "")
    assert "RNN: trained on this text" in printed and str(out) in printed
    data = embedded(out.read_text(encoding="utf-8"))
    assert data["text"] == text
    assert [model["cell"] for model in data["models"]] == list(CELLS)
    for model in data["models"]:
        assert len(model["losses"]) == len(text) - 1
        assert model["loss"] <= np.log(len(set(text)))  # better than a guess


def test_the_same_seed_gives_the_same_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pages = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert run(capsys, "--string", "abba", "--seed", seed, "--out", str(tmp_path / name))[0] == 0
        pages.append((tmp_path / name).read_text(encoding="utf-8"))
    assert pages[0] == pages[1] != pages[2]


def test_checkpoints_are_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lstm, rnn = checkpoint(tmp_path / "l", "LSTM", 2), checkpoint(tmp_path / "r", "RNN")
    out = tmp_path / "page.html"
    arguments = ("--string", "hold", "--out", str(out), "--checkpoint", str(lstm))
    assert run(capsys, *arguments)[0] == 0
    (shown,) = embedded(out.read_text(encoding="utf-8"))["models"]
    assert (shown["cell"], len(shown["layers"]), shown["hidden_size"]) == ("LSTM", 2, 5)
    assert run(capsys, *arguments, "--checkpoint", str(rnn))[0] == 0
    assert [model["cell"] for model in embedded(out.read_text(encoding="utf-8"))["models"]] == ["LSTM", "RNN"]
    status, _, error = run(capsys, *arguments, *(f"--checkpoint={rnn}" for _ in range(MOST_CHECKPOINTS)))
    assert (status, error.count("\n")) == (2, 1) and f"at most {MOST_CHECKPOINTS}" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--string", ""), "2 to 100 characters, got 0"),
        (("--string", "a"), "2 to 100 characters, got 1"),
        (("--string", "a" * (LONGEST + 1)), "got 101"),
        (("--string", "a\udcff"), "Unicode"),
        (("--string", "hex", "--checkpoint", "{good}"), "got 'x'"),
        (("--string", "hello", "--checkpoint", "{damaged}"), "damaged"),
        (("--string", "hello", "--checkpoint", "{short}"), "expected a safetensors file"),
        (("--string", "hello", "--checkpoint", "{none}"), "cannot read"),
        (("--string", "hello", "--checkpoint", "{folder}"), "got a folder"),
        (("--out", "{folder}"), "it is a folder"),
        (("--out", "{folder}/no/such/page.html"), "no folder"),
        (("--hidden-size", "0"), "hidden-size"),
        (("--seed", "-1"), "seed"),
        (("superfluous",), "superfluous"),
    ],
)
def test_command_refuses_bad_input(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    good = checkpoint(tmp_path / "good", "RNN")
    content = bytearray(good.read_bytes())
    (tmp_path / "short").write_bytes(content[:100])
    content[-1] ^= 1
    (tmp_path / "damaged").write_bytes(content)
    paths = {name: str(tmp_path / name) for name in ("good", "damaged", "short", "none")} | {"folder": str(tmp_path)}
    out = tmp_path / "page.html"
    status, printed, error = run(capsys, "--out", str(out), *(part.format(**paths) for part in arguments))
    assert (status, printed, error.count("\n")) == (2, "", 1)
    assert message in error
    assert not out.exists()


# The browser


@pytest.fixture(scope="module")
def models() -> list[Shown]:
    return trained(TEXT, 8, seed=0)


@pytest.fixture
def opened(opened_page: Callable[[str], Any]) -> Callable[[str, list[Shown]], Any]:
    """Opens the page of a text and models."""
    return lambda text, models: opened_page(page(text, models))


NUMBERS = """node => Object.fromEntries(Array.from(node.querySelectorAll("[data-name]")).map(
    one => [one.dataset.name, one.textContent]))"""


def number(shown: str) -> float:
    return float(shown.replace("−", "-"))


def numbers(window: Any, model: int) -> dict[str, float]:
    """The numbers that a model's panel shows."""
    shown: dict[str, str] = window.eval_on_selector(f"#model-{model}", NUMBERS)
    return {name: number(value) for name, value in shown.items()}


def expected(
    found: TextTrace, backward: bool, t: int, unit: int = 0, column: int = 0, layer: int = -1
) -> dict[str, float]:
    """The numbers that it should show of a hidden unit, and of its weight in the first gate."""
    of = found.layers[layer]
    equations = of.cell.equations
    assert equations is not None
    names = [equation.text.split(" = ")[0] for equation in (equations.backward if backward else equations.forward)]
    result = {name: of.values[name][t, unit] for name in names} | {"loss": found.losses[t]}
    if backward:
        result |= {f"d_{name}": value[t, unit] for name, value in of.d_state.items()}
        result |= {f"d_{name}_prev": value[t, unit] for name, value in of.d_state_prev.items()}
        result |= {f"d_{name}": of.d_a[t, n, unit] for n, name in enumerate(blocks(of.cell))}
        result["d_W_hh"] = of.d_W_hh()[t, 0, unit, column]
    else:
        result |= {name: value[t + 1, unit] for name, value in of.state.items()}
        result |= {name: of.a[t, n, unit] for n, name in enumerate(blocks(of.cell))}
    return result


def assert_shown(shown: dict[str, float], truth: dict[str, float]) -> None:
    """To the four digits that are shown, of six that are there."""
    assert shown == pytest.approx(truth, rel=5.1e-4, abs=0)


def traces(models: list[Shown]) -> list[TextTrace]:
    return [trace_text(model, Vocabulary(characters).encode(TEXT)) for model, characters, _ in models]


def test_the_page_shows_what_scratch_computes(opened: Any, models: list[Shown]) -> None:
    window, found = opened(TEXT, models), traces(models)
    T, seen = len(TEXT) - 1, set()
    for position in range(2 * T):
        backward, t = position >= T, position if position < T else 2 * T - 1 - position
        for n in range(len(models)):
            shown = numbers(window, n)
            assert_shown(shown, expected(found[n], backward, t))
            seen.add(tuple(shown.values()))
        where = window.text_content("#where")
        assert ("Backward" if backward else "Forward") in where and f"step {t} " in where
        window.keyboard.press("ArrowRight")
    assert len(seen) == 2 * T * len(models)  # no two steps look the same
    window.keyboard.press("ArrowLeft")
    assert_shown(numbers(window, 1), expected(found[1], True, 1))


def evaluated(expression: str) -> tuple[float, float]:
    """What an expression as the page shows it comes to, and by how much, as its numbers have four digits."""
    figures = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"
    plain = expression.replace("−ln ", "−1 · ln ").replace("−", "-").replace("·", "*").replace("²", "**2")
    plain = re.sub(rf"ln ({figures})", r"log(\1)", plain)
    plain = re.sub(r"\[(\S+ > \S+)\]", r"(\1)", plain)
    size = re.sub(rf"{figures}", lambda one: one[0].replace("-", "~"), plain).replace("-", "+").replace("~", "-")
    functions = {"σ": lambda a: 1 / (1 + np.exp(-a)), "tanh": np.tanh, "relu": lambda a: max(a, 0), "log": np.log}
    value, bound = (eval(text, {"__builtins__": {}}, functions) for text in (plain, size))
    return value, 1e-3 * (1 if "ln" in expression else abs(bound))


def assert_equations_come_out(window: Any, models: list[Shown]) -> None:
    """What stands left of the last = is what stands right of it, in every row of every step."""
    T, seen = len(TEXT) - 1, 0
    window.keyboard.press("ArrowDown")  # unit 1, and of d_W_hh column 0
    for _ in range(2 * T):
        for line in window.locator(".numbers").all_inner_texts():
            _, expression, result = line.split("\n")[0].split(" = ")
            if "Σ" not in expression:
                value, by = evaluated(expression)
                assert number(result) == pytest.approx(value, rel=0, abs=by), line
                seen += 1
        window.keyboard.press("ArrowRight")
    count = 0
    for model, *_ in models:
        forward, backward = rows(model.rnn.cell)
        count += sum("Σ" not in row.numbers for row in (*forward, *backward)) + 3  # the loss, twice, and d_W_hh
    assert seen == T * count


def test_the_equations_come_out(opened: Any, models: list[Shown]) -> None:
    assert_equations_come_out(opened(TEXT, models), models)


@pytest.mark.parametrize("kind", OTHERS)
def test_the_page_shows_any_cell(opened: Any, kind: str) -> None:
    vocabulary = Vocabulary.of(TEXT)
    models = [Shown(character_model(kind, len(vocabulary), 5, rng=3), vocabulary.characters, "drawn")]
    window, (found,) = opened(TEXT, models), traces(models)
    assert_equations_come_out(window, models)
    window.keyboard.press("Home")
    for position in range(2 * len(TEXT) - 2):
        backward, t = position >= len(TEXT) - 1, min(position, 2 * len(TEXT) - 3 - position)
        assert_shown(numbers(window, 0), expected(found, backward, t, unit=1))
        for row, written in zip(rows(found.layers[0].cell)[backward], window.locator(".equation").all(), strict=False):
            assert re.sub(r"_|\s", "", row.text) == re.sub(r"\s", "", written.inner_text().replace("⊤", "ᵀ"))
        window.keyboard.press("ArrowRight")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a ⊙ b − c", "−2.000 · 3.000 − 0.5000"),
        ("b ⊙ a", "3.000 · (−2.000)"),
        ("(a − b)", "(−2.000 − 3.000)"),
        ("(a² − b²)", "((−2.000)² − 3.000²)"),
        ("a²", "(−2.000)²"),
        ("tanh(a) + [a > 0]", "tanh(−2.000) + [−2.000 &gt; 0]"),
        ("Σⱼ W[a {unit}, j] · b[j] + σ_a", "Σⱼ W[a 1, j] · b[j] + (−7.000)"),
    ],
)
def test_numbers_are_filled_in(opened: Any, models: list[Shown], text: str, shown: str) -> None:
    window = opened(TEXT, models[:1])
    values = {name: [[0, 0], [0, value]] for name, value in {"a": -2, "b": 3, "c": 0.5, "σ_a": -7}.items()}
    assert window.evaluate("([text, values]) => filled(text, values, 1, 1)", [text, values]) == shown


def test_three_models_stand_side_by_side(opened: Any, models: list[Shown]) -> None:
    window = opened(TEXT, [*models[:2], models[1]])
    assert "An RNN and two LSTMs read" in window.text_content("#about")
    assert "the RNN, the first LSTM and the second LSTM gave it" in window.text_content("#caption")
    for width, columns in ((1680, 3), (1280, 2), (360, 1)):
        window.set_viewport_size({"width": width, "height": 900})
        left = [window.locator(f"#model-{n}").bounding_box()["x"] for n in range(3)]
        assert len(set(left)) == columns
        assert window.evaluate("document.documentElement.scrollWidth") == width


def test_keys_and_clicks_move(opened: Any, models: list[Shown]) -> None:
    window, found = opened(TEXT, models), traces(models)
    window.click("#time [data-step='4']")
    window.keyboard.press("ArrowDown")
    window.keyboard.press("ArrowDown")
    assert_shown(numbers(window, 1), expected(found[1], False, 4, unit=2))
    window.keyboard.press("b")
    assert_shown(numbers(window, 1), expected(found[1], True, 4, unit=2))
    window.click("#model-1 [data-row='d_c'] [data-unit='5']")
    assert_shown(numbers(window, 1), expected(found[1], True, 4, unit=5))
    assert_shown(numbers(window, 0), expected(found[0], True, 4, unit=2))
    window.click("#model-0 .weights [data-unit='3'][data-column='6']")
    assert_shown(numbers(window, 0), expected(found[0], True, 4, unit=3, column=6))
    window.click("#model-1 .through [data-step='7'] >> nth=0")
    assert_shown(numbers(window, 1), expected(found[1], True, 7, unit=5))
    window.keyboard.press("Home")
    assert_shown(numbers(window, 1), expected(found[1], False, 0, unit=5))
    window.keyboard.press("ArrowLeft")
    assert_shown(numbers(window, 1), expected(found[1], False, 0, unit=5))
    window.keyboard.press("End")
    assert_shown(numbers(window, 1), expected(found[1], True, 0, unit=5))
    window.keyboard.press("f")
    window.keyboard.press("Space")
    assert "Pause" in window.text_content("#play")
    window.wait_for_function("document.querySelector('#where').textContent.includes('step 1')")
    window.keyboard.press("Space")
    assert "Play" in window.text_content("#play")


def test_predictions_are_shown(opened: Any, models: list[Shown]) -> None:
    window, found = opened(TEXT, models), traces(models)
    window.keyboard.press("b")
    characters = models[0].characters
    for n in range(2):
        rows = window.locator(f"#model-{n} .guesses tr[data-character]").all()
        assert len(rows) >= 5
        for row in rows:
            index = characters.index(row.get_attribute("data-character"))
            assert number(row.locator("[data-p]").text_content()) == pytest.approx(
                found[n].probabilities[0, index], rel=5.1e-4
            )
            assert number(row.locator("[data-d]").text_content()) == pytest.approx(
                found[n].d_logits[0, index], rel=5.1e-4
            )
        assert window.locator(f"#model-{n} .guesses tr.came").get_attribute("data-character") == TEXT[1]


def test_layers_and_units_can_be_chosen(opened: Any) -> None:
    vocabulary = Vocabulary.of(TEXT)
    model = CharacterModel("LSTM", len(vocabulary), 20, 2, embedding_size=3, rng=1)
    window = opened(TEXT, [Shown(model, vocabulary.characters, "<script>alert(1)</script>")])
    found = trace_text(model, vocabulary.encode(TEXT))
    window.keyboard.press("b")
    assert_shown(numbers(window, 0), expected(found, True, 0))
    window.select_option("[data-choose=layer]", "0")
    window.select_option("[data-choose=group]", "1")
    window.select_option("[data-choose=unit]", "2")
    assert_shown(numbers(window, 0), expected(found, True, 0, unit=18, column=16, layer=0))
    window.select_option("[data-choose=column]", "3")
    window.select_option("[data-choose=gate]", "2")
    window.keyboard.press("End")
    window.keyboard.press("ArrowLeft")  # steps, though the selection has the focus
    shown = numbers(window, 0)
    assert shown["d_W_hh"] == pytest.approx(found.layers[0].d_W_hh()[1, 2, 18, 19], rel=5.1e-4)
    assert "<script>alert" in window.text_content("#model-0")


def test_it_is_as_dark_as_one_likes(opened: Any, models: list[Shown]) -> None:
    window = opened(TEXT, models)
    background = "getComputedStyle(document.body).backgroundColor"
    light = window.evaluate(background)
    window.keyboard.press("d")
    dark = window.evaluate(background)
    window.keyboard.press("d")
    assert light == window.evaluate(background) != dark


def test_a_long_text_fits_a_narrow_window(opened: Any, models: list[Shown]) -> None:
    window = opened((TEXT * 10)[:LONGEST], models)
    for width in (1280, 700, 360):
        window.set_viewport_size({"width": width, "height": 700})
        for _ in range(2):
            assert window.evaluate("document.documentElement.scrollWidth") == width
            window.keyboard.press("b")
        window.keyboard.press("f")


def test_the_shortest_text_has_a_page(opened: Any) -> None:
    models = trained("ab", 2, seed=0)
    window = opened("ab", models)
    found = trace_text(models[1].model, np.array([0, 1]))
    assert_shown(numbers(window, 1), expected(found, False, 0))
    window.keyboard.press("ArrowRight")
    assert_shown(numbers(window, 1), expected(found, True, 0))

"""The trace says what the module and PyTorch say; the page, in a real browser, says what the trace says."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
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
from scratch.study import Trace, page, trace
from scratch.study.explore import MOST_NUMBERS, SHOWN_UNITS, Shown, largest, rounded, units_on_page
from scratch.study.explore_command import LONGEST, explore, trained
from scratch.text import CharacterModel, Settings, Training, Vocabulary, write
from scratch.types import Array

TEXT = "hello world"


@st.composite
def problems(draw: st.DrawFn) -> tuple[CharacterModel, Array]:
    """A model with random parameters and a random text.

    No pre-activation is beyond ±4.5, where 1 − tanh² still has all but three of its digits.
    """
    seed, V = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 6))
    rng = np.random.default_rng(seed)
    model = CharacterModel(
        draw(st.sampled_from(["RNN", "LSTM"])),
        V,
        draw(st.integers(1, 6)),
        draw(st.integers(1, 3)),
        draw(st.sampled_from([0, 3])),
        dtype=np.float64,
        rng=rng,
    )
    for parameter in model.parameters():
        parameter.data = rng.uniform(-0.5, 0.5, parameter.shape)
    return model, rng.integers(0, V, draw(st.integers(2, 9)))


@given(problems())
def test_trace_is_what_the_module_computes(problem: tuple[CharacterModel, Array]) -> None:
    model, indices = problem
    found = trace(model, indices)
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
        rows = layer.d_a.reshape(len(layer.d_a), -1)
        growing = layer.d_W_hh()
        sums = [growing[0].reshape(rows.shape[1], -1), rows.T @ layer.x, rows.sum(axis=0), rows.sum(axis=0)]
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
    weights = {name: torch.tensor(value) for name, value in model.rnn.state_dict().items()}
    embedded = isinstance(model.embed, nn.Embedding)
    table = torch.tensor(model.embed.weight.data) if embedded else torch.eye(model.rnn.input_size, dtype=torch.float64)
    x, taken = list(table[indices[:-1]]), []
    H = model.rnn.hidden_size
    for k in range(model.rnn.num_layers):
        W_ih, W_hh, b_ih, b_hh = (weights[f"{name}_l{k}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        steps: list[dict[str, torch.Tensor]] = []
        h = c = torch.zeros(H, dtype=torch.float64)
        for x_t in x:
            a = W_ih @ x_t + b_ih + W_hh @ h + b_hh
            a.requires_grad_()
            if isinstance(model.rnn, nn.LSTM):
                i, f, g, o = a.view(4, H)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
                steps.append({"a": a, "h": h, "c": c})
            else:
                h = torch.tanh(a)
                steps.append({"a": a, "h": h})
        taken.append(steps)
        x = [each["h"] for each in steps]
    logits = torch.stack(x) @ torch.tensor(model.fc.weight.data).T + torch.tensor(model.fc.bias.data)
    for steps in taken:
        for each in steps:
            for value in each.values():
                value.retain_grad()
    torch.nn.functional.cross_entropy(logits, torch.tensor(indices[1:])).backward()
    return [
        {name: torch.stack([each[name].detach() for each in steps]).numpy() for name in steps[0]}
        | {f"d_{name}": torch.stack([each[name].grad for each in steps]).numpy() for name in steps[0]}
        for steps in taken
    ]


@given(problems())
def test_every_step_is_what_autograd_says(problem: tuple[CharacterModel, Array]) -> None:
    model, indices = problem
    for layer, truth in zip(trace(model, indices).layers, by_pytorch(model, indices), strict=True):
        flat = (len(indices) - 1, -1)
        ours = {"a": layer.a.reshape(flat), "d_a": layer.d_a.reshape(flat)}
        ours |= {name: part[1:] for name, part in layer.state.items()}
        ours |= {f"d_{name}": part for name, part in layer.d_state.items()}
        assert_close(ours, truth)
        for name in layer.state:
            after = layer.d_state_after(name)
            assert np.array_equal(after[:-1], layer.d_state_prev[name][1:]) and not after[-1].any()


def test_the_model_is_only_read() -> None:
    model = CharacterModel("LSTM", 4, 3, 2, dropout=0.5, rng=0)
    indices = np.array([0, 1, 2, 3, 2])
    logits, _ = model.eval()(indices[None, :-1])
    before = {name: value.copy() for name, value in model.train().state_dict().items()}
    found = trace(model, indices)
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())
    assert_close({"logits": found.logits}, {"logits": logits[0]}, 1e-6)  # nothing is dropped; both in float32
    model.backward(np.ones_like(logits))  # its tape is still there


@pytest.mark.parametrize("length", [0, 1])
def test_too_few_characters_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        trace(CharacterModel("RNN", 4, 3), np.zeros(length, int))


def test_another_recurrence_is_refused() -> None:
    model = CharacterModel("LSTM", 4, 3)
    model.rnn = nn.LSTM(4, 3, bidirectional=True)
    with pytest.raises(ValueError, match="one direction"):
        trace(model, np.array([0, 1, 2]))


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
    found, (shown,) = trace(model, vocabulary.encode(text)), data["models"]
    assert data["text"] == text and shown["origin"] == "<b>&"
    for layer, numbers in zip(found.layers, shown["layers"], strict=True):
        pairs = {name: (numbers[name], getattr(layer, name)) for name in ("a", "gates", "d_a", "from_state", "tanh_c")}
        pairs |= {name: (numbers[name], part) for name, part in layer.state.items()}
        pairs |= {f"d_{name}": (numbers[f"d_{name}"], part) for name, part in layer.d_state.items()}
        groups = [slice(0, 16), slice(16, 20)]
        for n, group in enumerate(groups):
            pairs[f"d_W_hh, units {group}"] = ([step[n] for step in numbers["d_W_hh"]], layer.d_W_hh(group))
        ours, theirs = ({name: np.array(pair[n]) for name, pair in pairs.items()} for n in (0, 1))
        assert_close(ours, theirs, 1e-5)  # six digits


@pytest.mark.parametrize(("hidden_size", "length", "layers"), [(256, 10, 1), (256, 99, 2), (20, 99, 1), (8, 99, 40)])
def test_a_large_model_is_shown_in_part(hidden_size: int, length: int, layers: int) -> None:
    model = CharacterModel("LSTM", 3, hidden_size, layers, rng=0)
    found = trace(model, np.arange(length + 1) % 3)
    units = units_on_page(found)
    assert units == hidden_size or units % SHOWN_UNITS == 0
    assert min(hidden_size, SHOWN_UNITS) <= units <= hidden_size
    numbers = layers * length * units * 4 * (SHOWN_UNITS + 7)
    assert numbers <= MOST_NUMBERS or units <= SHOWN_UNITS
    assert (hidden_size, length) != (256, 10) or units == 256


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
    status, printed, error = run(capsys, "--text", text, "--out", str(out))
    assert (status, error) == (0, "")
    assert "RNN: trained on this text" in printed and str(out) in printed
    data = embedded(out.read_text(encoding="utf-8"))
    assert data["text"] == text
    assert [model["cell"] for model in data["models"]] == ["RNN", "LSTM"]
    for model in data["models"]:
        assert len(model["losses"]) == len(text) - 1
        assert model["loss"] <= np.log(len(set(text)))  # better than a guess


def test_the_same_seed_gives_the_same_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pages = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert run(capsys, "--text", "abba", "--seed", seed, "--out", str(tmp_path / name))[0] == 0
        pages.append((tmp_path / name).read_text(encoding="utf-8"))
    assert pages[0] == pages[1] != pages[2]


def test_checkpoints_are_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lstm, rnn = checkpoint(tmp_path / "l", "LSTM", 2), checkpoint(tmp_path / "r", "RNN")
    out = tmp_path / "page.html"
    arguments = ("--text", "hold", "--out", str(out), "--checkpoint", str(lstm))
    assert run(capsys, *arguments)[0] == 0
    (shown,) = embedded(out.read_text(encoding="utf-8"))["models"]
    assert (shown["cell"], len(shown["layers"]), shown["hidden_size"]) == ("LSTM", 2, 5)
    assert run(capsys, *arguments, "--checkpoint", str(rnn))[0] == 0
    assert [model["cell"] for model in embedded(out.read_text(encoding="utf-8"))["models"]] == ["LSTM", "RNN"]
    status, _, error = run(capsys, *arguments, "--checkpoint", str(rnn), "--checkpoint", str(rnn))
    assert (status, error.count("\n")) == (2, 1) and "at most 2" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--text", ""), "2 to 100 characters, got 0"),
        (("--text", "a"), "2 to 100 characters, got 1"),
        (("--text", "a" * (LONGEST + 1)), "got 101"),
        (("--text", "a\udcff"), "Unicode"),
        (("--text", "hex", "--checkpoint", "{good}"), "got 'x'"),
        (("--text", "hello", "--checkpoint", "{damaged}"), "damaged"),
        (("--text", "hello", "--checkpoint", "{short}"), "expected a safetensors file"),
        (("--text", "hello", "--checkpoint", "{none}"), "cannot read"),
        (("--text", "hello", "--checkpoint", "{folder}"), "got a folder"),
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

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser: $CHROMIUM, or one that is installed."""
    synchronous = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"there is no browser here: none of {', '.join(BROWSERS)} (Debian: apt-get install chromium)")
    with synchronous.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path)
        yield started
        started.close()


@pytest.fixture(scope="module")
def models() -> list[Shown]:
    return trained(TEXT, 8, seed=0)


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens a page. Fails if it says anything on the console or asks for anything but itself."""
    said: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.set_default_timeout(20_000)

    def opens(text: str, models: list[Shown]) -> Any:
        path = tmp_path / "page.html"
        path.write_text(page(text, models), encoding="utf-8")
        window = context.new_page()
        window.on("console", lambda message: said.append(message.text))
        window.on("pageerror", lambda error: said.append(str(error)))
        window.on("request", lambda request: None if request.url == path.as_uri() else said.append(request.url))
        window.goto(path.as_uri())
        return window

    yield opens
    context.close()
    assert [one for one in said if not one.startswith("data:")] == []


NUMBERS = """node => Object.fromEntries(Array.from(node.querySelectorAll("[data-name]")).map(
    one => [one.dataset.name, one.textContent]))"""


def number(shown: str) -> float:
    return float(shown.replace("−", "-"))


def numbers(window: Any, model: int) -> dict[str, float]:
    """The numbers that a model's panel shows."""
    shown: dict[str, str] = window.eval_on_selector(f"#model-{model}", NUMBERS)
    return {name: number(value) for name, value in shown.items()}


def expected(found: Trace, backward: bool, t: int, unit: int = 0, column: int = 0, layer: int = -1) -> dict[str, float]:
    """The numbers that it should show of a hidden unit, and of its weight in the first gate."""
    of = found.layers[layer]
    lstm = len(of.cell.gates) > 1
    names = [f"a_{gate}" for gate in of.cell.gates] if lstm else ["a"]
    result = {"loss": found.losses[t]}
    if backward:
        result |= {f"d_{name}": value[t, unit] for name, value in of.d_state.items()}
        result |= {f"d_{name}_prev": value[t, unit] for name, value in of.d_state_prev.items()}
        result |= {f"d_{name}": of.d_a[t, n, unit] for n, name in enumerate(names)}
        result["d_W_hh"] = of.d_W_hh()[t, 0, unit, column]
    else:
        result |= {name: value[t + 1, unit] for name, value in of.state.items()}
        result |= {name: of.a[t, n, unit] for n, name in enumerate(names)}
        result |= {gate: of.gates[t, n, unit] for n, gate in enumerate(of.cell.gates) if lstm}
    return result


def assert_shown(shown: dict[str, float], truth: dict[str, float]) -> None:
    """To the four digits that are shown, of six that are there."""
    assert shown == pytest.approx(truth, rel=5.1e-4, abs=0)


def traces(models: list[Shown]) -> list[Trace]:
    return [trace(model, Vocabulary(characters).encode(TEXT)) for model, characters, _ in models]


def test_the_page_shows_what_scratch_computes(opened: Any, models: list[Shown]) -> None:
    window, found = opened(TEXT, models), traces(models)
    T, seen = len(TEXT) - 1, set()
    for position in range(2 * T):
        backward, t = position >= T, position if position < T else 2 * T - 1 - position
        for n in range(2):
            shown = numbers(window, n)
            assert_shown(shown, expected(found[n], backward, t))
            seen.add(tuple(shown.values()))
        where = window.text_content("#where")
        assert ("Backward" if backward else "Forward") in where and f"step {t} " in where
        window.keyboard.press("ArrowRight")
    assert len(seen) == 4 * T  # no two steps look the same
    window.keyboard.press("ArrowLeft")
    assert_shown(numbers(window, 1), expected(found[1], True, 1))


def evaluated(expression: str) -> tuple[float, float]:
    """What an expression as the page shows it comes to, and by how much, as its numbers have four digits."""
    figures = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"
    plain = expression.replace("−ln ", "−1 · ln ").replace("−", "-").replace("·", "*").replace("²", "**2")
    plain = re.sub(rf"ln ({figures})", r"log(\1)", plain)
    size = re.sub(rf"{figures}", lambda one: one[0].replace("-", "~"), plain).replace("-", "+").replace("~", "-")
    functions = {"σ": lambda a: 1 / (1 + np.exp(-a)), "tanh": np.tanh, "log": np.log}
    value, bound = (eval(text, {"__builtins__": {}}, functions) for text in (plain, size))
    return value, 1e-3 * (1 if "ln" in expression else abs(bound))


def test_the_equations_come_out(opened: Any, models: list[Shown]) -> None:
    """What stands left of the last = is what stands right of it, in every row of every step."""
    window, count = opened(TEXT, models), 0
    for _ in range(2 * len(TEXT) - 2):
        for line in window.locator(".numbers").all_inner_texts():
            _, expression, result = line.split("\n")[0].split(" = ")
            if "Σ" not in expression:
                value, by = evaluated(expression)
                assert number(result) == pytest.approx(value, rel=0, abs=by), line
                count += 1
        window.keyboard.press("ArrowRight")
    assert count == 10 * (10 + 2 + 2) + 10 * (7 + 2 + 4)


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
    found = trace(model, vocabulary.encode(TEXT))
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
    found = trace(models[1].model, np.array([0, 1]))
    assert_shown(numbers(window, 1), expected(found, False, 0))
    window.keyboard.press("ArrowRight")
    assert_shown(numbers(window, 1), expected(found, True, 0))

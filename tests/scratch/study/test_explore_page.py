"""The page of `study explore`: what it holds, and that it shows it, in a real browser."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.equivalence import assert_close
from scratch import nn
from scratch.study import page, trace_text
from scratch.study.commands import LONGEST
from scratch.study.equations import blocks
from scratch.study.explore import TextTrace
from scratch.study.explore_page import MOST_NUMBERS, SHOWN_UNITS, Shown, largest, rows, scales_of, units_on_page
from scratch.study.pages import rounded
from scratch.study.subjects import trained
from scratch.text import CharacterModel, Vocabulary
from scratch.text.settings import CELLS
from tests.scratch.nn.test_new_cell import mgu
from tests.scratch.study.conftest import assert_fits, embedded
from tests.scratch.study.test_explore import OTHERS, character_model

TEXT = "hello world"


def test_numbers_that_are_not_finite_are_refused() -> None:
    model = CharacterModel("LSTM", 2, 3, rng=0)
    model.rnn.bias_ih_l0.data[0] = np.inf  # of which the gate, the logits and the loss know nothing
    with pytest.raises(ValueError, match="finite numbers"):
        page("abab", [Shown(model, "ab", "broken")])


@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False), st.floats(1e-100, 1e100))
def test_rounding_keeps_six_digits_and_a_scale_holds_every_number(x: float, y: float) -> None:
    (once,) = rounded(np.array([x]))
    assert abs(once - x) <= 5.1e-6 * abs(x) and float(f"{once:.6g}") == once
    assert y * (1 - 1e-12) <= largest(np.array([-y, y / 3])) <= 1.11 * y


def test_the_page_holds_the_numbers_of_the_trace() -> None:
    text = "</script><!--&amp;\u2028 é𝒳\"'"
    vocabulary = Vocabulary.of(text)
    model = CharacterModel("LSTM", len(vocabulary), 20, 2, dtype=np.float64, rng=0)
    data = embedded(page(text, [Shown(model, vocabulary.characters, "<b>&")]))
    found, (shown,) = trace_text(model, vocabulary.encode(text)), data["models"]
    assert data["text"] == text and shown["origin"] == "<b>&"
    for layer, numbers in zip(found.layers, shown["layers"], strict=True):
        pairs = {name: (numbers["values"][name], value) for name, value in layer.values.items()}
        groups = [slice(0, 16), slice(16, 20)]
        assert numbers["scales"]["d_W_hh"] == [largest(layer.d_W_hh(group)) for group in groups]
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
    numbers = layers * length * units * (4 * SHOWN_UNITS + len(found.layers[0].values))
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
    own = [(row.number, row.text) for row in (*forward[3:], *backward[1:-1])]
    assert own == [*equations.forward, *equations.backward]

    forward, backward = rows(nn.LSTM(2, 3).cell)
    assert (forward[0].name, forward[0].numbers) == ("a_i", "from_input_i + from_state_i")
    assert backward[1].numbers == "d_h ⊙ tanh_c ⊙ o ⊙ (1 − o)"  # tanh(c) is known since forward
    assert backward[-1].text == "d_h_prev = W_hhᵀ d_a"
    assert rows(nn.RNN(2, 3).cell)[0][0].numbers == "from_input + from_state"


LEGENDS = {
    "RNN": (["a", "h"], ["d_h", "d_a"]),
    "LSTM": (["a", "i, f, g, o", "c", "h"], ["d_h, d_c", "d_a of i, f, g, o"]),
    "MGU": (["a", "f, n", "h"], ["d_h", "d_a of f, n_h, n_x"]),
}


@pytest.mark.parametrize("kind", LEGENDS)
def test_scales_of_colours(kind: str) -> None:
    model = character_model(kind, 5, 6, rng=1)
    model.rnn.weight_ih_l0.data *= 9  # beyond 1, where a cell goes there
    (layer,) = trace_text(model, np.arange(10) % 5).layers
    scales, said = scales_of(layer)
    of_a, shown = [f"d_{name}" for name in blocks(layer.cell)], [row.name for part in rows(layer.cell) for row in part]
    assert tuple([label for label, _ in said[phase]] for phase in ("forward", "backward")) == LEGENDS[kind]
    assert said["backward"][1][1] == [scales[name] for name in of_a]
    ends = {name: scales[name] / largest(layer.values[name]) for name in (*shown, *of_a)}
    assert min(ends.values()) >= 1 and {ends[name] for name in (*of_a, *(["c"] if kind == "LSTM" else []))} == {1}


@pytest.fixture(scope="module")
def models() -> list[Shown]:
    return [trained(cell, TEXT, 8, seed=0) for cell in CELLS]


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
    forward_rows, backward_rows = rows(of.cell)
    names = {row.name for row in (backward_rows if backward else forward_rows)}
    result = {name: of.values[name][t, unit] for name in names} | {"loss": found.losses[t]}
    return result | ({"d_W_hh": of.d_W_hh()[t, 0, unit, column]} if backward else {})


def assert_shown(shown: dict[str, float], truth: dict[str, float]) -> None:
    """To the four digits that are shown, of six that are there."""
    assert shown == pytest.approx(truth, rel=5.1e-4, abs=0)


def traces(models: list[Shown], text: str = TEXT) -> list[TextTrace]:
    return [trace_text(model, Vocabulary(characters).encode(text)) for model, characters, _ in models]


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


@pytest.mark.parametrize("kind", ["trained", "others"])
def test_every_number_and_equation_is_shown_and_comes_out(opened: Any, models: list[Shown], kind: str) -> None:
    """At every step of every model: the numbers of the trace, the equations of the cell, and left = right in each."""
    text = TEXT[:6]
    if kind == "others":
        text, characters = "heh", models[0].characters
        models = [Shown(character_model(other, len(characters), 5, rng=3), characters, "drawn") for other in OTHERS]
    window, found = opened(text, models), traces(models, text)
    T, seen = len(text) - 1, set()
    window.keyboard.press("ArrowDown")  # unit 1, and of d_W_hh column 0
    for position in range(2 * T):
        backward, t = position >= T, min(position, 2 * T - 1 - position)
        where = window.text_content("#where")
        assert ("Backward" if backward else "Forward") in where and f"step {t} " in where
        for n in range(len(models)):
            shown, panel = numbers(window, n), window.locator(f"#model-{n}")
            assert_shown(shown, expected(found[n], backward, t, unit=1))
            seen.add(tuple(shown.values()))
            of_cell = rows(found[n].layers[0].cell)[backward]
            written = [
                re.sub(r"\s", "", text).replace("⊤", "ᵀ") for text in panel.locator(".equation").all_inner_texts()
            ]
            assert [re.sub(r"_|\s", "", row.text) for row in of_cell] == written[: len(of_cell)]
            lines = [line for line in panel.locator(".numbers").all_inner_texts() if "Σ" not in line.split("\n")[0]]
            # one for each row, one for the loss and, backward, one for d_W_hh
            assert len(lines) == sum("Σ" not in row.numbers for row in of_cell) + 1 + backward
            for line in lines:
                _, expression, result = line.split("\n")[0].split(" = ")
                value, by = evaluated(expression)
                assert number(result) == pytest.approx(value, rel=0, abs=by), line
        window.keyboard.press("ArrowRight")
    assert len(seen) == 2 * T * len(models)  # no two steps look the same


FILLED = {
    "a ⊙ b − c": "−2.000 · 3.000 − 0.5000",
    "b ⊙ a": "3.000 · (−2.000)",
    "(a − b)": "(−2.000 − 3.000)",
    "(a² − b²)": "((−2.000)² − 3.000²)",
    "a²": "(−2.000)²",
    "tanh(a) + [a > 0]": "tanh(−2.000) + [−2.000 &gt; 0]",
    "Σⱼ W[a {unit}, j] · b[j] + σ_a": "Σⱼ W[a 1, j] · b[j] + (−7.000)",
}


def test_models_stand_side_by_side_in_windows_of_any_width(opened: Any, models: list[Shown]) -> None:
    window = opened((TEXT * 10)[:LONGEST], [*models[:2], models[1]])
    assert "An RNN and two LSTMs read" in window.text_content("#about")
    assert "the RNN, the first LSTM and the second LSTM gave it" in window.text_content("#caption")
    for key, width, columns in (("f", 1680, 3), ("f", 1280, 2), ("b", 700, 1), ("b", 360, 1)):
        window.keyboard.press(key)
        assert_fits(window, width)
        left = [window.locator(f"#model-{n}").bounding_box()["x"] for n in range(3)]
        assert len(set(left)) == columns
    values = {name: [[0, 0], [0, value]] for name, value in {"a": -2, "b": 3, "c": 0.5, "σ_a": -7}.items()}
    for text, shown in FILLED.items():
        assert window.evaluate("([text, values]) => filled(text, values, 1, 1)", [text, values]) == shown


def test_keys_and_clicks_move(opened: Any, models: list[Shown]) -> None:
    window, found = opened(TEXT, models[:2]), traces(models)

    def shows(model: int, backward: bool, t: int, **at: int) -> None:
        assert_shown(numbers(window, model), expected(found[model], backward, t, **at))

    window.keyboard.press("b")
    for n in range(2):
        for row in window.locator(f"#model-{n} .guesses tr[data-character]").all():
            index = models[0].characters.index(row.get_attribute("data-character"))
            for key, of_all in (("p", found[n].probabilities), ("d", found[n].d_logits)):
                assert number(row.locator(f"[data-{key}]").text_content()) == pytest.approx(
                    of_all[0, index], rel=5.1e-4
                )
        assert window.locator(f"#model-{n} .guesses tr.came").get_attribute("data-character") == TEXT[1]
    window.keyboard.press("f")
    window.click("#time [data-step='4']")
    window.keyboard.press("ArrowDown")
    window.keyboard.press("ArrowDown")
    shows(1, False, 4, unit=2)
    window.keyboard.press("b")
    shows(1, True, 4, unit=2)
    window.click("#model-1 [data-row='d_c'] [data-unit='5']")
    shows(1, True, 4, unit=5)
    shows(0, True, 4, unit=2)
    window.click("#model-0 .weights [data-unit='3'][data-column='6']")
    shows(0, True, 4, unit=3, column=6)
    window.click("#model-1 .through [data-step='7'] >> nth=0")
    shows(1, True, 7, unit=5)
    for key, backward in (("Home", False), ("ArrowLeft", False), ("End", True)):
        window.keyboard.press(key)
        shows(1, backward, 0, unit=5)
    window.keyboard.press("f")
    window.keyboard.press("Space")
    assert "Pause" in window.text_content("#play")
    window.wait_for_function("document.querySelector('#where').textContent.includes('step 1')")
    window.keyboard.press("Space")
    assert "Play" in window.text_content("#play")
    colours = []
    for _ in range(3):
        colours.append(window.evaluate("getComputedStyle(document.body).backgroundColor"))
        window.keyboard.press("d")
    assert colours[0] == colours[2] != colours[1]


def test_layers_and_units_can_be_chosen(opened: Any) -> None:
    vocabulary = Vocabulary.of(TEXT)
    model = CharacterModel("LSTM", len(vocabulary), 20, 2, embedding_size=3, rng=1)
    window = opened(TEXT, [Shown(model, vocabulary.characters, "<script>alert(1)</script>")])
    found = trace_text(model, vocabulary.encode(TEXT))
    window.keyboard.press("b")
    assert_shown(numbers(window, 0), expected(found, True, 0))
    for what, value in (("layer", "0"), ("group", "1"), ("unit", "2")):
        window.select_option(f"[data-choose={what}]", value)
    assert_shown(numbers(window, 0), expected(found, True, 0, unit=18, column=16, layer=0))
    window.select_option("[data-choose=column]", "3")
    window.select_option("[data-choose=gate]", "2")
    window.keyboard.press("End")
    window.keyboard.press("ArrowLeft")  # steps, though the selection has the focus
    shown = numbers(window, 0)
    assert shown["d_W_hh"] == pytest.approx(found.layers[0].d_W_hh()[1, 2, 18, 19], rel=5.1e-4)
    assert "<script>alert" in window.text_content("#model-0")

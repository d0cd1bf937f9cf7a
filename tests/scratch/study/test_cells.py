"""What cells keep track of: the features by other definitions, the activations step by step, and what chance finds."""

from __future__ import annotations

import io
import re
import sysconfig
import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.equivalence import assert_close
from scratch import nn
from scratch.study import activations, features, rankings
from scratch.study.cells import Findings, chance_levels, correlations, study
from scratch.study.cells_command import NO_BETTER, beginning, verdict
from scratch.study.cells_features import MEANINGS, syntax
from scratch.study.cells_page import SHOWN_CELLS, page, stretch
from scratch.study.cells_picture import ROWS, WIDTH, glyph, picture, rows
from scratch.text import CharacterModel, Vocabulary
from scratch.types import Array
from tests.scratch.study.conftest import assert_fits, embedded

NAMES = list(MEANINGS)
CODE = 'def f(x):\n    """It\'s </script><!-- &amp;."""\n\treturn [x, (1, "a")]  # é𝒳\u2028\r\n\n' * 12

texts = st.text("ab'\"\\#()[} \t\n", max_size=60)
seeds = st.integers(0, 2**32 - 1)

# Features


@given(texts, st.integers(0, 60))
def test_features_do_not_look_ahead(text: str, length: int) -> None:
    assert np.array_equal(features(text[:length]), features(text)[:length])


@given(texts)
def test_positions_and_indentation_are_those_of_the_lines(text: str) -> None:
    lines = [text[: t + 1].split("\n")[-1] for t in range(len(text))]
    depths = [len(re.match(r"[ \t]*", line)[0].expandtabs(8)) for line in lines]
    assert features(text)[:, :2].T.tolist() == [list(map(len, lines)), depths]


def assert_same(text: str, ours: tuple[Array, ...], theirs: tuple[Array, ...]) -> None:
    for name, one, other in zip(NAMES[2:], ours, theirs, strict=True):
        wrong = np.flatnonzero(one != other)
        assert not len(wrong), f"{name} from character {wrong[0]} on: {text[: wrong[0] + 1][-80:]!r}"


@pytest.mark.parametrize("module", ["textwrap", "shlex", "string", "csv", "tokenize", "sched", "bisect", "heapq"])
def test_quotes_comments_and_brackets_are_those_of_python(module: str) -> None:
    text = (Path(sysconfig.get_path("stdlib")) / f"{module}.py").read_text(encoding="utf-8")
    starts = np.cumsum([0, *(len(line) + 1 for line in text.split("\n"))])
    quotes, comments, brackets = np.zeros((3, len(text)))
    for kind, token, start, end, _ in tokenize.generate_tokens(io.StringIO(text).readline):
        first, after = (int(starts[line - 1] + column) if line <= len(starts) else 0 for line, column in (start, end))
        if kind == tokenize.COMMENT:
            comments[first:after] = 1
        elif kind == tokenize.STRING:
            first += re.match("[a-zA-Z]*", token).end()
            quotes[first : after - 1] = 1
            if after - first == 2 or text[first : first + 3] in ("'''", '"""'):
                quotes[first + 1] = 0
        elif kind == tokenize.OP:
            brackets[first:] += int(token in "([{") - int(token in ")]}")
        elif kind == getattr(tokenize, "FSTRING_START", -1):
            pytest.skip("the parts of an f-string are tokens of this Python")
    assert_same(text, syntax(text), (quotes, comments, brackets))


@pytest.mark.parametrize(
    ("text", "quotes"),
    [
        ("don't 'do' it, it's r'raw'", "00000011100000000000011110"),
        ("xr'a' Rb'c' fR'e' 5'd' b''", "00000000110000110000000010"),
        ('"a\\"b" \'c\nd\' e', "11111001100000"),
        ('"a\\\nb"c', "1111100"),
        ("'''a'b\n''c''' d", "101111111111000"),
        ('"""a', "1011"),
        ("''\"\" '", "101001"),
    ],
)
def test_quotes_of_prose_and_of_odd_code(text: str, quotes: str) -> None:
    assert "".join(f"{inside:g}" for inside in syntax(text)[0]) == quotes


def test_brackets_count_outside_of_quotes_and_comments() -> None:
    _, comments, brackets = syntax(text := '()](a[{b})]c)( # (" \n(")"')
    assert "".join(f"{depth:g}" for depth in brackets) == "1001123321000111111112222"
    assert comments.nonzero()[0].tolist() == list(range(text.index("#"), text.index("\n")))


# Activations


@st.composite
def models(draw: st.DrawFn) -> tuple[CharacterModel, Array]:
    rng = np.random.default_rng(draw(seeds))
    cell, layers, width = draw(st.sampled_from(["RNN", "LSTM"])), draw(st.integers(1, 3)), draw(st.sampled_from([0, 3]))
    model = CharacterModel(cell, 5, draw(st.integers(1, 6)), layers, width, 0.5, np.float64, rng)
    for parameter in model.parameters():
        parameter.data = 3 * parameter.data
    return model, rng.integers(0, 5, draw(st.integers(1, 12)))


def alone(model: CharacterModel, layer: int) -> Any:
    """One layer of a model as a cell of single steps."""
    H = model.rnn.hidden_size
    width = model.rnn.input_size if layer == 0 else H
    cell: Any = {"RNN": nn.RNNCell, "LSTM": nn.LSTMCell}[type(model.rnn).__name__](width, H, dtype=np.float64)
    weights = model.rnn.state_dict()
    cell.load_state_dict({name: weights[f"{name}_l{layer}"] for name in cell.state_dict()})
    return cell


@given(models())
def test_activations_are_those_of_single_cells(problem: tuple[CharacterModel, Array]) -> None:
    model, indices = problem
    layers = [alone(model, layer) for layer in range(model.rnn.num_layers)]
    states: list[Any] = [None] * len(layers)
    theirs = np.empty((len(indices), len(layers), model.rnn.hidden_size))
    for t, index in enumerate(indices):
        x = model.embed(np.array([index]))
        for layer, cell in enumerate(layers):
            states[layer] = cell(x, states[layer])
            x, *rest = states[layer] if isinstance(states[layer], tuple) else (states[layer],)
            theirs[t, layer] = np.tanh(rest[0]) if rest else x
    read: list[int] = []
    assert model.training
    assert_close({"held": activations(model, indices, read.append)}, {"held": theirs})
    assert sum(read) == len(indices)
    assert model.rnn.training  # as before
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_forward_pass_before_can_still_be_undone() -> None:
    model = CharacterModel("LSTM", 4, 3, embedding_size=2, rng=0)
    indices = np.array([0, 1, 2, 3, 2])
    logits, _ = model(indices[None, :-1])
    activations(model, indices[::-1])
    found = model.backward(logits)
    again, _ = model(indices[None, :-1])
    np.testing.assert_equal(found, model.backward(again))


def test_what_cannot_be_ranked_is_refused() -> None:
    model, drawn = (CharacterModel("LSTM", 4, 3, rng=0) for _ in range(2))
    zeros = np.zeros(300, int)
    with pytest.raises(ValueError, match="at least 200 characters, got 199"):
        study(model, drawn, zeros[:199], "a" * 199, "", "")
    for y, x in ((199, 199), (300, 299)):
        with pytest.raises(ValueError, match="at least 200"):
            rankings(np.zeros((y, 5)), np.zeros((x, 2)))
    model.rnn.bias_ih_l0.data = np.full(12, np.nan, np.float32)
    with pytest.raises(ValueError, match="finite"):
        study(model, drawn, zeros, "a" * 300, "", "")
    model.rnn = nn.LSTM(4, 3, bidirectional=True, batch_first=True)
    with pytest.raises(ValueError, match="one direction"):
        activations(model, np.array([0, 1, 2]))


# Ranking


def problem(seed: int, T: int = 600, cells: int = 20) -> tuple[Array, Array]:
    """Features that change slowly, and cells that change slowly and have nothing to do with them."""
    noise = np.random.default_rng(seed).standard_normal((T, len(NAMES) + cells)).cumsum(axis=0)
    y, x = np.split(noise[5:] - noise[:-5], [len(NAMES)], axis=1)
    return y, x


@given(seeds, st.integers(0, 4), st.sampled_from([1, -1]), st.floats(1e-3, 1e3), st.floats(-9, 9))
@settings(max_examples=20)
def test_a_cell_that_is_the_feature_comes_first(seed: int, feature: int, sign: int, scale: float, shift: float) -> None:
    y, x = problem(seed)
    x[:, 7] = sign * scale * y[:, feature] + shift
    found = rankings(y, x, seed)[feature]
    assert (found.name, found.best, found.tracked) == (NAMES[feature], 7, True)
    assert np.allclose([found.chosen[7], found.reported[7]], sign)
    assert abs(found.chosen[found.order]).tolist() == sorted(abs(found.chosen), reverse=True)


@given(seeds)
def test_correlation_is_numpys_and_knows_no_units(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = rng.standard_normal((30, 2)), rng.standard_normal((30, 4))
    assert_close({"r": correlations(y, x)}, {"r": np.corrcoef(y.T, x.T)[:2, 2:]})
    scales = rng.choice([-1, 1], 4) * 10 ** rng.uniform(-200, 200, 4)
    assert_close({"r": correlations(y, x * scales)}, {"r": correlations(y, x) * np.sign(scales)})
    halves = rankings(np.repeat(y, 10, axis=0)[:, [0, 1, 0, 1, 0]], np.repeat(x, 10, axis=0), 0)[1]
    theirs = [np.corrcoef(y[half, 1], x[half].T)[0, 1:] for half in (slice(15), slice(15, None))]
    assert_close({"halves": np.stack([halves.chosen, halves.reported])}, {"halves": np.stack(theirs)})


def test_what_does_not_change_has_no_correlation() -> None:
    y, x = problem(0)
    y[:, 1], x[:, 0] = 0.1, 0.1  # whose means are not exact
    found = rankings(y, x)
    assert np.isnan(found[1].chosen).all() and np.isnan(found[1].level)
    assert found[1].absent and not found[1].tracked
    assert np.isnan(found[0].chosen[0]) and found[0].order[-1] == 0
    assert not found[0].absent and np.isfinite(found[0].level)
    dead = rankings(y, np.full_like(x, 0.1))[0]
    assert dead.absent and not dead.tracked


def test_chance_is_what_it_says() -> None:
    """Cells that have nothing to do with a feature are above chance about one time in twenty."""
    problems = [(seed, *problem(seed)) for seed in range(60)]
    above = [np.abs(correlations(y, x)).max(axis=1) > chance_levels(y, x, seed) for seed, y, x in problems]
    # 300 features at 5 %: 15 expected; the factor of two is for shifts that overlap, as there are only 600 places
    assert 2 <= np.sum(above) <= 36
    assert sum(each.tracked for seed, y, x in problems[:20] for each in rankings(y, x, seed)) <= 3


# What is shown


@pytest.fixture(scope="module")
def found() -> Findings:
    vocabulary = Vocabulary.of(CODE)
    model, drawn = (CharacterModel("LSTM", len(vocabulary), 6, 2, rng=seed) for seed in (0, 1))
    return study(model, drawn, vocabulary.encode(CODE), CODE, "<b>&", "<i>text", seed=0)


def test_the_page_holds_what_was_found(found: Findings) -> None:
    content = page(found, 300)
    data = embedded(content)
    where = slice(data["start"], data["start"] + 300)
    assert data["text"] == CODE[where] and data["origin"] == "<b>&" and data["held"] == "tanh(c)"
    assert not re.search(r"(?:src|href)=(?!\"data:,)|https?:|@import|url\(", content)
    for n, (shown, ranking) in enumerate(zip(data["features"], found.rankings, strict=True)):
        assert shown["values"] == found.features[where, n].tolist()
        assert shown["level"] == pytest.approx(ranking.level, rel=1e-5)
        assert len(shown["cells"]) == SHOWN_CELLS
        for cell, k in zip(shown["cells"], ranking.order, strict=False):
            assert (cell["layer"], cell["unit"]) == divmod(k, 6)
            assert cell["values"] == pytest.approx(found.activations[where, cell["layer"], cell["unit"]], abs=5.1e-4)
            assert cell["reported"] == pytest.approx(ranking.reported[k], rel=1e-5)


@given(seeds, st.integers(2, 30))
@settings(max_examples=20)
def test_a_stretch_is_like_the_half_and_begins_with_a_line(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    text = "".join(rng.choice(list("ab\n"), 80))
    y = rng.standard_normal((80, 2)).cumsum(axis=0)
    where = stretch(text, y, lambda start: min(80, start + length))
    assert where.stop == where.start + length or "\n" not in text[39 : 80 - length]

    def apart(start: int) -> float:
        M, S, part = y[40:].mean(axis=0), y[40:].std(axis=0), y[start : start + length]
        return float((((part.mean(axis=0) - M) ** 2 + (part.std(axis=0) - S) ** 2) / S**2).sum())

    starts = [start for start in range(40, 80 - length) if text[start - 1] == "\n"]
    assert not starts or (where.start in starts and apart(where.start) <= min(map(apart, starts)) + 1e-9)


@given(st.text("ab\n", max_size=400), st.integers(0, 100))
def test_rows_are_the_text(text: str, start: int) -> None:
    found = rows(text, start)
    assert len(found) <= ROWS
    whole = "".join(text[part] for part in found)
    assert text[start:].startswith(whole) and (len(found) == ROWS or whole == text[start:])
    assert all(0 < part.stop - part.start <= WIDTH and "\n" not in text[part][:-1] for part in found)


def test_only_what_the_font_has_is_drawn(found: Findings) -> None:
    assert [glyph(character) for character in "a$\n\t\r\x00\u202e漢"] == list("a$↵→←□□□")
    nothing = found._replace(rankings=[each._replace(chosen=np.full(12, np.nan)) for each in found.rankings])
    for findings, least in ((found, 10_000), (nothing, 1_000)):
        content = io.BytesIO()
        picture(findings).savefig(content, format="png", dpi=50)
        assert len(content.getvalue()) > least


def test_a_text_that_was_cut_off_begins_anew() -> None:
    assert beginning('cut" off\n\n\ndef f():\n    pass\n\n\n') == "def f():\n    pass\n\n\n"
    assert beginning("one line\n" * 3 + "\n\n\nend") == "one line\n" * 3 + "\n\n\nend"


def test_the_verdict_is_that_of_the_numbers(found: Findings) -> None:
    def ranking(n: int, r: float, level: float) -> Any:
        return found.rankings[n]._replace(
            order=np.array([0]), chosen=np.array([r]), reported=np.array([r]), level=level
        )

    some = [ranking(0, -0.5, 0.2), ranking(1, 0.5, 0.2), ranking(2, 0.1, 0.2), ranking(3, np.nan, np.nan)]
    drawn = [0.5 - 2 * NO_BETTER, -0.48, 0.1, np.nan]
    words = verdict(found._replace(rankings=some, as_drawn=drawn))
    assert words.startswith(
        "Above chance: line position, indentation. Not above: quotes. Nothing to track in one half of this text or in "
        "both: comments. About as good in a model that has learned nothing: indentation. "
    )


# The browser


def test_the_page_shows_the_text_in_the_colours_of_the_cells(
    opened_page: Callable[[str], Any], found: Findings
) -> None:
    window, data = opened_page(page(found, 300)), embedded(page(found, 300))
    assert all(character in data["text"] for character in "\n\u2028\r")
    shown = window.text_content("#text")
    assert shown.replace("⏎", "").replace("␍", "\r").replace("U+2028", "\u2028") == data["text"]
    assert "</script><!--" in shown and "<b>&" in window.text_content("#about")
    assert window.locator("#text b, #about b, #text script").count() == 0
    colours = """Array.from(document.querySelectorAll("#text [data-t]")).map(
        one => [one.className.includes("plus") - one.className.includes("minus"),
                parseFloat(one.style.getPropertyValue("--v")), parseFloat(one.style.getPropertyValue("--f"))])"""
    for own in (True, False):
        for n, each in enumerate(data["features"]):
            cell = each["cells"][1]
            assert window.text_content("#name").startswith(each["name"])
            window.keyboard.press("ArrowDown")
            for key, column in (("chosen", 3), ("reported", 4)):
                figure = window.text_content(f"[aria-selected=true] td:nth-child({column + 1})")
                assert figure == ("–" if cell[key] is None else f"{cell[key]:.2f}".replace("-", "−"))
            values = np.array(cell["values"])
            share = np.clip((values - cell["mean"]) / (2 * cell["deviation"]) if own else values, -1, 1)
            sides, strengths, bars = np.array(window.evaluate(colours)).T
            assert np.allclose(sides * strengths, 100 * share, atol=0.51)
            assert np.allclose(bars, np.array(each["values"]) / each["most"], atol=0.0051)
            window.click(f"#features [data-feature='{(n + 1) % len(NAMES)}']")
        window.keyboard.press("c")
    window.hover("#text [data-t='0']")
    assert f"character {data['start']}: tanh(c) = " in window.text_content("#here")
    assert_fits(window, 1280, 700, 360)

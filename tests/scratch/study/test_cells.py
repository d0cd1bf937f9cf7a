"""What cells keep track of: the features by other definitions, the activations step by step, and what chance finds."""

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
from rich.console import Console

from reference.equivalence import assert_close
from scratch import nn
from scratch.study import activations, features, rankings, subjects
from scratch.study.cells import Findings, Ranking, chance_levels, correlations, study
from scratch.study.cells_features import MEANINGS, syntax
from scratch.study.cells_report import NO_BETTER, ROWS, SHOWN_CELLS, WIDTH, glyph, page, picture, rows, show, stretch
from scratch.study.trace import trace
from scratch.text import CharacterModel, Settings, Vocabulary
from scratch.types import Array
from tests.scratch.study.conftest import assert_fits, embedded

NAMES = list(MEANINGS)
CODE = 'def f(x):\n    """It\'s </script><!-- &amp;."""\n\treturn [x, (1, "a")]  # é𝒳\u2028\r\n\n' * 12

texts = st.text("ab'\"\\#()[} \t\n", max_size=60)
seeds = st.integers(0, 2**32 - 1)


@given(texts, st.integers(0, 60))
def test_features_do_not_look_ahead_and_lines_are_those_of_the_text(text: str, length: int) -> None:
    assert np.array_equal(features(text[:length]), features(text)[:length])
    lines = [text[: t + 1].split("\n")[-1] for t in range(len(text))]
    depths = [len(re.match(r"[ \t]*", line)[0].expandtabs(8)) for line in lines]
    assert features(text)[:, :2].T.tolist() == [list(map(len, lines)), depths]


@pytest.mark.parametrize("module", ["textwrap", "shlex", "tokenize", "heapq"])
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
    for name, one, other in zip(NAMES[2:], syntax(text), (quotes, comments, brackets), strict=True):
        wrong = np.flatnonzero(one != other)
        assert not len(wrong), f"{name} from character {wrong[0]} on: {text[: wrong[0] + 1][-80:]!r}"


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


@st.composite
def models(draw: st.DrawFn) -> tuple[CharacterModel, Array]:
    rng = np.random.default_rng(draw(seeds))
    cell, layers, width = draw(st.sampled_from(["RNN", "LSTM"])), draw(st.integers(1, 3)), draw(st.sampled_from([0, 3]))
    model = CharacterModel(cell, 5, draw(st.integers(1, 6)), layers, width, 0.5, np.float64, rng)
    for parameter in model.parameters():
        parameter.data = 3 * parameter.data
    return model, rng.integers(0, 5, draw(st.integers(1, 12)))


@given(models())
def test_activations_are_those_of_the_steps_of_a_pass(problem: tuple[CharacterModel, Array]) -> None:
    model, indices = problem
    steps = trace(model.eval().rnn, model.embed(indices[None])).steps
    held = np.array([[step.state[-1][:, 0] for step in layer] for layer in steps]).swapaxes(0, 1)  # T, L, H
    theirs = np.tanh(held) if "c" in model.rnn.cell.state else held
    read: list[int] = []
    logits, _ = model.eval()(indices[None])
    assert_close({"held": activations(model.train(), indices, read.append)}, {"held": theirs})
    assert sum(read) == len(indices)
    assert model.rnn.training  # as before
    assert all(parameter.grad is None for parameter in model.parameters())
    model.backward(logits)  # the forward pass before can still be undone


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
    found = rankings(y, x, seed)
    chosen = found.chosen[feature]
    assert found.order[feature, 0] == 7 and found.tracked[feature]
    assert np.allclose([chosen[7], found.of_best(found.reported)[feature]], sign)
    assert abs(chosen[found.order[feature]]).tolist() == sorted(abs(chosen), reverse=True)


@given(seeds)
def test_correlation_is_numpys_and_knows_no_units(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = rng.standard_normal((300, 2)), rng.standard_normal((300, 4))
    assert_close({"r": correlations(y, x)}, {"r": np.corrcoef(y.T, x.T)[:2, 2:]})
    scales = rng.choice([-1, 1], 4) * 10 ** rng.uniform(-200, 200, 4)
    assert_close({"r": correlations(y, x * scales)}, {"r": correlations(y, x) * np.sign(scales)})
    found = rankings(y, x, 0)
    for r, half in (found.chosen, slice(150)), (found.reported, slice(150, None)):
        assert_close({"half": r}, {"half": np.corrcoef(y[half].T, x[half].T)[:2, 2:]})


def test_what_does_not_change_has_no_correlation() -> None:
    y, x = problem(0)
    y[:, 1], x[:, 0] = 0.1, 0.1  # whose means are not exact
    found = rankings(y, x)
    assert np.isnan(found.chosen[1]).all() and np.isnan(found.level[1])
    assert found.absent.tolist() == np.isnan(found.level).tolist() == [False, True, False, False, False]
    assert not found.tracked[1]
    assert np.isnan(found.chosen[0, 0]) and found.order[0, -1] == 0
    dead = rankings(y, np.full_like(x, 0.1))
    assert dead.absent.all() and not dead.tracked.any()


def test_chance_is_what_it_says() -> None:
    """Cells that have nothing to do with a feature are above chance about one time in twenty."""
    problems = [(seed, *problem(seed)) for seed in range(30)]
    above = [np.abs(correlations(y, x)).max(axis=1) > chance_levels(y, x, seed) for seed, y, x in problems]
    # 150 features at 5 %: 7.5 expected; the factor of two is for shifts that overlap, as there are only 600 places
    assert 1 <= np.sum(above) <= 21
    assert sum(rankings(y, x, seed).tracked.sum() for seed, y, x in problems[:10]) <= 3


@pytest.fixture(scope="module")
def found() -> Findings:
    vocabulary = Vocabulary.of(CODE)
    model, drawn = (CharacterModel("LSTM", len(vocabulary), 6, 2, rng=seed) for seed in (0, 1))
    return study(model, drawn, vocabulary.encode(CODE), CODE, "<b>&", "<i>text", seed=0)


def test_the_page_holds_what_was_found(found: Findings) -> None:
    content, ranking = page(found, 300), found.ranking
    data = embedded(content)
    where = slice(data["start"], data["start"] + 300)
    assert data["text"] == CODE[where] and data["origin"] == "<b>&" and data["held"] == "tanh(c)"
    assert not re.search(r"(?:src|href)=(?!\"data:,)|https?:|@import|url\(", content)
    for n, shown in enumerate(data["features"]):
        assert shown["values"] == found.features[where, n].tolist()
        assert shown["level"] == pytest.approx(ranking.level[n], rel=1e-5)
        assert len(shown["cells"]) == SHOWN_CELLS
        for cell, k in zip(shown["cells"], ranking.order[n], strict=False):
            assert (cell["layer"], cell["unit"]) == divmod(k, 6)
            assert cell["values"] == pytest.approx(found.activations[where, cell["layer"], cell["unit"]], abs=5.1e-4)
            assert cell["reported"] == pytest.approx(ranking.reported[n, k], rel=1e-5)
    untracked = found._replace(ranking=ranking._replace(level=np.full(5, np.nan)))
    assert [shown["level"] for shown in embedded(page(untracked, 300))["features"]] == [None] * 5


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
    assert [glyph(character) for character in "a$\n\t\r\x00\xad\u202e漢"] == list("a$↵→←□□□□")
    nothing = found._replace(ranking=found.ranking._replace(chosen=np.full((5, 12), np.nan)))
    (panel, _) = picture(nothing).axes
    assert [text.get_text() for text in panel.texts] == ["There is nothing to track in this text."]


def test_a_text_that_was_cut_off_begins_anew() -> None:
    for rest, expected in (
        ('cut" off\n\n\ndef f():\n    pass\n\n\n', "def f():\n    pass\n\n\n"),
        ("one line\n" * 3 + "\n\n\nend", "one line\n" * 3 + "\n\n\nend"),
    ):
        assert subjects.end_of("." * len(rest) + rest, Settings(held_out=0.5)) == expected


def test_the_verdict_is_that_of_the_numbers(found: Findings, capsys: pytest.CaptureFixture[str]) -> None:
    r, nothing = np.array([[-0.5], [0.5], [0.1], [np.nan], [0.0]]), np.nan
    ranking = Ranking(np.zeros((5, 1), int), r, r, np.array([0.2, 0.2, 0.2, nothing, 0.1]))
    show(
        Console(width=200),
        found._replace(ranking=ranking, as_drawn=np.array([0.5 - 2 * NO_BETTER, -0.48, 0.1, nothing, 0])),
    )
    printed = capsys.readouterr().out
    assert "Above chance: line position, indentation.\nNot above: quotes, brackets.\n" in printed
    assert "in both: comments.\nAbout as good in a model that has learned nothing: indentation.\n" in printed


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

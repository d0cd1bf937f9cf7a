"""The commands of the studies: what they write, and how they refuse what they cannot use."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from matplotlib.figure import Figure

from scratch import terminal
from scratch.study import cells_report, commands, gradients, gradients_report
from scratch.study.cells_features import MEANINGS
from scratch.study.commands import CELLS, LONGEST, MOST_CHECKPOINTS
from scratch.text import Settings, Training, write
from tests.scratch.study.conftest import embedded

CODE = 'def f(x):\n    """It\'s </script><!-- &amp;."""\n\treturn [x, (1, "a")]  # é𝒳\u2028\r \n' * 72

SMALL = "--hidden-size 4 --batch-size 2 --updates 2 --runs 2 --plot {out}/p.png"

QUICK = {
    "cells": "--out {out}/o.html --plot {out}/p.png",
    "explore": "--out {out}/o.html",
    "gradients": "--hidden-size 4 --draws 1 --plot {out}/p.png",
    "memory": f"{SMALL} --length 2 --length 3 --processes 1",
    "truncation": f"{SMALL} --steps 8",
}
"""Options that make each command quick."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, checkpoints after a step of training, and what is wrong with such files."""
    folder = tmp_path_factory.mktemp("files")
    code = folder / "code.py"
    code.write_text(CODE, encoding="utf-8", newline="")

    def checkpoint(name: str, text: str, source: Path, **options: Any) -> None:
        training = Training(Settings(batch_size=2, length=8, **options), text, [str(source)])
        training.advance()
        write(folder / name, training.checkpoint())

    for cell in ("LSTM", "RNN"):
        checkpoint(cell, CODE, code, cell=cell, hidden_size=5, num_layers=2)
    checkpoint("hello", "hello world" * 9, code, hidden_size=2)
    checkpoint("gone", CODE, folder / "gone.py", hidden_size=2)
    checkpoint("changed", CODE[:-1], code, hidden_size=2)
    (folder / "damaged").write_bytes((folder / "RNN").read_bytes()[:-1] + b"?")
    (folder / "short").write_bytes((folder / "RNN").read_bytes()[:100])
    texts = {"plain": "fx" * 200, "unknown": "q" * 300, "few": "a" * 199, "eight": "abcdefgh", "same": "a" * 22}
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
    (folder / "no.txt").write_bytes(b"\xff\xfe" * 200)
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path) -> Callable[..., tuple[int, str, str]]:
    """Runs a command as the terminal does. {out} is an empty folder, {…} a file of `folder`.

    Returns exit status, standard output with single spaces, and standard error.
    """

    def runs(name: str, *arguments: str) -> tuple[int, str, str]:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        app.command()(getattr(commands, name))
        places = {"out": str(tmp_path), "folder": str(folder)}
        filled = [
            re.sub(r"{(.*?)}", lambda part: places.get(part[1], str(folder / part[1])), argument)
            for argument in (*QUICK[name].split(), *arguments)
        ]
        status = terminal.run(lambda: app(filled, standalone_mode=False), "scratch")
        out, error = capsys.readouterr()
        return status, " ".join(out.split()), error

    return runs


REFUSED = {
    "cells": [
        ("{damaged}", "damaged"),
        ("{none}", "cannot read"),
        ("{folder}", "got a folder"),
        ("{code.py}", "no checkpoint"),
        ("{gone}", "there is no file"),
        ("{changed}", "is not what the model was trained on any more"),
        ("{RNN} --text {none}", "cannot read"),
        ("{RNN} --text {no.txt}", "UTF-8"),
        ("{RNN} --text {unknown.txt}", "got 'q' in unknown.txt (the model's vocabulary)"),
        ("{RNN} --text {few.txt}", "at least 200 characters in few.txt, got 199"),
        ("{RNN} --characters 199", "characters"),
        ("{RNN} --out {folder}", "it is a folder"),
        ("{RNN} --out {RNN}", "different files"),
        ("{RNN} superfluous", "superfluous"),
    ],
    "explore": [
        ("--string ", "2 to 100 characters, got 0"),
        ("--string a", "2 to 100 characters, got 1"),
        (f"--string {'a' * (LONGEST + 1)}", "got 101"),
        ("--string a\udcff", "Unicode"),
        ("--string hex --checkpoint {hello}", "got 'x' (the model's vocabulary)"),
        ("--string hello --checkpoint {damaged}", "damaged"),
        ("--string hello --checkpoint {short}", "expected a safetensors file"),
        ("--string hello --checkpoint {none}", "cannot read"),
        ("--string hello --checkpoint {folder}", "got a folder"),
        ("--string hello" + " --checkpoint {hello}" * (MOST_CHECKPOINTS + 1), f"at most {MOST_CHECKPOINTS}"),
        ("--string hello --checkpoint {hello} --out {hello}", "different files"),
        ("--out {folder}", "it is a folder"),
        ("--out {out}/no/such/page.html", "no folder"),
    ],
    "gradients": [
        ("--radius 0", "above 0"),
        ("--radius nan", "above 0"),
        ("--radius 100 --steps 200", "range of float64"),
    ],
    "memory": [("--length 1", "length"), ("--runs 0", "runs")],
    "truncation": [
        ("{none}", "cannot read"),
        ("{no.txt}", "UTF-8"),
        ("{eight.txt}", "more than 8 characters"),
        ("{same.txt}", "2 different"),
    ],
}
for drawing in ("cells", "gradients", "memory", "truncation"):
    REFUSED[drawing] += [("--plot x.gif", ".png"), ("--plot no/such/x.png", "no folder")]


@pytest.mark.parametrize(
    ("command", "arguments", "message"), [(name, *each) for name, refused in REFUSED.items() for each in refused]
)
def test_bad_input_is_one_line_and_nothing_written(
    run: Any, tmp_path: Path, folder: Path, command: str, arguments: str, message: str
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    status, printed, error = run(command, *arguments.split(" "))
    assert (status, printed, error.count("\n")) == (2, "", 1)
    assert message in error
    assert not list(tmp_path.iterdir()) and before == {path: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        ("memory", "", ("adding problem", "copy task", "0.167", "1.39", "within 2 updates", "LSTM, forget bias 3")),
        ("truncation", "{code.py} --runs 1", ("weights as drawn", "after 2 updates", "over 8 steps", "2 sequences")),
        ("gradients", "--trainings 1", ("RNN relu", "b_f = −2", "exceeded in 0 of 32 products", "not clipped")),
    ],
)
def test_figures_and_a_picture_come_out(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, arguments: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.setattr(gradients.clipping, "__kwdefaults__", gradients.clipping.__kwdefaults__ | {"updates": 60})
    few = ("--radius", "0.5", "--radius", "1.5", "--steps", "8") if command == "gradients" else ()
    status, printed, error = run(command, *few, *arguments.split())
    assert (status, error.strip()) == (0, "")
    assert all(words in printed for words in expected)
    (plot,) = tmp_path.iterdir()
    assert plot.stat().st_size > 10_000
    if command == "gradients":
        monkeypatch.setattr(gradients_report, "picture", lambda found, trainings: Figure())
        assert "not clipped" not in run(command, *few, "--trainings", "0", "--orthogonal")[1]


def test_whoever_stops_reading_has_the_picture_all_the_same(run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    def closed(*_: object) -> None:
        raise SystemExit(1)  # as rich does where a pipe is closed

    monkeypatch.setattr("scratch.study.truncation.show", closed)
    with pytest.raises(SystemExit):
        run("truncation", "{code.py}", "--runs", "1")
    assert (tmp_path / "p.png").exists()


def data_of(folder: Path) -> dict[str, Any]:
    """What is in the page that a command has written."""
    return embedded((folder / "o.html").read_text(encoding="utf-8"))


def test_explore_trains_a_model_of_each_kind_or_shows_checkpoints(run: Any, tmp_path: Path) -> None:
    assert run("explore", "--string", "ab", "--out", "/dev/null")[0] == 0
    for text in ("hello world", "aa", "äö€\n\t𝒳"):
        status, printed, error = run("explore", "--string", text)
        assert (status, error) == (0, "") and "o.html" in printed
        assert data_of(tmp_path)["text"] == text
        models = data_of(tmp_path)["models"]
        assert [model["cell"] for model in models] == list(CELLS)
        assert all(len(model["losses"]) == len(text) - 1 for model in models)
        assert all(model["loss"] <= np.log(len(set(text))) for model in models)  # better than a guess
    for names in (["LSTM"], ["LSTM", "RNN"]):
        arguments = [part for name in names for part in ("--checkpoint", f"{{{name}}}")]
        assert run("explore", "--string", "def", *arguments)[0] == 0
        models = data_of(tmp_path)["models"]
        assert [model["cell"] for model in models] == names
        assert {(len(model["layers"]), model["hidden_size"]) for model in models} == {(2, 5)}


@pytest.mark.parametrize(("command", "more"), [("explore", ("--string", "abba")), ("cells", ("--steps", "2"))])
def test_the_same_seed_gives_the_same_page(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, more: tuple[str, ...]
) -> None:
    """Without a checkpoint, `cells` trains a model on the standard library."""
    monkeypatch.setattr("scratch.text.train_command.standard_library", lambda: CODE)
    monkeypatch.setattr(cells_report, "picture", lambda found: Figure())
    pages = []
    for seed in ("1", "1", "2"):
        assert run(command, *more, "--seed", seed)[0] == 0
        pages.append((tmp_path / "o.html").read_text(encoding="utf-8"))
    assert pages[0] == pages[1] != pages[2]
    if command == "cells":
        assert "trained for 2 steps on Python's standard library" in embedded(pages[0])["origin"]


def test_cells_writes_a_page_and_a_picture(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_report, "ROWS", 2)  # fewer letters to draw
    status, printed, _ = run("cells", "{LSTM}", "--plot", "{out}/p.svg")
    data = data_of(tmp_path)
    assert (status, data["held"], data["layers"], data["units"]) == (0, "tanh(c)", 2, 5)
    assert 400 < data["characters"] <= len(CODE) // 10 and "10 cells as tanh(c)" in printed
    assert "</svg>" in (tmp_path / "p.svg").read_text(encoding="utf-8")

    monkeypatch.setattr(cells_report, "picture", lambda found: Figure())
    status, printed, _ = run("cells", "{RNN}", "--text", "{code.py}", "--characters", "500", "--shown", "50")
    data = data_of(tmp_path)
    assert (status, data["held"], data["characters"], len(data["text"])) == (0, "h", 500, 50)
    assert all(name in printed for name in MEANINGS) and "500 characters of code.py" in printed

    status, printed, _ = run("cells", "{LSTM}", "--text", "{plain.txt}")
    assert status == 0
    assert "Nothing to track in one half of this text or in both: indentation, quotes, comments, brackets." in printed

"""Training on text: both libraries start from the same weights, and their losses say so."""

from pathlib import Path

import pytest

from benchmarks import text
from benchmarks.report import TABLES
from benchmarks.timing import Effort
from scratch.text import Settings

SMALL = {
    "LSTM": Settings(hidden_size=5, num_layers=2, batch_size=2, length=7),
    "RNN": Settings(cell="RNN", hidden_size=4, embedding_size=3, batch_size=3, length=5),
}
EFFORT = Effort(passes=2, fewest=2, least=0.0)


def test_both_libraries_train_the_same_model(tmp_path: Path) -> None:
    told: list[str] = []
    rows = text.measure(SMALL, "hello world, hello text. " * 20, tmp_path, 1, EFFORT, told.append)
    assert [row.name for row in rows] == list(SMALL) and told == [*["LSTM"] * 4, *["RNN"] * 4] * 2
    for row in rows:
        assert len(row.losses["scratch"]) == len(row.losses["PyTorch"]) == text.CHECKED
        assert 0 < row.difference < 1e-4, "two libraries, the same losses but for rounding"
        assert row.speed.low < row.speed.median < row.speed.high
        found = row.as_json()
        for library in ("scratch", "PyTorch"):
            assert [len(one) for one in row.seconds[library]] == [2, 2]
            characters = found[library]["characters a second"] * row.step(library).median
            assert characters == pytest.approx(row.settings.batch_size * row.settings.length, rel=1e-3)
            assert 0 < found[library]["share of reading"] < 1
    assert len(TABLES["text"]({"rows": [row.as_json() for row in rows]})[0].rows) == 2


def test_other_losses_show() -> None:
    row = text.Measured("made up", Settings())
    row.losses = {"scratch": [3.0, 2.0], "PyTorch": [3.0, 2.5]}
    assert row.difference == pytest.approx(0.2) and row.difference > text.TOLERANCE

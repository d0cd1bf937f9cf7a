"""Grading: what becomes of every kind of submission, and that none writes its own grade."""

import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from reference import grade
from reference.grade_command import remarks
from reference.grade_source import cell_of, look
from reference.stages import stages
from reference.stages.remote import Limits, Submission
from reference.stages.worker import decoded, encoded

from .carried import Command
from .planted_stages import EVERY
from .submissions import FULL, HOSTILE, KINDS, LSTM, NOT_GRADED, REFUSED
from .test_stages import report_of, source

WITHOUT_TORCH = """
import sys
from reference.__main__ import main
sys.modules["torch"] = None
sys.argv[1:] = ["check", "--candidate", "in/one factor/my_lstm.py"]
assert main() == 1
print("GRADES")
sys.argv[1:] = "grade in --limit 2 --seed 8 --json out.json --csv out.csv".split()
sys.exit(main())
"""


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """All kinds at once: the command's status, what it printed, the rows of both files. PyTorch is not there."""
    folder = tmp_path_factory.mktemp("grade")
    for name, (text, *_, file) in (KINDS | {name: (text, "my_lstm.py") for name, text in HOSTILE.items()}).items():
        write(folder / "in" / name / file, text)
    environment = os.environ | {"PYTHONPATH": str(Path(grade.__file__).parents[1])}
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    checked, out = done.stdout.split("GRADES\n")
    assert "a factor is missing" in checked
    all_of_it = json.loads((folder / "out.json").read_text())
    rows = {Path(row["file"]).parent.name: row for row in all_of_it["submissions"]}
    table = list(csv.DictReader((folder / "out.csv").read_text().splitlines()))
    return SimpleNamespace(status=done.returncode, out=out, json=all_of_it, rows=rows, csv=table)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_graded_and_told(run: SimpleNamespace, name: str) -> None:
    row, kind = run.rows[name], KINDS[name]
    assert (row["status"], row["points"]) == (kind.status, kind.points), row
    assert kind.told in "; ".join(remarks(row))


@pytest.mark.parametrize("name", HOSTILE)
def test_none_has_points_without_the_work(run: SimpleNamespace, name: str) -> None:
    row = run.rows[name]
    assert row["points"] == 0 and row["status"] != FULL
    if name == "asks for the textbook wherever it may be":
        assert [what for what in REFUSED if not any(told.startswith(what) for told in row["refused"])] == []
        assert row["status"] != NOT_GRADED  # its judge has gone on


def test_the_verdict_counts_all_and_both_files_say_the_same(run: SimpleNamespace) -> None:
    statuses = [row["status"] for row in run.rows.values()]
    assert len(statuses) == len(KINDS) + len(HOSTILE)
    failed = statuses.count(NOT_GRADED)
    first = " ".join(run.out.split("\n\n")[0].split())
    assert first == run.json["verdict"]
    assert first.startswith(f"{len(statuses) - failed} graded: {statuses.count(FULL)} with full marks, ")
    assert first.endswith(f"; {failed} could not be graded") and run.status == 1
    assert all(len(line) <= 80 for line in run.out.splitlines())
    assert [(row["file"], int(row["points"]), row["status"]) for row in run.csv] == [
        (row["file"], row["points"], row["status"]) for row in run.json["submissions"]
    ]
    assert run.rows["shows its stack"]["refused"] == []
    row = run.rows["writes"]
    assert row["output"]["bytes"] == 10_000_010 and 0 < len(row["output"]["text"]) <= 4000
    assert row["files"] == [{"name": "mine.txt", "bytes": 1}]
    details = run.rows["one factor"]["stages"][1]["details"]
    assert any("should be" in line for line in details) and any("the textbook: d_c_prev" in line for line in details)


def test_what_may_be_used_counts(tmp_path: Path, command: Command) -> None:
    write(tmp_path / "a" / "my_lstm.py", "from scratch.textbook.lstm import *\n")
    write(tmp_path / "=b()" / "my_gru.py", LSTM)
    again = tmp_path / "a" / ".." / "=b()" / "my_gru.py"
    reading, writing = os.pipe()
    options = f"--allow scratch --cell lstm --jobs 1 --seed 8 --csv /dev/fd/{writing}".split()
    status, out, error = command("grade", tmp_path, *options, again)
    assert status == 0, error
    assert b"'=b()/my_gru.py,LSTM,full marks,100" in os.read(reading, 10**4)  # no formula for a spreadsheet
    assert out.startswith("2 graded: 2 with full marks") and "a/my_lstm.py" in out and "=b()/my_gru.py" in out


REFUSALS = {
    "nowhere": "there is no nowhere",
    "*.txt": "there is no *.txt",
    "empty": "there is no .py in the folder",
    "/dev/null": "neither a file nor a folder",
    "my_lstm.py --cell cnn": "expected the --cell rnn, lstm, gru, got 'cnn'",
    "my_lstm.py --limit 0": "--limit",
    "my_lstm.py --limit nan": "--limit",
    "my_lstm.py --csv my_lstm.py": "over a submission",
    "my_lstm.py --csv a --json a": "the other file",
    "my_lstm.py --json nowhere/a.json": "cannot write --json",
    "": "FILE",
}


def test_a_wrong_command_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "my_lstm.py", LSTM)
    for arguments, told in REFUSALS.items():
        status, out, error = command("grade", *arguments.split())
        assert status == 2 and told in error and not out, arguments


def test_an_interrupted_run_says_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    seeds, drawn = [], []

    def fair(seed: int) -> bool:
        drawn.append(seed)
        return len(drawn) != 1

    def interrupted(paths: list[Path], options: grade.Options, *_: object) -> Iterator[tuple[Path, grade.Row]]:
        seeds.append(options.seed)
        yield paths[1], grade.new_row(FULL)
        os.kill(os.getpid(), signal.SIGTERM)
        yield paths[0], grade.new_row(FULL)

    assert grade.fair(8) and not grade.fair(6)
    monkeypatch.setattr(grade, "fair", fair)
    monkeypatch.setattr("reference.grade_command.graded", interrupted)
    for name in ("a", "b", "c"):
        write(tmp_path / name / "my_lstm.py", LSTM)
    for more in ([], [], ["--seed", "5"]):
        status, out, _ = command("grade", tmp_path, "--json", tmp_path / "out.json", *more)
        assert status == 130 and out.startswith("Interrupted: 1 of 3 are done. 1 graded: 1 with full marks")
        rows = json.loads((tmp_path / "out.json").read_text())["submissions"]
        assert [row["file"] for row in rows] == ["b/my_lstm.py"]
    assert seeds == [*drawn[1:], 5] and len(set(drawn)) == 3  # nobody knows the numbers before; the first was not fair


def test_a_run_that_ends_early_leaves_no_process(tmp_path: Path) -> None:
    path = write(tmp_path / "my_lstm.py", "import time; time.sleep(99)\n")
    workers = set[str]()

    def tick() -> None:
        (judge,) = multiprocessing.active_children()
        workers.update(Path(f"/proc/{judge.pid}/task/{judge.pid}/children").read_text().split())
        if workers:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(grade.graded([path], grade.Options(None, Limits(60), 0, (), str(tmp_path)), 1, tick))
    assert not multiprocessing.active_children()
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_a_judge_that_is_killed_takes_no_other_submission_with_it(tmp_path: Path) -> None:
    """Each is judged again alone. Where the judge of one is killed as well, its row says so."""
    paths = [write(tmp_path / name / "my_lstm.py", LSTM) for name in ("a", "b")]
    killed = set[int | None]()

    def tick() -> None:
        for judge in multiprocessing.active_children():
            if len(killed | {judge.pid}) <= 2:
                killed.add(judge.pid)
                judge.kill()

    rows = dict(grade.graded(paths, grade.Options("lstm", Limits(), 0, (), str(tmp_path)), 1, tick))
    ended = 0, "the process that was to judge it ended"
    assert sorted((row["points"], row["problem"]) for row in rows.values()) == [ended, (100, "")]


def test_a_process_of_its_own_changes_nothing_in_what_is_found(tmp_path: Path) -> None:
    for planted in {
        each.function: each for each in EVERY if each.cell == "rnn" and "backward" in each.function
    }.values():
        path = write(tmp_path / f"my_{planted.cell}.py", source(planted.cell, *planted.replacements))
        submission = Submission(path, Limits())
        try:
            submission.load()
            assert list(stages(submission, planted.cell)) == list(report_of(planted))
        finally:
            submission.stop()


# What goes between the two processes, and what a text tells.


def test_what_is_sent_arrives_and_what_cannot_be_sent_is_told() -> None:
    numbers = [np.array([0, 1, 100], f"{order}{code}") for code in "?bhilBHILefdg" for order in "<>"]
    numbers += [np.array([np.nan, np.inf, -0.0, 5e-324]), np.zeros((2, 0)), np.array(1.5), np.ones((2, 3, 1)).T]
    value = [numbers, (None, True, 0, -(2**61), 0.1, -0.0, 1e308, np.inf, np.nan), {"": {"ä": ([], (), {})}}]
    assert repr(decoded(json.loads(json.dumps(encoded(value))))) == repr(value)
    deep: list[Any] = []
    for _ in range(30):
        deep = [deep]
    others = (object(), "text", np.zeros(2**20 + 1), deep, {1: 2}, np.float64(3))
    told = [str(decoded(encoded(each))) for each in others]
    assert told[:3] == ["a object", "a str", "a ndarray of shape (1048577,)"] and "something too large" in told[3]
    assert told[4:] == ["{'1': 2}", "3.0"]
    arrays = [["|O8", [1], "AAAAAAAAAAA="], ["<f8", [2], "AAAAAAAAAAA="], ["<f8", [1]]]
    for message in [*({"array": array} for array in arrays), {"pickle": "gASVAAAA"}, {"tuple": None}, {}, "text"]:
        with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
            decoded(message)


CELL_OF = {
    ("my_lstm.py", "# a gru"): "lstm",
    ("rnn_lstm.py", ""): "lstm",
    ("work.py", "# a gated recurrent unit, an RNN"): "gru",
    ("work.py", "# a GRU, simpler than an LSTM"): None,
    ("work.py", "# an Elman network"): "rnn",
    ("work.py", "x = 1"): None,
    ("work.py", "# a GRU, simpler than an LSTM\nh = (1 - z) * n"): "gru",
    ("rnn/work.py", "x = 1"): "rnn",
    ("gru/work.py", "d_c_prev = d_c * f"): "lstm",
}
USES = {
    "import numpy as np\nimport math, os.path\nfrom collections import abc": [],
    "import torch.nn as nn": ["torch.nn"],
    "def f():\n    from scratch import nn": ["scratch.nn"],
    "from scratch.textbook import lstm": ["scratch.textbook.lstm"],
    "m = __import__('jax')\nimportlib.import_module('keras.layers')": ["jax", "keras.layers"],
    "if __name__ == '__main__':\n    import torch\nif 1:\n    import jax": ["jax"],
    "if '__main__':\n    import torch": ["torch"],
    "if __name__ == '__main__':\n    pass\nelse:\n    import torch": ["torch"],
    "a = 1e-30j": ["complex"],
    "a = x.astype(np.complex128)": ["complex"],
}


def test_a_text_and_its_name_tell_the_cell_and_what_is_used() -> None:
    assert {(name, text): cell_of(Path(name), text.encode()) for name, text in CELL_OF} == CELL_OF
    assert {text: look(text.encode())[0] for text in USES} == USES
    assert look("# coding: latin-1\n# M\xfcller".encode("latin-1")) == ([], True)

"""The commands train and sample: what they write, how they end, and what they refuse without a trace."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from itertools import count, pairwise
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from rich.console import Console

from scratch import __main__ as door
from scratch.text import Checkpoint, Settings, Training, built, read, write
from scratch.text.checkpoint import arrays_of
from scratch.text.display import Display, loss_curve, pace
from scratch.text.training import resumed_anew
from tests.strategies import THOROUGH

from .test_settings import WRONG
from .trainings import advanced, assert_same_bits

TEXT = "the quick brown fox jumps over the lazy dog\n" * 20
SMALL = ("--hidden-size", "4", "--batch-size", "2", "--length", "5", "--dropout", "0.2", "--num-layers", "2")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command in a folder with a text: exit status, standard output and standard error.

    No picture is drawn, and no trial of the threads is made: that takes most of a second.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("scratch.processes.TRIAL", 0.0)
    monkeypatch.setattr("scratch.text.train_command.loss_curve", lambda training, path, title: path.touch())
    Path("text").write_bytes(TEXT.encode())

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["scratch", *arguments])
        status = door.main()
        return status, *capsys.readouterr()

    return command


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in a folder, with its permissions and its content."""
    paths = sorted(folder.rglob("*"))
    return {str(path): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"") for path in paths}


def test_a_training_is_written_drawn_resumed_and_sampled(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, error = run("train", "text", "--steps", "4", *SMALL, "--validate-every", "2")
    assert status == 0
    assert "written: model.safetensors, model.png" in out and "validation" in out
    assert error.count("validation") == 2
    assert read("model.safetensors").step == 4
    with monkeypatch.context() as patched:
        patched.setattr("scratch.text.train_command.loss_curve", loss_curve)
        status, out, _ = run("train", "--resume", "model.safetensors", "--steps", "9", "--plot", "curve.svg")
    assert status == 0 and "sample model.safetensors" in out
    assert Path("curve.svg").read_bytes().startswith(b"<?xml")
    assert read("model.safetensors").step == 9
    Path("whole").symlink_to("target")
    status, _, _ = run("train", "text", "--steps", "9", *SMALL, "--validate-every", "2", "--out", "whole")
    assert status == 0 and Path("whole").is_symlink() and Path("target").is_file()
    whole, parts = read("whole"), read("model.safetensors")
    assert_same_bits(whole, parts._replace(limits=whole.limits))
    sample = ("sample", "model.safetensors", "--prime", "the ", "--length", "9", "--top-k", "3")
    sampled = run(*sample)
    assert sampled[0] == 0 and sampled[2] == "" and sampled == run(*sample)
    assert len(sampled[1]) == 4 + 9 + 1 and sampled[1].startswith("the ")


@pytest.mark.parametrize(("text", "cell"), [("abab", "rnn"), ("aaaa", "LSTM"), ("aé🙂\x1b[31m[bold]\r\n\t\0", "lstm")])
def test_tiny_texts_are_learned(run: Run, text: str, cell: str) -> None:
    Path("tiny").write_bytes(text.encode())
    assert run("train", "tiny", "--steps", "2", "--cell", cell, "--hidden-size", "3")[0] == 0
    status, out, error = run("sample", "model.safetensors", "--length", "5", "--temperature", "0")
    assert (status, error) == (0, "")
    assert len(out) == 1 + 5 + 1


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what bad input is given beside. It never changes."""
    folder = tmp_path_factory.mktemp("crowded")
    (folder / "text").write_bytes(TEXT.encode())
    checkpoint = advanced(Settings(hidden_size=2), TEXT, 1).checkpoint()
    write(folder / "model", checkpoint._replace(sources=(str(folder / "text"),)))
    write(folder / "moved", checkpoint._replace(sources=("/missing\x1b[31m", "/dev/zero")))
    (folder / "damaged").write_bytes((folder / "model").read_bytes()[:-1] + b"?")
    (folder / "folder").mkdir()
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "empty").touch()
    (folder / "short").write_text("abc")
    (folder / "other").write_text(TEXT + "!")
    (folder / "accents").write_text(TEXT + "é")
    (folder / "latin").write_text(TEXT + "é", "latin-1")
    (folder / "picture.png").write_text("a picture")
    (folder / "link").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "fifo")
    return folder


BAD_SAMPLING = {"temperature": "-1 nan inf x", "top-k": "0 -1 1.5", "top-p": "0 -1 1.1 nan inf", "seed": "-1 x"}
BAD_VALUES: dict[str, dict[str, str]] = {
    "train text": {
        "steps": "0 -1 1.5 x",
        "epochs": "0 -1 nan inf x",
        "minutes": "0 -1 nan inf 1e999",
        "save-every": "-1 nan",
        "cell": "gpt rnncell",
        "optimizer": "lion",
        "dtype": "float16",
        "encoding": "latin-99",
        "out": f"missing/model text/model /proc/model.safetensors {'x' * 300} new.png model",
        "plot": "curve curve.xyz missing/curve.png /dev/null",
    },
    "train text ": {
        setting.replace("_", "-"): " ".join(str(value) for value in WRONG[setting] if type(value) is type(default))
        for setting, default in vars(Settings()).items()
        if type(default) in (int, float)
    },
    "train text  ": {"clip": "y", "hidden-size": f"{10**12} 1.5 x", "num-layers": f"{10**12}", "momentum": "0.9"},
    "train text --overwrite": {"out": "folder . fifo /dev/null loop text", "plot": "text"},
    "train": {"resume": "missing damaged text folder fifo loop ."},
    "sample model": BAD_SAMPLING | {"length": "-1 x", "prime": "ÄÖÜ"},
    "sample model --length 0": BAD_SAMPLING,
}
BAD = [
    *(f"train {name}" for name in ("missing", "folder", "binary", "empty", "short", "text missing", "text --size 3")),
    *(f"sample {name}" for name in ("", "missing", "folder", "fifo", "text", "empty", "damaged", "model model")),
    *("train text --steps", "train text --optimizer adagrad --momentum 0.9", "sample model --prime="),
    "train text --embedding-size 1000000000000000",  # too large for any memory
    "train --resume model --hidden-size 3",
    "train other --resume model --steps 3",
    "train other --resume model --new-text",
    "train accents --resume model --new-text --out new",
    "train text --new-text",
    "train --hidden-size 0",
    "train latin --out new",
    "train --resume moved --steps 3",
    "train --resume model --out picture.png",
    "train text --out new.svg --plot new.svg",
    "train missing --out link",
    *(
        f"{command.strip()} --{option} {value}"
        for command, options in BAD_VALUES.items()
        for option, values in options.items()
        for value in values.split()
    ),
]

QUOTED = {
    "train text --steps x": "expected a valid integer, got 'x'",
    "train text --steps 0": "expected a number greater than or equal to 1, got '0'",
    "train text --clip y": "expected a valid number, got 'y'",
    "train text --out missing/model": "cannot write --out",
}
assert QUOTED.keys() <= set(BAD)


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_refused_in_one_line_and_leaves_no_trace(
    run: Run, crowded: Path, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    monkeypatch.chdir(crowded)
    before = snapshot(crowded)
    status, out, error = run(*arguments.split())
    assert (status, out, error.count("\n")) == (2, "", 1), error
    assert error.startswith("scratch: ") and error.strip().isprintable()
    assert QUOTED.get(arguments, "") in error
    assert snapshot(crowded) == before
    assert Path("link").is_symlink()


def test_a_text_that_has_moved_is_found_again(run: Run, crowded: Path) -> None:
    Path("moved").write_bytes((crowded / "moved").read_bytes())
    assert run("train", "--resume", "moved", "text", "--steps", "2")[0] == 0
    assert run("train", "--resume", "moved", "--steps", "3")[0] == 0
    assert read("moved").step == 3


@pytest.mark.parametrize(
    ("rate", "steps", "said"),
    [
        ("1e37", "50", ""),
        ("1e5", "300", "at step 100, far above a guess"),
        ("1e5", "30", "at step 30, far above a guess"),
    ],
)
def test_a_training_that_diverges_says_so_and_keeps_the_last_good_checkpoint(
    run: Run, rate: str, steps: str, said: str
) -> None:
    status, out, error = run("train", "text", "--steps", steps, "--learning-rate", rate, *SMALL, "--save-every", "0")
    assert (status, out) == (1, "") and said in error
    assert "smaller learning rate" in error.splitlines()[-1] and "Warning" not in error
    checkpoint = read("model.safetensors")
    built(checkpoint)
    assert checkpoint.step < 30
    assert run("sample", "model.safetensors", "--length", "3")[0] == 0


def test_the_same_weights_begin_on_another_text(run: Run) -> None:
    assert run("train", "text", *SMALL, "--steps", "4")[0] == 0
    Path("other").write_text(TEXT[::-1])
    status, _, error = run("train", "other", "--resume", "model.safetensors", "--steps", "6")
    assert status == 2 and "--new-text" in error
    again = ("--resume", "model.safetensors", "--new-text", "--out", "new", "--steps")
    assert run("train", "other", *again, "1")[0] == 0
    before, after = read("model.safetensors"), read("new")
    assert (after.step, len(after.losses)) == (1, 1) and before.step == 4
    begun = resumed_anew(before, TEXT[::-1]).checkpoint()
    for name, value in arrays_of(before).items():
        assert name.partition(".")[0] in ("state", "history") or np.array_equal(arrays_of(begun)[name], value)
    assert begun.step == 0 and not begun.state and begun.digest == after.digest
    assert run("train", "--resume", "new", "--steps", "2")[0] == 0 and read("new").step == 2


def test_an_encoding_is_remembered_and_line_ends_are_told(run: Run) -> None:
    Path("latin").write_bytes(TEXT.replace("\n", "é\r\n").encode("cp1252"))
    status, out, error = run("train", "latin", *SMALL, "--steps", "1")
    assert status == 2 and "likely it is cp1252 (see --encoding)" in error
    status, out, error = run("train", "latin", "--encoding", "cp1252", *SMALL, "--steps", "1")
    assert status == 0 and "20 line ends of Windows" in error and "trained 1 step," in out
    for steps in ("2", "3"):
        assert run("train", "--resume", "model.safetensors", "--steps", steps)[0] == 0
    assert read("model.safetensors").vocabulary == "".join(sorted({*TEXT, "é"}))


def test_a_sample_in_a_file_is_utf_8_whatever_the_terminal_has(run: Run, tmp_path: Path) -> None:
    write("wide", advanced(Settings(hidden_size=2), "漢字é" * 20, 1).checkpoint())
    arguments = ("sample", "wide", "--prime", "漢é", "--length", "5")
    written, _ = started(tmp_path, *arguments, PYTHONIOENCODING="ascii").communicate()
    assert set(written) <= set("漢字é\n") and len(written) == 8


def test_elsewhere_than_on_a_terminal_a_line_comes_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0, *range(0, 36, 2)])  # it is looked at once or twice a step
    monkeypatch.setattr("scratch.text.display.perf_counter", lambda: next(times))
    training = advanced(Settings(hidden_size=2), TEXT, 1)
    with Display() as display:
        for _ in range(14):
            display.stepped(training)
    assert capsys.readouterr().err.count("step 1") == 2


@pytest.mark.parametrize("width", [80, 40])
def test_the_live_display_has_a_line_and_a_bar_that_fit_the_terminal(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    screen = Console(file=StringIO(), force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr("scratch.text.display.Console", lambda **_: screen)
    training = advanced(Settings(hidden_size=2), TEXT, 1)
    training.step, training.seconds, training.validations = 123456, 40000.0, [(1, 12.345)]
    training.limits = training.limits._replace(epochs=10**5)
    with Display() as display:
        display.show(training)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.file.getvalue()).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= width
    standing, below = next(pair for pair in pairwise(lines) if "step 123,456" in pair[0])
    assert "validation 12.345" in standing or (width == 40 and standing.rstrip().endswith("…"))
    assert "characters/s ·" in below and "left" in below


@pytest.mark.parametrize("options", [("--minutes", "1e308"), ("--epochs", "1e300")])
def test_a_limit_may_lie_far_away(run: Run, options: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines, times = list[str](), count(1e-5, 1e-5)

    def validated(display: Display, training: Training, sample: str) -> None:
        lines.append(pace(training))
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("scratch.text.training.perf_counter", lambda: next(times))
    monkeypatch.setattr(Display, "validated", validated)
    assert run("train", "text", *SMALL, "--validate-every", "1", *options)[0] == 130
    assert "left" not in lines[-1]


@pytest.mark.parametrize("command", [(), ("train",), ("sample",)])
def test_help_has_examples(run: Run, command: tuple[str, ...]) -> None:
    status, out, error = run(*command, "--help")
    assert (status, error) == (0, "")
    assert re.search(rf"\n *Examples:\n +python -m scratch {' '.join(command)}", out)


# Processes of their own, which are interrupted and killed.


def started(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    environment |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(door.__file__).parents[1])}
    command = [sys.executable, "-m", "scratch", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    return subprocess.Popen(command, cwd=folder, env=os.environ | environment, **pipes)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = monotonic() + 60
    while not condition() and process.poll() is None:
        assert monotonic() < end
        sleep(0.002)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_saves_and_says_how_to_go_on(run: Run, tmp_path: Path, number: int, status: int) -> None:
    path = tmp_path / "a model"
    process = started(tmp_path, "train", "text", *SMALL, "--out", path.name, "--minutes", "9")
    wait_for(lambda: path.exists() and path.stat().st_size > 0, process)
    sleep(0.05)
    process.send_signal(number)
    out, error = process.communicate()
    assert process.returncode == status, error
    assert "Traceback" not in error
    assert "-m scratch train --resume 'a model'" in out
    checkpoint = read(path)
    assert f"after step {checkpoint.step:,}" in out and checkpoint.step > 0
    assert run("sample", path.name, "--length", "3")[0] == 0
    assert run("train", "--resume", path.name, "--steps", str(checkpoint.step + 1))[0] == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a model", "a model.png", "text"]


def killed_and_resumed(folder: Path, steps: int, kills: int, seed: int) -> tuple[Checkpoint, list[int]]:
    """Train so many steps in processes that are killed so many times, at random moments, also while they start.

    Returns the last checkpoint, and after which step each process was killed.
    """
    rng, path, reached = np.random.default_rng(seed), folder / "killed.safetensors", list[int]()
    limits = ("--steps", str(steps), "--save-every", "0")
    first = ("train", "text", *SMALL, "--out", path.name, *limits)
    again = ("train", "--resume", path.name, *limits)
    for kill in range(kills):
        before = path.stat().st_ino if path.exists() else 0
        process = started(folder, *(again if path.exists() else first))
        if kill and rng.random() < 0.3:
            sleep(rng.uniform(0, 0.8))  # while it starts, most often
        else:
            wait_for(lambda before=before: path.exists() and path.stat().st_ino != before, process)
            sleep(rng.exponential(0.03))
        process.kill()
        _, error = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), error  # 0: it was too quick to be killed
        reached.append(read(path).step)
    process = started(folder, *again[:-1], "1000")
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert not list(folder.glob("*.partial")) and not list(folder.glob(".*"))
    return read(path), reached


@pytest.mark.parametrize("kills", [200 if THOROUGH else 2])
def test_a_training_that_is_killed_ends_with_the_same_bits(run: Run, tmp_path: Path, kills: int) -> None:
    steps = 100 * kills
    found, reached = killed_and_resumed(tmp_path, steps, kills, seed=0)
    assert reached == sorted(reached)
    assert run("train", "text", *SMALL, "--steps", str(steps), "--save-every", "1000", "--out", "whole")[0] == 0
    assert_same_bits(found, read("whole"))

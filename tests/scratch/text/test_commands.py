"""The commands train and sample: what they write, how they end, and what they refuse without a trace."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from itertools import count, pairwise
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
from rich.console import Console

from scratch import __main__ as door
from scratch.text import Settings, Training, read, write
from scratch.text.display import Display, loss_curve, pace
from scratch.text.settings import OPTIMIZERS
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

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["scratch", *map(str, arguments)])
        return door.main(), *capsys.readouterr()

    return command


def test_a_training_is_written_drawn_resumed_and_sampled(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, error = run("train", "text", "--steps", 4, *SMALL, "--validate-every", 2)
    assert status == 0
    assert "written: model.safetensors, model.png" in out and "validation" in out
    assert error.count("validation") == 2
    assert read("model.safetensors").step == 4
    with monkeypatch.context() as patched:
        patched.setattr("scratch.text.train_command.loss_curve", loss_curve)
        status, out, _ = run("train", "--resume", "model.safetensors", "--steps", 9, "--plot", "curve.svg")
    assert status == 0 and "sample model.safetensors" in out
    assert Path("curve.svg").read_bytes().startswith(b"<?xml")
    Path("whole").symlink_to("target")
    status, _, _ = run("train", "text", "--steps", 9, *SMALL, "--validate-every", 2, "--out", "whole")
    assert status == 0 and Path("whole").is_symlink() and Path("target").is_file()
    whole, parts = read("whole"), read("model.safetensors")
    assert_same_bits(whole, parts._replace(limits=whole.limits))
    sample = ("sample", "model.safetensors", "--prime", "the ", "--length", 9, "--top-k", 3)
    sampled = run(*sample)
    assert sampled[0] == 0 and sampled[2] == "" and sampled == run(*sample)
    assert len(sampled[1]) == 4 + 9 + 1 and sampled[1].startswith("the ")
    assert run(*sample, "--length", 0)[1] == "the \n"


@pytest.mark.parametrize("cell", ["rnn", "LSTM", "gru"])
def test_a_text_is_learned_and_written(run: Run, cell: str) -> None:
    Path("text").write_text("abracadabra." * 20)
    assert run("train", "text", "--steps", 150, "--cell", cell, "--hidden-size", 24, "--learning-rate", 0.02)[0] == 0
    status, out, error = run("sample", "model.safetensors", "--prime", "abrac", "--length", 19, "--temperature", 0)
    assert (status, error, out) == (0, "", "abracadabra." * 2 + "\n"), "the whole prime is read"


@pytest.mark.parametrize("text", ["abab", "aaaa", "aé🙂\x1b[31m[bold]\r\n\t\0"])
def test_tiny_texts_are_taken(run: Run, text: str) -> None:
    Path("tiny").write_bytes(text.encode())
    assert run("train", "tiny", "--steps", 2, "--hidden-size", 3)[0] == 0
    status, out, error = run("sample", "model.safetensors", "--length", 5, "--temperature", 0)
    assert (status, error, len(out)) == (0, "", 1 + 5 + 1)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what bad input is given beside. It never changes."""
    folder = tmp_path_factory.mktemp("crowded")
    texts = {"text": TEXT, "other": TEXT + "!", "accents": TEXT + "é", "short": "abc", "one": "ü", "empty": ""}
    for name, text in (texts | {"picture.png": "a picture"}).items():
        (folder / name).write_text(text, "utf-8")
    checkpoint = advanced(Settings(hidden_size=2), TEXT, 1).checkpoint()
    write(folder / "model", checkpoint._replace(sources=(str(folder / "text"),)))
    write(folder / "moved", checkpoint._replace(sources=("/missing\x1b[31m", "/dev/zero")))
    (folder / "damaged").write_bytes((folder / "model").read_bytes()[:-1] + b"?")
    (folder / "folder").mkdir()
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "latin").write_text(TEXT + "é", "latin-1")
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
    *(f"train {name}" for name in ("missing", "folder", "binary", "empty", "one", "short")),
    *(f"sample {name}" for name in ("", "missing", "folder", "fifo", "text", "empty", "damaged", "model model")),
    *(f"train text {more}" for more in ("missing", "--size 3", "--steps", "--optimizer adagrad --momentum 0.9")),
    "sample model --prime=",
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
    "train text --out picture.safetensors",
    "train text --out new.svg --plot new.svg",
    "train missing --out link",
    *(
        f"{command.strip()} --{option} {value}"
        for command, options in BAD_VALUES.items()
        for option, values in options.items()
        for value in values.split()
    ),
]


def snapshot(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Everything in a folder, with its permissions and its content."""
    return {path: (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*")}


QUOTED = {
    "train text --steps x": "expected a valid integer, got 'x'",
    "train text --steps 0": "expected a number greater than or equal to 1, got '0'",
    "train text --clip y": "expected a valid number, got 'y'",
    "train text --out missing/model": "cannot write --out",
    "train text --out picture.safetensors": "picture.png is there already: --overwrite replaces it",
    "sample model --temperature inf": "expected --temperature of at least 0, finite, got inf",
    "sample model --top-p 1.1": "expected --top-p above 0 and at most 1",
    "train one": "expected at least 2 characters in one, got 1",
    "train latin --out new": "likely it is cp1252",
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


OPTIONS_THAT_DIVERGE = {
    "--learning-rate 1e37 --steps 50": "",
    "--learning-rate 1e5 --steps 300": "at step 100, far above a guess",
    "--learning-rate 1e5 --steps 30": "at step 30, far above a guess",
    **{f"--learning-rate 1e307 --steps 1000 --optimizer {name} --clip inf": "" for name in OPTIMIZERS},
    **{f"--learning-rate 1e307 --steps 1000 --optimizer {name} --dtype float64": "" for name in OPTIMIZERS},
}


@pytest.mark.parametrize("options", OPTIONS_THAT_DIVERGE)
def test_a_training_that_diverges_says_so_and_keeps_the_last_good_checkpoint(
    run: Run, tmp_path: Path, options: str
) -> None:
    status, out, error = run("train", "text", *SMALL, "--save-every", 0, *options.split())
    assert (status, out) == (1, "") and OPTIONS_THAT_DIVERGE[options] in error
    assert "smaller learning rate" in error.splitlines()[-1] and "Warning" not in error
    assert Training.resumed(read("model.safetensors"), TEXT).step < 30
    if "1e307" not in options:  # else the logits may be beyond all numbers
        assert run("sample", "model.safetensors", "--length", 3)[0] == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model.safetensors", "text"]


def test_the_same_weights_begin_on_another_text_which_may_move(run: Run) -> None:
    assert run("train", "text", *SMALL, "--steps", 4)[0] == 0
    Path("other").write_text(TEXT[::-1])
    status, _, error = run("train", "other", "--resume", "model.safetensors", "--steps", 6)
    assert status == 2 and "--new-text" in error
    anew = ("--resume", "model.safetensors", "--new-text", "--out", "new", "--steps", 1)
    assert run("train", "other", *anew)[0] == 0
    before, after = read("model.safetensors"), read("new")
    assert (after.step, len(after.losses)) == (1, 1) and before.step == 4
    begun = resumed_anew(before, TEXT[::-1]).checkpoint()
    assert not len(begun.losses) and not len(begun.validations)
    learned = before._replace(losses=begun.losses, validations=begun.validations)
    assert_same_bits(begun, learned._replace(digest=after.digest, step=0, state={}))
    Path("other").rename("moved")
    assert run("train", "--resume", "new", "--steps", 2)[0] == 2
    for steps, *files in ((2, "moved"), (3,)):
        assert run("train", "--resume", "new", *files, "--steps", steps)[0] == 0
    assert read("new").step == 3


def test_an_encoding_is_remembered_and_line_ends_are_told(run: Run) -> None:
    Path("latin").write_bytes(TEXT.replace("\n", "é\r\n").encode("cp1252"))
    status, _, error = run("train", "latin", *SMALL, "--steps", 1)
    assert status == 2 and "likely it is cp1252 (see --encoding)" in error
    status, out, error = run("train", "latin", "--encoding", "cp1252", *SMALL, "--steps", 1)
    assert status == 0 and "20 line ends of Windows" in error and "trained 1 step," in out
    for steps in (2, 3):
        assert run("train", "--resume", "model.safetensors", "--steps", steps)[0] == 0
    assert read("model.safetensors").vocabulary == "".join(sorted({*TEXT, "é"}))


def test_a_sample_in_a_file_is_utf_8_whatever_the_terminal_has(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write("wide", advanced(Settings(hidden_size=2), "漢字é" * 20, 1).checkpoint())
    written = BytesIO()
    monkeypatch.setattr("sys.stdout", TextIOWrapper(written, "ascii"))
    assert run("sample", "wide", "--prime", "漢é", "--length", 5)[0] == 0
    assert set(written.getvalue().decode()) <= set("漢字é\n") and len(written.getvalue().decode()) == 8


@pytest.mark.parametrize("arguments", [("sample", "m"), ("forecast",)])
def test_output_that_cannot_be_written_is_no_file_that_cannot_be_read(run: Run, arguments: tuple[str, ...]) -> None:
    write("m", advanced(Settings(hidden_size=2), TEXT, 1).checkpoint())
    with open("/dev/full", "w") as full, redirect_stdout(full):
        status, _, error = run(*arguments)
    assert (status, error.strip()) == (2, "scratch: cannot write: No space left on device")


@pytest.mark.parametrize("terminal", ["0", "1"])
def test_where_nothing_can_be_drawn_a_line_comes_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: str
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("TTY_COMPATIBLE", terminal)
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


@pytest.mark.parametrize("command", [(), ("train",), ("sample",)])
def test_help_has_examples(run: Run, command: tuple[str, ...]) -> None:
    status, out, error = run(*command, "--help")
    assert (status, error) == (0, "")
    assert re.search(rf"\n *Examples:\n +python -m scratch {' '.join(command)}", out)


@pytest.mark.parametrize(("number", "limit"), [("SIGINT", ("--minutes", "1e308")), ("SIGTERM", ("--epochs", "1e300"))])
def test_an_interrupt_on_a_long_way_saves_and_says_how_to_go_on_and_a_second_one_does_not_wait(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str, limit: tuple[str, str]
) -> None:
    lines, signals, times = list[str](), [signal.Signals[number]], count(1e-5, 1e-5)
    before = signal.getsignal(signals[0])

    def validated(display: Display, training: Training, sample: str) -> None:
        lines.append(pace(training))
        for each in signals:
            signal.raise_signal(each)

    arguments = ("train", "text", *SMALL, "--out", "a model", "--validate-every", 3, *limit)
    with monkeypatch.context() as patched:
        patched.setattr("scratch.text.training.perf_counter", lambda: next(times))
        patched.setattr(Display, "validated", validated)
        status, out, error = run(*arguments)
        patched.setattr("scratch.text.training.AGAIN", -1.0)  # so that the next one comes late enough to be a second
        signals *= 2
        assert run(*arguments, "--out", "second", "--save-every", 1e9)[0] == 130
    assert read("second").step == 0 and signal.getsignal(signals[0]) == before
    assert (status, "Traceback" in error, "left" in lines[0]) == (128 + signals[0], False, False)
    assert "-m scratch train --resume 'a model'" in out and "after step 3" in out
    assert read("a model").step == 3 and run("sample", "a model", "--length", 3)[0] == 0
    assert run("train", "--resume", "a model", "--steps", 4)[0] == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a model", "a model.png", "second", "text"]


# Processes of their own, which are killed.


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(door.__file__).parents[1])}
    command = [sys.executable, "-m", "scratch", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = monotonic() + 60
    while not condition() and process.poll() is None:
        assert monotonic() < end
        sleep(0.002)


@pytest.mark.parametrize("kills", [200 if THOROUGH else 2])
def test_a_training_that_is_killed_ends_with_the_same_bits(run: Run, tmp_path: Path, kills: int) -> None:
    """In processes that are killed at random moments, also while they start."""
    rng, path, reached, steps = np.random.default_rng(0), tmp_path / "killed.safetensors", [0], str(100 * kills)
    limits = ("--save-every", "0", "--steps", steps)
    first = ("train", "text", *SMALL, "--out", path.name, *limits)
    again = ("train", "--resume", path.name, *limits)
    for kill in range(kills):
        before = path.stat().st_ino if path.exists() else 0
        process = started(tmp_path, *(again if path.exists() else first))
        if kill and rng.random() < 0.3:
            sleep(rng.uniform(0, 0.8))  # while it starts, most often
        else:
            wait_for(lambda before=before: path.exists() and path.stat().st_ino != before, process)
            sleep(rng.exponential(0.03))
        process.kill()
        _, error = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), error  # 0: it was too quick to be killed
        reached.append(read(path).step)
    assert reached == sorted(reached)
    assert run(*again)[0] == 0
    assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob(".*"))
    assert run("train", "text", *SMALL, "--steps", steps, "--save-every", 1000, "--out", "whole")[0] == 0
    assert_same_bits(read(path), read("whole"))

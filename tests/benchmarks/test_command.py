"""The command: what it refuses, and a small run from end to end."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import __main__ as door
from benchmarks import growth, growth_command, ladder_command, long_command, measure_command, memory_command
from benchmarks.contestants import Contestant
from benchmarks.kept import as_markdown
from benchmarks.memory import Memory
from benchmarks.problems import Problem
from benchmarks.process import Workers
from benchmarks.results import keep, results_file
from benchmarks.statistics import PowerLaw
from benchmarks.timing import Effort, Row

EFFORT = Effort(fewest=2, most=2, seconds=0.0, least=0.0, passes=2)


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    """Run the command. Returns exit status, standard output and standard error."""
    monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
    status = door.main()
    return status, *capsys.readouterr()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--device", "gpu"],
        ["--dtype", "float16"],
        ["--dtype", "int8", "--device", "cuda"],
        ["--threads", "0"],
        ["--threads", "100000"],
        ["--seed", "-1"],
        ["--problems", "no such size"],
        ["--json", "no/such/folder/x.json"],
        ["--json", "."],
        ["--plot", "plot.txt"],
        ["--quick", "ladder"],
        ["--seed", "1", "memory"],
        ["ladder", "--problems", "toy"],
        ["ladder", "--device", "cuda", "--dtype", "float16"],
        ["growth", "--dtype", "float16"],
        ["memory", "--problems", "no such size"],
        ["long", "--device", "cuda"],
        ["long", "--dtype", "float16"],
        ["show", "no such file"],
        ["show", __file__],
        ["show", "."],
        ["agree", "no such file"],
        ["agree", __file__, __file__],
        ["superfluous"],
    ],
    ids=" ".join,
)
def test_command_refuses_wrong_arguments(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, error = run(capsys, monkeypatch, *arguments)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert error.startswith("benchmarks: ")
    assert list(tmp_path.iterdir()) == []


def test_command_lists_the_sizes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, _ = run(capsys, monkeypatch, "--list")
    assert status == 0 and "DeepBench GRU T187 B32 I512 H512" in out and "H4096" not in out
    assert "H4096" in run(capsys, monkeypatch, "--list", "--device", "cuda")[1]
    assert len(run(capsys, monkeypatch, "--list", "--problems", "toy")[1].splitlines()) == 4


def test_a_size_runs_from_end_to_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measure_command, "QUICK", EFFORT)
    data, plot = tmp_path / "figures.json", tmp_path / "figures.png"
    arguments = ["--quick", "--problems", "toy LSTM T4", "--dtype", "float64", "--threads", "1"]
    status, out, _ = run(capsys, monkeypatch, *arguments, "--json", str(data), "--plot", str(plot))
    assert status == 0 and "toy LSTM T4 B1 I4 H8" in out and "scratch beside PyTorch" in out
    figures = json.loads(data.read_text())["step"]["float64"]
    ours, theirs = figures["rows"]
    assert (ours["contestant"], theirs["contestant"]) == ("scratch", "PyTorch")
    assert Problem(**ours["sizes"]).name == ours["problem"] and Contestant(**theirs["form"]).dtype == "float64"
    assert theirs["difference of results"] < 1e-12, "two processes, the same numbers"
    for part in ("forward", "backward", "step"):
        assert len(theirs[part]["turns"]) == 2 * 2 and len(theirs[part]["speed of the first (95 %)"]) == 3
        assert theirs[part]["share of the floor (95 %)"][1] > 0 and theirs[part]["operations in a second"] > 0
    environment = figures["environment"]
    assert environment["passes"] == 2
    assert environment["threads"] == environment["scratch"]["threads"] == environment["PyTorch"]["threads"] == 1
    assert environment["scratch"].keys() >= {"NumPy", "BLAS", "BLAS kernel"} and "PyTorch" in environment["PyTorch"]
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of made-up laws instead of measured ones; what needs a GPU is not there, and one rung fails."""

    def row(problem: Problem, contestant: Contestant) -> Row:
        found = Row(problem, contestant)
        if contestant.device == "cuda":
            found.skipped = "no CUDA device"
        elif contestant.form == "hoisted":
            found.failed = "the process died"
        seconds = 1e-6 * problem.T * problem.B**0.5 * problem.H**1.5
        parts = {"forward": seconds / 3, "backward": 2 * seconds / 3, "step": seconds, "cores": 1.0}
        found.turns = [parts | {f"floor {part}": value / 2 for part, value in parts.items()}] * 3
        return found

    def measure(problem: Problem, contestants: list[Contestant], *_: object) -> list[Row]:
        return [row(problem, one) for one in contestants]

    def memories(problem: Problem, contestants: list[Contestant], *_: object) -> list[Memory]:
        found = [Memory(problem, one) for one in contestants]
        for one in found:
            one.bytes = None if one.contestant.device == "cuda" else 2**20 + 1000 * problem.T
            one.skipped = "no CUDA device" if one.bytes is None else ""
        return found

    environment: dict[str, Any] = {"CPU": "x", "cores": 2, "threads": 1, "load before": None}
    for command in (measure_command, memory_command, growth_command, ladder_command):
        monkeypatch.setattr(command, "environment", lambda *_: environment)
        monkeypatch.setattr(command, "gpu_of", lambda *_: None)
    for module, name, value in (
        (measure_command, "measure_problem", measure),
        (ladder_command, "measure", measure),
        (growth_command, "measure", measure),
        (growth_command, "memories", memories),
        (memory_command, "measure", memories),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("command", ["", "memory", "growth", "ladder"])
def test_commands_report_figures_and_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, device: str
) -> None:
    data, plot = tmp_path / "x.json", tmp_path / "x.svg"
    files = ["--json", str(data), "--plot", str(plot)]
    status, out, _ = run(capsys, monkeypatch, *[command] * bool(command), "--quick", "--device", device, *files)
    assert status == (command == "ladder"), "one rung failed"
    assert ("no CUDA device" in out) == (device == "cuda")
    assert ("failed: the process died" in out) == (command == "ladder")
    json.loads(data.read_text())
    assert "<svg" in plot.read_text()
    if command == "growth" and device == "cpu":
        assert all(law in out for law in ("T^1.00", "B^0.50", "H^1.50")) and "1000" not in out
        times = json.loads(data.read_text())["growth"]["float32"]
        assert [curve["exponent"] for curve in times["times"]] == pytest.approx([1, 1, 0.5, 0.5, 1.5, 1.5])
        assert times["memory"][0]["bytes for each step"] == pytest.approx(1000)


def test_long_sequences_are_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def measure(problem: Problem, contestant: Contestant, *_: object) -> Memory:
        found = Memory(problem, contestant)
        if contestant.library == "scratch":
            found.bytes, found.seconds = 2**20 * problem.T, 0.5
        else:
            found.failed = "out of memory"
        return found

    monkeypatch.setattr(long_command, "measure", measure)
    data, plot = tmp_path / "x.json", tmp_path / "x.svg"
    status, out, _ = run(capsys, monkeypatch, "long", "--quick", "--json", str(data), "--plot", str(plot))
    assert status == 1 and "failed: out of memory" in out and "checkpoint_every=√T" in out
    assert "15.6 GiB, 500 ms" in out and "16,000" in out
    rows = json.loads(data.read_text())["long"]["float32"]["rows"]
    assert [row.get("bytes", 0) for row in rows[:3]] == [1000 * 2**20, 1000 * 2**20, 0]
    assert "<svg" in plot.read_text()


def test_kept_results_become_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "x.json"
    parts = {
        part: {
            "seconds (quartile, median, quartile)": [1e-3, 2e-3, 3e-3],
            "share of the floor (95 %)": [0.5, 0.8, 0.9],
            "speed of the first (95 %)": [1.1, 1.25, 1.5],
        }
        for part in ("step", "forward", "backward")
    }
    both = [{"problem": "a size", "contestant": name, **parts} for name in ("scratch", "PyTorch")]
    failed = [{"problem": "another", "contestant": name, "failed": "died"} for name in ("scratch", "PyTorch")]
    keep(path, "step", "float32", {"rows": both + failed})
    memory = [
        {"problem": "a size", "contestant": name, "bytes": size} for name, size in (("scratch", 2), ("PyTorch", 3))
    ]
    keep(path, "memory", "float32", {"rows": memory})
    status, out, _ = run(capsys, monkeypatch, "show", str(path))
    assert status == 0
    assert out.splitlines()[2:] == [
        "| a size | 2.00 ms | 2.00 ms | 1.25× (1.10–1.50) | 1.25× | 1.25× | 80 % | 1.50× |",
        "| another | died | | | | | | |",
    ]


def test_the_readme_shows_the_kept_results() -> None:
    root = Path(__file__).parent.parent.parent
    assert (
        as_markdown(root / "benchmarks" / "results" / "intel-xeon-2-threads.json") in (root / "README.md").read_text()
    )


def test_files_keep_the_figures_of_other_commands(tmp_path: Path) -> None:
    path = tmp_path / "results" / "x.json"
    keep(path, "step", "float32", {"a": [1, 2]})
    keep(path, "step", "float64", {"a": 2})
    keep(path, "memory", "float32", {"b": 3})
    keep(path, "step", "float32", {"a": [4.5, 5]})
    expected = {"step": {"float32": {"a": [4.5, 5]}, "float64": {"a": 2}}, "memory": {"float32": {"b": 3}}}
    assert json.loads(path.read_text()) == expected
    assert results_file("cuda", 2, "NVIDIA H100 PCIe").name == "nvidia-h100-pcie.json"


def test_without_a_gpu_it_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    status, out, _ = run(
        capsys, monkeypatch, "--device", "cuda", "--problems", "toy RNN tanh T4", "--dtype", "bfloat16"
    )
    assert status == 0 and out.count("no CUDA device") >= 2 and "GFLOP/s" in out


def test_sweeps_change_one_letter() -> None:
    for letter, problem in growth.problems(growth.SWEEPS):
        changed = {name for name in "TBIH" if getattr(problem, name) != getattr(growth.BASE, name)}
        assert changed <= ({"H", "I"} if letter == "H" else {letter})
    assert PowerLaw(2, 3)(4) == 48
    assert Workers(1).rest() == {"seconds": 0, "processor": 0}

"""The command: what it refuses, and a small run from end to end."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import commands, growth, hoisted, learning, results
from benchmarks.contestants import Contestant, contestants
from benchmarks.picture import PICTURES, styles
from benchmarks.problems import Problem
from benchmarks.report import beside
from benchmarks.results import RESULTS, keep, of_command, results_file
from benchmarks.timing import PARTS, Effort

from .conftest import Command

KEPT = RESULTS / "intel-xeon-2-threads.json"
EFFORT = Effort(fewest=2, most=2, seconds=0.0, least=0.0, passes=2)


REFUSED = {
    "": "--device gpu; --dtype float16; --dtype int8 --device cuda; --threads 0; --threads 100000; --seed -1; nothing",
    "step": "--problems none; --json no/such/folder/x.json; --json .; --plot plot.txt; --quick ladder; --seed 1 memory",
    "ladder": "--problems toy; --device cuda --dtype float16",
    "growth": "--dtype float16",
    "memory": "--problems none; --json /dev/null",
    "long": "--device cuda; --dtype float16",
    "show": f"no_such_file; {__file__}; .; --table none; --plot plot.txt; --beside no_such_file; {KEPT} --table gpu",
    "gpu": f"--minutes -1; --problems none; --quick --json {__file__}",
    "agree": f"no_such_file; {__file__} {__file__}",
    "text": f"no_such_file; {__file__}; {RESULTS / 'long.png'}",
}
"""By command: what it does not take."""


@pytest.mark.parametrize("line", [f"{name} {one}" for name, wrong in REFUSED.items() for one in wrong.split("; ")])
def test_command_refuses_wrong_arguments(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, error = command(*line.split())
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert error.startswith("benchmarks: ")
    assert ("step, ladder, memory, long, growth, which" in error) == ("--table" in line), "it says what there is"
    assert ("no_such_file" in error) == ("no_such_file" in line), "it names the file that is wrong"
    assert list(tmp_path.iterdir()) == []


def test_command_lists_the_sizes(command: Command) -> None:
    status, out, _ = command("--list")
    assert status == 0 and "DeepBench GRU T187 B32 I512 H512" in out and "H4096" not in out
    assert "H4096" in command("--list", "--device", "cuda")[1]
    assert len(command("--list", "--problems", "toy")[1].splitlines()) == 4


def test_a_size_runs_from_end_to_end(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(commands, "QUICK", EFFORT._replace(passes=1))
    data, plot = tmp_path / "figures[a]:x:.json", tmp_path / "figures.png"
    arguments = ["--quick", "--problems", "toy LSTM T4", "--dtype", "float64", "--threads", "1"]
    status, out, _ = command(*arguments, "--json", str(data), "--plot", str(plot))
    assert status == 0 and "toy LSTM T4 B1 I4 H8" in out and "scratch beside PyTorch" in out and data.name in out
    figures = json.loads(data.read_text())["step"]["float64"]
    ours, theirs = figures["rows"]
    assert (ours["contestant"], theirs["contestant"]) == ("scratch", "PyTorch")
    assert Problem(**ours["sizes"]).name == ours["problem"] and Contestant(**theirs["form"]).dtype == "float64"
    assert theirs["difference of results"] < 1e-12, "two processes, the same numbers"
    for part in ("forward", "backward", "step"):
        assert len(theirs[part]["turns"]) == 2 and len(theirs[part]["speed of the first (95 %)"]) == 3
        assert theirs[part]["share of the floor (95 %)"][1] > 0 and theirs[part]["operations in a second"] > 0
    environment = figures["environment"]
    assert environment["threads"] == environment["scratch"]["threads"] == environment["PyTorch"]["threads"] == 1
    assert environment["scratch"].keys() >= {"NumPy", "BLAS", "BLAS kernel"} and "PyTorch" in environment["PyTorch"]
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("in_process", "drawn")
def test_commands_on_the_cpu_and_what_fails_is_a_row_and_an_exit_status(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once, tiny = EFFORT._replace(passes=1), Problem("test", "LSTM", 3, 2, 2, 3)
    for owner, name, value in (
        (commands, "QUICK", once),
        (commands, "LADDER", [tiny, replace(tiny, T=2)]),
        (commands, "QUICK_LONG_STEPS", (4, 9)),
        (growth, "BASE", tiny),
        (growth, "QUICK_EFFORT", once._replace(floor=False)),
        (growth, "QUICK_SWEEPS", {"T": (2, 3, 4)}),
        (growth, "QUICK_MEMORY_STEPS", (2, 4)),
        (hoisted, "forward", lambda *_, **__: 1 / 0),
    ):
        monkeypatch.setattr(owner, name, value)
    for name, expected, status in (
        ("growth", "a training step grows as", 0),
        ("long", "checkpoint_every=√T", 0),
        ("ladder", "PyTorch loop: torch.nn.LSTMCell, with autograd", 1),
    ):
        found, out, _ = command(name, "--quick", "--json", tmp_path / "x.json", "--plot", tmp_path / "x.svg")
        assert found == status and expected in out and out.count("failed: ZeroDivisionError") == 4 * status
    assert json.loads((tmp_path / "x.json").read_text()).keys() == {"growth", "long", "ladder"}


@pytest.mark.parametrize("table", [name for name in PICTURES if name != "text"])
def test_kept_figures_are_shown_and_drawn_again(
    command: Command, drawn: dict[str, Figure], tmp_path: Path, table: str
) -> None:
    content, file = json.loads(KEPT.read_text()), tmp_path / "x.json"
    content["gpu"] = content["step"]  # which has such figures, until there are some of a GPU
    content["gpu"]["float32"]["environment"]["load before"] = [3, 2, 1]
    file.write_text(json.dumps(content))
    beside = ["--beside", KEPT] if table == "gpu" else []
    status, out, error = command("show", file, "--table", table, "--plot", tmp_path / "x.svg", *beside)
    assert (status, error) == (0, "") and out.count("\n") > 4
    assert ("PyTorch *" in out) == ("busy with other work (load 3.0)" in out) == (table == "gpu")
    assert all(len(line) <= 80 for line in out.splitlines())
    figure = drawn["x.svg"]
    assert len(figure.legends) == 1 and not any(axis.get_legend() for axis in figure.axes)
    if table not in ("growth", "memory"):
        assert all(axis.get_xscale() == "log" for axis in figure.axes), "on it a GPU is seen"


def test_rows_of_another_file_stand_beside_those_of_steps_without_its_speeds(command: Command) -> None:
    status, out, _ = command("show", KEPT, "--beside", KEPT)
    assert status == 0 and "scratch beside PyTorch: " in out and out.count(" PyTorch *") == 34
    assert "scratch beside PyTorch *" not in out, "that is another scratch"
    status, out, error = command("show", KEPT, "--table", "memory", "--beside", KEPT)
    assert (status, out) == (2, "") and "step or gpu, got memory" in error


def test_the_power_laws_of_ten_contestants_are_found_and_their_legend_covers_nothing() -> None:
    rows: list[dict[str, Any]] = []
    everyone = [one.name for one in contestants("cuda", None)]
    names = {one.name for one in growth.problems(growth.SWEEPS)}
    assert len(names) == sum(map(len, growth.SWEEPS.values())) - 2, "the base is in all sweeps"
    for name in everyone:
        for one in growth.problems(growth.QUICK_SWEEPS):
            time = {"seconds (quartile, median, quartile)": [one.T * one.B**0.5 * one.H**1.5] * 3}
            rows.append({"problem": one.name, "sizes": asdict(one), "contestant": name, "step": time})
            rows.append({"problem": one.name, "sizes": asdict(one), "contestant": name, "bytes": 7 + 1000 * one.T})
    figures = {"rows": rows}
    found = growth.curves(figures)
    assert found["memory"][0]["bytes for each step"] == pytest.approx(1000)
    for kept in (figures, found):  # as older files hold it
        figure = PICTURES["growth"](kept)
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.texts] == [f"{name}: T^1.00 B^0.50 H^1.50" for name in everyone]
    FigureCanvasAgg(figure).draw()
    below = legend.get_window_extent().y1
    assert all(axis.get_window_extent().y0 > below and axis.get_legend() is None for axis in figure.axes)
    looks = {tuple(style.values()) for style in styles(str(number) for number in range(45)).values()}
    assert len(looks) == 45, "no two look alike"


def test_this_machine_is_shown_what_is_shipped_until_it_has_results_of_its_own(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(results, "cpu_name", lambda: "No such processor")
    status, out, error = command("show")
    assert status == 0 and out == command("show", KEPT)[1] and KEPT.name in error
    status, out, error = command("agree")
    assert (status, out) == (2, "") and "agree first.json second.json" in error
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    content = json.loads(KEPT.read_text())
    for name, date in (("other-first", "a day"), ("other", "another")):
        content["step"]["float32"]["environment"]["date"] = date
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    status, out, error = command("agree")
    assert status == 0 and "overlap at 34 of 34 sizes" in out


def test_kept_results_become_a_table(command: Command, tmp_path: Path) -> None:
    path, ran = tmp_path / "x.json", {"seconds (quartile, median, quartile)": [1e-3, 2e-3, 3e-3]}
    ran |= {"share of the floor (95 %)": [0.5, 0.8, 0.9], "speed of the first (95 %)": [1.1, 1.25, 1.5]}
    rows = [
        {"problem": problem, "contestant": name, **what}
        for problem, what in (
            ("a size T1", dict.fromkeys(PARTS, ran)),
            ("another T2", {"failed": "died", "environment": {"CPU": "y"}}),
        )
        for name in ("scratch", "PyTorch")
    ]
    keep(path, "step", "float32", {"rows": rows})
    keep(path, "memory", "float32", {"rows": [rows[0] | {"bytes": 2}, rows[1] | {"bytes": 3}]})
    status, out, _ = command("show", path)
    assert status == 0 and out.splitlines()[2:6] == [
        "a size",
        "  T1 2.00 ms 2.00 ms 1.25× (1.10–1.50) 1.25× 1.25×  80 % 1.50×",
        "another",
        "  T2 failed: died",
    ]
    assert "measured before, with other CPU (scratch at another T2 and 1 more)" in out
    keep(path, "step", "float64", {"rows": rows[2:]})
    assert "measured in float32, float64: --dtype chooses" in command("show", path)[1]
    assert "a size" not in command("show", path, "--dtype", "float64")[1]
    assert command("show", path, "--dtype", "float16")[0] == 2
    for wrong in ([-3, -2, -1], [0, 0, 0], [10**400] * 3):
        keep(path, "step", "float32", {"rows": [rows[0] | {"step": ran | {next(iter(ran)): wrong}}]})
        assert command("show", path)[:2] == (2, ""), "no times"


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"step": {}}',
        '{"step": {"float32": {"environment": [], "rows": [{"problem": "a T1", "contestant": "x", "failed": ""}]}}}',
        "[" * 10**5,
    ],
)
def test_a_file_that_is_broken_or_from_an_older_version_is_refused_in_a_line(
    command: Command, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    for how in ("--table", "step"), ("--plot", tmp_path / "x.svg"):
        if "rows" not in content or "--plot" in how:  # what cannot be drawn can still be read
            status, out, error = command("show", path, *how)
            assert (status, out) == (2, "") and error.endswith(f"got none of this kind in {path}\n")


@pytest.mark.parametrize(
    "content",
    [
        '{"name": "x"}',
        '{"step": {"float32": 5}}',
        '{"scripts": {"test": "x"}}',
        "[1]",
        '{"memory": {"float32": {"rows": [{"problem": "x"}]}}}',
        '{"step": {"float32": {"environment": "x", "rows": [{"problem": "x", "contestant": "y"}]}}}',
    ],
)
def test_a_run_adds_to_no_file_of_another_kind(command: Command, tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    status, out, error = command("memory", "--json", path, "--problems", "toy LSTM T4")
    assert (status, out, path.read_text()) == (2, "", content) and "a new file or one of results" in error


def test_a_further_run_adds_to_a_file(tmp_path: Path) -> None:
    def row(problem: str, **what: Any) -> dict[str, Any]:
        return {"problem": problem, "contestant": "x", **what}

    path, here, link = tmp_path / "results" / "x.json", {"CPU": "x", "date": 1}, tmp_path / "link.json"
    link.symlink_to(path)
    keep(path, "step", "float32", {"environment": here, "rows": [row("a", n=1), row("b", n=1)]})
    keep(path, "step", "float64", {"environment": here, "rows": [row("a", n=2)]})
    keep(path, "growth", "float32", {"times": [4.5, 5]})
    keep(path, "step", "float32", {"environment": here | {"date": 2}, "rows": [row("c", n=3), row("a", n=3)]})
    keep(path, "growth", "float32", {"times": [1]})
    found = json.loads(path.read_text())
    assert found["step"]["float32"]["rows"] == [row("a", n=3), row("b", n=1), row("c", n=3)]
    assert found["step"]["float64"]["rows"] == [row("a", n=2)] and found["growth"] == {"float32": {"times": [1]}}
    for cpu in ("y", "z"):
        keep(path, "step", "float32", {"environment": {"CPU": cpu}, "rows": [row("c", n=4)]})
    rows = json.loads(path.read_text())["step"]["float32"]["rows"]
    assert rows[0] == row("a", n=3, environment={"CPU": "x"}) and rows[2] == row("c", n=4), "where it was measured"
    keep(path, "step", "float32", {"environment": {"CPU": "x", "passes": 5}, "rows": []})
    rows = json.loads(path.read_text())["step"]["float32"]["rows"]
    assert [row["environment"].keys() for row in rows] == [{"passes"}, {"passes"}, {"CPU", "passes"}], "other than now"
    keep(link, "growth", "float32", {"times": ["√ of \udcff"]})
    assert json.loads(path.read_text("utf-8"))["growth"]["float32"] == {"times": ["√ of \udcff"]}
    assert list(path.parent.iterdir()) == [path] and link.is_symlink()
    assert results_file("NVIDIA H100 PCIe").name == "nvidia-h100-pcie.json"


def test_both_libraries_train_the_same_model(
    command: Command, monkeypatch: pytest.MonkeyPatch, in_process: list[Any], drawn: dict[str, Figure], tmp_path: Path
) -> None:
    file, data = tmp_path / "book.txt", tmp_path / "x.json"
    file.write_text("hello world, hello text. " * 4100)
    shipped = [one.name.removeprefix(f"{learning.STANDARD} ") for one in learning.models(learning.STANDARD, "abc")]
    assert shipped == ["LSTM T64 B32 I3 H128", "LSTM T64 B32 I3 H256 L2", "RNN T64 B32 I3 H256"]
    tiny = [Problem("book", module, 7, 2, 12, 5, L=2, text=str(file)) for module in ("LSTM", "RNN")]
    monkeypatch.setattr(learning, "models", lambda text, content: tiny)
    monkeypatch.setattr(commands, "TEXT", {True: EFFORT})
    status, out, error = command("text", file, "--quick", "--json", data, "--plot", tmp_path / "x.svg")
    assert status == 0 and "characters/s" in out and "scratch beside PyTorch" in out, out + error
    assert len(drawn["x.svg"].axes) == 2, "speed and time"
    rows = json.loads(data.read_text())["text"]["float32"]["rows"]
    assert [row["problem"] for row in rows] == [one.name for one in tiny for _ in range(2)]
    for row in rows:
        assert len(row["step"]["turns"]) == 4 and "forward" not in row
        assert row["difference of results"] < 1e-4, "two libraries, the same losses but for rounding"
    losses = iter([3.0, 3.1] * 4)
    monkeypatch.setattr(learning.Learner, "results", lambda self: {"losses": np.array([next(losses)])})
    in_process.clear()
    status, out, _ = command("text", file, "--quick")
    assert status == 1 and out.count("failed: its results differ: losses by 3e-02") == 2
    assert in_process.count(("cpu", "time")) == 2 * 2 * 2, "what computes something else is not timed"


SIZE, APART = [1.0, 1.5, 2.0], [2.1, 2.5, 3.0]


def kept_run(environment: dict[str, Any] | None = None, **speeds: Any) -> dict[str, Any]:
    """A run as it is kept, with the same interval for each part of a size; None where it was not measured."""
    rows: list[dict[str, Any]] = []
    for problem, speed in speeds.items():
        for name, value in (("scratch", None), ("PyTorch", speed)):
            parts = {part: {"speed of the first (95 %)": value} for part in PARTS} if speed else {"skipped": "no"}
            rows.append({"problem": problem, "contestant": name, **parts})
    here = {"date": "2", "CPU": "x", "threads": 2, "load before": [3], "PyTorch": {"PyTorch": "2.13"}}
    return {"environment": here | (environment or {}), "rows": rows}


@pytest.mark.parametrize(
    ("second", "status", "said"),
    [
        (kept_run(size=[1.9, 2.5, 3.0]), 0, "step: intervals overlap at 1 of 1"),
        (kept_run(size=[1.9, 2.5, 3.0], further=None), 0, "step: intervals overlap at 1 of 1"),
        (kept_run(size=APART), 1, "step: intervals overlap at 0 of 1"),
        (kept_run(size=SIZE, further=SIZE), 1, "not measured"),
        (kept_run({"CPU": "y"}, size=SIZE), 2, "got CPU: x and y"),
        (kept_run({"threads": 1, "passes": 5}, size=SIZE), 2, "got threads: 2 and 1; passes: nothing and 5"),
        (kept_run({"PyTorch": {"PyTorch": "2.14"}}, size=SIZE), 2, "got PyTorch's PyTorch: 2.13 and 2.14"),
        (kept_run({"PyTorch": "not installed"}, size=SIZE), 2, "PyTorch: nothing and not installed"),
        (kept_run({"date": "1"}, size=SIZE), 2, "expected two runs, got the one of 1 twice"),
        (kept_run(another=SIZE), 2, "a size in common"),
        (kept_run(size=[2.0, 1.5, 1.0]), 2, "got none of this kind"),
        (kept_run(size=[1.0, 1.5]), 2, "got none of this kind"),
        (kept_run(size=[1.0, "1.5", 2.0]), 2, "got none of this kind"),
        (kept_run(size=[1.0, float("nan"), 2.0]), 2, "got none of this kind"),
        ({"rows": []}, 2, "got none of this kind"),
        ({"environment": "x", "rows": []}, 2, "got none of this kind"),
        ([], 2, "got none of this kind"),
        (kept_run(size=SIZE) | {"rows": [{"problem": "size", "contestant": "x", "environment": {}}]}, 2, "another env"),
    ],
)
def test_two_runs_agree_or_not_or_cannot_be_compared(
    command: Command, tmp_path: Path, second: Any, status: int, said: str
) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, content in zip(paths, (kept_run({"date": "1"}, size=SIZE), second), strict=True):
        path.write_text(json.dumps({"step": {"float32": content}}))
    found, out, error = command("agree", *paths)
    assert found == status and said in (error if status == 2 else out)
    assert (out, error.count("\n")) == ("", 1) if status == 2 else (error == "" and "1.50× (1.00–2.00)" in out)


def test_the_readme_says_how_the_kept_run_ended(command: Command) -> None:
    readme = (RESULTS.parent / "README.md").read_text()
    figures = of_command(json.loads(KEPT.read_text()), "step")
    (line,) = beside("scratch", figures["rows"])
    assert f"{line}\n" in readme and command("show", KEPT)[1] in readme
    assert all(command("show", KEPT, "--table", name)[1] in readme for name in ("growth", "long"))

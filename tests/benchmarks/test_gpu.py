"""All that is written for a GPU, on one that is pretended."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import commands, floor, numpy_runner, torch_runner
from benchmarks.contestants import LOOP, Contestant, Unavailable, contestants
from benchmarks.options import Options
from benchmarks.problems import Problem, matching, sizes
from benchmarks.process import Failed, Worker, Workers
from benchmarks.report import TABLES
from benchmarks.results import RESULTS
from benchmarks.rungs import AS_GRAPH, ON_TORCH
from benchmarks.timing import Effort, Row, measure
from benchmarks.worker import Work
from reference.equivalence import assert_close
from tests.pretended_gpu import Gpu

from .conftest import Command
from .test_runners import results

Begin = Callable[..., Gpu]
NAMES = ["toy LSTM T10", "toy RNN tanh T4", "characters * H128", "packed"]
SMALL = Problem("test", "LSTM", 3, 2, 2, 4)
EFFORT = Effort(fewest=2, most=2, seconds=0.0, least=0.0, passes=2)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that the commands measure, in small."""
    once = EFFORT._replace(passes=1)
    sweep = {"BASE": SMALL, "QUICK_SWEEPS": dict.fromkeys("TBH", (1, 2, 3)), "QUICK_MEMORY_STEPS": (1, 2)}
    for module, values in (
        (commands, {"QUICK": EFFORT, "LADDER": [SMALL] * 2, "GPU_EFFORT": once._replace(floor=False, on_gpu=2)}),
        (commands.sweep, sweep | {"QUICK_EFFORT": once}),
        (floor, {"LARGEST": 256, "COPIED": 2**13}),
    ):
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)


def made(contestant: Contestant, problem: Problem = SMALL) -> Any:
    """A problem on the GPU, ready to be run."""
    return torch_runner.runner(contestant, problem, 0, 1)


def prepared(work: Work, contestant: Contestant, problem: Problem) -> dict[str, Any]:
    """What a worker says of a problem that it made ready as "x"."""
    return work.prepare("x", asdict(contestant), asdict(problem), 0, 0.0, floor=False)


def run_once(runner: Any) -> None:
    """A step, in its mode."""
    with runner.turn():
        for part in runner.parts.values():
            part()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("module", ["RNN", "LSTM", "GRU"])
def test_a_gpu_computes_in_the_mode_that_is_named(gpu: Begin, dtype: str, module: str) -> None:
    begun = gpu()
    for packed in (False, True):
        problem = Problem("test", module, 5, 3, 2, 4, bidirectional=packed, packed=packed)
        for precision in ("ieee", "tf32"):
            contestant = Contestant("PyTorch", dtype, "cuda", precision)
            begun.log.clear()
            assert prepared(Work("PyTorch", 1), contestant, problem)["warned"] == [], "no weights are copied"
            expected = {"cudnn": True, "precision": precision if dtype in ("float32", "float64") else "tf32"}
            assert [one | expected for one in begun.log] == begun.log and len(begun.log) >= 2
            assert begun.log[0]["flat"] and begun.log[0]["packed"] == packed and begun.log[0]["dtype"] == dtype
            if dtype == "float64":
                assert_close(results(problem, contestant), results(problem, Contestant("scratch", dtype)))


def test_bfloat16_waits_for_a_pytorch_whose_cudnn_computes_it(
    pretended_gpu: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretended_gpu()
    monkeypatch.setattr(torch, "__version__", "2.9.1+cu128")

    with pytest.raises(Unavailable, match=r"below PyTorch 2\.10"):
        made(Contestant("PyTorch", "bfloat16", "cuda"))
    made(Contestant("PyTorch", "bfloat16", "cuda", cudnn=False))
    made(Contestant("PyTorch", "float16", "cuda"))


@pytest.mark.parametrize("form", [*ON_TORCH, *AS_GRAPH, LOOP])
def test_every_rung_computes_the_same_on_a_gpu_and_reads_its_input_anew(pretended_gpu: Begin, form: str) -> None:
    gpu = pretended_gpu()
    contestant, ours = Contestant("PyTorch", "float64", "cuda", form=form), Contestant("scratch", "float64")
    assert "cuDNN" not in contestant.name, "it has no part in this"
    assert_close(results(SMALL, contestant, steps=2), results(SMALL, ours))
    gpu.log.clear()
    rung, core = made(contestant), numpy_runner.runner(ours, SMALL, 0, 1)
    rung.x.data.mul_(2)
    core.x *= 2
    for runner in (rung, core):
        run_once(runner)
    assert_close(rung.results(), core.results())
    assert sum(one["what"] == "graph" for one in gpu.log) == 2 * (form in AS_GRAPH), "recorded once"


def test_a_cold_start_is_not_counted(pretended_gpu: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = pretended_gpu(cold=0.7)
    monkeypatch.setattr(torch_runner.CudaClock, "least", 0.03)
    work, contestant = Work("PyTorch", 1), Contestant("PyTorch", device="cuda")
    calls = prepared(work, contestant, SMALL)["calls"]
    assert calls > 1, "a turn has many, though the first took 0.7 s"
    gpu.log.clear()
    assert work.time("x", contestant)["step"] < 0.5
    assert sum(one["what"] == "lstm" for one in gpu.log) > calls + 1, "warmed up by time before it"


def measured(problem: Problem, everyone: list[Contestant], workers: Workers) -> list[Row]:
    """A pass of one problem."""
    rows = [Row(problem, one) for one in everyone]
    measure(rows, workers, EFFORT)
    return rows


def test_what_runs_out_of_memory_is_one_row(gpu: Begin) -> None:
    begun, large = gpu(), Problem("test", "LSTM", 3, 2, 2, 128)
    everyone = contestants("cuda", "float32")
    with Workers(1) as workers:
        measured(large, everyone[:3], workers)
        needed = begun.peak
        for memory, problem in ((1.3, large), (0.5, large), (0.5, SMALL)):
            begun.memory = memory * needed
            rows = measured(problem, everyone, workers)
            short = problem is large and memory < 1
            assert [row.failed for row in rows[2:]] == ["out of memory" if short else ""] * 4, "one at a time is there"
            assert all(row.runs and row.turns for row in rows[:2])


def test_an_error_that_stays_ends_its_process_and_spoils_no_other_row(gpu: Begin, in_process: list[Any]) -> None:
    gpu(breaks="float16")
    with Workers(1) as workers:
        for problem in (SMALL, Problem("test", "GRU", 2, 1, 2, 3)):
            for row in measured(problem, contestants("cuda", None), workers):
                broken = row.contestant.dtype == "float16"
                assert ("illegal memory access" in row.failed) == broken and bool(row.turns) != broken
    assert in_process.count(("cuda", "end")) >= 4
    worker = Worker("scratch", 1, "cuda")
    with pytest.raises(Failed, match="KeyError"):
        worker.ask("time", key="nothing", contestant=None)
    assert worker.process is None


def test_a_quick_run_on_a_gpu_makes_the_fewest_turns() -> None:
    quick = commands.QUICK
    for options, expected in (("cuda", quick._replace(most=quick.fewest)), ("cpu", quick)):
        assert commands.effort(Options(quick=True, device=options), quick, EFFORT) == expected
        assert commands.effort(Options(device=options), quick, EFFORT) == EFFORT


def test_the_headline_is_cudnn_in_float32_even_where_a_size_does_not_fit() -> None:
    everyone = commands.beside_cudnn()
    step = {"seconds (quartile, median, quartile)": [1.0, 1.0, 1.0], "operations in a second": 1.0}
    parts = {"forward": step, "backward": step, "step": step}
    rows = [
        {"problem": f"T{size}", "contestant": one.name, "form": asdict(one)}
        | ({"failed": "out of memory"} if size == 9 and one.dtype == "float32" and one.device == "cuda" else parts)
        for size in (9, 1)
        for one in everyone
    ]
    headline = TABLES["gpu"]({"rows": rows})[0]
    assert str(headline) == "cuDNN ieee is 1.00 times as fast as scratch, at one size"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["step", "ladder", "growth", "memory"])
def test_every_command_measures_a_gpu_and_tells_what_does_not_fit(
    gpu: Begin, name: str, command: Command, tmp_path: Path
) -> None:
    begun = gpu(speed=1e4)
    data, plot, short = tmp_path / "x.json", tmp_path / "x.png", tmp_path / "short.json"
    arguments: list[object] = [name, "--quick", "--device", "cuda", "--plot", plot]
    arguments += ["--problems", "toy LSTM T4"] if name in ("step", "memory") else []
    arguments += ["--dtype", "float32"] if name in ("growth", "ladder") else []
    status, out, error = command(*arguments, "--json", data)
    assert status == 0 and "no cuDNN ieee" in out, out + error
    assert name != "ladder" or "textbook ieee: on PyTorch's tensors, no autograd" in out, "called as its row is"
    assert "0.00×" not in out, "what is 10,000 times as fast has figures"
    figures = next(iter(json.loads(data.read_text())[name].values()))
    assert figures["environment"]["PyTorch"]["GPU"] == "Pretended GPU"
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert (command("show", data)[1]).splitlines()[-1] in out
    if name == "step":
        rows = {row["contestant"]: row for row in figures["rows"]}
        assert len(rows) == 10 and all(len(row["step"]["turns"]) == 2 * 2 for row in rows.values())
        assert figures["environment"]["passes"] == 2
        figures["environment"]["date"] = "another day"
        short.write_text(json.dumps({name: {"all": figures}}))
        status, said, _ = command("agree", data, short)
        assert status == 0 and "overlap at 9 of 9 sizes" in said
    begun.memory, begun.cold = 1500, 0.1
    status, said, _ = command(*arguments, "--json", short)
    assert status == 1 and "failed: out of memory" in said and command("show", short)[0] == 0
    assert all(len(line) <= 80 for line in (out + said).splitlines() if line[:1] == " ")


@pytest.mark.usefixtures("small")
def test_the_gpu_command_from_end_to_end(
    gpu: Begin, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun = gpu(cold=0.6, memory=2e6)
    data, plot = tmp_path / "x.json", tmp_path / "x.svg"
    monkeypatch.setattr(commands, "sizes", lambda: [*map(tiny, matching(sizes(), NAMES))])
    patterns = [word for name in NAMES for word in ("--problems", name)]
    files = ["--json", str(data)]
    status, out, error = command("gpu", *patterns[:4], *files)
    assert status == 0 and "times as fast as scratch, in the geometric mean of 2 sizes" in out
    assert out.count("cuDNN ieee is") == 1 and all(len(line) <= 80 for line in out.splitlines() if line[:1] == " ")
    first = json.loads(data.read_text())["gpu"]["all"]
    assert len(first["rows"]) == 2 * 8 and len(first["ceilings"]) == 5
    begun.memory = 2e5
    status, out, error = command("gpu", *patterns, *files)
    assert status == 1 and "failed: out of memory" in out and "3 sizes" not in error
    rows = json.loads(data.read_text())["gpu"]["all"]["rows"]
    assert rows[:16] == first["rows"], "what was there is not measured again"
    assert all(row["problem"] in out for row in rows), "and shown with what is new"
    by_size: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_size.setdefault(row["problem"].split()[0], []).append(row)
    assert [row.get("failed", "") for row in by_size["characters"]] == ["", *["out of memory"] * 7]
    assert "one layer of" in by_size["options"][-1]["skipped"] and "step" in by_size["options"][1]
    for row in first["rows"]:
        one, problem, step = Contestant(**row["form"]), Problem(**row["sizes"]), row["step"]
        products, copy = first["ceilings"][f"{one.device.upper()} {one.mode}"].values()
        moved = problem.numbers("step") * (2 if "16" in one.dtype else 4)
        least = max(problem.flops("step") / products, moved / copy)
        seconds = step["seconds (quartile, median, quartile)"][1]
        assert step["share of the ceiling"] == pytest.approx(least / seconds, rel=1e-3)
    status, out, _ = command("gpu", *patterns, *files)
    assert status == 0 and "every size is in the file already" in out
    status, out, _ = command("gpu", *patterns, *files, "--again", "--minutes", "0")
    assert "3 sizes are left after 0 minutes" in out
    assert len(json.loads(data.read_text())["gpu"]["all"]["rows"]) == len(rows)
    kept = RESULTS / "intel-xeon-2-threads.json"
    status, out, _ = command("show", str(data), "--beside", str(kept), "--plot", str(plot))
    assert status == 0 and f"* Intel(R) Xeon(R) Processor, {kept.name}" in out and "<svg" in plot.read_text()


def test_a_run_that_is_interrupted_has_kept_what_it_measured(
    gpu: Begin, small: None, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpu()
    data, ask = tmp_path / "x.json", Worker.ask

    def interrupted(self: Worker, do: str, **what: Any) -> Any:
        if what.get("problem", {}).get("T") == 10:
            raise KeyboardInterrupt
        return ask(self, do, **what)

    monkeypatch.setattr(Worker, "ask", interrupted)
    for arguments, table in ((["gpu"], "gpu"), (["--quick"], "step"), (["memory"], "memory")):
        sizes = ["--problems", "toy LSTM T4", "--problems", "toy RNN tanh T10", "--json", str(data)]
        assert command(*arguments, *sizes)[0] == 130
        (figures,) = json.loads(data.read_text())[table].values()
        assert {row["problem"] for row in figures["rows"]} == {"toy LSTM T4 B1 I4 H8"}


def test_without_a_gpu_it_is_said_at_the_door(
    in_process: list[Any], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("", "ladder", "growth", "memory", "gpu"):
        device = [] if name == "gpu" else ["--device", "cuda"]
        status, out, error = command(*[name] * bool(name), "--quick", *device)
        assert (status, out, error.count("\n")) == (2, "", 1) and "expected a CUDA device" in error
    assert {do for _, do in in_process} == {"environment", "end"}


def tiny(problem: Problem) -> Problem:
    """The same name and options, in a size that takes no time."""
    H = 128 if problem.group == "characters" else 8
    return Problem(problem.group, problem.module, problem.T, 2, 4, H, options=problem.options, packed=problem.packed)

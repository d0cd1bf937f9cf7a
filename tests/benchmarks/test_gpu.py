"""All that is written for a GPU, on one that is pretended."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from benchmarks import commands, floor, numpy_runner, torch_runner, worker
from benchmarks.clock import each
from benchmarks.contestants import LOOP, Contestant, Unavailable, contestants
from benchmarks.problems import Problem, matching, sizes
from benchmarks.process import Worker, Workers
from benchmarks.results import RESULTS
from benchmarks.rungs import AS_GRAPH, ON_TORCH
from benchmarks.timing import Effort, Row, measure
from benchmarks.worker import Work
from reference.devices import Mode
from reference.equivalence import assert_close
from tests import pretended_gpu

from .conftest import Begin, Command
from .test_problems import results

NAMES = ["toy LSTM T4", "toy RNN tanh T4", "characters * H128", "packed"]
SMALL = Problem("test", "LSTM", 3, 2, 2, 4)
EFFORT = Effort(fewest=2, most=2, seconds=0.0, least=0.0)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that the commands measure, in small."""
    sweep = {"BASE": SMALL, "QUICK_SWEEPS": {"T": (1, 2, 3)}, "QUICK_MEMORY_STEPS": (1, 2)}
    quick = EFFORT._replace(most=4, seconds=60.0, passes=2)
    for module, values in (
        (
            commands,
            {
                "QUICK": quick,
                "WHOLE": EFFORT,
                "LADDER": [SMALL] * 2,
                "GPU_EFFORT": EFFORT._replace(floor=False, on_gpu=2),
            },
        ),
        (commands.sweep, sweep | {"QUICK_EFFORT": EFFORT._replace(floor=False)}),
        (floor, {"LARGEST": 256, "COPIED": 2**13}),
    ):
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)


def tiny(problem: Problem) -> Problem:
    """The same options in a size that takes no time."""
    return replace(problem, T=4, B=2, I=4, H=128 if problem.group == "characters" else 8)


def prepared(work: Work, contestant: Contestant, problem: Problem = SMALL) -> dict[str, Any]:
    """What a worker says of a problem that it made ready as "x"."""
    return work.prepare("x", asdict(contestant), asdict(problem), 0, 0.0, floor=False)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_a_gpu_computes_in_the_mode_that_is_named(gpu: Begin, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    begun, entered, switched_on = gpu(), [], Mode.switched_on
    monkeypatch.setattr(Mode, "switched_on", lambda self: entered.append(self) or switched_on(self))
    for module, packed in (("LSTM", False), ("LSTM", True), ("GRU", True), ("RNN", False)):
        problem = Problem("test", module, 3, 3, 2, 4, bidirectional=packed, packed=packed)
        for precision in ("ieee", "tf32"):
            contestant = Contestant("PyTorch", dtype, "cuda", precision)
            work = Work("PyTorch", 1)
            begun.log.clear()
            assert prepared(work, contestant, problem)["warned"] == [], "no weights are copied"
            entered.clear()
            work.time("x", contestant)
            assert len(entered) == 1, "not at every step"
            expected = {"cudnn": True, "precision": precision if dtype in ("float32", "float64") else "tf32"}
            assert [one | expected for one in begun.log] == begun.log and len(begun.log) >= 6
            assert begun.log[0]["flat"] and begun.log[0]["packed"] == packed and begun.log[0]["dtype"] == dtype
        if dtype == "float64":
            assert_close(results(problem, contestant), results(problem, Contestant("scratch", dtype)))


def test_bfloat16_waits_for_a_pytorch_whose_cudnn_computes_it(gpu: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu()
    monkeypatch.setattr(torch, "__version__", "2.9.1+cu128")
    with pytest.raises(Unavailable, match=r"below PyTorch 2\.10"):
        results(SMALL, Contestant("PyTorch", "bfloat16", "cuda"))
    results(SMALL, Contestant("PyTorch", "bfloat16", "cuda", cudnn=False))
    results(SMALL, Contestant("PyTorch", "float16", "cuda"))


@pytest.mark.parametrize("form", [*ON_TORCH, *AS_GRAPH, LOOP])
def test_every_rung_computes_the_same_on_a_gpu_and_reads_its_input_anew(gpu: Begin, form: str) -> None:
    begun = gpu()
    contestant, ours = Contestant("PyTorch", "float64", "cuda", form=form), Contestant("scratch", "float64")
    assert "cuDNN" not in contestant.name, "it has no part in this"
    rung, core = torch_runner.runner(contestant, SMALL, 0, 1), numpy_runner.runner(ours, SMALL, 0, 1)
    for _ in range(3):
        for runner in (rung, core):
            with runner.turn():
                each(runner.parts.values())
        assert_close(rung.results(), core.results())
        rung.x.data.mul_(2)
        core.x *= 2
    graphs = [one["precision"] for one in begun.log if one["what"] == "graph"]
    assert graphs == ["ieee"] * 2 * (form in AS_GRAPH), "recorded once, in its mode"


def test_a_cold_start_is_not_counted(gpu: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, now = gpu(cold=0.7), [0.0]

    def spend(seconds: float = 0.001) -> float:
        now[0] += seconds
        return now[0]

    monkeypatch.setattr(pretended_gpu, "time", SimpleNamespace(perf_counter=spend, sleep=spend))
    monkeypatch.setattr(worker, "perf_counter", spend)
    monkeypatch.setattr(torch_runner.CudaClock, "least", 0.03)
    work, contestant = Work("PyTorch", 1), Contestant("PyTorch", device="cuda")
    calls = prepared(work, contestant)["calls"]
    assert now[0] > 0.7 and calls >= 30, "a turn has many, though the first took 0.7 s"
    begun.log.clear()
    work.time("x", contestant)
    assert sum(one["what"] == "lstm" for one in begun.log) > calls + 20, "warmed up by time before it"


def test_what_runs_out_of_memory_is_one_row_and_one_contestant_at_a_time_is_there(gpu: Begin) -> None:
    begun, large, everyone = gpu(), replace(SMALL, H=128), contestants("cuda", "float32")
    with Workers(1) as workers:
        measure([Row(large, one) for one in everyone[:3]], workers, EFFORT)
        needed = begun.peak
        for share, problem, why in ((1.3, large, ""), (0.5, large, "out of memory"), (0.5, SMALL, "")):
            begun.memory = share * needed
            rows = [Row(problem, one) for one in everyone]
            measure(rows, workers, EFFORT)
            assert [(row.failed, len(row.turns)) for row in rows] == [("", 2)] * 2 + [(why, 0 if why else 2)] * 4


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["step", "ladder", "growth", "memory"])
def test_every_command_measures_a_gpu_and_tells_what_does_not_fit(
    gpu: Begin, name: str, command: Command, drawn: dict[str, Figure], tmp_path: Path
) -> None:
    begun = gpu(speed=1e4)
    data, short = tmp_path / "x.json", tmp_path / "short.json"
    more = ["--dtype", "float32"] if name in ("growth", "ladder") else ["--problems", "toy LSTM T4"]
    arguments = [name, "--quick", "--device", "cuda", *more, "--json"]
    status, out, error = command(*arguments, data, "--plot", tmp_path / "x.png")
    assert status == 0 and drawn["x.png"].axes and "no cuDNN ieee" in out, out + error
    assert name != "ladder" or "textbook ieee: on PyTorch's tensors, no autograd" in out, "called as its row is"
    assert "0.00×" not in out, "what is 10,000 times as fast has figures"
    figures = next(iter(json.loads(data.read_text())[name].values()))
    assert figures["environment"]["PyTorch"]["GPU"] == "Pretended GPU"
    assert (command("show", data)[1]).splitlines()[-1] in out
    if name == "step":
        turns = {row["contestant"]: len(row["step"]["turns"]) for row in figures["rows"]}
        assert len(turns) == 10 and set(turns.values()) == {2 * 2}, "the fewest, in two passes"
        assert figures["environment"]["passes"] == 2
        figures["environment"]["date"] = "another day"
        short.write_text(json.dumps({name: {"all": figures}}))
        status, said, _ = command("agree", data, short)
        assert status == 0 and "overlap at 9 of 9 sizes" in said
    begun.memory, begun.cold = 800, 0.1
    status, said, _ = command(*arguments, short)
    assert status == 1 and "failed: out of memory" in said and command("show", short)[0] == 0
    assert all(len(line) <= 80 for line in (out + said).splitlines() if line[:1] == " ")


@pytest.mark.usefixtures("small")
def test_the_gpu_command_from_end_to_end(
    gpu: Begin, command: Command, in_process: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun, data, plot = gpu(cold=0.6, memory=2e6, breaks="float16"), tmp_path / "x.json", tmp_path / "x.svg"
    monkeypatch.setattr(commands, "sizes", lambda: [*map(tiny, matching(sizes(), NAMES))])
    patterns = [word for name in NAMES for word in ("--problems", name)]
    status, out, _ = command("gpu", *patterns[:4], "--json", data)
    assert status == 1 and "times as fast as scratch, in the geometric mean of 2 sizes" in out
    assert out.count("cuDNN ieee is") == 1 and all(len(line) <= 80 for line in out.splitlines() if line[:1] == " ")
    first = json.loads(data.read_text())["gpu"]["all"]
    assert len(first["rows"]) == 2 * 8 and len(first["ceilings"]) == 5
    for row in first["rows"]:
        one, problem = Contestant(**row["form"]), Problem(**row["sizes"])
        assert ("illegal memory access" in row.get("failed", "")) == (one.dtype == "float16") == ("step" not in row)
        if one.dtype != "float16":
            products, copy = first["ceilings"][f"{one.device.upper()} {one.mode}"].values()
            moved = problem.numbers("step") * (2 if one.dtype == "bfloat16" else 4)
            least = max(problem.flops("step") / products, moved / copy)
            seconds = row["step"]["seconds (quartile, median, quartile)"][1]
            assert row["step"]["share of the ceiling"] == pytest.approx(least / seconds, rel=1e-3)
    assert in_process.count(("cuda", "end")) >= 2, "an error that stays ends its process"
    begun.memory = 2e5
    status, out, _ = command("gpu", *patterns, "--json", data)
    assert status == 1 and "failed: out of memory" in out
    content = json.loads(data.read_text())
    rows = content["gpu"]["all"]["rows"]
    assert rows[:16] == first["rows"], "what was there is not measured again"
    assert all(row["problem"] in out for row in rows), "and shown with what is new"
    characters, packed = ([row for row in rows if row["problem"].startswith(by)] for by in ("characters", "options"))
    assert [row.get("failed", "") for row in characters] == ["", *["out of memory"] * 7]
    assert "one layer of" in packed[-1]["skipped"] and "step" in packed[1]
    status, out, _ = command("gpu", *patterns, "--json", data)
    assert status == 0 and "every size is in the file already" in out
    status, out, _ = command("gpu", *patterns, "--json", data, "--again", "--minutes", "0")
    assert "3 sizes are left after 0 minutes\n" in out, "the next run does not go on with what is there"
    assert len(json.loads(data.read_text())["gpu"]["all"]["rows"]) == len(rows)
    rows[1] = {name: rows[1][name] for name in ("problem", "contestant", "form")} | {"failed": "out of memory"}
    data.write_text(json.dumps(content))
    kept = RESULTS / "intel-xeon-2-threads.json"
    status, out, _ = command("show", data, "--beside", kept, "--plot", plot)
    assert status == 0 and f"* Intel(R) Xeon(R) Processor, {kept.name}" in out and "<svg" in plot.read_text()
    assert out.startswith("cuDNN ieee is "), "even where a size does not fit"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["gpu", "step", "memory"])
def test_a_run_that_is_interrupted_has_kept_what_it_measured(
    gpu: Begin, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    gpu()
    data, ask = tmp_path / "x.json", Worker.ask

    def interrupted(self: Worker, do: str, **what: Any) -> Any:
        if what.get("problem", {}).get("T") == 10:
            raise KeyboardInterrupt
        return ask(self, do, **what)

    monkeypatch.setattr(Worker, "ask", interrupted)
    assert command(name, "--problems", "toy LSTM T4", "--problems", "toy RNN tanh T10", "--json", data)[0] == 130
    (figures,) = json.loads(data.read_text())[name].values()
    assert {row["problem"] for row in figures["rows"]} == {"toy LSTM T4 B1 I4 H8"}


def test_without_a_gpu_it_is_said_at_the_door(
    in_process: list[Any], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("step", "ladder", "growth", "memory", "gpu"):
        status, out, error = command(name, "--quick", *([] if name == "gpu" else ["--device", "cuda"]))
        assert (status, out, error.count("\n")) == (2, "", 1) and "expected a CUDA device" in error
    assert {do for _, do in in_process} == {"environment", "end"}

"""The check and its command: what agrees is told from what does not, and everything that was asked for is there."""

import json
import re
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference import Configuration, assert_equivalent, check_command, witnesses
from reference.bad_calls import RECURRENCES
from reference.candidates import Scratch, candidate
from reference.check import Found, check
from reference.failures import failures
from reference.faults import held_to
from reference.problems import CELLS, Problem
from reference.report import by_option, page, picture
from reference.runs import Masks, Run
from reference.space import examples, grid, labels, simpler, sized, smallest
from reference.summary import in_short, summary
from scratch import nn
from tests.strategies import configurations

from .carried import Command

SOME = grid()[2::321]
SIMPLEST = Configuration("RNN tanh", initial_state=False, upstream=("output",))


@pytest.fixture(scope="module")
def seen() -> Found:
    return check(SOME)


def test_scratch_and_every_witness_agree(seen: Found) -> None:
    assert seen.configurations == SOME and {c.cell for c in SOME} == set(CELLS)
    assert seen.failures == seen.others == []
    assert {row.who for row in seen.rows} == {"scratch", "PyTorch", *witnesses.WITNESSES}
    assert {row.dtype for row in seen.rows} == {"float64", "float32", "longdouble"}
    said = summary(seen, failures(seen))["witnesses"]
    assert len(said) == 4 and all(one["agreements"] == one["tensors"] > 0 for one in said)


def test_the_summary_is_of_the_worst_and_the_typical(seen: Found) -> None:
    tables = summary(seen, failures(seen))["tensors"]
    for who in ("scratch", "PyTorch"):
        options = by_option(seen, who, "float64")
        for kind, line in tables[f"{who}, float64"].items():
            errors = [row.error for row in seen.rows if (row.who, row.dtype, row.kind) == (who, "float64", kind)]
            assert line["worst"] == max(errors) and min(errors) <= line["typical"] <= max(errors)
            assert max(error for (own, _), error in options.items() if own == kind) == max(errors)
    assert 0.5 < tables["scratch, float64"]["output"]["ratio"] < 2
    assert (in_short(1.0, 2), in_short(4.2e15, 2), in_short(13.71)) == ("1.00", "4e+15", "13.7")
    errors = {"scratch": 3e-12, "PyTorch": 1e-12}
    rows = [row._replace(error=errors[row.who]) for row in seen.rows if row.who in errors]
    shown = summary(Found(seen.subject, seen.configurations, rows), failures(seen))["tensors"]
    assert shown["scratch, float64"]["output"]["ratio"] == pytest.approx(3), "the geometric mean"
    unjudged = [row._replace(error=0.5, tolerance=np.inf) for row in rows if row.tensor == "output"]
    shown = summary(Found(seen.subject, seen.configurations, rows + unjudged), failures(seen))["tensors"]
    assert shown["scratch, float64"]["output"]["worst"] == 3e-12
    nothing = Found(seen.subject, [], seen.rows)
    assert picture(nothing) is None and "scratch" in page(nothing, failures(seen), summary(seen, failures(seen)), None)


def test_no_witness_is_heard_on_another_form_of_a_cell() -> None:
    subject = candidate(nn.GRU)
    held_to(subject, "reset before")
    assert {row.who for row in check([replace(SIMPLEST, cell="GRU")], subject).rows} == {"GRU"}


def test_processes_share_the_work_without_changing_it(seen: Found) -> None:
    shared = check(SOME, jobs=2)
    assert (shared.configurations, str(shared.rows)) == (SOME, str(seen.rows))


def test_a_truth_that_a_witness_denies_is_not_passed_as_one(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    testimony = {"d_input": witnesses.Testimony(error=1.0, tolerance=0.0)}
    denying = {name: lambda *_: testimony for name in list(witnesses.WITNESSES)[:2]}
    monkeypatch.setattr("reference.check.WITNESSES", denying)
    status, out, error = run("--cell", "lstm")
    assert status == 1 and f"But not everybody agrees with that truth: not {', '.join(denying)}." in out
    assert error.count("reference: disagreement: ") == min(5, 2 * sum(c.cell == "LSTM" for c in SOME))


# The space of options.


def test_every_cell_and_option_is_in_the_grid() -> None:
    seen: dict[str, set[str]] = {}
    for configuration in grid():
        for group, option in labels(configuration).items():
            seen.setdefault(group, set()).add(option)
    assert seen.pop("cell") == set(CELLS) and seen.pop("weights")
    assert {configuration.upstream for configuration in grid()} == {("output",), ("output", "h_n", "c_n")}
    twos = dict.fromkeys(("direction", "bias", "projection", "state"), 2)
    expected = {"layers": 3, "input": 4, "dropout": 3, "sizes": 3} | twos
    assert {group: len(options) for group, options in seen.items()} == expected
    assert len({configuration.seed for configuration in grid(7)}) == len(grid()) and grid(7)[0].seed == 7
    rng = np.random.default_rng(0)
    assert len({*examples(rng, lambda c: c.num_layers == 2, 9)}) == 9 and examples(rng, lambda c: False, 3) == []


@given(configurations(), st.dictionaries(st.sampled_from("TBIH"), st.integers(1, 9)))
def test_a_configuration_shows_as_python_and_can_be_made_simpler_or_of_another_size(
    configuration: Configuration, sizes: dict[str, int]
) -> None:
    """Simplifying comes to an end, also where everything fails."""
    c = sized(configuration, sizes)
    assert sized(c, sizes) == c
    assert (c.input_size, c.hidden_size) == (sizes.get("I", configuration.input_size), sizes.get("H", c.hidden_size))
    assert not c.lengths or max(c.lengths) == sizes.get("T", max(c.lengths))
    end = smallest(configuration, lambda _: True)
    assert list(simpler(end)) == []
    assert (end.num_layers, end.input_size, end.hidden_size) == (1, 1, 1)
    assert end.upstream == tuple(name for name in configuration.upstream if name == "output")
    assert eval(str(configuration)) == configuration


# Right and wrong recurrences.


class Spoiled(Scratch):
    """`scratch` with one wrong gradient, where a configuration has what it takes."""

    name = "Spoiled"
    source = f"from {__name__} import Spoiled", "Spoiled()"

    def run(self, problem: Problem) -> tuple[Run, Masks | None]:
        run, masks = super().run(problem)
        if problem.configuration.bidirectional and problem.configuration.layout == "packed":
            run["d_weight_hh_l0_reverse"] = run["d_weight_hh_l0_reverse"] * (1 + 1e-3)
        return run, masks


def test_a_fault_is_found_where_it_is_and_made_simple() -> None:
    some = [c for c in grid()[::31] if c.cell == "LSTM" and (c.bidirectional or c.layout == "packed")]
    found = check(some, Spoiled(), witnesses=False)
    wrong = {row.configuration for row in found.failures}
    assert len(wrong) > 1 and wrong == {c for c in some if c.bidirectional and c.layout == "packed"}
    ((failure,), rest) = failures(found)
    assert (rest, failure.count) == ("", len(wrong))
    small = failure.configuration
    assert small.bidirectional and small.layout == "packed"
    assert (small.num_layers, small.input_size, small.hidden_size, small.proj_size, small.dropout) == (1, 1, 1, 0, 0)
    assert {row.tensor for row in failure.rows} == {"d_weight_hh_l0_reverse"}
    assert failure.against == ["PyTorch", "complex step", "real-time recurrent learning", "central differences"]
    with pytest.raises(AssertionError, match="d_weight_hh_l0_reverse"):
        exec(failure.reproduction, {})


@pytest.mark.parametrize("library", [nn, torch.nn], ids=lambda library: library.__name__)
@pytest.mark.parametrize("name", RECURRENCES)
def test_both_libraries_own_classes_are_equivalent_as_candidates(library: Any, name: str) -> None:
    assert_equivalent(getattr(library, name), grid()[::23])


# The command.


@pytest.fixture
def run(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command over a part of the grid."""
    monkeypatch.setattr(check_command, "grid", lambda seed: grid(seed)[2::321])
    return lambda *arguments: command("check", "--jobs", "1", *arguments)


def text_of(page: Path) -> str:
    """What a page says, which loads nothing."""
    html = page.read_text(encoding="utf-8")
    assert re.findall(r' (?:src|href)="[^#"]', html) == [], "the page needs nothing else"
    return unescape(re.sub(r"<[^>]*>", "", html))


def test_command_writes_everything_and_says_what_pytorch_lacks(
    run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PyTorch is heard on what it has, and tables and page say what it has not."""
    name = list(CELLS.values())[-1]["module"]
    monkeypatch.delattr(torch.nn, name)
    page, data, plot = (tmp_path / f"check.{suffix}" for suffix in ("html", "json", "png"))
    files = "--report", str(page), "--json", str(data), "--plot", str(plot)
    status, out, error = run(*files, "--examples", "2", "--verbose", "--dtype", "float64")
    assert (status, error.strip()) == (0, "")
    shown = json.loads(data.read_text(encoding="utf-8"))
    for text in (out, text_of(page)):
        for expected in ("float64", "d_weight_hh", "complex step", "central differences", "PyTorch on a GPU"):
            assert expected in text
        assert f"PyTorch has no {name}: only the other witnesses are heard on it." in text
    assert "where scratch is worst:\n  output: Configuration(" in out
    assert shown["not in PyTorch"] == [name] and shown["disagreements"] == 0 and len(shown["witnesses"]) == 4
    assert shown["configurations"] == len(SOME) + 2
    assert shown["tensors"]["scratch, float64"]["output"]["worst"] < 1e-12 and "PyTorch, float64" in shown["tensors"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    status, out, _ = run("--cell", name, "--dtype", "float64")
    assert status == 0 and "PyTorch on a GPU" not in out and "┃ ratio" not in out


def test_command_filters(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Configuration] = []

    def look(configurations: list[Configuration], *_: object) -> Found:
        seen[:] = configurations
        return Found(Scratch(), configurations=configurations)

    monkeypatch.setattr(check_command, "run_check", look)
    for arguments, holds in [
        (["--cell", "lstm"], lambda c: c.cell == "LSTM"),
        (["--cell", "relu", "--cell", "LSTM"], lambda c: c.cell in ("RNN relu", "LSTM")),
        (["--layers", "2", "--layers", "3"], lambda c: c.num_layers in (2, 3)),
        (["--packed"], lambda c: c.layout == "packed"),
        (["--no-packed", "--no-unbatched"], lambda c: c.layout == "batched"),
        (["--batch-first", "--bidirectional"], lambda c: c.batch_first and c.bidirectional),
        (["--no-bias", "--no-state"], lambda c: not c.bias and not c.initial_state),
        (["--projection"], lambda c: c.proj_size > 0),
        (["--dropout"], lambda c: c.dropout > 0),
    ]:
        command("check", "--examples", "5", *arguments)
        assert len(seen) > 5 and all(map(holds, seen)), arguments
        assert seen[:-5] == [c for c in grid() if holds(c)]
    command("check", "--cell", "gru", "--sizes", "t7 B2, H9")
    assert {(c.hidden_size, max(c.lengths)) for c in seen} == {(9, 7)}


CANDIDATE = """
import numpy as np
import torch
from scratch import nn

class BadLSTM(nn.LSTM):
    def backward(self, *upstream):
        d_x, d_state = super().backward(*upstream)
        return 2 * d_x if isinstance(d_x, np.ndarray) else d_x, d_state

class BadOnGPU(torch.nn.LSTM):
    def forward(self, input, hx=None):
        output, (h, c) = super().forward(input, hx)
        return output, (2 * h if h.is_cuda else h, c)

def nothing():
    pass

three = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "a_module_of_somebody.py").write_text(CANDIDATE)
    (tmp_path / "a_broken_module.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", sys.path.copy())
    monkeypatch.delitem(sys.modules, "a_module_of_somebody", raising=False)
    return "a_module_of_somebody"


def test_command_checks_a_candidate(run: Command, module: str, tmp_path: Path) -> None:
    status, out, _ = run("--candidate", "scratch.nn:LSTM")
    assert status == 0 and "LSTM agrees with the truth" in out
    page, data = tmp_path / "page.html", tmp_path / "data.json"
    files = "--report", str(page), "--json", str(data)
    status, out, _ = run("--candidate", f"{module}:BadLSTM", *files, "--dtype", "float64")
    assert status == 1
    for shown in (out, text_of(page)):
        assert "d_input" in shown and f"from {module} import BadLSTM" in shown
        assert "assert_equivalent(BadLSTM, Configuration(" in shown
    (failure,) = json.loads(data.read_text(encoding="utf-8"))["failures"]
    assert failure["tensors"].keys() == {"d_input"} and failure["configuration"]["hidden_size"] == 1
    with pytest.raises(AssertionError, match="d_input"):
        exec(failure["reproduction"], {})


def test_command_on_a_gpu(run: Command, module: str, pretended_gpu: Any, tmp_path: Path) -> None:
    """On a pretended one: PyTorch is shown in each mode; a candidate computes there in each dtype, in full float32."""
    gpu, page = pretended_gpu(), tmp_path / "page.html"
    status, out, _ = run("--cell", "RNN", "--dtype", "float32", "--report", str(page))
    assert status == 0 and "CUDA float64" not in out
    for mode in ("'ieee', cuDNN", "'ieee', no cuDNN", "'tf32', cuDNN", "'tf32', no cuDNN"):
        assert f"CUDA float32 {mode}" in out
    assert page.read_text(encoding="utf-8").count("<td>CUDA float32 ") == 4
    assert {(call["cudnn"], call["precision"]) for call in gpu.log if call["what"].startswith("rnn")} == {
        (cudnn, precision) for cudnn in (True, False) for precision in ("ieee", "tf32")
    }
    gpu.log.clear()
    options = "--cell", "LSTM", "--dtype", "float32", "--dtype", "bfloat16", "--sizes", "T3"
    cuda = *options, "--device", "cuda"
    status, out, _ = run("--candidate", "torch.nn:LSTM", *cuda, "--examples", "4")
    assert status == 0 and "LSTM agrees with the truth" in out and "packed input" not in out
    calls = [call for call in gpu.log if call["what"] == "lstm"]
    assert {call["dtype"] for call in calls} >= {"float32", "bfloat16"} and any(call["packed"] for call in calls)
    assert {call["precision"] for call in calls if call["dtype"] == "float32"} == {"ieee"}
    status, out, _ = run("--candidate", f"{module}:BadOnGPU", *cuda)
    assert status == 1 and "BadOnGPU, float32 and bfloat16: h_n off by 1.0e+00" in out
    assert "device='cuda', dtypes=['float32', 'bfloat16'])" in out
    assert run("--candidate", f"{module}:BadOnGPU", *options)[0] == 0, "it is right on the CPU"


@pytest.mark.parametrize(
    "arguments",
    [
        *("--cell cnn", "--layers 0", "--layers 4", "--dtype float16", "--examples -1", "--jobs 0", "superfluous"),
        *("--packed --unbatched", "--packed --batch-first --unbatched", "--sizes T0", "--sizes Q3", "--tolerance 0"),
        *("--json no/such/folder/x.json", "--report .", "--plot plot.txt", "--json a.png --plot a.png"),
        *("--only forward", "--solution --layers 1", "--candidate no_such_module:LSTM", "--candidate "),
        *("--candidate a_broken_module:LSTM", "--candidate a_module_of_somebody"),
        "--candidate a_module_of_somebody:BadLSTM --json a_module_of_somebody.py",
        *(f"--candidate a_module_of_somebody:{name}" for name in ("NoLSTM", "three", "nothing")),
        *(
            f"--candidate scratch.nn:LSTM {wrong}"
            for wrong in ("--cell relu --packed --unbatched", "--reset before", "--only this", "--require speed")
        ),
    ],
)
def test_command_refuses_wrong_arguments(run: Command, module: str, arguments: str) -> None:
    status, out, error = run(*arguments.split(" "))
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert sorted(path.name for path in Path().iterdir() if path.is_file()) == ["a_broken_module.py", f"{module}.py"]

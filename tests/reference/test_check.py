"""The check and its command: what agrees is told from what does not, and everything that was asked for is there."""

import json
import re
import sys
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given

from reference import Configuration, assert_equivalent, check_command, witnesses
from reference.bad_calls import RECURRENCES
from reference.candidates import Scratch, candidate
from reference.check import Found, check
from reference.failures import failures
from reference.problems import CELLS, Problem
from reference.runs import Masks, Run
from reference.space import examples, grid, labels, simpler, smallest
from reference.summary import agreements, as_json, by_option, lines, ratio, tensors
from scratch import nn
from scratch.textbook import rnn
from scratch.types import Array
from tests.strategies import configurations

from .carried import Command

SOME = grid()[::97]
SIMPLEST = Configuration("RNN tanh", initial_state=False, upstream=("output",))


class Spoiled(Scratch):
    """`scratch` with one wrong gradient, where a configuration has what it takes."""

    name = "Spoiled"
    source = f"from {__name__} import Spoiled", "Spoiled()"

    def run(self, problem: Problem) -> tuple[Run, Masks | None]:
        run, masks = super().run(problem)
        if problem.configuration.bidirectional and problem.configuration.layout == "packed":
            run["d_weight_hh_l0_reverse"] = run["d_weight_hh_l0_reverse"] * (1 + 1e-3)
        return run, masks


def test_every_cell_and_option_is_in_the_grid() -> None:
    seen: dict[str, set[str]] = {}
    for configuration in grid():
        for group, option in labels(configuration).items():
            seen.setdefault(group, set()).add(option)
    assert seen["cell"] == set(CELLS)
    assert {group: len(options) for group, options in seen.items() if group not in ("cell", "weights")} == {
        "layers": 3,
        "direction": 2,
        "input": 4,
        "bias": 2,
        "projection": 2,
        "state": 2,
        "dropout": 3,
        "sizes": 3,
    }
    assert len({configuration.seed for configuration in grid(7)}) == len(grid()) and grid(7)[0].seed == 7


def test_scratch_and_every_witness_agree() -> None:
    found = check(SOME)
    assert found.configurations == SOME
    assert found.disagreements == []
    assert {row.who for row in found.rows} == {"scratch", "PyTorch", *(one.witness for one in agreements(found)[1:])}
    assert {row.dtype for row in found.rows} == {"float64", "float32", "longdouble"}
    assert all(one.agreements == one.tensors > 0 for one in agreements(found)) and len(agreements(found)) == 4


@pytest.mark.parametrize("with_another", [False, True])
def test_what_pytorch_lacks_is_left_to_the_other_witnesses(
    run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, with_another: bool
) -> None:
    """PyTorch is heard on what it has, and tables and page say what it has not."""
    first, *_, last = CELLS
    monkeypatch.delattr(torch.nn, (name := CELLS[last]["module"]))
    chosen = [option for cell in (last, *[first] * with_another) for option in ("--cell", cell)]
    page, data, plot = (tmp_path / f"check.{suffix}" for suffix in ("html", "json", "png"))
    files = "--report", str(page), "--json", str(data), "--plot", str(plot)
    status, out, error = run(*chosen, *files)
    assert (status, error.strip()) == (0, "")
    summary, html = json.loads(data.read_text()), page.read_text()
    assert summary["not in PyTorch"] == [name] and summary["disagreements"] == 0
    assert len(summary["witnesses"]) == (4 if with_another else 3)
    assert ("PyTorch, float64" in summary["tensors"]) == with_another
    for text in (out, html):
        assert f"PyTorch has no {name}: only the other witnesses are heard on it." in text
        assert ("PyTorch on a GPU" in text) == with_another
    assert ("PyTorch, worst" in html) == with_another


def test_a_truth_that_a_witness_denies_is_not_passed_as_one(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    testimony = {"d_input": witnesses.Testimony(error=1.0, tolerance=0.0)}
    denying = {name: lambda *_: testimony for name in list(witnesses.WITNESSES)[:2]}
    monkeypatch.setattr("reference.check.WITNESSES", witnesses.WITNESSES | denying)
    status, out, error = run("--cell", "lstm")
    assert status == 1
    assert f"But not everybody agrees with that truth: not {', '.join(denying)}." in out
    assert error.count("reference: disagreement: ") == 5


def test_processes_share_the_work_without_changing_it() -> None:
    shared, alone = check(SOME[:6], jobs=2), check(SOME[:6])
    assert shared.configurations == alone.configurations
    assert str(shared.rows) == str(alone.rows)


def test_a_fault_is_found_where_it_is_and_made_simple() -> None:
    some = [c for c in grid()[::5] if c.cell == "LSTM"]
    found = check(some, Spoiled(), witnesses=False)
    wrong = {row.configuration for row in found.failures}
    assert wrong == {c for c in some if c.bidirectional and c.layout == "packed"}
    ((failure,), rest) = failures(found)
    assert rest == ""
    assert failure.count == len(wrong)
    small = failure.configuration
    assert small.bidirectional and small.layout == "packed"
    assert (small.num_layers, small.input_size, small.hidden_size, small.proj_size, small.dropout) == (1, 1, 1, 0, 0)
    assert {row.tensor for row in failure.rows} == {"d_weight_hh_l0_reverse"}
    assert failure.against == ["PyTorch", "complex step", "real-time recurrent learning", "central differences"]
    with pytest.raises(AssertionError, match="d_weight_hh_l0_reverse"):
        exec(failure.reproduction, {})


@given(configurations())
def test_simplifying_comes_to_an_end(configuration: Configuration) -> None:
    """Also where everything fails."""
    end = smallest(configuration, lambda _: True)
    assert list(simpler(end)) == []
    assert (end.num_layers, end.input_size, end.hidden_size) == (1, 1, 1)
    assert end.upstream == tuple(name for name in configuration.upstream if name == "output")


@given(configurations())
def test_a_configuration_shows_as_the_python_that_makes_it(configuration: Configuration) -> None:
    assert eval(str(configuration)) == configuration


def test_random_configurations_are_as_wanted() -> None:
    rng = np.random.default_rng(0)
    found = examples(rng, lambda c: c.layout == "packed" and c.num_layers == 2, 30)
    assert len(found) == 30 == len(set(found))
    assert all(c.layout == "packed" and c.num_layers == 2 for c in found)
    assert examples(rng, lambda c: False, 3) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": "CNN"}, "CNN"),
        ({"layout": "ragged"}, "ragged"),
        ({"lengths": (2, 3)}, "equal lengths"),
        ({"layout": "unbatched", "lengths": (2, 2)}, "one length"),
        ({"layout": "packed", "lengths": ()}, "lengths"),
    ],
)
def test_what_is_no_configuration_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Configuration(**{"cell": "LSTM", **change})


@pytest.mark.parametrize("library", [nn, torch.nn], ids=lambda library: library.__name__)
@pytest.mark.parametrize("name", RECURRENCES)
def test_both_libraries_own_classes_are_equivalent_as_candidates(library: Any, name: str) -> None:
    assert_equivalent(getattr(library, name), grid()[::7])


class DropsAllAtLast(nn.LSTM):
    """Its second call, and only that, happens to drop everything."""

    calls = 0

    def forward(self, input: Any, hx: Any = None) -> Any:
        self.calls += 1
        self.rng = np.random.default_rng(self.seeds[self.calls > 1])
        return super().forward(input, hx)

    @property
    def seeds(self) -> tuple[int, int]:
        """Some generator that keeps what is dropped, and one that drops both values of the only mask."""
        drops = [(np.random.default_rng(seed).random(2) < 0.5).all() for seed in range(100)]
        return drops.index(False), drops.index(True)


def test_masks_that_happen_to_drop_everything_are_masks() -> None:
    configuration = Configuration("LSTM", num_layers=2, hidden_size=2, dropout=0.5, lengths=(1,))
    module = DropsAllAtLast(3, 2, 2, dropout=0.5)
    masks = [(module(np.ones((1, 1, 3), np.float32)), module.dropout_masks)[1] for _ in range(2)]
    assert masks[0][0].any() and not masks[1][0].any()
    assert_equivalent(DropsAllAtLast, configuration)


class Half:
    """One layer, one direction, no options, no state: the least that can be checked; and its biases are one."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        self.module = nn.RNN(input_size, hidden_size, dtype=np.float64)
        self.named_parameters = self.module.named_parameters

    def __call__(self, x: Array, state: None = None) -> tuple[Array, None]:
        if state is not None or x.ndim != 3:
            raise NotImplementedError("no state, and batches only")
        return self.module(x)[0], None

    def backward(self, d_output: Array, d_state: None = None) -> tuple[Array, None]:
        if d_state is not None:
            raise NotImplementedError("no gradient of the final state")
        return self.module.backward(d_output)[0], None


def test_what_a_candidate_lacks_is_not_wrong() -> None:
    found = check([*grid()[::5], SIMPLEST], candidate(Half, "HalfRNN"), witnesses=False)
    assert found.failures == []
    assert found.configurations == [SIMPLEST]
    missing = {"num_layers", "bias", "batch_first", "bidirectional", "nonlinearity", "unbatched input", "packed input"}
    assert missing | {"upstream gradient of the final state", "h_n"} <= found.not_offered.keys()
    assert "no gradient of the final state" in found.not_offered["upstream gradient of the final state"]
    with pytest.raises(AssertionError, match="nothing could be checked"):
        assert_equivalent(Half, Configuration("RNN tanh", bidirectional=True), cell="RNN tanh")


class WithoutEnds(Half):
    """Takes no state, and returns none: not even the arguments are there."""

    def __call__(self, x: Array) -> Array:  # type: ignore[override]
        return super().__call__(x)[0]

    def backward(self, d_output: Array) -> Array:  # type: ignore[override]
        return super().backward(d_output)[0]


class KeywordsOnly(Half):
    def __init__(self, *, hidden_size: int, input_size: int) -> None:
        super().__init__(input_size, hidden_size)


class Static:
    """A pair of functions in a class."""

    @staticmethod
    def forward(x: Array, state: Array, parameters: dict[str, Array]) -> tuple[Array, Array, Any]:
        return rnn.forward(x, state, parameters)

    backward = staticmethod(rnn.backward)


def deaf(x: Array, state: Array, parameters: dict[str, Array], nonlinearity: str = "tanh") -> Any:
    """A forward pass that is told the nonlinearity, and does not listen."""
    return rnn.forward(x, state, parameters)


def refusing(x: Array, state: Array, parameters: dict[str, Array], nonlinearity: str = "tanh") -> Any:
    if nonlinearity != "tanh":
        raise ValueError("tanh only")
    return rnn.forward(x, state, parameters)


def test_functions_are_told_the_nonlinearity() -> None:
    both = ("RNN tanh", "RNN relu")
    told, unheard, refused = (
        check(grid(), candidate((forward, rnn.backward), "an RNN"), ["float64"], witnesses=False)
        for forward in (rnn.forward, deaf, refusing)
    )
    assert told.subject.cells == unheard.subject.cells == both
    assert told.failures == [] and {c.cell for c in told.configurations} == set(both)
    assert {row.configuration.cell for row in unheard.failures} == {"RNN relu"}
    assert refused.failures == [] and {c.cell for c in refused.configurations} == {"RNN tanh"}
    assert "tanh only" in refused.not_offered["nonlinearity"]
    assert_equivalent((partial(rnn.forward, nonlinearity="relu"), rnn.backward), grid(), cell="RNN relu")
    assert candidate((Static.forward, Static.backward), "an RNN").cells == ("RNN tanh",)
    assert candidate((rnn.forward, rnn.backward), "a GRU").cells == ("GRU",)


class WithBuffer(torch.nn.RNN):
    """A buffer besides the parameters, and the state as a list."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("calls", torch.zeros(()))


@pytest.mark.parametrize(
    ("target", "count"), [(WithoutEnds, 3), (KeywordsOnly, 3), (Static, 6), (WithBuffer, 120)], ids=lambda x: str(x)
)
def test_what_is_right_in_its_own_way_is_right(target: Any, count: int) -> None:
    few = [c for c in grid() if c.cell == "RNN tanh"]
    found = check(few, candidate(target, cell="RNN tanh"), ["float64"], witnesses=False)
    assert found.failures == []
    assert len(found.configurations) >= count


class NotDroppingLSTM(torch.nn.LSTM):
    def __init__(self, *args: Any, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class LateRNN(Half):
    """Wrong at the first call of a new object."""

    def __call__(self, x: Array, state: None = None) -> tuple[Array, None]:
        output, _ = super().__call__(x)
        self.calls = getattr(self, "calls", 0) + 1
        return (2 * output if self.calls == 1 else output), None


class MistypedRNN(nn.RNN):
    def forward(self, input: Any, hx: Any = None) -> Any:
        return super().forward(input, hx if hx is None else eval("hxx"))


class ExitingRNN(Half):
    def __init__(self, *args: int) -> None:
        raise SystemExit(0)


class InPlaceRNN(nn.RNN):
    def backward(self, d_output: Any = None, d_state: Any = None) -> Any:
        result = super().backward(d_output, d_state)
        if d_state is not None:
            d_state += 1
        return result


class RaisingRNN(Half):
    def __call__(self, x: Array, state: None = None) -> tuple[Array, None]:
        raise IndexError("out\nof range")


class WritingRNN(Half):
    def __call__(self, x: Array, state: None = None) -> tuple[Array, None]:
        output, _ = super().__call__(x)
        x *= 2
        return output, None


class ForgettingRNN(Half):
    def backward(self, d_output: Array, d_state: None = None) -> tuple[Array, None]:
        result = super().backward(d_output, d_state)
        self.module.bias_hh_l0.grad = None
        return result


class CastingRNN(Half):
    def backward(self, d_output: Array, d_state: None = None) -> tuple[Array, None]:
        return super().backward(d_output, d_state)[0].astype(np.float32), None


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (NotDroppingLSTM, "dropout"),
        (LateRNN, "second call only"),
        (MistypedRNN, "NameError"),
        (ExitingRNN, "SystemExit"),
        (InPlaceRNN, "writes to the caller's d_h_n"),
        (RaisingRNN, r"raises IndexError: out of range \(test_check.py, line \d+\)"),
        (WritingRNN, "writes to the caller's input"),
        (ForgettingRNN, "d_bias_hh_l0: missing"),
        (CastingRNN, "d_input: dtype float32, expected float64"),
    ],
)
def test_no_fault_passes_for_an_option_that_is_not_there(target: type, message: str) -> None:
    dropping = Configuration("LSTM", num_layers=2, dropout=0.4)
    found = check([dropping, Configuration("RNN tanh"), SIMPLEST], candidate(target), ["float64"], witnesses=False)
    assert found.failures
    assert re.search(message, " ".join([*map(str, found.failures), *map(str, failures(found).failures)]))
    json.dumps(as_json(found, failures(found)), allow_nan=False)


def test_a_dtype_that_is_not_computed_is_not_checked() -> None:
    found = check([SIMPLEST], candidate(Half, "HalfRNN"), ["float32"], witnesses=False)
    assert found.configurations == [] and "float32" in found.not_offered
    with pytest.raises(AssertionError, match="nothing could be checked"):
        assert_equivalent(Half, SIMPLEST, dtypes="float32")
    for wrong in ("float128", [], ["float64", "double"]):
        with pytest.raises(ValueError, match="dtypes"):
            assert_equivalent(Half, SIMPLEST, dtypes=wrong)


@pytest.mark.parametrize(
    ("target", "error"), [(3, TypeError), (nn.LSTM(1, 1), TypeError), (Half, ValueError), ((1, 2), TypeError)]
)
def test_what_is_no_candidate_is_refused(target: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        candidate(target)
    with pytest.raises(ValueError, match="CNN"):
        candidate(Half, cell="CNN")


def test_the_summary_is_of_the_worst_and_the_typical() -> None:
    found = check(SOME, dtypes=["float64"])
    for who in ("scratch", "PyTorch"):
        for kind, line in lines(found, who, "float64").items():
            errors = [row.error for row in found.rows if (row.who, row.dtype, row.kind) == (who, "float64", kind)]
            assert line.worst.error == max(errors) and line.worst in found.rows
            assert min(errors) <= line.typical <= line.worst.error
            table = by_option(found, who, "float64")
            assert max(kinds.get(kind, 0) for kinds in table.values()) == max(errors)
    assert 0.5 < ratio(found, "output", "float64") < 2


def test_the_ratio_is_the_geometric_mean_of_the_errors_of_both() -> None:
    found = check([SIMPLEST], dtypes=["float64"])
    errors = {"scratch": 3e-12, "PyTorch": 1e-12}
    rows = [row._replace(error=errors[row.who]) for row in found.rows if row.who in errors]
    shown = {one.kind: one for one in tensors(Found(found.subject, rows=rows), "float64")}
    assert shown["output"].ratio == pytest.approx(3)
    assert shown["output"].ours.worst.error == 3e-12
    assert shown["output"].theirs is not None and shown["output"].theirs.worst.error == 1e-12


@pytest.fixture
def run(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command over a part of the grid."""
    monkeypatch.setattr(check_command, "grid", lambda seed: grid(seed)[::97])
    return lambda *arguments: command("check", "--jobs", "1", *arguments)


class Page(HTMLParser):
    """Notes what a page loads, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [
            value for name, value in attrs if name in ("src", "href") and value and not value.startswith("#")
        ]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_command_writes_everything(run: Command, tmp_path: Path) -> None:
    page, data, plot = tmp_path / "page.html", tmp_path / "data.json", tmp_path / "plot.png"
    status, out, error = run("--report", str(page), "--json", str(data), "--plot", str(plot), "--examples", "3")
    assert (status, error.strip()) == (0, "")
    for expected in ("float64", "float32", "d_weight_hh", "ratio", "real-time recurrent learning", "no CUDA device"):
        assert torch.cuda.is_available() or expected in out
    html = Page()
    html.feed(page.read_text(encoding="utf-8"))
    assert html.loads == [], "the page needs nothing else"
    assert "d_weight_hh" in html.text and "central differences" in html.text and "PyTorch on a GPU" in html.text
    summary = json.loads(data.read_text(encoding="utf-8"))
    assert summary["configurations"] == len(SOME) + 3
    assert summary["tensors"]["scratch, float64"]["output"]["worst"] < 1e-12
    assert plot.read_bytes().startswith(b"\x89PNG")


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


CANDIDATE = """
import numpy as np
import torch
from scratch import nn

class GoodLSTM(nn.LSTM):
    pass

class BadLSTM(nn.LSTM):
    def backward(self, *upstream):
        d_x, d_state = super().backward(*upstream)
        return 2 * d_x if isinstance(d_x, np.ndarray) else d_x, d_state

class GoodTorchLSTM(torch.nn.LSTM):
    pass

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
    return "a_module_of_somebody"


def test_command_checks_a_candidate(run: Command, module: str, tmp_path: Path) -> None:
    status, out, _ = run("--candidate", f"{module}:GoodLSTM")
    assert status == 0 and "GoodLSTM agrees with the truth" in out
    page, data = tmp_path / "page.html", tmp_path / "data.json"
    status, out, _ = run("--candidate", f"{module}:BadLSTM", "--report", str(page), "--json", str(data))
    assert status == 1
    html = Page()
    html.feed(page.read_text(encoding="utf-8"))
    for shown in (out, html.text):
        assert "d_input" in shown
        assert f"from {module} import BadLSTM" in shown
        assert "assert_equivalent(BadLSTM, Configuration(" in shown
    (failure,) = json.loads(data.read_text(encoding="utf-8"))["failures"]
    assert failure["tensors"].keys() == {"d_input"} and failure["configuration"]["hidden_size"] == 1
    with pytest.raises(AssertionError, match="d_input"):
        exec(failure["reproduction"], {})


def test_command_shows_pytorch_on_a_gpu_in_each_mode(run: Command, pretended_gpu: Any, tmp_path: Path) -> None:
    gpu, page = pretended_gpu(), tmp_path / "page.html"
    status, out, _ = run("--cell", "GRU", "--layers", "1", "--dtype", "float32", "--report", str(page))
    assert status == 0
    for mode in ("'ieee', cuDNN", "'ieee', no cuDNN", "'tf32', cuDNN", "'tf32', no cuDNN"):
        assert f"CUDA float32 {mode}" in out
    assert page.read_text(encoding="utf-8").count("<td>CUDA float32 ") == 4 and "CUDA float64" not in out
    assert {(call["cudnn"], call["precision"]) for call in gpu.log if call["what"] == "gru"} == {
        (cudnn, precision) for cudnn in (True, False) for precision in ("ieee", "tf32")
    }


def test_command_checks_a_torch_module_on_a_gpu(run: Command, module: str, pretended_gpu: Any, tmp_path: Path) -> None:
    """On a pretended one: the candidate computes there in each dtype, packed input too, in full float32."""
    gpu, page = pretended_gpu(), tmp_path / "page.html"
    where = "--cell", "LSTM", "--layers", "1", "--dtype", "float32"
    options = *where, "--dtype", "bfloat16", "--device", "cuda", "--report", str(page)
    status, out, error = run("--candidate", f"{module}:GoodTorchLSTM", *options)
    assert (status, error.strip()) == (0, "") and "GoodTorchLSTM agrees with the truth" in out
    calls = [call for call in gpu.log if call["what"] == "lstm"]
    assert {call["dtype"] for call in calls} == {"float32", "bfloat16"} and any(call["packed"] for call in calls)
    assert {call["precision"] for call in calls if call["dtype"] == "float32"} == {"ieee"}
    assert "packed input" not in out and "bfloat16" in page.read_text(encoding="utf-8")
    status, out, _ = run("--candidate", f"{module}:BadOnGPU", *options)
    assert status == 1 and "BadOnGPU, float32 and bfloat16: h_n off by 1.0e+00" in out
    assert "device='cuda', dtypes=['float32', 'bfloat16'])" in out
    status, out, _ = run("--candidate", f"{module}:BadOnGPU", *where)
    assert status == 0, "it is right on the CPU"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cell", "cnn"],
        ["--layers", "0"],
        ["--layers", "4"],
        ["--dtype", "float16"],
        ["--examples", "-1"],
        ["--jobs", "0"],
        ["--packed", "--unbatched"],
        ["--packed", "--batch-first", "--unbatched"],
        ["--json", "no/such/folder/x.json"],
        ["--report", "."],
        ["--plot", "plot.txt"],
        ["--candidate", "no_such_module:LSTM"],
        ["--candidate", "a_broken_module:LSTM"],
        ["--candidate", "a_module_of_somebody:NoLSTM"],
        ["--candidate", "a_module_of_somebody:three"],
        ["--candidate", "a_module_of_somebody:nothing"],
        ["--candidate", "a_module_of_somebody"],
        ["--candidate", ""],
        ["--candidate", "a_module_of_somebody:GoodLSTM", "--cell", "relu", "--packed", "--unbatched"],
        ["superfluous"],
    ],
    ids=" ".join,
)
def test_command_refuses_wrong_arguments(run: Command, module: str, arguments: list[str]) -> None:
    status, out, error = run(*arguments)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert sorted(path.name for path in Path().iterdir() if path.is_file()) == ["a_broken_module.py", f"{module}.py"]

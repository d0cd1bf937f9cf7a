"""What a candidate may look like, and how its refusals, its crashes and its mistakes are told apart."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference import Configuration, assert_equivalent
from reference.candidates import Implementation, candidate, requirements
from reference.check import Found, check
from reference.conditioning import tolerances
from reference.devices import Mode
from reference.failures import HALVES_UNDIAGNOSED, failures
from reference.problems import draw
from reference.space import sized
from reference.summary import summary
from reference.weights.forms import form_of
from scratch import nn
from scratch.textbook import lstm, rnn
from scratch.types import Array
from tests.strategies import configurations

from .carried import Command

PAGES = {"RNN tanh": "rnn", "LSTM": "lstm", "GRU": "gru"}
"""The textbook's page of each cell that a pair of functions is tried with."""
Function = Callable[..., Any]


def few(cell: str = "LSTM") -> list[Configuration]:
    """With and without a state, a bias, a projection and packed input."""
    plain = Configuration(cell, lengths=(3, 3))
    changes: list[dict[str, Any]] = [{}, {"initial_state": False}, {"bias": False}, {"layout": "packed"}]
    return [replace(plain, **each) for each in changes + [{"proj_size": 2}] * (cell == "LSTM")]


def same(*given: Any) -> Any:
    return given


def pair(
    cell: str = "LSTM",
    before: Function = same,
    after: Function = same,
    before_back: Function = same,
    after_back: Function = same,
    backward: Function | None = None,
    **options: Any,
) -> Any:
    """A candidate: the textbook's pair of functions, with a change to what one of them is given, or gives."""
    page = import_module(f"scratch.textbook.{PAGES[cell]}")

    def forward(x: Any, state: Any, parameters: Any) -> Any:
        return after(*page.forward(*before(x, state, parameters)))

    def back(d_output: Any, d_state: Any, tape: Any) -> Any:
        return after_back(*page.backward(*before_back(d_output, d_state, tape)))

    return candidate((forward, backward or back), cell=cell, **options)


def found(subject: Any, dtypes: Any = ("float64",), among: list[Configuration] | None = None) -> Found:
    subject = subject if isinstance(subject, Implementation) else candidate(subject, cell="LSTM")
    return check(among or few(subject.cells[0]), subject, dtypes, witnesses=False)


def told(of: Found) -> str:
    return "\n".join(map(str, failures(of).failures))


def fail(*_: Any) -> Any:
    raise NotImplementedError("not yet")


def crash(*given: Any) -> Any:
    """What is given, or an error that nobody wrote down, if a state is."""
    return [given][int(bool(np.any(given[1][0])))]


def refuse(*given: Any) -> Any:
    """The same, but that somebody wrote it down."""
    if np.any(given[1][0]):
        raise ValueError("no state, please")
    return given


# What is right, and what is lacking.


@pytest.mark.parametrize("cell", PAGES)
def test_the_textbook_is_right_and_does_not_project(cell: str) -> None:
    seen = found(pair(cell))
    assert seen.failures == [] and len(seen.configurations) == 3
    assert cell != "LSTM" or seen.not_offered["proj_size"] == "weight_hr is never read"


def test_a_crash_is_no_refusal() -> None:
    assert "initial state" in found(pair(before=refuse)).not_offered
    seen = found(pair(before=crash))
    assert "initial state" not in seen.not_offered and "raises IndexError" in told(seen)
    assert {row.configuration.initial_state for row in seen.failures} == {True}
    always = found(pair(before=lambda *_: [][1]), ("float64", "float32"))
    assert always.not_offered.keys().isdisjoint({"float64", "float32"}) and len(failures(always).failures) == 1


def test_the_gradient_of_a_state_that_was_not_given_is_compared() -> None:
    wrong = pair(before=refuse, after_back=lambda x, s, p: (x, (2 * s[0], s[1]), p))
    assert {row.kind for row in found(wrong).failures} == {"d_h_0"}


def test_functions_are_told_the_nonlinearity() -> None:
    def deaf(x: Any, state: Any, parameters: Any, nonlinearity: str = "tanh") -> Any:
        return rnn.forward(x, state, parameters)

    def refusing(x: Any, state: Any, parameters: Any, nonlinearity: str = "tanh") -> Any:
        if nonlinearity != "tanh":
            raise ValueError("tanh only")
        return rnn.forward(x, state, parameters)

    both = few("RNN tanh") + few("RNN relu")
    subjects = [candidate((forward, rnn.backward), "an RNN") for forward in (rnn.forward, deaf, refusing)]
    hears, is_deaf, refuses = (found(subject, among=both) for subject in subjects)
    assert hears.subject.cells == is_deaf.subject.cells == ("RNN tanh", "RNN relu")
    assert hears.failures == [] and len(hears.configurations) == 6
    assert {row.configuration.cell for row in is_deaf.failures} == {"RNN relu"}
    assert refuses.failures == [] and {c.cell for c in refuses.configurations} == {"RNN tanh"}
    assert "tanh only" in refuses.not_offered["nonlinearity"]
    assert_equivalent((partial(rnn.forward, nonlinearity="relu"), rnn.backward), few("RNN relu"), cell="RNN relu")
    plain = SimpleNamespace(
        forward=lambda x, state, parameters: rnn.forward(x, state, parameters), backward=rnn.backward
    )
    assert candidate(plain, "an RNN").cells == ("RNN tanh",) and found(plain_lstm()).failures == []


def plain_lstm() -> Any:
    """The functions as static methods of a class."""
    methods = {"forward": staticmethod(lstm.forward), "backward": staticmethod(lstm.backward)}
    return type("Plain", (), methods)


@pytest.mark.parametrize("backward", [fail, lambda *_: None])
def test_an_unfinished_backward_is_to_do_and_forward_right(backward: Function) -> None:
    seen = found(pair(backward=backward))
    assert seen.failures == [] and "is right forward" in summary(seen, failures(seen))["verdict"]
    assert {row.kind for row in seen.rows} == {"output", "h_n", "c_n"}
    with pytest.raises(AssertionError, match="backward is to do"):
        assert_equivalent(pair(backward=backward), few()[0])
    assert_equivalent(pair(backward=backward, only="forward"), few()[0])
    assert "output" in told(found(pair(backward=backward, after=lambda o, s, t: (2 * o, s, t))))


def test_a_forward_function_alone_is_right_forward() -> None:
    seen = found(candidate(lstm.forward, cell="LSTM"))
    assert seen.failures == [] and seen.subject.to_do == "there is no backward"


def test_a_torch_module_may_lack_a_state_or_a_way_back() -> None:
    def changed(change: Function) -> type:
        call = torch.nn.LSTM.forward
        return type("Changed", (torch.nn.LSTM,), {"forward": lambda self, x, hx=None: change(*call(self, x, hx))})

    seen = found(changed(lambda output, state: output))
    assert seen.failures == [] and seen.not_offered["upstream gradient of the final state"] == "no h_n is returned"
    seen = found(changed(lambda output, state: (output.detach(), tuple(part.detach() for part in state))))
    assert seen.failures == [] and "autograd sees no way" in seen.subject.to_do


def many_to_one(d_output: Any, d_state: Any, tape: Any) -> Any:
    if d_output is not None:
        raise ValueError("no gradient of the output")
    return lstm.backward(np.zeros((len(tape[0]), *d_state[0].shape), d_state[0].dtype), d_state, tape)


def test_a_model_that_is_many_to_one_is_held_to_the_final_state() -> None:
    alone: dict[str, Any] = {"after": lambda o, s, t: (None, s, t)}
    seen = found(pair(backward=many_to_one, **alone))
    assert seen.failures == [] and len(seen.configurations) == 3
    assert {"h_n", "d_weight_hh"} <= {row.kind for row in seen.rows} and "output" not in {row.kind for row in seen.rows}
    assert found(pair(backward=lambda d, s, t: many_to_one(d, (2 * s[0], s[1]), t), **alone)).failures
    ignoring: dict[str, Any] = {"backward": lambda d, s, t: many_to_one(None, s, t)}
    assert found(pair(**ignoring)).failures and found(pair(only="final", **ignoring)).failures == []


def test_what_is_required_is_missing_if_it_is_not_offered() -> None:
    refusing = pair(before=refuse)
    assert_equivalent(refusing, few()[1], require="bias")
    with pytest.raises(AssertionError, match=r"required, but not offered: initial state \(ValueError: no state"):
        assert_equivalent(refusing, few()[1], require=["initial", "bias"])
    missing = candidate(lstm.forward, cell="LSTM").missing(requirements(["all"]))
    assert missing["backward"] == "there is no backward" and {"packed input", "num_layers"} <= missing.keys()
    assert pair("RNN tanh").missing(["nonlinearity"]) == {"nonlinearity": "it has tanh alone"}
    assert requirements(["packed", "batch-first", "all"])[:2] == ["packed input", "batch_first"]
    assert candidate(nn.GRU).missing(requirements(["all"])) == {}  # no GRU projects


def test_a_tolerance_can_be_given() -> None:
    off: dict[str, Any] = {"after": lambda o, s, t: (o * (1 + 1e-6), s, t)}
    assert found(pair(**off, tolerance=1e-5)).failures == [] and found(pair(**off)).failures


@given(configurations(), st.dictionaries(st.sampled_from("TBIH"), st.integers(1, 9)))
def test_sizes_are_as_they_are_told(configuration: Configuration, sizes: dict[str, int]) -> None:
    c = sized(configuration, sizes)
    assert sized(c, sizes) == c
    assert (c.input_size, c.hidden_size) == (sizes.get("I", configuration.input_size), sizes.get("H", c.hidden_size))
    assert not c.lengths or max(c.lengths) == sizes.get("T", max(c.lengths))


# What is handed over.


def stepped(tape: Any) -> Any:
    tape[1]["weight_ih"] -= 0.1
    return tape


class Writing(torch.nn.LSTM):
    def forward(self, x: Any, hx: Any = None) -> Any:
        result = super().forward(x, hx)
        x.data.mul_(2)
        return result


class Learning(nn.LSTM):
    """Learns within backward."""

    def backward(self, *upstream: Any, **options: Any) -> Any:
        result = super().backward(*upstream, **options)
        self.weight_hh_l0.data -= 0.1
        return result


WRITES: dict[str, Function] = {
    "x": lambda: pair(before=lambda x, s, p: (x.__imul__(2), s, p)),
    "h_0": lambda: pair(before=lambda x, s, p: (x, (s[0].__iadd__(1), s[1]), p)),
    "c_0": lambda: pair(before=lambda x, s, p: (x, (s[0], s[1].__iadd__(1)), p)),
    "weight_ih": lambda: pair(before_back=lambda d, s, t: (d, s, stepped(t))),
    "d_output": lambda: pair(before_back=lambda d, s, t: (d.__imul__(2), s, t)),
    "d_h_n": lambda: pair(before_back=lambda d, s, t: (d, (s[0].__iadd__(1), s[1]), t)),
    "parameters": lambda: pair(before=lambda x, s, p: (x, s, p.update(weight_hh=2 * p["weight_hh"]) or p)),
    "input": lambda: Writing,
    "weight_hh_l0": lambda: Learning,
}


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_over_is_named(name: str) -> None:
    seen = found(WRITES[name](), among=few()[:1])
    assert {row.what.partition(" writes to the caller's ")[2].partition(",")[0] for row in seen.failures} == {name}
    assert all(row.unfit for row in seen.failures)


class Skewed(np.random.Generator):
    """Draws small numbers too often."""

    def random(self, *given: Any, **options: Any) -> Any:
        return super().random(*given, **options) ** 2


class DroppingMore(nn.LSTM):
    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.rng = Skewed(np.random.PCG64(0))


class DroppingTheLast(nn.LSTM):
    """Has a mask for the last layer, too."""

    @property
    def dropout_masks(self) -> list[Array]:
        masks = super().dropout_masks
        return [*masks, *masks[:1]]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (DroppingMore, "to keep 60% of the numbers, got 37%"),
        (DroppingTheLast, "1 dropout_masks, one between two layers, got 2"),
    ],
)
def test_dropout_drops_where_and_as_often_as_it_says(target: Any, message: str) -> None:
    dropping = Configuration("LSTM", num_layers=2, dropout=0.4)
    assert message in told(found(target, among=[dropping]))
    assert not found(nn.LSTM, among=[dropping]).failures


MISFITS: dict[str, tuple[Any, str]] = {
    "call": ((lambda x: x, fail), "takes 1 positional argument but 3 were given"),
    "result": ((lambda x, s, p: (x, s), fail), "expected output, state, tape, got a tuple of 2"),
    "state": ((lambda x, s, p: (x, [s[0]] * 3, None), fail), "expected a state of h and c"),
    "name": ((lambda x, s, p: p["W"], fail), r"parameters['W'] is read; expected weight_ih"),
    "array": ((lambda x, s, p: ("x", s, None), fail), "expected output as an array of numbers, got a str"),
    "gradients": ((lstm.forward, lambda *_: (1, 2, 3)), "expected d_parameters as a dict of arrays, got a int"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_not_told_as_mathematics(name: str) -> None:
    target, message = MISFITS[name]
    seen = found(target)
    assert seen.failures and all(row.unfit for row in seen.failures)
    assert message in told(seen) and "forward(x, state, parameters)" in told(seen)
    assert "something beside its mathematics" in summary(seen, failures(seen))["verdict"]


class Narrow(torch.nn.LSTM):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size + 1, hidden_size)


class Nameless:
    def __init__(self, input_size: int, hidden_size: int) -> None:
        self.named_parameters = lambda: [("W", np.zeros(2))]


@pytest.mark.parametrize(
    ("target", "message", "without"),
    [
        (Narrow, "weight_ih_l0", "weight_hh_l0"),
        (Nameless, "expected parameters weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, got W", "wrong"),
        (lambda i, h: object(), "expected an object with named_parameters() to be constructed", "wrong"),
    ],
)
def test_parameters_that_do_not_fit_are_named(target: Any, message: str, without: str) -> None:
    text = told(found(target))
    assert message in text and without not in text


class Foreign:
    """An array of another library: NumPy can read it, and it is none."""

    def __init__(self, value: Array) -> None:
        self.value = value

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.value


def cupy(value: Array) -> Any:
    kind = type("ndarray", (), {"__module__": "cupy", "get": lambda self: value, "__array__": fail})
    return kind()


def of_all(change: Function) -> Function:
    """A change to every array that a function gives, but not to its tape."""

    def changed(output: Any, state: Any, last: Any) -> Any:
        last = {name: change(value) for name, value in last.items()} if isinstance(last, dict) else last
        return change(output), tuple(map(change, state)), last

    return changed


@pytest.mark.parametrize(
    "as_theirs", [Foreign, cupy, lambda value: torch.from_numpy(value).requires_grad_(), lambda value: list(value)]
)
def test_arrays_of_other_libraries_are_read(as_theirs: Function) -> None:
    assert found(pair(after=of_all(as_theirs), after_back=of_all(as_theirs))).failures == []


def test_one_that_computes_in_float32_alone_is_checked_in_that() -> None:
    def strict(x: Array, *rest: Any) -> Any:
        if x.dtype != np.float32:
            raise TypeError("float32, please")
        return x, *rest

    rounded = of_all(lambda value: value.astype(np.float32))
    for changes in ({"after": rounded, "after_back": rounded}, {"before": strict}):
        seen = found(pair(**changes), ("float64", "float32"))
        assert seen.failures == [] and {row.dtype for row in seen.rows} == {"float32"}
        assert "float64" in seen.not_offered


def by_form(words: str, cell: str) -> Any:
    """A pair whose parameters have a form, written without that form's code."""
    order = {"LSTM": {"keras": "ifgo", "onnx": "iofg"}, "GRU": {"keras": "zrn", "onnx": "zrn"}}.get(cell, {})
    order["order=ofig"], plain = "ofig", {"LSTM": "ifgo", "GRU": "rzn"}.get(cell, "h")
    places = [order.get(words.split(",")[-1], plain).index(letter) for letter in plain]
    matrices = {"keras": ("kernel", "recurrent_kernel"), "onnx": ("W", "R")}.get(words, ("weight_ih", "weight_hh"))
    columns, one = "keras" in words or "columns" in words, "one-bias" in words

    def turn(value: Array, at: Any) -> Array:
        return np.concatenate([np.split(value, len(plain))[place] for place in at])

    def before(x: Any, state: Any, p: Any) -> Any:
        given = {
            old: p[new].T if columns else p[new] for old, new in zip(("weight_ih", "weight_hh"), matrices, strict=True)
        }
        bias = p.get("bias", p.get("B", p.get("bias_ih")))
        if bias is not None:
            b = np.split(bias, 2) if words == "onnx" else bias if bias.ndim == 2 else (bias, p.get("bias_hh", 0 * bias))
            given |= {"bias_ih": b[0], "bias_hh": b[1]}
        return x, state, {name: turn(value, places) for name, value in given.items()}

    def after(x: Any, state: Any, g: Any) -> Any:
        g = {name: turn(value, np.argsort(places)) for name, value in g.items()}
        own = {
            new: g[old].T if columns else g[old] for old, new in zip(("weight_ih", "weight_hh"), matrices, strict=True)
        }
        if "bias_ih" in g and words == "onnx":
            own["B"] = np.concatenate([g["bias_ih"], g["bias_hh"]])
        elif "bias_ih" in g and words == "keras" and cell == "GRU":
            own["bias"] = np.stack([g["bias_ih"], g["bias_hh"]])
        elif "bias_ih" in g:
            both = {"bias_ih": g["bias_ih"], "bias_hh": g["bias_hh"]}
            own |= {"bias": g["bias_ih"]} if words == "keras" or one else both
        return x, state, own

    return pair(cell, before=before, after_back=after, weights=words)


@pytest.mark.parametrize(
    ("words", "cell"),
    [(words, cell) for words in ("keras", "onnx", "columns", "one-bias", "columns,one-bias") for cell in PAGES]
    + [("order=ofig", "LSTM")],
)
def test_a_form_of_weights_can_be_declared(words: str, cell: str) -> None:
    seen = found(by_form(words, cell))
    assert seen.failures == [] and len(seen.configurations) == 3 and seen.subject.cells == (cell,)
    assert {"d_weight_ih", "d_weight_hh", "d_bias_ih"} <= {row.kind for row in seen.rows}


# What is refused, and what is told.


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        *((partial(form_of, words), ValueError, "expected") for words in ("karas", "order=if", "columns;one-bias", "")),
        *((partial(requirements, [name]), ValueError, "expected require") for name in ("batch", "speed")),
        *((partial(candidate, target), TypeError, "expected a class") for target in (3, nn.LSTM(1, 1), (1, 2))),
        (partial(candidate, Nameless), ValueError, "expected a name that tells the cell"),
        (partial(candidate, Nameless, cell="CNN"), ValueError, "CNN"),
        (partial(candidate, nn.LSTM, only="this"), ValueError, "expected only 'forward'"),
        (partial(candidate, torch.nn.LSTM, weights="keras"), TypeError, "pair of functions"),
        (partial(candidate, nn.LSTM, device="cuda"), TypeError, "expected a torch Module"),
        *(
            (partial(candidate, torch.nn.LSTM, device=name), ValueError, "CUDA device")
            for name in ("cuda:99", "tpu", "")
        ),
    ],
)
def test_what_is_no_candidate_is_refused(call: Function, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("imported", "statement", "expression"),
    [
        (None, "from torch.nn.modules.rnn import LSTM", "LSTM"),
        (("a.b", []), "import a.b", "a.b"),
        (("a.b", ["C"]), "from a.b import C", "C"),
        (("a", ["C.f", "C.g"]), "from a import C", "(C.f, C.g)"),
        (("my-own", []), "from importlib import import_module", "import_module('my-own')"),
        (
            ("o-n", ["f", "g"]),
            "from importlib import import_module",
            "(import_module('o-n').f, import_module('o-n').g)",
        ),
        (("a", ["<lambda>"]), "# <lambda> of a, as it was given", "<lambda>"),
    ],
)
def test_a_failure_says_how_its_subject_is_imported(imported: Any, statement: str, expression: str) -> None:
    subject = candidate(torch.nn.LSTM)
    subject.imported = imported
    assert subject.source == (statement, expression)


def test_one_cause_is_told_once_with_its_size() -> None:
    """In every cell, option and dtype, and every tensor that follows from it."""
    off = pair(after_back=lambda x, s, p: (x * 1.25, s, p))
    ((failure,), rest) = failures(found(off, ("float64", "float32")))
    assert rest == "" and "float64 and float32: d_input off by 2.5e-01" in str(failure)
    assert str(failure).count("d_input off") == 1 and "Wrong:" not in str(failure)


class HalfWrong(torch.nn.LSTM):
    """Wrong in bfloat16 alone."""

    def forward(self, x: Any, hx: Any = None) -> Any:
        output, state = super().forward(x, hx)
        return output * (1.5 if output.dtype == torch.bfloat16 else 1), state


def test_halves_are_held_to_their_own_roundings() -> None:
    assert found(torch.nn.LSTM, ("float16", "bfloat16")).failures == []
    seen = found(HalfWrong, ("float32", "float16", "bfloat16"), few()[:2])
    assert {row.dtype for row in seen.failures} == {"bfloat16"}
    assert "In float32 it is right." in told(seen) and HALVES_UNDIAGNOSED in told(seen)
    assert "Check it in float32 too" in told(found(HalfWrong, ("bfloat16",), few()[:1]))


def test_a_mode_is_excused_by_its_own_roundings() -> None:
    """A relu may be switched by TF32's rounding, and not by float32's."""
    c = Configuration("RNN relu", input_size=1, hidden_size=1, lengths=(1,), initial_state=False)
    problem = draw(c).astype("float32")
    values = {**problem.parameters, "bias_hh_l0": 0 * problem.parameters["bias_hh_l0"] + np.float32(1e-4)}
    values["bias_ih_l0"] = -values["weight_ih_l0"][:, 0] * problem.input[0, 0, 0]  # the sum is 1e-4
    problem = replace(problem, parameters=values)
    name, tf32 = "d_input", Mode("float32", "tf32", True).eps
    assert tolerances(problem, {name: 1.0})[name] < 1
    assert tolerances(problem, {name: 1.0}, eps=tf32)[name] == float("inf")


def test_a_gpu_that_raises_shows_no_error_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(mode: Mode, *_: Any) -> Any:
        raise RuntimeError("out of order")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Mode, "run", run)
    monkeypatch.setattr("reference.summary.device_name", lambda: "a GPU")
    seen = check(few()[:1], dtypes=["float64"])
    modes = summary(seen, failures(seen))["GPU"]
    assert modes and all("float64" in name for name in modes), "those that nobody asked for are not listed"
    assert all(list(kinds) == ["everything"] for kinds in modes.values())


# As a process.

RIGHT = "from scratch.textbook.lstm import forward, backward\n"
EXITS = "import os\ndef forward(*given): os._exit(0)\nbackward = forward\n"
QUICK = "--candidate", "an_lstm:forward,backward", "--dtype", "float64", "--jobs", "1", "--sizes", "T2B1I2H3"


@pytest.mark.parametrize("text", [RIGHT, EXITS])
def test_whoever_leaves_early_is_not_taken_for_another(text: str, tmp_path: Path) -> None:
    """A submission that exits has no verdict; a reader that leaves, as in `check … | head`, is not the candidate."""
    (tmp_path / "an_lstm.py").write_text(text)
    read, write = os.pipe()
    os.close(read)  # the pipe is closed before anything is printed
    places = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "reference", "check", *QUICK],
        cwd=tmp_path,
        encoding="utf-8",
        timeout=120,
        env=os.environ | {"PYTHONPATH": places},
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    assert done.returncode != 0
    assert "before there was a verdict" in done.stderr if text == EXITS else "the candidate" not in done.stderr


def test_the_verdict_comes_first(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "an_lstm.py").write_text(RIGHT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", sys.path.copy())
    status, out, _ = command("check", *QUICK, "--require", "packed")
    first, second, *rest = out.strip().splitlines()
    assert status == 1, "packed input is required"
    assert first.startswith("an_lstm:forward,backward agrees with the truth in all")
    assert second.startswith("required, but not offered: packed input")
    tables = [line for line in rest if line[:1] in "┏┃│└"]
    assert tables and max(map(len, tables)) <= 80 and "is worst" not in out

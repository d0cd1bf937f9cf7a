"""What a candidate may look like, and how its refusals, its crashes and its mistakes are told apart."""

import json
import os
import re
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

from reference import Configuration, assert_equivalent
from reference.candidates import DTYPES, Implementation, candidate, requirements
from reference.candidates.needs import OF_FINAL, OF_OUTPUT
from reference.check import Found, check
from reference.conditioning import tolerances
from reference.devices import Mode
from reference.failures import HALVES_UNDIAGNOSED, failures
from reference.faults import held_to
from reference.problems import draw
from reference.summary import as_json, summary
from reference.weights.forms import form_of
from scratch import nn
from scratch.textbook import lstm, rnn
from scratch.types import Array

from .carried import Command

PAGES = {"RNN tanh": "rnn", "LSTM": "lstm", "GRU": "gru"}
"""The textbook's page of each cell that a pair of functions is tried with."""
Function = Callable[..., Any]


def few(cell: str = "LSTM") -> list[Configuration]:
    """With and without a state, a bias, packed input, dropout and a projection."""
    changes: list[dict[str, Any]] = [{}, {"initial_state": False}, {"bias": False}, {"layout": "packed"}]
    changes += [{"num_layers": 2, "dropout": 0.4}, *[{"proj_size": 2}] * (cell == "LSTM")]
    return [replace(Configuration(cell, lengths=(3, 3)), **each) for each in changes]


PAIR = """
def forward(x, state, parameters):
    # before
    output, state, tape = page.forward(x, state, parameters)
    # after
    return output, state, tape


def backward(d_output, d_state, tape):
    # back before
    d_x, d_state, d_parameters = page.backward(d_output, d_state, tape)
    # back after
    return d_x, d_state, d_parameters
"""
MODULE = """
class {own}(base):
    def __init__(self, *sizes, **options):
        # making
        super().__init__(*sizes, **options)
        # made

    def forward(self, x, hx=None):
        # before
        output, state = super().forward(x, hx)
        # after
        return output, state

    def backward(self, *upstream):
        result = super().backward(*upstream)
        # back after
        return result
"""
HALF = """
class HalfRNN:
    def __init__(self, input_size, hidden_size):
        self.module = nn.RNN(input_size, hidden_size, dtype=np.float64)
        self.named_parameters = self.module.named_parameters

    def __call__(self, x, state=None):
        # before
        if state is not None or x.ndim != 3:
            raise NotImplementedError("no state, and batches only")
        output = self.module(x)[0]
        # after
        return output, None

    def backward(self, d_output, d_state=None):
        if d_state is not None:
            raise NotImplementedError("no gradient of the final state")
        d_x = self.module.backward(d_output)[0]
        # back after
        return d_x, None
"""
"""One layer, one direction, no options, no state: the least that can be checked; and its biases are one."""


def changed(text: str, changes: str, **known: Any) -> dict[str, Any]:
    """What a text defines, with `old -> new` done to it for each of the changes. known: what it may use besides."""
    for old, new in (change.split(" -> ") for change in re.split(r" ;;\s+", changes) if change):
        assert old in text, old
        text = text.replace(old, new)
    names: dict[str, Any] = {"__name__": "own", "np": np, "nn": nn, "torch": torch, **known}
    exec(compile(text, "folder/own.py", "exec"), names)
    return names


def functions(changes: str = "", cell: str = "LSTM", **known: Any) -> tuple[Function, Function]:
    """The textbook's pair of functions, changed."""
    names = changed(PAIR, changes, page=import_module(f"scratch.textbook.{PAGES[cell]}"), **known)
    return names["forward"], names["backward"]


def pair(changes: str = "", cell: str = "LSTM", **options: Any) -> Any:
    return candidate(functions(changes, cell), cell=cell, **options)


def module(base: type, changes: str) -> type:
    """A class derived from one of either library, changed."""
    own = f"Own{base.__name__}"
    made: type = changed(MODULE.replace("{own}", own), changes, base=base, Skewed=Skewed)[own]
    return made


def half(changes: str = "") -> type:
    made: type = changed(HALF, changes)["HalfRNN"]
    return made


def found(subject: Any, dtypes: Any = ("float64",), among: list[Configuration] | None = None) -> Found:
    if not isinstance(subject, Implementation):
        subject = candidate(subject, cell=None if "RNN" in getattr(subject, "__name__", "") else "LSTM")
    return check(among or [c for cell in subject.cells for c in few(cell)], subject, dtypes, witnesses=False)


def told(of: Found) -> str:
    return "\n".join(map(str, failures(of).failures))


def fail(*_: Any) -> Any:
    raise NotImplementedError("not yet")


REFUSES = "# before -> if np.any(state[0]): raise ValueError('no state, please')"
CRASHES = "# before -> [0][np.any(state[0]) + 0]  # an error that nobody wrote down"
UNFINISHED = "# back before -> raise NotImplementedError('not yet')"
ALONE = """# after -> output = None ;; # back before -> if d_output is not None: raise ValueError('no d_output')
    d_output = np.zeros((len(tape[0]), *d_state[0].shape), d_state[0].dtype)"""
IGNORING = "# back before -> d_output = 0 * d_output"
OFF = "# after -> output = output * (1 + 1e-6)"
ALL = """# after -> output, state = change(output), tuple(map(change, state)) ;; # back after -> d_x = change(d_x)
    d_state, d_parameters = tuple(map(change, d_state)), {n: change(v) for n, v in d_parameters.items()}"""
TANH = "# before -> if nonlinearity != 'tanh': raise ValueError('tanh only')"
STATELESS = """(self, x, state=None) -> (self, x) ;; state is not None or ->  ;; return output, None -> return output ;;
    d_output, d_state=None -> d_output ;; if d_state is not None -> if False ;; return d_x, None -> return d_x"""
LACKING = {
    **dict.fromkeys(("num_layers", "bias", "dropout"), "the constructor has no such argument"),
    **{"packed input": "'ndim'", "initial state": "no state, and batches only", "h_n": "None is returned in its place"},
    **{OF_FINAL: "no gradient of the final state", "float32": "expected data of dtype float64"},
}
"""Of half an RNN."""
DETACHED = "# after -> output, state = output.detach(), tuple(part.detach() for part in state)"
RELU = "parameters): -> parameters, nonlinearity='tanh'):"


# Candidates of all kinds.


class Skewed(np.random.Generator):
    """Draws small numbers too often."""

    def random(self, *given: Any, **options: Any) -> Any:
        return super().random(*given, **options) ** 2


class Foreign:
    """An array of another library: NumPy can read it, and it is none."""

    def __init__(self, value: Array) -> None:
        self.value = value

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.value


def cupy(value: Array) -> Any:
    kind = type("ndarray", (), {"__module__": "cupy", "get": lambda self: value, "__array__": fail})
    return kind()


def by_form(words: str, cell: str) -> Any:
    """A pair whose parameters have a form, written without that form's code."""
    plain = {"LSTM": "ifgo", "GRU": "rzn"}.get(cell, "h")
    order = {"onnx LSTM": "iofg", "onnx GRU": "zrn", "keras GRU": "zrn", "order=ofig LSTM": "ofig"}
    theirs = order.get(f"{words} {cell}", plain)
    W_ih, W_hh = {"keras": ("kernel", "recurrent_kernel"), "onnx": ("W", "R")}.get(words, ("weight_ih", "weight_hh"))
    turn = np.transpose if "keras" in words or "columns" in words else np.asarray

    def in_order(parameters: dict[str, Array], own: str, wanted: str) -> dict[str, Array]:
        blocks = {name: dict(zip(own, np.split(v, len(own)), strict=True)) for name, v in parameters.items()}
        return {name: np.concatenate([each[gate] for gate in wanted]) for name, each in blocks.items()}

    def before(x: Any, state: Any, p: Any) -> Any:
        given = {"weight_ih": turn(p[W_ih]), "weight_hh": turn(p[W_hh])}
        both = [p[name] for name in ("bias_ih", "bias_hh") if name in p]
        if "bias" in p:
            both = p["bias"] if p["bias"].ndim == 2 else [p["bias"], 0 * p["bias"]]
        given |= zip(("bias_ih", "bias_hh"), np.split(p["B"], 2) if "B" in p else both, strict=False)
        return x, state, in_order(given, theirs, plain)

    def after(x: Any, state: Any, gradients: Any) -> Any:
        g = in_order(gradients, plain, theirs)
        own = {W_ih: turn(g.pop("weight_ih")), W_hh: turn(g.pop("weight_hh"))}
        both = list(g.values())[::-1] if list(g) != ["bias_ih", "bias_hh"] else list(g.values())
        if both and words == "onnx":
            g = {"B": np.concatenate(both)}
        elif both and words == "keras":
            g = {"bias": np.stack(both) if cell == "GRU" else both[0]}
        elif both and "one-bias" in words:
            g = {"bias": both[0]}
        return x, state, own | g

    changes = "# before -> x, state, parameters = before(x, state, parameters)"
    changes += " ;; # back after -> d_x, d_state, d_parameters = after(d_x, d_state, d_parameters)"
    own = functions(changes, cell, before=before, after=after)
    return candidate(own, cell=cell, weights=words)


FORMS = [(words, cell) for words in ("keras", "onnx", "columns", "one-bias", "columns,one-bias") for cell in PAGES]


def tanh_alone(input_size: int, hidden_size: int) -> nn.RNN:
    return nn.RNN(input_size, hidden_size, dtype=np.float64)


STATIC = type("Plain", (), {name: staticmethod(getattr(lstm, name)) for name in ("forward", "backward")})
RELU_ALONE = candidate((partial(rnn.forward, nonlinearity="relu"), rnn.backward), "an RNN", "RNN relu")
OF_RNN = functions(cell="RNN tanh")
RIGHT: list[tuple[Any, int, dict[str, str]]] = [
    *((pair(cell=cell), 3, {}) for cell in PAGES),
    (pair(), 3, {"proj_size": "weight_hr is never read"}),
    (STATIC, 3, {}),
    (candidate(type("Mine", (nn.GRU,), {})), 5, {}),
    (candidate(SimpleNamespace(forward=OF_RNN[0], backward=OF_RNN[1]), "an RNN"), 3, {}),
    (candidate((rnn.forward, rnn.backward), "an RNN"), 6, {}),
    (candidate(OF_RNN, cell=["RNN tanh", "RNN relu"]), 3, {}),
    (RELU_ALONE, 3, {}),
    (candidate(functions(f"{RELU} ;; {TANH}", "RNN tanh"), "an RNN"), 3, {"nonlinearity": "ValueError: tanh only"}),
    (candidate(tanh_alone, "an RNN"), 3, {"nonlinearity": "the constructor has no such argument"}),
    (pair(REFUSES), 1, {"initial state": "ValueError: no state, please"}),
    (pair(UNFINISHED), 3, {"backward": "not yet"}),
    (pair("return d_x, d_state, d_parameters -> pass"), 3, {"backward": "backward returns None"}),
    (candidate(lstm.forward, cell="LSTM"), 3, {"backward": "there is no backward"}),
    (pair(ALONE), 3, {OF_OUTPUT: "the gradient arrives at the final state alone"}),
    (pair(IGNORING, only="final"), 3, {}),
    (pair("# back after -> d_parameters['W'] = 0"), 3, {}),
    (pair(OFF, tolerance=1e-5), 3, {}),
    *(
        (candidate(functions(ALL, change=change), cell="LSTM"), 3, {})
        for change in (Foreign, cupy, list, lambda value: torch.from_numpy(value).requires_grad_())
    ),
    (candidate(functions(ALL, change=np.float32), cell="LSTM"), 3, {"float64": "its output is of dtype float32"}),
    (pair("# before -> if x.dtype != 'f': raise TypeError('float32, please')"), 3, {"float64": "float32, please"}),
    *((by_form(words, cell), 3, {}) for words, cell in [*FORMS, ("order=ofig", "LSTM")]),
    (nn.LSTM, 6, {}),
    (torch.nn.LSTM, 6, {"dropout masks": "they cannot be had"}),
    (module(torch.nn.RNN, "# made -> self.register_buffer('calls', torch.zeros(()))"), 10, {}),
    (module(torch.nn.LSTM, "return output, state -> return output"), 6, {OF_FINAL: "no h_n is returned"}),
    (module(torch.nn.LSTM, DETACHED), 5, {"backward": "autograd sees no way"}),
    (candidate(half(), cell="RNN tanh"), 1, LACKING),
    (half(STATELESS), 1, {"float32": ""}),
    (half("self, input_size, hidden_size -> self, *, hidden_size, input_size"), 1, {"float32": ""}),
]
"""What is right, on how many of the few it is checked, and what it lacks."""


@pytest.mark.parametrize(("subject", "count", "lacking"), RIGHT)
def test_what_is_right_is_right_and_what_it_lacks_is_told(subject: Any, count: int, lacking: dict[str, str]) -> None:
    dtypes = DTYPES if lacking.keys() & {*DTYPES} else ("float64",)
    seen = found(subject, dtypes)
    assert seen.failures == [] and len(seen.configurations) == count
    said, kinds = seen.not_offered | {"backward": seen.subject.to_do}, {row.kind for row in seen.rows}
    assert all(why in said[what] for what, why in lacking.items()), said
    assert "nonlinearity" not in lacking or OF_FINAL not in said
    assert {row.dtype for row in seen.rows} == set(dtypes) - lacking.keys()
    assert ("output" in kinds) == (OF_OUTPUT not in lacking)
    if "backward" in lacking:
        assert {kind[:2] for kind in kinds}.isdisjoint({"d_"})
        assert "is right forward" in summary(seen, failures(seen))["verdict"]
    else:
        assert {"d_weight_ih", "d_weight_hh", "d_bias_ih"} <= kinds and seen.subject.to_do == ""


# What is wrong.


class DroppingTheLast(nn.LSTM):
    """Has a mask for the last layer, too."""

    @property
    def dropout_masks(self) -> list[Array]:
        masks = super().dropout_masks
        return [*masks, *masks[:1]]


class Nameless:
    def __init__(self, input_size: int, hidden_size: int) -> None:
        self.named_parameters = lambda: [("W", np.zeros(2))]


WRITES = {
    "x": "# before -> x *= 2",
    "h_0": "# before -> state[0][...] += 1",
    "c_0": "# before -> state[1][...] += 1",
    "weight_ih": "# back before -> tape[1]['weight_ih'] -= 0.1",
    "d_output": "# back before -> d_output *= 2",
    "d_h_n": "# back before -> d_state[0][...] += 1",
    "parameters": "# before -> parameters['weight_hh'] = 2 * parameters['weight_hh']",
}
MISFITS = {
    "takes 1 positional argument but 3 were given": "forward(x, state, parameters): -> forward(x):",
    "expected output, state, tape, got a tuple of 2": "return output, state, tape -> return output, state",
    "expected a state of h and c": "# after -> state = [state[0]] * 3",
    "parameters['W'] is read; expected weight_ih": "# before -> parameters['W']",
    "parameters['bias'] is read; expected weight_ih, weight_hh, bias_ih, bias_hh": "# before -> parameters['bias']",
    "expected output as an array of numbers, got a str": "# after -> output = 'x'",
    "expected d_parameters as a dict of arrays, got a int": "# back after -> d_parameters = 3",
    "with the names weight_ih, weight_hh, bias_ih, bias_hh, got dW": "# back after -> d_parameters = {'dW': d_x}",
}
NARROW = "expected parameters {'weight_ih_l0': (4, 1)}, got {'weight_ih_l0': (4, 2)}"
UNFIT: list[tuple[Any, str]] = [
    *((pair(changes), f"writes to the caller's {name}, ") for name, changes in WRITES.items()),
    *((pair(changes), told) for told, changes in MISFITS.items()),
    (module(torch.nn.LSTM, "# after -> x.data.mul_(2)"), "writes to the caller's input, "),
    (module(nn.LSTM, "# back after -> self.weight_hh_l0.data -= 0.1"), "writes to the caller's weight_hh_l0, "),
    (half("# after -> x *= 2"), "forward writes to the caller's input, "),
    (module(nn.LSTM, "# made -> self.rng = Skewed(np.random.PCG64(0))"), "to keep 60% of the numbers, got 37%"),
    (DroppingTheLast, "1 dropout_masks, one between two layers, got 2"),
    (module(torch.nn.LSTM, "# making -> sizes = sizes[0] + 1, sizes[1]"), NARROW),
    (Nameless, "expected parameters weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, got W"),
    (lambda i, h: object(), "expected an object with named_parameters() to be constructed"),
]
"""What does not fit, or writes over what it is given, and what is told of it."""
SWELLS = "[each.grad.__imul__(1.1) for each in self.parameters()]"
WRONG: list[tuple[Any, str]] = [
    (pair(f"{REFUSES} ;; # back after -> d_state = 2 * d_state[0], d_state[1]"), "float64: d_h_0 off by 1.0e+00\n"),
    (pair(f"{UNFINISHED} ;; # after -> output = 2 * output"), "float64: output off by 1.0e+00\n"),
    (pair(f"{ALONE} ;; # back after -> d_state = 2 * d_state[0], d_state[1]"), "counts twice.\n  d_h_0 is exactly 2"),
    (candidate(functions(RELU, "RNN tanh"), "an RNN"), "in Configuration('RNN relu', "),
    (module(torch.nn.LSTM, "# making -> options.pop('dropout', 0)"), "dropout between the layers does nothing."),
    (module(nn.RNN, "# before -> hx = hx if hx is None else hxx"), "NameError"),
    (module(nn.LSTM, "# before -> x = x if isinstance(x, np.ndarray) else unpacked"), "raises NameError"),
    (half("# after -> output, self.late = output * (2 - hasattr(self, 'late')), True"), "second call only"),
    (module(nn.LSTM, f"# back after -> {SWELLS}"), "d_weight_ih off by 1.0e-01"),
    (half("# before -> x = self.__dict__.setdefault('x', x)"), "the second wrong: something is left over"),
    (half("self.module = -> raise SystemExit(0)  # "), "SystemExit"),
    (half("# before -> raise IndexError('out\\nof range')"), "raises IndexError: out of range (own.py, line "),
    (half("# back after -> self.module.bias_hh_l0.grad = None"), "d_bias_hh: missing"),
    (half("# back after -> d_x = d_x.astype(np.float32)"), "d_input: dtype float32, expected float64"),
]
"""What is wrong, and what is told of it."""


@pytest.mark.parametrize(("subject", "message"), [*UNFIT, *WRONG])
def test_what_does_not_fit_is_told_from_what_is_wrong(subject: Any, message: str) -> None:
    cell, unfit = "RNN tanh" if "RNN" in str(subject) else "LSTM", (subject, message) in UNFIT
    seen = found(subject, among=few(cell)[:2] if "writes to" in message else None)
    (failure,), rest = causes = failures(seen)
    assert message in f"{failure}{[str(row) for row in seen.failures]}" and rest == "", "one cause is told once"
    assert all(row.unfit == unfit for row in seen.failures)
    assert failure.count == len({row.configuration for row in seen.failures})
    shown = summary(seen, causes)
    assert ("something beside its mathematics" in shown["verdict"]) == unfit
    assert not unfit or "wrong" not in str(failure).lower()
    assert message not in MISFITS or "forward(x, state, parameters)" in str(failure)
    json.dumps(as_json(shown), allow_nan=False)


def test_nothing_is_excused_by_what_is_lacking() -> None:
    """A factor in the gradient of the state alone, a gradient that is not read, and a crash."""
    doubled = f"{ALONE}\n    d_state = 2 * d_state[0], d_state[1]"
    assert all(found(pair(changes), among=few()[:1]).failures for changes in (doubled, IGNORING, OFF))
    seen = found(pair(CRASHES))
    assert "initial state" not in seen.not_offered and "raises IndexError" in told(seen)
    assert {row.configuration.initial_state for row in seen.failures} == {True}
    always = found(pair("# before -> [][1]"), DTYPES)
    assert always.not_offered.keys().isdisjoint(DTYPES) and len(failures(always).failures) == 1


def test_what_is_required_is_missing_if_it_is_not_offered() -> None:
    assert_equivalent(pair(REFUSES), few()[1], require="bias")
    assert_equivalent(pair(UNFINISHED, only="forward"), few()[0])
    missing = candidate(lstm.forward, cell="LSTM").missing(requirements(["all"]))
    assert missing["backward"] == "there is no backward" and {"packed input", "num_layers"} <= missing.keys()
    assert pair(cell="RNN tanh").missing(["nonlinearity"]) == {"nonlinearity": "it has tanh alone"}
    assert requirements(["packed", "batch-first", "all"])[:2] == ["packed input", "batch_first"]
    assert candidate(nn.GRU).missing(requirements(["all"])) == {}  # no GRU projects


NO_STATE = Configuration("RNN tanh", initial_state=False)
WRONG_DTYPES = "float128", [], "", ["float64", "double"]
MISSING = r"required, but not offered: initial state \(ValueError: no state"
REFUSED: list[tuple[Function, type[Exception], str]] = [
    *((partial(form_of, words), ValueError, "expected") for words in ("karas", "order=if", "columns;one-bias", "")),
    *((partial(requirements, [name]), ValueError, "expected require") for name in ("batch", "speed")),
    *((partial(candidate, target), TypeError, "expected a class") for target in (3, nn.LSTM(1, 1), (1, 2))),
    (partial(candidate, Nameless), ValueError, "expected a name that tells the cell"),
    (partial(candidate, Nameless, cell="CNN"), ValueError, "CNN"),
    (partial(candidate, nn.LSTM, only="this"), ValueError, "expected only 'forward'"),
    (partial(candidate, torch.nn.LSTM, weights="keras"), TypeError, "pair of functions"),
    (partial(candidate, nn.LSTM, device="cuda"), TypeError, "expected a torch Module"),
    *((partial(candidate, torch.nn.LSTM, device=name), ValueError, "CUDA device") for name in ("cuda:99", "tpu", "")),
    *((partial(assert_equivalent, half(), NO_STATE, dtypes=wrong), ValueError, "dtypes") for wrong in WRONG_DTYPES),
    (partial(assert_equivalent, half(), NO_STATE, dtypes="float32"), AssertionError, "nothing could be checked"),
    (partial(assert_equivalent, half(), replace(NO_STATE, num_layers=2)), AssertionError, "nothing could be checked"),
    (partial(assert_equivalent, pair(UNFINISHED), few()[0]), AssertionError, "right, backward is to do"),
    (partial(assert_equivalent, pair(REFUSES), few()[1], require=["initial", "bias"]), AssertionError, MISSING),
    (partial(held_to, pair(), "after"), ValueError, "expected a form among 'reset before', got 'after'"),
    (partial(held_to, pair(), "reset before"), ValueError, "expected a GRU for the form 'reset before', got LSTM"),
    (partial(Configuration, "CNN"), ValueError, "CNN"),
    (partial(Configuration, "LSTM", layout="ragged"), ValueError, "ragged"),
    (partial(Configuration, "LSTM", lengths=(2, 3)), ValueError, "equal lengths"),
    (partial(Configuration, "LSTM", layout="unbatched", lengths=(2, 2)), ValueError, "one length"),
    (partial(Configuration, "LSTM", layout="packed", lengths=()), ValueError, "lengths"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_what_cannot_be_checked_is_refused(call: Function, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("imported", "statement", "expression"),
    [
        (None, "from torch.nn.modules.rnn import LSTM", "LSTM"),
        (("a.b", []), "import a.b", "a.b"),
        (("a.b", ["C"]), "from a.b import C", "C"),
        (("a", ["C.f", "C.g"]), "from a import C", "(C.f, C.g)"),
        (("o-n", []), "from importlib import import_module", "import_module('o-n')"),
        (("o-n", [*"fg"]), "from importlib import import_module", "(import_module('o-n').f, import_module('o-n').g)"),
        (("a", ["<lambda>"]), "# <lambda> of a, as it was given", "<lambda>"),
    ],
)
def test_a_failure_says_how_its_subject_is_imported(imported: Any, statement: str, expression: str) -> None:
    assert held_to(candidate(nn.GRU), "reset before").arguments == ", reset='before'"
    subject = candidate(torch.nn.LSTM)
    subject.imported = imported
    assert subject.source == (statement, expression)


def test_one_cause_is_told_once_with_its_size() -> None:
    """In every cell, option and dtype, and every tensor that follows from it."""
    off = pair("# back after -> d_x = 1.25 * d_x", "RNN tanh")
    ((failure,), rest) = failures(found(off, DTYPES))
    assert rest == "" and "float64 and float32: d_input off by 2.5e-01" in str(failure)
    assert str(failure).count("d_input off") == 1 and "Wrong:" not in str(failure)


def test_halves_are_held_to_their_own_roundings() -> None:
    assert found(torch.nn.LSTM, ("float16", "bfloat16")).failures == []
    wrong = module(torch.nn.LSTM, "# after -> output = output * (1.5 if output.dtype == torch.bfloat16 else 1)")
    seen = found(wrong, ("float32", "float16", "bfloat16"), few()[:2])
    assert {row.dtype for row in seen.failures} == {"bfloat16"}
    assert "In float32 it is right." in told(seen) and HALVES_UNDIAGNOSED in told(seen)
    assert "Check it in float32 too" in told(found(wrong, ("bfloat16",), few()[:1]))


def test_a_mode_is_excused_by_its_own_roundings() -> None:
    """A relu may be switched by TF32's rounding, and not by float32's."""
    c = Configuration("RNN relu", input_size=1, hidden_size=1, lengths=(1,), initial_state=False)
    problem = draw(c).astype("float32")
    values = {**problem.parameters, "bias_hh_l0": 0 * problem.parameters["bias_hh_l0"] + np.float32(1e-4)}
    values["bias_ih_l0"] = -values["weight_ih_l0"][:, 0] * problem.input[0, 0, 0]  # the sum is 1e-4
    problem, tf32 = replace(problem, parameters=values), Mode("float32", "tf32", True).eps
    assert tolerances(problem, {"d_input": 1.0})["d_input"] < 1
    assert tolerances(problem, {"d_input": 1.0}, eps=tf32)["d_input"] == float("inf")


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

RIGHT_TEXT = "from scratch.textbook.lstm import forward, backward\n"
EXITS = "import os\ndef forward(*given): os._exit(0)\nbackward = forward\n"
QUICK = "--candidate", "an_lstm:forward,backward", "--dtype", "float64", "--jobs", "1", "--sizes", "T2B1I2H3"


@pytest.mark.parametrize("text", [RIGHT_TEXT, EXITS])
def test_whoever_leaves_early_is_not_taken_for_another(text: str, tmp_path: Path) -> None:
    """A submission that exits has no verdict; a reader that leaves, as in `check … | head`, is not the candidate."""
    (tmp_path / "an_lstm.py").write_text(text)
    read, write = os.pipe()
    os.close(read)  # the pipe is closed before anything is printed
    places = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "reference", "check", *QUICK, "--layers", "1", "--no-state"],
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
    (tmp_path / "an_lstm.py").write_text(RIGHT_TEXT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", sys.path.copy())
    status, out, _ = command("check", *QUICK, "--require", "packed")
    first, second, *rest = out.strip().splitlines()
    assert status == 1, "packed input is required"
    assert first.startswith("an_lstm:forward,backward agrees with the truth in all")
    assert second.startswith("required, but not offered: packed input")
    tables = [line for line in rest if line[:1] in "┏┃│└"]
    assert tables and max(map(len, tables)) <= 80 and "is worst" not in out

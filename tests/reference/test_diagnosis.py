"""What the diagnosis says of faults planted in the textbook's pages, and in a stack of layers on top of them."""

from typing import Any

import numpy as np
import pytest

from reference import space
from reference.candidates import Scratch, Unfit, candidate
from reference.check import check
from reference.diagnosis import Diagnosis, diagnose
from reference.diagnosis.look import take
from reference.diagnosis.explain import explain
from reference.problems import CELLS, Configuration, Problem
from reference.runs import Run, run_scratch
from scratch.textbook import lstm
from tests.reference.planted import MORE, TABLE, Planted, compiled, planted, subject
from tests.reference.stack import PROJECTION
from tests.strategies import some

RNN, LSTM, GRU = "RNN tanh", "LSTM", "GRU"
OPTIONS = {"num_layers": 3, "bidirectional": True}
W_IH, W_HH = 'parameters["weight_ih"]', 'parameters["weight_hh"]'
BIASES = 'parameters["bias_ih"] + parameters["bias_hh"]'
D_BIAS, END = "xp.sum(d_a, axis=0)", "return xp.stack(d_x[::-1]), d_state"
D_H_PREV, D_X = f"d_h_prev = d_a @ {W_HH}", f"d_x = d_a @ {W_IH}"
TURNED_BACK = "self.xp.flip(made, (0,))", "made"
START = "state = self.states(state)"
FINAL = "final = [self.xp.zeros_like(value) for value in state]"
GOING_ON = (
    "state = self.states(state) if state is not None else "
    "[getattr(v, 'detach', lambda: v)() for v in vars(type(self)).get('final', self.states(None))]\n"
    f"        type(self).final = {FINAL}"
)
ROWS = [*planted(TABLE), *planted(MORE)]


def diagnosed(fault: Planted, form: str) -> Diagnosis:
    options = {name: value for name, value in fault.options.items() if name != "form"}
    return diagnose(subject(fault.cell, form, *fault.replacements), Configuration(fault.cell, **options))


def of_functions(cell: str, *replacements: tuple[str, str]) -> Diagnosis:
    """What is said to a pair of functions with these faults."""
    assert "functions" in compiled(cell, replacements)[2]
    return diagnose(subject(cell, "functions", *replacements), Configuration(cell))


@pytest.mark.parametrize(
    ("fault", "form"),
    some(
        [pytest.param(row, row.forms[n % len(row.forms)], id=f"{row.cell} {row.told}") for n, row in enumerate(ROWS)], 2
    ),
)
def test_names_a_planted_fault(fault: Planted, form: str) -> None:
    """Each in one of its forms."""
    diagnosis = diagnosed(fault, form)
    assert fault.told in str(diagnosis)
    assert diagnosis.patterns or "writes to" in fault.told
    assert "No known fault" not in str(diagnosis)


@pytest.mark.parametrize(
    ("cell", "replacements", "told"),
    [
        (
            LSTM,
            [("d_a_i = d_i * i * (1 - i)", "d_a_i = d_i"), ("d_c = d_c_after + d_h", "d_c = d_h")],
            ["yours is exactly d_i:", "yours is exactly d_h ⊙ o ⊙ (1 − tanh(c)²):"],
        ),
        (
            LSTM,
            [("tanh_c = xp.tanh(c)", "tanh_c = c"), (BIASES, 'parameters["bias_ih"]')],
            ["tanh_c is tanh(c) (6); yours is exactly c:", "b_hh is forgotten"],
        ),
        (
            RNN,
            [("d_a = d_h * (1 - h * h)", "d_a = d_h * (1 - h)"), (f'"bias_hh": {D_BIAS}', f'"bias_hh": 0 * {D_BIAS}')],
            ["yours is exactly d_h ⊙ (1 − h):", "the gradient of b_hh: it is left at zero"],
        ),
        (
            RNN,
            [(BIASES, 'parameters["bias_ih"]'), ("d_output[t, :, :] + ", "d_output[t, :, :] + 0 * ")],
            ["b_hh is forgotten", "what comes from the step after is not added to d_h"],
        ),
    ],
)
def test_names_two_planted_faults(cell: str, replacements: list[tuple[str, str]], told: list[str]) -> None:
    diagnosis = of_functions(cell, *replacements)
    assert all(len(explanation) == 2 for explanation in diagnosis.explanations)
    assert all(text in str(diagnosis) for text in told), str(diagnosis)


UNKNOWN = [
    (LSTM, "d_g = d_c * i", "d_g = -3 * d_c * i", "the rows of gate g are wrong and those of i, f and o right"),
    (LSTM, "d_a.T @ h_prev", "3 * d_a.T @ h_prev", "d_weight_hh is exactly 3 times what it should be"),
    (
        LSTM,
        "step(x[t, :, :]",
        "step(x[t, :, :] + (0.1 if t == 2 else 0)",
        "The output is right until step 2 and wrong from step 3 (of 5) on",
    ),
    (RNN, D_H_PREV, f"{D_H_PREV} * 0.9", "d_input is right at the last step and wrong at every earlier one"),
    (LSTM, "output.append(state[0])", "output.append(state[0] + 1e-8 * xp.sin(1e5 * state[0]))", "as if float32 were"),
    (LSTM, "d_a_f = d_f * f * (1 - f)", "d_a_f = d_f * f * (1 - i * g)", "d_input is wrong from the last step on"),
    (RNN, "d_a.T @ x", "xp.nan * d_a.T @ x", "d_weight_ih is not a number"),
    (
        LSTM,
        "return xp.stack(output), state",
        "return xp.stack(output)[:, :, :2], state",
        "output has the shape (5, 3, 2)",
    ),
    (
        LSTM,
        "return xp.stack(output), state",
        "return xp.stack(output), (state[0].astype(xp.float32), state[1])",
        "h_n is float32, expected float64",
    ),
    (RNN, D_X, f"{D_X}[None, 0]", "It raises an error: ValueError"),
]


@pytest.mark.parametrize(("cell", "old", "new", "seen"), UNKNOWN)
def test_names_no_known_fault_where_there_is_another(cell: str, old: str, new: str, seen: str) -> None:
    diagnosis = of_functions(cell, (old, new))
    assert diagnosis.patterns == ()
    assert seen in str(diagnosis)


@pytest.mark.parametrize("form", ["functions", "class", "torch"])
@pytest.mark.parametrize("cell", list(CELLS))
def test_the_implementations_are_right_without_a_fault(cell: str, form: str) -> None:
    found = check(
        [configuration for configuration in space.grid()[::7] if configuration.cell == cell],
        subject(cell, form, *PROJECTION * (cell == LSTM and form != "functions")),
        dtypes=("float64",),
        witnesses=False,
    )
    assert found.configurations
    assert all(row.agrees for row in found.rows)


D_W_HH = "d_a.T @ h_prev"
DIRECTIONS = {"num_layers": 3, "bidirectional": True, "batch_first": True, "initial_state": False}
SEEN = [  # what the tensors show, and what is not said
    (LSTM, TURNED_BACK, DIRECTIONS, "only with two directions | Only the reverse half of the output is wrong", "-"),
    (
        RNN,
        ("x = output\n", "x = output * (1 + 0.1 * (layer < self.layers - 1))\n"),
        {"num_layers": 3},
        "wrong from layer 1 on",
        "-",
    ),
    (RNN, ("parameter.grad = None\n", "pass\n"), {}, "The first call is right and the second wrong", "-"),
    (
        LSTM,
        (END, f"del d_parameters['bias_hh']; {END}"),
        {},
        "of b_hh: it is left at zero | d_bias_hh_l0 is missing",
        "-",
    ),
    (LSTM, ("return xp.stack(output)", "return 1e200 * xp.stack(output)"), {}, "output is 1e+200 times", "different"),
    (LSTM, (D_W_HH, f"1e200 * {D_W_HH}"), {}, "d_weight_hh is 1e+200 times what it should be", "-"),
    (LSTM, (D_W_HH, f"0.71828 * {D_W_HH}"), {}, "d_weight_hh is 0.7183 times what it should be", "-"),
    (LSTM, (D_W_HH, f"-1.5 * {D_W_HH}"), {}, "d_weight_hh is exactly −3/2 times what it should be", "-"),
    (LSTM, (D_W_HH, f"(1 + 1e-8) * {D_W_HH}"), {}, "as if float32 were used somewhere", "times what it should be"),
    (RNN, (D_X, f"{D_X} * np.random.random()"), {}, "give different numbers for the same problem, in d_input", "-"),
]


@pytest.mark.parametrize(("cell", "fault", "options", "seen", "unseen"), SEEN)
def test_says_what_the_tensors_show(
    cell: str, fault: tuple[str, str], options: dict[str, Any], seen: str, unseen: str
) -> None:
    form = sorted(compiled(cell, (fault,))[2])[-1]
    told = str(diagnose(subject(cell, form, fault), Configuration(cell, **options)))
    assert all(text in told for text in seen.split(" | ")), told
    assert unseen == "-" or unseen not in told


def test_faults_of_what_is_not_offered_do_not_disturb() -> None:
    """A backward pass that knows no gradient of the cell's state, and averages over the batch and the steps."""

    def backward(d_output: Any, d_state: Any, tape: Any) -> Any:
        d_x, (d_h, _), gradients = lstm.backward(d_output, d_state, tape)
        gradients["weight_hh"] = gradients["weight_hh"] / (d_x.shape[0] * d_x.shape[1])
        return d_x, (d_h, None), gradients

    diagnosis = diagnose(candidate((lstm.forward, backward), "LSTM"), Configuration("LSTM"))
    assert "the gradient of W_hh: the mean over batch and steps" in str(diagnosis)


@pytest.mark.parametrize("cell", [RNN, "RNN relu", LSTM])
@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        (
            "return xp.stack(d_x[::-1])",
            "return xp.stack(d_x[::-1]).astype(float)",
            "d_input is float64, expected float32 as the input is.",
        ),
        ("return xp.stack(output)", "return xp.stack(output).astype(xp.longdouble)", "output is "),
        (
            "return xp.stack(output)",
            "return xp.stack(output).astype(complex)",
            "output is complex128, expected float64",
        ),
    ],
)
def test_a_wrong_dtype_alone_is_no_wrong_value(cell: str, old: str, new: str, seen: str) -> None:
    diagnosis = of_functions(cell, (old, new))
    told = str(diagnosis)
    assert diagnosis.patterns == ()
    assert seen in told
    assert "Wrong in dtype alone: " in told
    assert "No known fault" not in told
    assert "accuracy of float32" not in told
    assert "could not be looked at" not in told


@pytest.mark.parametrize("made", ["astype(object)", "astype(str)", "tolist()", "astype(bool)", "astype(int)", "imag"])
@pytest.mark.parametrize("old", ["return xp.stack(output)", "return xp.stack(d_x[::-1])"])
def test_tensors_of_any_kind_raise_nothing(old: str, made: str) -> None:
    given = old.removeprefix("return ")
    diagnosis = of_functions(LSTM, (old, f"return {given}.{made}"))
    assert diagnosis.observations
    assert "could not be looked at" not in str(diagnosis)


class Odd(Scratch):
    """An implementation that gives something that no run is."""

    name, cells = "odd", (RNN,)

    def __init__(self, given: Any) -> None:
        self.given = given

    def run(self, problem: Problem) -> Any:
        return self.given


@pytest.mark.parametrize("given", [None, (None, None), ({"output": None}, None), ({"output": [1, [2]]}, None), ({}, 3)])
def test_whatever_is_given_raises_nothing(given: Any) -> None:
    diagnosis = diagnose(Odd(given), Configuration(RNN))
    assert diagnosis.patterns == ()
    assert diagnosis.observations


def test_an_error_of_any_kind_is_told() -> None:
    class Broken(Odd):
        def run(self, problem: Problem) -> Any:
            raise LookupError("nothing here")

    told = str(diagnose(Broken(None), Configuration(RNN)))
    assert "What it gives could not be looked at (LookupError: nothing here)." in told


@pytest.mark.parametrize("factor", ["np.inf", "np.nan", "1e200", "1e300"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return xp.stack(output)", "return {} * xp.stack(output)"),
        ("h = o * tanh_c", "h = {} * o * tanh_c"),
        ("return xp.stack(d_x", "return {} * xp.stack(d_x"),
        (END, "d_parameters['weight_hh'] *= {}; " + END),
    ],
)
def test_numbers_beyond_all_bounds_name_no_fault(old: str, new: str, factor: str) -> None:
    diagnosis = of_functions(LSTM, (old, new.format(factor)))
    told = str(diagnosis)
    assert diagnosis.patterns == ()
    assert "0000000" not in told
    assert "could not be looked at" not in told


@pytest.mark.parametrize("cell", [RNN, "RNN relu", LSTM])
@pytest.mark.parametrize(
    "options",
    [{}, {"bias": False}, {"initial_state": False}, {"upstream": ("output",)}, {"num_layers": 3}],
    ids=lambda options: ", ".join(options) or "none",
)
def test_no_fault_without_a_difference_is_named(cell: str, options: dict[str, Any]) -> None:
    """Faults that change nothing on a problem are not among what a right subject is said to have."""
    configuration = Configuration(cell, input_size=4, lengths=(5, 5, 5), **options)
    look = take(subject(cell, "class"), configuration, "float64")
    assert look is not None
    assert look.wrong == []
    assert explain(look) == []


def test_a_model_that_gives_the_truth_fits_nothing_wrong() -> None:
    slightly = "d_a.T @ h_prev", "(1 + 1.000000001e-10) * d_a.T @ h_prev"
    look = take(subject(RNN, "functions", slightly), Configuration(RNN), "float64")
    assert look is not None
    assert look.wrong_in_value == ["d_weight_hh_l0"]
    assert not look.fits(next(look.setting.runs(())))


def test_says_that_the_first_call_is_right_only_if_its_dtypes_are() -> None:
    class Upcast(Scratch):
        name, cells, dtypes = "upcast", (RNN,), ("float64",)

        def run(self, problem: Problem) -> tuple[Run, None]:
            return {name: 2 * value for name, value in run_scratch(problem)[0].items()}, None

        def first_run(self, problem: Problem) -> Run:
            return {name: value.astype(np.longdouble) for name, value in run_scratch(problem)[0].items()}

    assert "The first call is right" not in str(diagnose(Upcast(), Configuration(RNN)))


@pytest.mark.parametrize("form", ["torch", "functions"])
def test_gradients_of_a_wrong_forward_pass(form: str) -> None:
    """PyTorch's are right for any forward pass; of others it is said only what is known."""
    detached = "h_prev = state", "h_prev = state * 0.5 + state.detach() * 0.5"
    tripled = "d_a.T @ x", "3 * d_a.T @ x"
    forgotten = BIASES, 'parameters["bias_ih"]'
    diagnosis = diagnose(subject(RNN, form, forgotten, detached if form == "torch" else tripled), Configuration(RNN))
    told = str(diagnosis)
    assert [fault.explanation for fault in diagnosis.patterns] == [
        "b_hh is forgotten: it is not used where it belongs."
    ]
    assert "not those of this forward pass" not in told
    assert ("The gradients are none of those that are known to go with such a forward pass" in told) == (
        form == "functions"
    )


def test_says_where_it_looked() -> None:
    diagnosis = of_functions(RNN, ("d_a.T @ h_prev", "3 * d_a.T @ h_prev"))
    lines = str(diagnosis).splitlines()
    assert lines[:2] == ["No known fault gives these numbers.", f"Looked at in {diagnosis.configuration}:"]
    assert lines[2].startswith("Wrong: ")


def test_writing_into_what_is_given_is_told() -> None:
    class Writes(Odd):
        def run(self, problem: Problem) -> Any:
            raise Unfit("backward writes to the caller's d_h_n")

    lines = str(diagnose(Writes(None), Configuration(RNN))).splitlines()
    assert "Backward writes to the caller's d_h_n." in lines


@pytest.mark.parametrize(("cell", "parts"), [(RNN, "h"), (LSTM, "h and c")])
def test_a_state_that_outlives_the_object_is_named(cell: str, parts: str) -> None:
    kept = subject(cell, "class", (f"{START}\n        {FINAL}", GOING_ON))
    diagnosis = diagnose(kept, Configuration(cell, initial_state=False))
    assert f"here {parts} is what the call before ended with. It is kept outside of the object" in str(diagnosis)
    assert "a class attribute, a mutable default argument" in str(diagnosis)
    deep = Configuration(cell, initial_state=False, num_layers=2, bidirectional=True)
    assert f"here {parts} is what the call before ended with. It is kept outside" in str(diagnose(kept, deep))


@pytest.mark.parametrize("cell", [RNN, LSTM])
def test_gradients_that_outlive_the_call_are_named(cell: str) -> None:
    key = f"({W_IH}.shape, {W_IH}.dtype)"
    zeros = "{name: xp.zeros_like(value) for name, value in parameters.items()}"
    diagnosis = of_functions(
        cell, (zeros, f"globals().get({key}) or {zeros}"), (END, f"globals()[{key}] = d_parameters; {END}")
    )
    assert "a call adds to what the one before left. It is kept outside of the call" in str(diagnosis)

"""What the diagnosis says of faults planted in the textbook's pages, and in a stack of layers on top of them."""

from typing import Any

import numpy as np
import pytest

from reference import space
from reference.candidates import Scratch, Unfit, candidate
from reference.check import check
from reference.diagnosis import Diagnosis, diagnose
from reference.diagnosis.explain import explain
from reference.diagnosis.look import take
from reference.problems import CELLS, Configuration, Problem
from reference.runs import Run, run_scratch
from scratch.textbook import lstm
from tests.reference.planted import LONG, MORE, PAIRS, SEEN, TABLE, Planted, planted, subject
from tests.reference.stack import PROJECTION
from tests.strategies import some

RNN, LSTM = "RNN tanh", "LSTM"


def of_functions(cell: str, *replacements: tuple[str, str]) -> Diagnosis:
    """What is said to a pair of functions with these faults."""
    return diagnose(subject(cell, "functions", *replacements), Configuration(cell))


def rows(table: str) -> list[Any]:
    """The rows of a table, each with one of the forms in which the mistake is at work."""
    found = []
    for n, row in enumerate(planted(table)):
        every = row.forms
        form = every[n % len(every)] if table in (TABLE, MORE) or "functions" not in every else "functions"
        found.append(pytest.param(table, row, form, id=f"{row.cell} {row.told}"))
    return found


@pytest.mark.parametrize(("table", "fault", "form"), [*some(rows(TABLE) + rows(MORE), 3), *rows(PAIRS), *rows(SEEN)])
def test_says_what_is_wrong_with_a_planted_fault(table: str, fault: Planted, form: str) -> None:
    """A fault that is known, or two, by name; of another what the tensors show."""
    options = {name: value for name, value in fault.options.items() if name != "form"}
    diagnosis = diagnose(subject(fault.cell, form, *fault.replacements), Configuration(fault.cell, **options))
    told = str(diagnosis)
    for text in fault.told.split(" ++ "):
        assert (text.removeprefix("NOT ") in told) == (text[:4] != "NOT "), told
    assert "could not be looked at" not in told
    if table == SEEN:
        no_numbers = "Wrong in dtype alone" in told or "It raises" in told
        assert told.startswith("Looked at in " if no_numbers else "No known fault gives") or diagnosis.patterns
    else:
        assert diagnosis.patterns or "writes to" in fault.told
        assert "No known fault" not in told
        assert table != PAIRS or all(len(explanation) == 2 for explanation in diagnosis.explanations)


@pytest.mark.parametrize("form", ["functions", "class", "torch"])
@pytest.mark.parametrize("cell", list(CELLS))
def test_the_implementations_are_right_without_a_fault(cell: str, form: str) -> None:
    found = check(
        [c for c in space.grid() if c.cell == cell][:: {"functions": 5, "class": 20, "torch": 40}[form]],
        subject(cell, form, *PROJECTION * (cell == LSTM and form != "functions")),
        dtypes=("float64",),
        witnesses=False,
    )
    assert found.configurations and all(row.agrees for row in found.rows)


@pytest.mark.parametrize("cell", [RNN, LSTM])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"initial_state": False}, {"num_layers": 3}], ids=str)
def test_no_fault_without_a_difference_is_named(cell: str, options: dict[str, Any]) -> None:
    """Faults that change nothing on a problem are not among what a right subject is said to have."""
    configuration = Configuration(cell, input_size=4, lengths=(5, 5, 5), **options)
    look = take(subject(cell, "class"), configuration, "float64")
    assert look is not None
    assert look.wrong == [] and explain(look) == []


def test_a_model_that_gives_the_truth_fits_nothing_wrong() -> None:
    slightly = "d_a.T @ h_prev", "(1 + 1.000000001e-10) * d_a.T @ h_prev"
    look = take(subject(RNN, "functions", slightly), Configuration(RNN), "float64")
    assert look is not None and look.wrong_in_value == ["d_weight_hh_l0"]
    assert not look.fits(next(look.setting.runs(())))


def test_faults_of_what_is_not_offered_do_not_disturb() -> None:
    """A backward pass that knows no gradient of the cell's state, and averages over the batch and the steps."""

    def backward(d_output: Any, d_state: Any, tape: Any) -> Any:
        d_x, (d_h, _), gradients = lstm.backward(d_output, d_state, tape)
        gradients["weight_hh"] = gradients["weight_hh"] / (d_x.shape[0] * d_x.shape[1])
        return d_x, (d_h, None), gradients

    diagnosis = diagnose(candidate((lstm.forward, backward), "LSTM"), Configuration("LSTM"))
    assert "the gradient of W_hh: the mean over batch and steps" in str(diagnosis)


@pytest.mark.parametrize(
    ("form", "gradient", "told"),
    [
        ("functions", ("d_a.T @ x", "3 * d_a.T @ x"), "not those"),
        ("torch", ("h_prev = state", "h_prev = state * 0.5 + state.detach() * 0.5"), "not those"),
        ("functions", (" = d_a @ parameters", " = d_a.copy() @ parameters"), ""),
        ("torch", (" = d_a @ parameters", " = d_a.copy() @ parameters"), ""),
    ],
)
def test_gradients_of_a_wrong_forward_pass(form: str, gradient: tuple[str, str], told: str) -> None:
    """They may be right for it, as PyTorch's are."""
    forgotten = 'parameters["bias_ih"] + parameters["bias_hh"]', 'parameters["bias_ih"]'
    diagnosis = diagnose(subject(RNN, form, forgotten, gradient), Configuration(RNN))
    assert [fault.explanation for fault in diagnosis.patterns] == [
        "b_hh is forgotten: it is not used where it belongs."
    ]
    assert ("not those of this forward pass" in str(diagnosis)) == bool(told)


ODD = [
    (old, f"{old}.{made}")
    for old in ("xp.stack(output)", "xp.stack(d_x[::-1])")
    for made in ("astype(object)", "astype(str)", "tolist()", "astype(bool)", "astype(int)", "imag")
]
BEYOND = [
    (old, f"{factor} * {old}")
    for old in ("xp.stack(output)", "d_h * (1 - h * h)", "d_a.T @ h_prev")
    for factor in ("xp.inf", "xp.nan", "1e300")
]


@pytest.mark.parametrize(("old", "new"), ODD + BEYOND)
def test_tensors_of_any_kind_raise_nothing_and_numbers_beyond_all_bounds_name_no_fault(old: str, new: str) -> None:
    diagnosis = of_functions(RNN, (old, new))
    assert diagnosis.observations and "could not be looked at" not in str(diagnosis)
    assert (old, new) in ODD or diagnosis.patterns == ()


class Odd(Scratch):
    """An implementation that gives something that no run is, or raises an error."""

    name, cells = "odd", (RNN,)

    def __init__(self, given: Any) -> None:
        self.given = given

    def run(self, problem: Problem) -> Any:
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, ""),
        ((None, None), ""),
        (({"output": None}, None), "h_n is missing"),
        (({"output": [1, [2]]}, None), ""),
        (({}, 3), ""),
        (LookupError("nothing here"), "What it gives could not be looked at (LookupError: nothing here)."),
        (Unfit("backward writes to the caller's d_h_n"), "Backward writes to the caller's d_h_n."),
    ],
)
def test_whatever_is_given_raises_nothing(given: Any, told: str) -> None:
    diagnosis = diagnose(Odd(given), Configuration(RNN))
    assert diagnosis.patterns == () and diagnosis.observations
    assert told in str(diagnosis)


def test_says_that_the_first_call_is_right_only_if_its_dtypes_are() -> None:
    class Upcast(Scratch):
        name, cells, dtypes = "upcast", (RNN,), ("float64",)

        def run(self, problem: Problem) -> tuple[Run, None]:
            return {name: 2 * value for name, value in run_scratch(problem)[0].items()}, None

        def first_run(self, problem: Problem) -> Run:
            return {name: value.astype(np.longdouble) for name, value in run_scratch(problem)[0].items()}

    assert "The first call is right" not in str(diagnose(Upcast(), Configuration(RNN)))


@pytest.mark.parametrize(("cell", "parts"), [(RNN, "h is"), (LSTM, "h and c are")])
def test_a_state_that_outlives_the_object_is_named(cell: str, parts: str) -> None:
    going_on = (
        "state = self.states(state) if state is not None else vars(type(self)).get('final', self.states(None))\n"
        "        type(self).final = final = [self.xp.zeros_like(value) for value in state]"
    )
    kept = subject(cell, "class", (LONG["START"], going_on))
    for options in ({}, {"num_layers": 2, "bidirectional": True}):
        told = str(diagnose(kept, Configuration(cell, initial_state=False, **options)))
        assert f"here {parts} what the call before ended with. It is kept outside of the object (a class" in told


def test_gradients_that_outlive_the_call_are_named() -> None:
    zeros, end = "{name: xp.zeros_like(value) for name, value in parameters.items()}", LONG["D_END"]
    key = "parameters['weight_ih'].tobytes()"
    kept = (zeros, f"globals().get({key}) or {zeros}"), (end, f"globals()[{key}] = d_parameters; {end}")
    assert "added to those of the call before. It is kept outside of the call" in str(of_functions(RNN, *kept))

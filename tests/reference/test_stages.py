"""Candidates taken stage by stage: what is right is called right, and what is wrong is found where it is."""

import ast
import inspect
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from reference.stages import NOT_YET, RIGHT, TO_DO, WRONG, Report, stages
from reference.stages.equations import CELLS, Cell
from reference.stages.findings import textbook_line
from reference.stages.loops import LOOPS, slips
from reference.stages.models import given_by
from reference.stages.mutations import mutations
from reference.stages.problems import problems
from reference.stages.slots import slots_of
from reference.stages.subject import error_of, truth
from reference.stages.worker import FUNCTIONS
from scratch.textbook import gru, lstm, rnn

from .carried import Command
from .planted_stages import EVERY, IN_FLOAT32, OTHER_WAYS, Planted

PAGES = {"rnn": rnn, "lstm": lstm, "gru": gru}
Replacement = tuple[str, str]


def source(cell: str, *replacements: Replacement) -> str:
    """The textbook's page with other texts in it."""
    text = inspect.getsource(PAGES[cell])
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return text


def candidate(name: str, text: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(text, f"{name}.py", "exec"), module.__dict__)
    return module


def report(cell: str, *replacements: Replacement) -> Report:
    return stages(candidate(f"my_{cell}", source(cell, *replacements)))


@cache
def report_of(planted: Planted) -> Report:
    return report(planted.cell, *planted.replacements)


def statuses(found: Report) -> list[str]:
    return [stage.status for stage in found]


def described(planted: Planted) -> str:
    return f"{planted.cell}-{planted.replacements[0][1][:40]}"


# What is wrong.


@pytest.mark.parametrize("planted", EVERY, ids=described)
def test_a_mistake_is_found_where_it_is(planted: Planted) -> None:
    found = report_of(planted)
    finding = found.first
    assert finding is not None and found.status == 1
    assert finding.function == planted.function
    named = tuple(one.name for one in (*finding.named[:1], *finding.also))
    assert named[: len(planted.names) or None] == planted.names
    assert planted.told in finding.text()
    assert finding.function != "forward" or ("in place" in finding.told) == ("in place" in planted.told)
    if finding.lines and not finding.interface:
        assert all(word in finding.text() for word in (" should be ", "; yours is ", "shape"))


def test_most_mistakes_are_named_and_none_falsely() -> None:
    """What is expected of each is in the table, which the test above holds to; so it is enough to count there."""
    of_mathematics = [planted for planted in EVERY if not planted.told]
    assert sum(bool(planted.names) for planted in of_mathematics) >= 0.9 * len(of_mathematics)


JUNK = [
    *(1, "text", (1, 2, 3), (None, None), ("a", "b", "c"), [[], [], []], ({}, {}, {}), (object(),) * 3),
    *((np.full((2, 3), np.nan),) * 3, (np.zeros((0,)),) * 3, (np.zeros((2, 3), complex) + 1j,) * 3),
    ((np.zeros((2, 3)), np.zeros((2, 3))), (np.zeros((2, 3)), None), {"weight_ih": [[1], [1, 2]]}),
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_whatever_a_function_gives_something_is_told(function: str) -> None:
    for value in JUNK:
        found = stages(SimpleNamespace(**{function: lambda *_, value=value: value}), "LSTM")
        stage = next(stage for stage in found if stage.name == function)
        assert stage.status in (WRONG, TO_DO)
        assert stage.note or stage.status == TO_DO or (stage.finding and stage.finding.told)


# What is right, or to do.


def test_what_is_right_is_called_right() -> None:
    """In other ways, in float32, whole, and each function alone."""
    for replacements in (OTHER_WAYS, IN_FLOAT32):
        found = report("lstm", *replacements)
        assert statuses(found) == [RIGHT] * 4 and found.status == 0
        assert found.narrow == (replacements is IN_FLOAT32)
    for name, page in PAGES.items():
        for names in (FUNCTIONS, *((each,) for each in FUNCTIONS), FUNCTIONS[:2]):
            found = stages(SimpleNamespace(**{each: getattr(page, each) for each in names}), name)
            assert [stage.name for stage in found if stage.status == RIGHT] == [*names]


def test_a_tensor_is_taken_off_its_tape() -> None:
    def step(*given: Any, **options: Any) -> Any:
        state, kept = rnn.step(*given, **options)
        return torch.tensor(state, requires_grad=True), kept

    (found, *_) = stages(SimpleNamespace(step=step), "RNN")
    assert found.status == RIGHT


def test_a_pair_of_functions_alone_is_taken() -> None:
    found = stages((lstm.forward, candidate("my_lstm", ONE_FACTOR).backward))
    assert [(stage.name, stage.status) for stage in found] == [("forward", RIGHT), ("backward", WRONG)]
    assert found.first and "d_c is handed on without its factor" in found.first.text()


def test_the_nearest_name_tells_the_cell() -> None:
    module = ModuleType("my_gru")
    module.__file__ = "/rnn/lstm/my_gru.py"
    module.__dict__["step"] = gru.step
    assert stages(module).cell.name == "GRU"
    assert stages(rnn).cell.name == stages(rnn, "rnn").cell.name == "RNN relu"  # which is the second that is taken
    assert stages(rnn, "RNN tanh").cell.name == stages(rnn, "tanh").cell.name == "RNN tanh"
    with pytest.raises(TypeError, match="expected some of the functions"):
        stages(SimpleNamespace(), "LSTM")
    with pytest.raises(ValueError, match="expected a name that tells the cell"):
        stages(SimpleNamespace(step=lstm.step))


def test_each_stage_waits_for_what_it_is_built_on_and_what_is_empty_is_to_do() -> None:
    for body in ("...", "pass", "raise NotImplementedError", "return None", "'''Text.'''"):
        found = stages(candidate("my_lstm", "\n".join(f"def {name}(*arguments):\n    {body}" for name in FUNCTIONS)))
        assert statuses(found) == [TO_DO, NOT_YET, NOT_YET, NOT_YET]
        assert found.status == 3 and found.first is None
    found = report("lstm", ("c = f * c_prev + i * g", "c = f * c_prev + g"))
    assert statuses(found) == [WRONG, NOT_YET, NOT_YET, NOT_YET] and found[1].note == "`step` first"
    found = report("lstm", D_C_PREV)
    assert statuses(found) == [RIGHT, WRONG, RIGHT, NOT_YET]
    assert [stage.share for stage in found] == [1, pytest.approx(6 / 7), 1, 0]
    found = report("lstm", ("return d_x, (d_h_prev, d_c_prev), d_parameters", "return None, (None, d_c_prev), {}"))
    assert statuses(found) == [RIGHT, TO_DO, RIGHT, NOT_YET] and "d_x, d_h_prev" in found[1].note
    clips = ("d_x.append(d_x_t)", "d_x.append(d_x_t); d_state = tuple(d.clip(-9, 9) for d in d_state)")
    last = report("lstm", clips)[3]
    assert last.status == WRONG and last.share == 0


# The equations, and what is known of mistakes.


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_the_equations_are_the_textbooks_and_each_known_mistake_changes_something(cell: Cell) -> None:
    """In one of two problems at least: a row of the table that does nothing could name nothing."""
    for problem in problems(cell):
        for function in FUNCTIONS:
            model, right = given_by(problem, function), truth(problem, function)
            assert model is not None
            assert {name: error_of(model[name], right[name]) < 1e-13 for name in right} == dict.fromkeys(right, True)
    for function in ("step", "step_backward"):
        for equation in cell.equations(function):
            line, numbers = textbook_line(cell, function, equation.name), re.findall(r"\(\d\)", equation.number)
            assert line and {*numbers} <= {*re.findall(r"\(\d\)", line), "(0)"}, equation.name
            assert all(number in cell.stated for number in numbers)
    for slip in [*slips(cell, "forward"), *slips(cell, "backward")]:
        assert slip.slots.keys() <= slots_of(LOOPS[slip.function]).keys()
        changes = []
        for problem in problems(cell)[:2]:
            model, right = given_by(problem, slip.function, [slip]) or {}, truth(problem, slip.function)
            changes += [error_of(np.asarray(model[name]), right[name]) > 1e-6 for name in right if name in model]
        assert any(changes), slip
    known = [one for function in ("step", "step_backward") for one in mutations(cell, function)]
    assert len({(one.function, one.name, tuple(one.changes), one.yours) for one in known}) == len(known)
    assert len(known) > (900 if cell.name == "LSTM" else 200)


# The commands.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    for name in PAGES:
        monkeypatch.delitem(sys.modules, f"my_{name}", raising=False)
    return tmp_path


@pytest.mark.parametrize("cell", PAGES)
def test_an_exercise_is_the_page_without_its_bodies(folder: Path, command: Command, cell: str) -> None:
    status, out, _ = command("exercise", cell)
    assert status == 0 and f"my_{cell}.py" in out
    path = folder / f"my_{cell}.py"
    text = path.read_text()
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    for name in FUNCTIONS:
        assert ast.get_docstring(functions[name]) == inspect.getdoc(getattr(PAGES[cell], name))
        assert len(functions[name].body) == 2 and ast.unparse(functions[name].body[1]) == "..."
    assert all(line in text for line in (PAGES[cell].__doc__ or "").splitlines() if re.match(r"\(\d\)", line))
    assert not re.search(r"\bxp\b", text) and ".md" not in text and "stays as it is, the tape too" in text
    status, out, _ = command("check", "--candidate", path.stem)
    assert status == 3 and "step           to do: it returns nothing yet" in out and "not yet: `step` first" in out
    path.write_text("mine = True\n")
    status, _, error = command("exercise", cell)
    assert status == 2 and "--overwrite" in error and path.read_text() == "mine = True\n"
    assert command("exercise", cell, "--overwrite")[0] == 0 and path.read_text() == text
    assert command("exercise", "cnn")[0] == 2


D_C_PREV = ("d_c_prev = d_c * f", "d_c_prev = d_c")
ONE_FACTOR = source("lstm", D_C_PREV)
NO_D_OUTPUT = source("gru", ("d_output[t, :, :] + d_state", "d_state"))
R_FOR_Z = source("gru", ("r = sigmoid(", "q = sigmoid("), ("z = sigmoid(", "r = sigmoid("), ("q = ", "z = "))
HINT = "your d_c_prev is exactly d_c: a factor is missing; c = f ⊙ c_prev + i ⊙ g; shape (B, H) = (2, 3); should be"
SOLVED = "it is d_c ⊙ f (5); yours is d_c; the textbook: d_c_prev = d_c * f  # (5)"
HANGS = "forward        right; `backward`: it does not come back after 0.2 s (a loop that does not end?)"
CATCHES = "try:\n        while True: len('')\n    except:\n        pass\n    while True: len('')"
CHECKS = [
    (source("gru"), "my_gru", 0, "Everything is right.", "hint"),
    (source("lstm"), "week3", 0, "week3 (LSTM), stage by stage; week3:forward,backward --cell lstm", "hint"),
    (source("lstm"), "./rnn/1.py", 0, "1 (LSTM), stage by stage; --candidate ./rnn/1.py:forward,backward", "hint"),
    (ONE_FACTOR, "my_lstm", 1, HINT, "d_c * f; d_c ⊙ f"),
    (ONE_FACTOR, "my_lstm.py --solution", 1, SOLVED, "No known"),
    (R_FOR_Z, "my_gru --solution", 1, "yours are [z, r, n]; textbook: a_x = x @; textbook: a_h = h_prev @", "No known"),
    (NO_D_OUTPUT, "my_gru", 1, "hint: d_output is not used", "the textbook:"),
    (NO_D_OUTPUT, "my_gru --solution", 1, "the textbook:; d_h = d_output[t, :, :] + d_state", "No known"),
    ("while True: pass", "my_rnn --limit=0.2", 2, "cannot import 'my_rnn': it does not come back after 0.2 s", "hint"),
    ("def step(x, state:", "my_rnn", 2, "cannot import 'my_rnn': SyntaxError", "hint"),
    ("", "my_nothing", 2, "ModuleNotFoundError", "hint"),
    (source("lstm"), "my_lstm --limit x", 2, "expected a valid number", "right"),
    (source("lstm"), "my_lstm --limit", 2, "requires an argument", "right"),
    (source("lstm"), "my_lstm --cell cnn", 2, "expected a name that tells the cell", "right"),
    (source("lstm"), "scratch.nn:LSTM --solution", 2, "--solution", "right"),
]
for line in (CATCHES, "import time; time.sleep(1000)"):
    text = source("gru", ("    steps, parameters = tape", f"    {line}\n    steps, parameters = tape"))
    CHECKS.append((text, "my_gru --limit 0.2", 1, HANGS, "hint"))


@pytest.mark.parametrize(("text", "options", "status", "told", "not_told"), CHECKS)
def test_the_check(
    folder: Path, command: Command, text: str, options: str, status: int, told: str, not_told: str
) -> None:
    (folder / "rnn").mkdir()
    (folder / f"{options.split()[0].removesuffix('.py').replace('nothing', 'rnn')}.py").write_text(text)
    found, out, error = command("check", "--candidate", *options.split())
    assert found == status
    assert [each for each in told.split("; ") if each not in out + error] == []
    assert [each for each in not_told.split("; ") if each in out] == []

"""Candidates taken stage by stage: what is right is called right, and what is wrong is found where it is."""

import ast
import inspect
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

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
from tests.strategies import some

from .carried import Command
from .planted_stages import EVERY, FROM_THE_ISSUE, MORE, Planted

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
    finding = report_of(planted).first
    assert finding is not None
    assert finding.function == planted.function
    assert [planted.name] * bool(planted.name) == [one.name for one in finding.named][:1]
    assert planted.told in finding.told
    assert report_of(planted).status == 1


def test_most_mistakes_are_named_and_none_falsely() -> None:
    """What is expected of each is in the table, which the test above holds to; so it is enough to count there."""
    assert len(FROM_THE_ISSUE) >= 9 and len(MORE) >= 40
    of_mathematics = [planted for planted in EVERY if not planted.told]
    assert sum(bool(planted.name) for planted in of_mathematics) >= 0.9 * len(of_mathematics)


@pytest.mark.parametrize("planted", some(EVERY, every=12), ids=described)
def test_a_mistake_is_found_in_a_pair_of_functions_alone(planted: Planted) -> None:
    module = candidate(f"my_{planted.cell}", source(planted.cell, *planted.replacements))
    found = stages((module.forward, module.backward))
    assert [stage.name for stage in found] == ["forward", "backward"]
    assert found.status == 1


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN tanh"])
def test_what_no_mistake_gives_is_not_named(name: str) -> None:
    """Some lines of step_backward, some percent too large."""
    lines = [textbook_line(CELLS[name], "step_backward", equation.name) for equation in CELLS[name].step_backward]
    for line in [line for line in lines if line.count(" = ") == 1 and "d_parameters" not in line][::5]:
        left, right = line.removeprefix("the textbook: ").split("  # ")[0].split(" = ", 1)
        found = report(name.split()[0].lower(), (f"{left} = {right}", f"{left} = 1.037 * ({right})")).first
        assert found is not None and found.function == "step_backward"
        assert not found.named and "should be" in "\n".join(found.lines)
        assert any("error" in line and "shape" in line for line in found.lines)


D_C_PREV = ("d_c_prev = d_c * f", "d_c_prev = d_c")
WEIGHTED = '"weight_ih": d_a.T @ x * xp.arange(1, 1 + d_a.shape[1])[:, None]'


NEEDS_BIASES = ('if "bias_ih" in parameters:\n        a_x', "if True:\n        a_x")
TOLD = [
    ("lstm", [("d_f = d_c * c_prev", "d_f = d_c"), ("d_g * (1 - g * g)", "d_g")], "d_a_g d_f", ""),
    ("lstm", [D_C_PREV, ("d_g * (1 - g * g)", "1.3 * d_g")], "d_c_prev", "these have causes of their own"),
    ("lstm", [('"weight_ih": d_a.T @ x', WEIGHTED)], "", "No known mistake gives your numbers."),
    ("lstm", [("d_f * f *", "1.1 * d_f * f *")], "", 'd_parameters["bias_ih"] is wrong in block f only'),
    ("gru", [("(d_x_t)", "(d_x_t * (1.1 if t == 1 else 1))")], "", "d_x is wrong in step 1 only"),
    ("gru", [NEEDS_BIASES], "", "`step`: without biases"),
    ("gru", [NEEDS_BIASES], "", "given: x (3, 5), state (3, 2), W_ih (6, 5), W_hh (6, 2)"),
    ("lstm", [('xp.sum(d_a, axis=0), "bias_hh"', 'd_a, "bias_hh"')], "", "one for each sequence, which are to be"),
    ("lstm", [('"bias_ih": xp.sum(d_a', '"bias_ih": 0 * xp.nan + xp.sum(d_a')], "", "not a number"),
    ("lstm", [("d_x, (d_h_prev, d_c_prev)", "None, (None, d_c_prev)"), D_C_PREV], "d_c_prev", ""),
    ("rnn", [("    return xp.stack(d_x", "    steps.clear()\n    return xp.stack(d_x")], "", "at the first call only"),
]


@pytest.mark.parametrize(("cell", "replacements", "names", "told"), TOLD)
def test_what_is_told(cell: str, replacements: list[Replacement], names: str, told: str) -> None:
    found = report(cell, *replacements).first
    assert found is not None and told in found.text()
    assert {*names.split()} == {one.name for one in (*found.named, *found.also)}


JUNK = [
    *(1, "text", (1, 2, 3), (None, None), ("a", "b", "c"), [[], [], []], ({}, {}, {}), (object(),) * 3),
    *((np.full((2, 3), np.nan),) * 3, (np.zeros((0,)),) * 3, (np.zeros((2, 3), complex) + 1j,) * 3),
    ((np.zeros((2, 3)), np.zeros((2, 3))), (np.zeros((2, 3)), None), {"weight_ih": [[1], [1, 2]]}),
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_whatever_a_function_gives_something_is_told(function: str) -> None:
    for value in JUNK:
        other = {function: lambda *_, value=value: value}
        stage = stages(SimpleNamespace(**{name: getattr(lstm, name) for name in FUNCTIONS} | other), "LSTM")[
            FUNCTIONS.index(function)
        ]
        assert stage.status in (WRONG, TO_DO)
        assert stage.note or stage.status == TO_DO or (stage.finding and stage.finding.told)


# What is right, or to do.

MERGED = (  # the weights' rows in another order, and all gates but one in one call
    (
        "    H = h_prev.shape[1]",
        "    H = h_prev.shape[1]\n    s = sigmoid(xp.concat([a[:, : 2 * H], a[:, 3 * H :]], axis=1), xp)",
    ),
    ("i = sigmoid(a[:, :H], xp)", "i = s[:, :H]"),
    ("f = sigmoid(a[:, H : 2 * H], xp)", "f = s[:, H : 2 * H]"),
    ("o = sigmoid(a[:, 3 * H :], xp)", "o = s[:, 2 * H :]"),
)
KEPT_IN_A_DICT = (
    ("(x, h_prev, c_prev, i, f, g, o, tanh_c)\n", "dict(x=x, h=h_prev, c=c_prev, ifgo=(i, f, g, o), tanh_c=tanh_c)\n"),
    (
        "x, h_prev, c_prev, i, f, g, o, tanh_c = kept",
        'x, h_prev, c_prev, tanh_c = (kept[name] for name in ["x", "h", "c", "tanh_c"])\n    i, f, g, o = kept["ifgo"]',
    ),
)
LISTS = (
    ("return (h, c), (x", "return [h, c], (x"),
    ("return xp.stack(output), state,", "return output, list(state),"),
    ("return xp.stack(d_x[::-1]), d_state,", "return d_x[::-1], list(d_state),"),
)
FLOAT32 = (
    (
        "    h_prev, c_prev = state\n",
        "    h_prev, c_prev = state\n    x = xp.asarray(x, dtype=xp.float32)\n"
        "    parameters = {name: value.astype('float32') for name, value in parameters.items()}\n"
        "    h_prev, c_prev = h_prev.astype('float32'), c_prev.astype('float32')\n",
    ),
    (
        "    d_h, d_c_after = d_state\n",
        "    d_h, d_c_after = (d.astype('float32') for d in d_state)\n"
        "    parameters = {name: value.astype('float32') for name, value in parameters.items()}\n",
    ),
    ("xp.zeros_like(value)", "xp.zeros(value.shape, dtype='float32')"),
)
OTHER_FORMULAS = (
    ("c = f * c_prev + i * g", "c = c_prev + i * g - (1 - f) * c_prev"),
    ("d_a_f = d_f * f * (1 - f)", "d_a_f = d_f * (f - f * f)"),
    ('d_x = d_a @ parameters["weight_ih"]', "d_x = xp.einsum('bg,gi->bi', d_a, parameters[\"weight_ih\"])"),
)


@pytest.mark.parametrize("replacements", [MERGED, KEPT_IN_A_DICT, LISTS, FLOAT32, OTHER_FORMULAS])
def test_what_is_right_is_called_right(replacements: tuple[Replacement, ...]) -> None:
    found = report("lstm", *replacements)
    assert statuses(found) == [RIGHT] * 4 and found.status == 0
    assert found.narrow == (replacements is FLOAT32)


@pytest.mark.parametrize("page", PAGES.values())
def test_the_pages_are_right_whole_and_in_parts(page: ModuleType) -> None:
    name = page.__name__.split(".")[-1]
    for names in (FUNCTIONS, *((each,) for each in FUNCTIONS), FUNCTIONS[:2]):
        some = SimpleNamespace(**{each: getattr(page, each) for each in names})
        found = {stage.name: stage.status for stage in stages(some, name)}
        assert {each: found[each] for each in names} == dict.fromkeys(names, RIGHT)


def test_the_nearest_name_tells_the_cell() -> None:
    module = ModuleType("my_gru")
    module.__file__ = "/rnn/lstm/my_gru.py"
    module.__dict__["step"] = gru.step
    assert stages(module).cell.name == "GRU"
    assert stages(rnn).cell.name == stages(rnn, "rnn").cell.name == "RNN relu"  # which is the second that is taken
    assert stages(rnn, "RNN tanh").cell.name == "RNN tanh"
    with pytest.raises(TypeError, match="expected some of the functions"):
        stages(SimpleNamespace(), "LSTM")
    with pytest.raises(ValueError, match="expected a name that tells the cell"):
        stages(SimpleNamespace(step=lstm.step))


@pytest.mark.parametrize("body", ["...", "pass", "raise NotImplementedError", "return None", "'''Text.'''"])
def test_what_is_empty_is_to_do(body: str) -> None:
    found = stages(candidate("my_lstm", "\n".join(f"def {name}(*arguments):\n    {body}" for name in FUNCTIONS)))
    assert statuses(found) == [TO_DO, NOT_YET, NOT_YET, NOT_YET]
    assert found.status == 3 and found.first is None


def test_each_stage_waits_for_what_it_is_built_on() -> None:
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
def test_the_equations_are_the_textbooks(cell: Cell) -> None:
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


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_each_known_mistake_is_another_and_changes_something(cell: Cell) -> None:
    """In one of two problems at least: a row of the table that does nothing could name nothing."""
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
    text = (folder / f"my_{cell}.py").read_text()
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    for name in FUNCTIONS:
        assert ast.get_docstring(functions[name]) == inspect.getdoc(getattr(PAGES[cell], name))
        assert len(functions[name].body) == 2 and ast.unparse(functions[name].body[1]) == "..."
    assert all(line in text for line in (PAGES[cell].__doc__ or "").splitlines() if re.match(r"\(\d\)", line))
    assert not re.search(r"\bxp\b", text) and ".md" not in text
    status, out, _ = command("check", "--candidate", f"my_{cell}")
    assert status == 3 and "step           to do" in out and "not yet: `step` first" in out
    (folder / f"my_{cell}.py").write_text("mine = True\n")
    status, _, error = command("exercise", cell)
    assert status == 2 and "--overwrite" in error and (folder / f"my_{cell}.py").read_text() == "mine = True\n"
    assert command("exercise", cell, "--overwrite")[0] == 0 and (folder / f"my_{cell}.py").read_text() == text
    assert command("exercise", "cnn")[0] == 2


HANGING = [
    "while True: pass",
    "while True:\n        try:\n            while True: pass\n        except:\n            pass",
    "import time; time.sleep(1000)",
]


ONE_FACTOR = source("lstm", D_C_PREV)
NO_D_OUTPUT = source("gru", ("d_output[t, :, :] + d_state", "d_state"))
HINT = "your d_c_prev is exactly d_c: a factor is missing; c = f ⊙ c_prev + i ⊙ g; shape (B, H) = (2, 3); should be"
SOLVED = "it is d_c ⊙ f (5); yours is d_c; the textbook: d_c_prev = d_c * f  # (5)"
CHECKS = [
    (source("gru"), "my_gru", 0, "Everything is right.", "hint"),
    (ONE_FACTOR, "my_lstm", 1, HINT, "d_c * f; d_c ⊙ f"),
    (ONE_FACTOR, "my_lstm.py --solution", 1, SOLVED, "No known"),
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
for line in HANGING:
    hangs = source("gru", ("    steps, parameters = tape", f"    {line}\n    steps, parameters = tape"))
    told = "forward        right; `backward`: it does not come back after 0.2 s (a loop that does not end?)"
    CHECKS.append((hangs, "my_gru --limit 0.2", 1, told, "hint"))


@pytest.mark.parametrize(("text", "options", "status", "told", "not_told"), CHECKS)
def test_the_check(
    folder: Path, command: Command, text: str, options: str, status: int, told: str, not_told: str
) -> None:
    (folder / f"{options.split()[0].removesuffix('.py').replace('nothing', 'rnn')}.py").write_text(text)
    found, out, error = command("check", "--candidate", *options.split())
    assert found == status
    assert [each for each in told.split("; ") if each not in out + error] == []
    assert [each for each in not_told.split("; ") if each in out] == []


def test_the_exercises_do_without_pytorch(folder: Path) -> None:
    (folder / "my_lstm.py").write_text(source("lstm", D_C_PREV))
    code = (
        "import sys; sys.modules['torch'] = None; from reference.__main__ import main; "
        "sys.argv = ['reference', 'check', '--candidate', 'my_lstm']; sys.exit(main())"
    )
    root = str(Path(import_module("reference").__file__ or "").parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env={"PYTHONPATH": root, "PATH": ""}, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert "a factor is missing" in done.stdout

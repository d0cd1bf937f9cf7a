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
from scratch.textbook import gru, lstm, rnn
from tests.strategies import some

from .carried import Command
from .planted_stages import FROM_THE_ISSUE, HELD_BACK, MORE, Planted

PAGES = {"rnn": rnn, "lstm": lstm, "gru": gru}
EVERY = [*FROM_THE_ISSUE, *MORE, *HELD_BACK]
FOUR = ("step", "step_backward", "forward", "backward")


def page(cell: str, *replacements: tuple[str, str]) -> ModuleType:
    """The textbook's page with other texts in it."""
    text = inspect.getsource(PAGES[cell])
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    module = ModuleType(f"my_{cell}")
    exec(compile(text, f"my_{cell}.py", "exec"), module.__dict__)
    return module


@cache
def report_of(planted: Planted) -> Report:
    return stages(page(planted.cell, *planted.replacements))


def described(planted: Planted) -> str:
    return f"{planted.cell}-{planted.replacements[0][1][:40]}"


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
    found = [report_of(planted).first for planted in of_mathematics]
    named = [finding for finding in found if finding and finding.named]
    assert len(named) >= 0.9 * len(of_mathematics)


@pytest.mark.parametrize("planted", some(EVERY, every=4), ids=described)
def test_a_mistake_is_found_in_a_pair_of_functions_alone(planted: Planted) -> None:
    module = page(planted.cell, *planted.replacements)
    report = stages((module.forward, module.backward))
    assert [stage.name for stage in report] == ["forward", "backward"]
    assert report.status == 1


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_what_no_mistake_gives_is_not_named(cell: str) -> None:
    """Each line of step_backward, some percent too large."""
    (name,) = (each for each in CELLS if each.lower().startswith(cell) and "relu" not in each)
    lines = [textbook_line(CELLS[name], "step_backward", equation.name) for equation in CELLS[name].step_backward]
    for line in [line for line in lines if line.count(" = ") == 1 and "d_parameters" not in line][::3]:
        left, right = line.removeprefix("the textbook: ").split("  # ")[0].split(" = ", 1)
        found = stages(page(cell, (f"{left} = {right}", f"{left} = 1.037 * ({right})"))).first
        assert found is not None and found.function == "step_backward"
        assert not found.named and "should be" in "\n".join(found.lines)
        assert any("error" in line and "shape" in line for line in found.lines)


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


@pytest.mark.parametrize("replacements", [(), MERGED, KEPT_IN_A_DICT, LISTS, FLOAT32, OTHER_FORMULAS])
def test_what_is_right_is_called_right(replacements: tuple[tuple[str, str], ...]) -> None:
    report = stages(page("lstm", *replacements))
    assert [stage.status for stage in report] == [RIGHT] * 4
    assert report.status == 0


def test_the_sizes_that_are_told_are_those_of_the_call() -> None:
    needs_biases = 'if "bias_ih" in parameters:\n        a_x', "if True:\n        a_x"
    found = stages(page("gru", needs_biases)).first
    assert found is not None and found.told.startswith("without biases")
    assert "given: x (3, 5), state (3, 2), W_ih (6, 5), W_hh (6, 2)" in found.lines


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_the_other_pages_are_right(cell: str) -> None:
    report = stages(PAGES[cell])
    assert [stage.status for stage in report] == [RIGHT] * 4


def test_an_rnn_that_takes_a_nonlinearity_is_taken_with_both() -> None:
    assert stages(rnn).cell.name == "RNN relu"
    assert stages(rnn, "RNN tanh").cell.name == "RNN tanh"


def test_a_subset_of_the_functions_is_enough() -> None:
    for names in (("step",), ("step_backward",), ("step", "step_backward"), ("forward",), ("backward",)):
        some = SimpleNamespace(**{name: getattr(lstm, name) for name in names})
        found = {stage.name: stage.status for stage in stages(some, "LSTM")}
        assert {name: found[name] for name in names} == dict.fromkeys(names, RIGHT)


def test_no_functions_or_no_cell_are_refused() -> None:
    with pytest.raises(TypeError, match="expected some of the functions"):
        stages(SimpleNamespace(), "LSTM")
    with pytest.raises(ValueError, match="expected a name that tells the cell"):
        stages(SimpleNamespace(step=lstm.step))


@pytest.mark.parametrize("body", ["...", "pass", "raise NotImplementedError", "return None", "'''Text.'''"])
def test_what_is_empty_is_to_do(body: str) -> None:
    source = "\n".join(f"def {name}(*arguments):\n    {body}" for name in FOUR)
    module = ModuleType("my_lstm")
    exec(source, module.__dict__)
    report = stages(module)
    assert [stage.status for stage in report] == [TO_DO, NOT_YET, NOT_YET, NOT_YET]
    assert report.status == 3 and report.first is None


def test_a_loop_over_a_step_that_is_to_do_waits() -> None:
    module = page("lstm", ("def step(", "def step(x, state, parameters, *, xp=np):\n    ...\n\n\ndef other("))
    report = stages(module)
    assert [stage.status for stage in report] == [TO_DO, NOT_YET, NOT_YET, NOT_YET]
    assert report.status == 3


def test_the_nearest_name_tells_the_cell() -> None:
    module = ModuleType("my_gru")
    module.__file__ = "/rnn/lstm/my_gru.py"
    module.__dict__["step"] = gru.step
    assert stages(module).cell.name == "GRU"
    assert stages(rnn, "rnn").cell.name == "RNN relu"


def test_results_that_are_none_are_to_do() -> None:
    half = ("    return d_x, (d_h_prev, d_c_prev), d_parameters", "    return None, (None, d_c_prev), {}")
    report = stages(page("lstm", half))
    assert report[1].status == TO_DO and "d_x, d_h_prev" in report[1].note
    wrong = half, ("d_c_prev = d_c * f", "d_c_prev = d_c")
    found = stages(page("lstm", *wrong)).first
    assert found is not None and found.named[0].name == "d_c_prev"
    assert "your d_c_prev is exactly d_c: a factor is missing" in found.text()


def test_each_stage_waits_for_what_it_is_built_on() -> None:
    report = stages(page("lstm", ("c = f * c_prev + i * g", "c = f * c_prev + g")))
    assert [stage.status for stage in report] == [WRONG, NOT_YET, NOT_YET, NOT_YET]
    assert report[1].note == "`step` first"
    report = stages(page("lstm", ("d_c_prev = d_c * f", "d_c_prev = d_c")))
    assert [stage.status for stage in report] == [RIGHT, WRONG, RIGHT, NOT_YET]


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_the_equations_are_the_textbooks(cell: Cell) -> None:
    for problem in problems(cell):
        for function in FOUR:
            model, right = given_by(problem, function), truth(problem, function)
            assert model is not None
            assert {name: error_of(model[name], right[name]) < 1e-13 for name in right} == dict.fromkeys(right, True)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_every_equation_has_its_line_and_its_number(cell: Cell) -> None:
    for function in ("step", "step_backward"):
        for equation in cell.equations(function):
            line = textbook_line(cell, function, equation.name)
            assert line, equation.name
            assert set(re.findall(r"\(\d\)", equation.number)) <= {*re.findall(r"\(\d\)", line), "(0)"}, equation.name
            assert all(number in cell.stated for number in re.findall(r"\(\d\)", equation.number))


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_a_slip_in_a_loop_changes_something(cell: Cell) -> None:
    """In one of two problems at least: a row of the table that does nothing could name nothing."""
    for slip in [*slips(cell, "forward"), *slips(cell, "backward")]:
        assert slip.slots.keys() <= slots_of(LOOPS[slip.function]).keys()
        changes = []
        for problem in problems(cell)[:2]:
            model, right = given_by(problem, slip.function, [slip]) or {}, truth(problem, slip.function)
            changes += [error_of(np.asarray(model[name]), right[name]) > 1e-6 for name in right if name in model]
        assert any(changes), slip


def test_there_are_many_mutations_and_no_two_are_the_same() -> None:
    for cell in CELLS.values():
        for function in ("step", "step_backward"):
            known = mutations(cell, function)
            assert len({(one.name, tuple(one.changes), one.yours) for one in known}) == len(known)
    assert len(mutations(CELLS["LSTM"], "step_backward")) > 900


JUNK = [
    1,
    "text",
    (1, 2, 3),
    (None, None),
    ("a", "b", "c"),
    [[], [], []],
    (np.full((2, 3), np.nan),) * 3,
    (np.zeros((0,)),) * 3,
    (np.zeros((2, 3), complex) + 1j,) * 3,
    ({}, {}, {}),
    (object(),) * 3,
    ((np.zeros((2, 3)), np.zeros((2, 3))), (np.zeros((2, 3)), None), {"weight_ih": [[1], [1, 2]]}),
]


@pytest.mark.parametrize("function", FOUR)
@pytest.mark.parametrize("value", JUNK, ids=range(len(JUNK)))
def test_whatever_a_function_gives_something_is_told(function: str, value: object) -> None:
    module = SimpleNamespace(**{name: getattr(lstm, name) for name in FOUR} | {function: lambda *_: value})
    report = stages(module, "LSTM")
    stage = report[FOUR.index(function)]
    assert stage.status in (WRONG, TO_DO)
    assert stage.note or stage.status == TO_DO or (stage.finding and stage.finding.told)


# The commands.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    for name in ("my_lstm", "my_gru", "my_rnn"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_an_exercise_is_the_page_without_its_bodies(folder: Path, command: Command, cell: str) -> None:
    status, out, _ = command("exercise", cell)
    assert status == 0 and f"my_{cell}.py" in out
    text = (folder / f"my_{cell}.py").read_text()
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    for name in FOUR:
        assert ast.get_docstring(functions[name]) == inspect.getdoc(getattr(PAGES[cell], name))
        assert len(functions[name].body) == 2 and ast.unparse(functions[name].body[1]) == "..."
    assert all(line in text for line in (PAGES[cell].__doc__ or "").splitlines() if re.match(r"\(\d\)", line))
    assert not re.search(r"\bxp\b", text) and ".md" not in text
    status, out, _ = command("check", "--candidate", f"my_{cell}")
    assert status == 3 and "step           to do" in out and "not yet: `step` first" in out
    sys.modules.pop(f"my_{cell}")


def test_an_exercise_is_not_written_over(folder: Path, command: Command) -> None:
    (folder / "my_lstm.py").write_text("mine = True\n")
    status, _, error = command("exercise", "lstm")
    assert status == 2 and "--overwrite" in error
    assert (folder / "my_lstm.py").read_text() == "mine = True\n"
    assert command("exercise", "lstm", "--overwrite")[0] == 0
    assert "def step(" in (folder / "my_lstm.py").read_text()
    assert command("exercise", "cnn")[0] == 2


def written(folder: Path, cell: str, *replacements: tuple[str, str]) -> None:
    text = inspect.getsource(PAGES[cell])
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    (folder / f"my_{cell}.py").write_text(text)


def test_the_check_hints_and_tells_the_solution_when_asked(folder: Path, command: Command) -> None:
    written(folder, "lstm", ("d_c_prev = d_c * f", "d_c_prev = d_c"))
    status, out, _ = command("check", "--candidate", "my_lstm")
    assert status == 1
    assert "your d_c_prev is exactly d_c: a factor is missing" in out
    assert "(5)  c = f ⊙ c_prev + i ⊙ g" in out and "shape (B, H) = (2, 3)" in out and "should be" in out
    assert "d_c * f" not in out and "d_c ⊙ f" not in out
    sys.modules.pop("my_lstm")
    status, out, _ = command("check", "--candidate", "my_lstm.py", "--solution")
    assert status == 1
    assert "it is d_c ⊙ f (5); yours is d_c" in out and "the textbook: d_c_prev = d_c * f  # (5)" in out


def test_the_check_says_when_everything_is_right(folder: Path, command: Command) -> None:
    written(folder, "gru")
    status, out, _ = command("check", "--candidate", "my_gru")
    assert status == 0 and "Everything is right." in out


def test_a_slip_in_a_loop_shows_the_textbooks_loop(folder: Path, command: Command) -> None:
    written(folder, "gru", ("d_output[t, :, :] + d_state", "d_state"))
    status, out, _ = command("check", "--candidate=my_gru")
    assert status == 1 and "hint: d_output is not used" in out and "the textbook" not in out.split("hint")[0]
    sys.modules.pop("my_gru")
    _, out, _ = command("check", "--candidate=my_gru", "--solution")
    assert "the textbook:" in out and "d_h = d_output[t, :, :] + d_state" in out


def test_a_solution_is_for_exercises(folder: Path, command: Command) -> None:
    status, _, error = command("check", "--candidate", "scratch.nn:LSTM", "--solution")
    assert status == 2 and "--solution" in error


def test_several_mistakes_of_a_function_are_named_together() -> None:
    replacements = ("d_f = d_c * c_prev", "d_f = d_c"), ("d_a_g = d_g * (1 - g * g)", "d_a_g = d_g")
    found = stages(page("lstm", *replacements)).first
    assert found is not None and {one.name for one in (*found.named, *found.also)} == {"d_f", "d_a_g"}


def test_what_is_not_named_is_located() -> None:
    found = stages(page("lstm", ("d_a_f = d_f * f * (1 - f)", "d_a_f = 1.1 * d_f * f * (1 - f)"))).first
    assert found is not None and not found.named
    assert 'd_parameters["bias_ih"] is wrong in block f only' in found.lines
    found = stages(page("gru", ("d_x.append(d_x_t)", "d_x.append(d_x_t * (1.1 if t == 1 else 1))"))).first
    assert found is not None and not found.named
    assert "d_x is wrong in step 1 only" in found.lines


def test_one_of_two_mistakes_is_named_where_a_result_is_its_own() -> None:
    replacements = ("d_c_prev = d_c * f", "d_c_prev = d_c"), ("d_a_g = d_g * (1 - g * g)", "d_a_g = 1.3 * d_g")
    found = stages(page("lstm", *replacements)).first
    assert found is not None and [one.name for one in found.named] == ["d_c_prev"]
    assert "causes of their own" in found.told
    scaled = '"weight_ih": d_a.T @ x * xp.arange(1, 1 + d_a.shape[1])[:, None]'
    found = stages(page("lstm", ('"weight_ih": d_a.T @ x', scaled))).first
    assert found is not None and not found.named


def test_a_candidate_that_cannot_be_imported_is_told(folder: Path, command: Command) -> None:
    (folder / "my_rnn.py").write_text("def step(x, state, parameters:\n")
    status, _, error = command("check", "--candidate", "my_rnn")
    assert status == 2 and "SyntaxError" in error


HANGING = [
    "while True: pass",
    "while True:\n        try:\n            while True: pass\n        except:\n            pass",
    "import time; time.sleep(1000)",
]


@pytest.mark.parametrize("line", HANGING)
def test_what_does_not_come_back_is_told(folder: Path, command: Command, line: str) -> None:
    written(folder, "gru", ("    steps, parameters = tape", f"    {line}\n    steps, parameters = tape"))
    status, out, _ = command("check", "--candidate", "my_gru", "--limit", "0.2")
    assert status == 1
    assert "forward        right" in out
    assert "`backward`: it does not come back after 0.2 s (a loop that does not end?)" in out


def test_a_module_that_does_not_come_back_is_told(folder: Path, command: Command) -> None:
    (folder / "my_rnn.py").write_text("while True: pass\n")
    status, _, error = command("check", "--candidate=my_rnn", "--limit=0.2")
    assert status == 2 and "cannot import 'my_rnn': it does not come back after 0.2 s" in error


def test_the_share_of_results_that_are_right() -> None:
    shares = {stage.name: stage.share for stage in stages(page("lstm", ("d_c_prev = d_c * f", "d_c_prev = d_c")))}
    assert shares == {"step": 1, "step_backward": pytest.approx(6 / 7), "forward": 1, "backward": 0}
    clips = page("lstm", ("d_x.append(d_x_t)", "d_x.append(d_x_t); d_state = tuple(d.clip(-9, 9) for d in d_state)"))
    assert stages(clips)[3].status == WRONG and stages(clips)[3].share == 0


def test_the_exercises_do_without_pytorch(folder: Path) -> None:
    written(folder, "lstm", ("d_c_prev = d_c * f", "d_c_prev = d_c"))
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

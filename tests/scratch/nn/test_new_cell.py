"""How to add a cell, done as the page says: its blocks are the code, its commands are run, its answers looked for."""

import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import reference
import scratch
from reference import problems
from reference.problems import Configuration, draw
from reference.runs import run_module
from scratch import nn
from scratch.study import second_derivatives
from scratch.types import Array
from tests.scratch.nn.test_cell_equations import computed, worst
from tests.strategies import configurations

PAGE = Path(nn.__file__).parent / "adding_a_cell.md"
SECOND_OPINION = Path(reference.__file__).parent / "second_opinion.md"

FILES: dict[str, str] = {}
"""The new files, by their paths: the blocks that name one, two blank lines between them."""
SECTION = "scratch/study/second_derivatives.py"
"""The one file among them that is there already and gets its blocks at the end."""
EDITS: dict[str, list[tuple[str, str]]] = defaultdict(list)
"""What is changed in others, by their paths: what stands there, what shall stand there."""
COMMANDS: list[tuple[str, str]] = []
"""What is typed, and what the page shows of the answer."""

for language, path, block in re.findall(
    r"```(\w+) ?(\S*)\n(.*?)```", "".join(page.read_text("utf-8") for page in (PAGE, SECOND_OPINION)), flags=re.DOTALL
):
    if language == "diff":
        for part in block.split("@@\n"):
            before, after = ([line[1:] for line in part.splitlines(True) if line[0] in signs] for signs in (" -", " +"))
            EDITS[path].append(("".join(before), "".join(after)))
    elif language == "python" and path:
        FILES[path] = f"{FILES[path]}\n\n{block}" if path in FILES else block
    elif language == "console":
        for entry in block.removeprefix("$ ").split("\n$ "):
            command, _, answer = entry.partition("\n")
            COMMANDS.append((command, answer))


def module_of(path: str) -> ModuleType:
    """The module that a new file would be, made of its text alone."""
    name = path.removesuffix(".py").replace("/", ".")
    module = ModuleType(name)
    module.__package__ = name.rpartition(".")[0]
    exec(compile(FILES[path], PAGE.name, "exec"), vars(module))
    return module


mgu = module_of("scratch/nn/mgu.py")
"""The page's cell."""
exec(compile(FILES[SECTION], PAGE.name, "exec"), vars(second_derivatives) | {"mgu": mgu})  # enters those of the cell


@given(configurations(cells=("GRU",)))
def test_a_new_cell_has_right_gradients(configuration: Configuration) -> None:
    """Every option but the projection, against complex-step derivatives in the direction of each gradient itself.

    The parameters' shapes are those of the page's cell; everything else is drawn as for a cell that has h alone, too.
    """
    problem = draw(configuration)
    c, step_size = configuration, 1e-100
    rng = np.random.default_rng(c.seed)

    def new(dtype: type) -> Any:
        return mgu.MGU(**c.arguments(), dtype=dtype, rng=c.seed)

    parameters = {name: rng.uniform(-0.5, 0.5, value.shape) for name, value in new(float).state_dict().items()}
    problem = replace(problem, parameters=parameters)
    gradients = run(problem, new(float))
    for name, leaf in problem.leaves.items():
        direction = gradients[f"d_{name}"]

        def shift(value: Array, leaf: Array = leaf, direction: Array = direction) -> Array:
            return value + 1j * step_size * direction if value is leaf else value.astype(complex)

        outputs = run(problem.map(shift), new(complex))
        derivative = sum((outputs[key] * upstream).sum().imag for key, upstream in problem.upstream.items()) / step_size
        squared = (direction * direction).sum()
        assert abs(derivative - squared) <= 1e-10 * squared, name


def test_its_equations_are_what_it_computes() -> None:
    assert worst(mgu.CELL.equations, *computed(mgu.CELL, seed=0)) < 1e-13


def run(problem: problems.Problem, module: Any) -> dict[str, Array]:
    module.load_state_dict(problem.parameters)
    return run_module(module, problem)[0]


def copied_house(folder: Path) -> Path:
    """The project's packages in a folder of their own, with the page's files and edits."""
    for package in (scratch, reference):
        source = Path(package.__file__).parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in FILES.items():
        assert (folder / path).exists() == (path == SECTION)
        before = f"{(folder / path).read_text(encoding='utf-8')}\n\n" if path == SECTION else ""
        (folder / path).write_text(before + text, encoding="utf-8")
    for path, edits in EDITS.items():
        text = (folder / path).read_text(encoding="utf-8")
        for before, after in edits:
            assert text.count(before) == 1, f"{path} has {text.count(before)} times:\n{before}"
            text = text.replace(before, after)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_house(tmp_path_factory.mktemp("house"))


def typed(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of the page, typed in a folder."""
    program, *arguments = shlex.split(command)
    assert program == "python"
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, encoding="utf-8", timeout=120)


def without_figures(line: str) -> str:
    """A printed line without what differs from machine to machine or with the list: figures, seeds, widths."""
    figures = r"\d+([,.:]\d+)+(e[-+]\d+)?|(?<=seed=)\d+"
    return " ".join(re.sub("[─━]+", "─", re.sub(figures, "#", line)).split())


def shown_in(answer: str, printed: str) -> bool:
    """Whether the lines of an answer on the page were printed in this order. … stands for lines that are left out."""
    lines = iter(map(without_figures, printed.splitlines()))
    return all(line == "…" or without_figures(line) in lines for line in answer.splitlines())


def test_the_commands_of_the_page_print_what_it_shows(house: Path) -> None:
    """Among them the check with the witnesses, and a training."""
    assert len(COMMANDS) == 4
    for command, answer in COMMANDS:
        done = typed(command, house)
        printed = done.stdout + done.stderr
        assert shown_in(answer, printed), f"{command}\n{printed}"
        assert done.returncode == 0


def in_the_house(house: Path, code: str) -> str:
    """What Python code prints there. Fails if it raises."""
    done = subprocess.run([sys.executable, "-c", code], cwd=house, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_lost_direct_path_is_seen_by_every_witness_as_the_page_says(house: Path) -> None:
    printed = in_the_house(
        house,
        """
from reference.check import testify
from reference.problems import draw
from reference.space import grid
from scratch.nn import mgu

def without_direct_path(d_state, slopes, d_a):
    mgu.step_backward(d_state, slopes, d_a)
    return None, ()

first = next(c for c in grid() if c.cell == "MGU")
assert all(row.agrees for row in testify(draw(first)))
mgu.MGU.cell = mgu.CELL._replace(step_backward=without_direct_path)
wrong = [row for row in testify(draw(first)) if not row.agrees]
print("reference: disagreement:", wrong[0])
print(*dict.fromkeys(row.who for row in wrong), sep=", ")

def wrong_slope(a, state_prev, state, kept, slopes):
    linearize(a, state_prev, state, kept, slopes)
    slopes[0] *= 0.9

linearize = mgu.linearize
mgu.MGU.cell = mgu.CELL._replace(linearize=wrong_slope, step_backward=mgu.step_backward)
print(*dict.fromkeys(row.who for row in testify(draw(first)) if not row.agrees), sep=", ")
""",
    )
    (line,) = re.findall(r"^reference: disagreement: .*", PAGE.read_text(encoding="utf-8"), flags=re.M)
    assert list(map(without_figures, printed.splitlines())) == [
        without_figures(line),
        "complex step, real-time recurrent learning, central differences",
        "complex step, central differences",
    ]


def test_training_recomputation_and_studies_take_it_by_themselves(house: Path) -> None:
    in_the_house(
        house,
        """
import numpy as np

from scratch import nn, study, text
from scratch.study.gradients import MODELS

TEXT = "the minimal gated unit " * 9
settings = text.Settings(cell="MGU", hidden_size=8, num_layers=2, dropout=0.3, batch_size=2, length=5)
whole, part = text.Training(settings, TEXT), text.Training(settings, TEXT)
for training, steps in ((whole, 12), (part, 5)):
    for _ in range(steps):
        training.advance()
text.write("part.safetensors", part.checkpoint())
resumed = text.Training.resumed(text.read("part.safetensors"), TEXT)
for _ in range(7):
    resumed.advance()
end = resumed.model.state_dict()
assert all(np.array_equal(value, end[name]) for name, value in whole.model.state_dict().items())

rng = np.random.default_rng(0)
x, target = rng.standard_normal((7, 2, 3)), rng.standard_normal((7, 2, 4))
modules = [nn.MGU(3, 4, dtype=np.float64, rng=0, checkpoint_every=every) for every in (None, 3)]
runs = [(module(x)[0], module.backward(target)[0]) for module in modules]
assert all(np.array_equal(*pair) for pair in zip(*runs, strict=True))

module, cell, h = modules[0], nn.MGUCell(3, 4, dtype=np.float64), None
cell.load_state_dict({name.removesuffix("_l0"): value for name, value in module.state_dict().items()})
for x_t, output_t in zip(x, runs[0][0], strict=True):
    h = cell(x_t, h)
    assert np.allclose(h, output_t, rtol=0, atol=1e-14)  # some roundings of numbers below 1
assert {"MGU", "MGUCell"} <= set(nn.__all__) and all(hasattr(nn, name) for name in nn.__all__)

v = {name: rng.standard_normal(p.shape) for name, p in module.named_parameters()}
study.jvp(module, x, parameters_dot=v)
for product in (study.hvp, study.gauss_newton):
    product(module, study.squared_error(target), x, parameters_dot=v)
assert {"MGU", "MGU, b_f = 1"} <= {model.name for model in MODELS}
""",
    )


def test_what_needs_pytorchs_own_leaves_it_out_or_refuses_it(house: Path) -> None:
    in_the_house(
        house,
        """
from reference.carry import files
from reference.problems import CELLS
from reference.side_by_side_command import IN_BOTH
from reference.weights import to_keras, to_onnx
from scratch import nn, text

assert [name for name in CELLS if name not in IN_BOTH] == ["MGU"]

def refuses(error, call, argument):
    try:
        call(argument)
    except error as refusal:
        assert str(refusal).endswith("got MGU"), refusal
    else:
        raise AssertionError(f"{call} does not refuse it")

refuses(TypeError, to_keras, nn.MGU(2, 3))
refuses(TypeError, to_onnx, nn.MGU(2, 3))
settings = text.Settings(cell="MGU", hidden_size=8, batch_size=2, length=5)
refuses(text.CheckpointError, files.in_torch, text.Training(settings, "hello, world " * 9).checkpoint())
""",
    )

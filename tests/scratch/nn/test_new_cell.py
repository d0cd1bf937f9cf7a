"""How to add a cell, done as the page says: its blocks are the code, its commands are run, its answers looked for."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import reference
import scratch
from reference.problems import Configuration, Problem, draw
from reference.runs import Run, run_module
from scratch import nn
from scratch.study import second_derivatives
from tests.scratch.nn.passes import complex_step_errors
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


@given(configurations(cells=("GRU",)), st.sampled_from([None, 3]))
def test_a_new_cell_has_right_gradients(configuration: Configuration, checkpoint_every: int | None) -> None:
    """Every option but the projection.

    The parameters' shapes are those of the page's cell; everything else is drawn as for a cell that has h alone, too.
    """

    def new(problem: Problem) -> Any:
        options = configuration.arguments() | {"checkpoint_every": checkpoint_every, "dtype": problem.input.dtype}
        return mgu.MGU(**options, rng=configuration.seed)

    def run(problem: Problem) -> Run:
        module = new(problem)
        module.load_state_dict(problem.parameters)
        return run_module(module, problem)[0]

    problem = draw(configuration)
    errors = complex_step_errors(replace(problem, parameters=new(problem).state_dict()), run)
    assert max(errors.values()) <= 1e-10, errors


def test_its_equations_are_what_it_computes() -> None:
    assert worst(mgu.CELL.equations, *computed(mgu.CELL, seed=0)) < 1e-13


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


def without_figures(line: str) -> str:
    """A printed line without what differs from machine to machine or with the list: figures, seeds, widths."""
    figures = r"\d+([,.:]\d+)+(e[-+]\d+)?|(?<=seed=)\d+"
    return " ".join(re.sub("[─━]+", "─", re.sub(figures, "#", line)).split())


def shown_in(answer: str, printed: str) -> bool:
    """Whether the lines of an answer on the page were printed in this order. … stands for lines that are left out."""
    lines = iter(map(without_figures, printed.splitlines()))
    return all(line == "…" or without_figures(line) in lines for line in answer.splitlines())


def test_in_a_copy_of_the_project_all_is_as_the_page_says(tmp_path: Path) -> None:
    """The commands, among them the check with the witnesses, and a training; and what in_the_house.py does besides."""
    assert len(COMMANDS) == 4
    driver = [sys.executable, str(Path(__file__).with_name("in_the_house.py")), *(command for command, _ in COMMANDS)]
    house = copied_house(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(house)}
    done = subprocess.run(driver, cwd=house, env=environment, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for (command, answer), (status, printed) in zip(COMMANDS, found["answers"], strict=True):
        assert shown_in(answer, printed), f"{command}\n{printed}"
        assert status == 0
    (line,) = re.findall(r"^reference: disagreement: .*", PAGE.read_text(encoding="utf-8"), flags=re.M)
    first, by_all, _, by_some = map(without_figures, found["faults"])
    assert first == without_figures(line)
    assert by_all == "complex step, real-time recurrent learning, central differences"
    assert by_some == "complex step, central differences"

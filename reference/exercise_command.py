"""The commands of the exercises: `exercise` writes one, `check --candidate` takes it stage by stage, `grade` many.

Nothing here needs PyTorch, so that it can be run after every line that is written.
"""

import ast
import inspect
import os
import re
import shlex
import sys
from argparse import ArgumentError, ArgumentParser
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from textwrap import fill
from types import ModuleType
from typing import Annotated

import typer

from scratch.doors import python

from .grade_command import CALLS, NAMES, epilog, grade
from .grade_source import cell_of
from .stages import stages
from .stages.subject import ERRORS, TAKES, Endless, at_most
from .stages.worker import told

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command(epilog=epilog(CALLS))(grade)
LIMIT = 10.0
"""Seconds after which a call is given up, and the import of a module."""


@app.command()
def exercise(
    cell: Annotated[str, typer.Argument(metavar="CELL", help=f"Which: {', '.join(NAMES)}.")],
    force: Annotated[bool, typer.Option("--overwrite", "--force", help="Write over a file that is there.")] = False,
) -> int:
    """Write an exercise: a recurrence to be written by hand, forward and backward through time.

    my_lstm.py (or my_rnn.py, my_gru.py) has the equations, and four functions without a body. `python -m reference
    check --candidate my_lstm` says after every line how far you are, and what is wrong.
    """
    name = cell.lower()
    if name not in NAMES:
        raise typer.BadParameter(f"expected the cell {', '.join(NAMES)}, got {name!r}")
    path = Path(f"my_{name}.py")
    if path.exists() and not force:
        raise typer.BadParameter(f"{path} is there already; --overwrite writes over it")
    path.write_text(text_of(name), encoding="utf-8")
    print(f"{path}: four functions to write. After every line: {python()} -m reference check --candidate {path.stem}")
    return 0


def text_of(name: str) -> str:
    """An exercise: the textbook's page without its bodies."""
    page = import_module(f"scratch.textbook.{name}")
    about = re.sub(r" The arrays may come from .*?every call\.", "", page.__doc__ or "", flags=re.DOTALL)
    about = re.sub(r" \w+\.md derives every line of the way back\.", "", about)
    about = re.sub(
        r"^Letters:.*?\n(?=\Z|\n)", lambda letters: fill(letters[0], 120) + "\n", about, flags=re.DOTALL | re.M
    )
    text = f'''"""{about}
An exercise: write the bodies. After every line, see how far you are:

    python -m reference check --candidate my_{name}

What is still `...`, or None, is to do: return None in place of a result that you do not have yet. What a function is
given stays as it is, the tape too, so that a second call gives the same.
"""

import numpy as np
'''
    for node in ast.parse(inspect.getsource(page)).body:
        if isinstance(node, ast.FunctionDef):  # for NumPy, without types; if it is to be written, without its body
            given, node.returns = node.args, None
            for argument in (*given.args, *given.kwonlyargs):
                argument.annotation = None
            given.args = [argument for argument in given.args if argument.arg != "xp"]
            kept = [pair for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True) if pair[0].arg != "xp"]
            given.kwonlyargs, given.kw_defaults = [pair[0] for pair in kept], [pair[1] for pair in kept]
            if node.name in TAKES:
                node.body = [node.body[0], ast.Expr(ast.Constant(...))]
            text += f"\n\n{ast.unparse(node).replace('xp.', 'np.')}\n"
    return text


def meant(arguments: list[str]) -> bool:
    """Whether a command line is one of the exercises': `exercise`, `grade`, or `check` of a module that has a step."""
    if arguments[:1] != ["check"]:
        return arguments[:1] in (["exercise"], ["grade"])
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in ("--candidate", "--cell"):
        parser.add_argument(option, action="append")
    parser.add_argument("--solution", action="store_true")
    parser.add_argument("--limit", nargs="?")  # of one that is no number the command itself says more
    try:
        known, others = parser.parse_known_args(arguments[1:])
    except ArgumentError:  # of which the command itself says more
        return False
    if others or len(known.candidate or ()) != 1 or ":" in known.candidate[0]:
        return False
    limit = LIMIT
    with suppress(TypeError, ValueError):
        limit = min(max(0.1, float(known.limit)), 3600.0)
    module = module_of(known.candidate[0], limit)
    return any(callable(getattr(module, name, None)) for name in ("step", "step_backward"))


def module_of(place: str, limit: float = LIMIT) -> ModuleType:
    """The module of this name, or in this file. Raises typer.BadParameter if it cannot be imported in time."""
    path = Path(place)
    if path.suffix == ".py":  # a file, of which its folder makes a module
        sys.path.insert(0, str(path.parent.resolve()))
        place = path.stem
    sys.path.insert(0, os.getcwd())
    try:
        with at_most(limit):
            return import_module(place)
    except Endless as ended:
        raise typer.BadParameter(f"cannot import {place!r}: {ended}") from None
    except ERRORS as error:
        raise typer.BadParameter(f"cannot import {place!r}: {told(error)[1]}") from None


@app.command("check")
def check(
    subject: Annotated[str, typer.Option("--candidate", metavar="MODULE", help="The module, or its file.")],
    cell: Annotated[str | None, typer.Option(metavar="CELL", help="Its cell, if name and text do not tell.")] = None,
    solution: Annotated[bool, typer.Option("--solution", help="Show the textbook's line.")] = False,
    limit: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds after which a call is given up.")] = LIMIT,
) -> int:
    """Take a module with the textbook's functions stage by stage: step, step backward, loop, loop backward.

    Exit status: 0 if everything is right, 1 if something is wrong, 2 if the command is, 3 if nothing is wrong and
    something is still to do.
    """
    module = module_of(subject, limit)
    try:
        file = Path(module.__file__ or "")
        report = stages(module, cell or (cell_of(file, file.read_bytes()) if file.is_file() else None), limit=limit)
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(f"{subject}: {error}") from None
    print(f"{module.__name__} ({report.cell.name.split()[0]}), stage by stage\n")
    for stage in report:
        print(f"  {stage}")
    if report.first:
        print(f"\n{report.first.text(solution)}")
    elif not report.status:
        named = cell or report.cell.name.split()[0].lower()
        again = ["check", "--candidate", f"{subject}:forward,backward", "--cell", named]
        print(f"\nEverything is right. Over every option: {python()} -m reference {shlex.join(again)}")
    return report.status

"""The command `python -m reference bad-input`: every bad call of the table, made in both libraries."""

from typing import Annotated

import typer
from rich.console import Console

from scratch.terminal import progress

from .bad_calls import TABLE
from .bad_input import disagreements, run_table, show


def bad_input(
    verbose: Annotated[bool, typer.Option("--verbose", help="List every call, and what came of it.")] = False,
) -> int:
    """Make some hundred bad calls in scratch and in PyTorch, and compare how they are refused.

    Where PyTorch refuses, scratch refuses with the same class of error, or the table says why not. After a refusal
    nothing has changed, and everything still works.

    Exit status: 0 if all is so, 1 if not, 2 if the command is wrong.
    """
    with progress() as bar:
        task = bar.add_task("making bad calls", total=sum(len(row.subject.names) for row in TABLE))
        results = run_table(advance=lambda: bar.advance(task))
    show(results, Console(), verbose)
    return 1 if disagreements(results) else 0

"""Running a command as the terminal does."""

from collections.abc import Callable
from typing import Any

import pytest
import typer

from scratch import terminal


def run(command: Callable[..., Any], capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Returns exit status, standard output and standard error."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command)
    status = terminal.run(lambda: app(arguments, standalone_mode=False), "scratch")
    return status, *capsys.readouterr()

"""What the commands share: progress, tables and the words in which they end."""

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from inspect import Parameter, signature
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic
from typing import Annotated, Any
from warnings import catch_warnings, filterwarnings

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

FORMATS = (".pdf", ".png", ".svg")
"""What a plot may be written as."""


class Told(Progress):
    """A progress display that, where there is no terminal to draw on, says a line now and then."""

    EVERY = 10.0
    """Seconds from one line to the next."""

    said = float("inf")

    def start(self) -> None:
        """As in the base."""
        super().start()
        self.said = monotonic()

    def advance(self, task_id: Any, advance: float = 1) -> None:
        """As in the base."""
        self.update(task_id, advance=advance)

    def update(self, *args: Any, **changes: Any) -> None:
        """As in the base; and the line, if it is time for one."""
        super().update(*args, **changes)
        if not self.console.is_interactive and monotonic() - self.said >= self.EVERY:
            self.said = monotonic()
            for task in self.tasks:
                if not task.finished:
                    print(f"{task.percentage:3.0f} %  {task.description}", file=sys.stderr, flush=True)


def option(kind: Any, help: str, *names: str, default: object = None, **more: Any) -> Any:
    """An option of a command, for `taking`. default: what holds without it, to be shown."""
    shown = "" if default is None else f" [default: {default}]"
    return Annotated[kind | None, typer.Option(*names, help=help + shown, show_default=False, **more)]


def taking(options: dict[str, Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a command that ends with `**given`: it has these options, too, and gets those that are given.

    So options that a class or another function takes are said once, in a table.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def taken(**values: Any) -> Any:
            return command(
                **{name: value for name, value in values.items() if name not in options or value is not None}
            )

        own = signature(command, eval_str=True)
        more = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=options[name]) for name in options]
        shown = own.replace(parameters=[*list(own.parameters.values())[:-1], *more])
        taken.__dict__["__signature__"] = shown
        return taken

    return decorate


def progress(done: str | None = None, idle: bool = False) -> Progress:
    """A progress display on standard error that vanishes at the end; without a terminal, a line every ten seconds.

    done: is shown in place of "3/10". idle: show nothing but when told to refresh, and take no processor in between.
    """
    count = MofNCompleteColumn() if done is None else TextColumn(done)
    columns = (BarColumn(), count, TimeElapsedColumn(), TimeRemainingColumn(elapsed_when_finished=True))
    console = Console(stderr=True)
    return Told(TextColumn("{task.description}"), *columns, console=console, transient=True, auto_refresh=not idle)


def table(name: str, *columns: str) -> Table:
    """A table whose first column holds names and whose others hold numbers."""
    result = Table(name, *columns)
    for column in result.columns[1:]:
        column.justify = "right"
    return result


def say(out: Console, text: str, style: str = "") -> None:
    """Print a paragraph as it is."""
    out.print(Text(text, style=style))


def count(number: int, what: str) -> str:
    """A number of things."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def drawable(option: str, path: Path) -> None:
    """Refuse a plot of no known format, or that cannot be written. Raises typer.BadParameter."""
    if path.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"expected a {option} that ends in {', '.join(FORMATS)}, got {path}")
    writable(option, path)


def save(out: Console, figure: Any, path: Path, dpi: int = 130) -> None:
    """Write a matplotlib figure as the --plot, and say where, and what it replaces. Raises typer.BadParameter."""
    replaced = ", in place of the one that was there" if path.exists() else ""
    try:
        with catch_warnings():
            filterwarnings("ignore", "Glyph")  # a box stands for what the font lacks
            figure.savefig(path, dpi=dpi, format=path.suffix[1:].lower())
    except OSError as error:
        raise typer.BadParameter(f"cannot write --plot {path}: {error.strerror}") from None
    say(out, f"\npicture: {path}{replaced}")


def writable(option: str, path: Path | None) -> None:
    """Refuse a file that cannot be written, before any work is done. Raises typer.BadParameter."""
    if path is None or path.is_fifo():  # a pipe has no folder, and may have no reader yet
        return
    path = Path(os.path.realpath(path))  # where links lead
    if path.is_dir() or not path.parent.is_dir():
        problem = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise typer.BadParameter(f"cannot write {option} {path}: {problem}")
    try:  # without a trace, even of a process that is killed here
        with path.open("ab") if path.exists() else TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise typer.BadParameter(f"cannot write {option} {path}: {error.strerror}") from None


def run(command: Callable[[], object], program: str = "reference") -> int:
    """Run a command and give its exit status. What goes wrong gets a single line on standard error, with the name of
    the program before it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="replace")  # a terminal that lacks a character shows ? for it
            else:
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # a file gets every character
    try:
        status = command()
        print(end="", flush=True)
        return status if isinstance(status, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except typer.TyperException as error:
        problem = error.format_message().removeprefix("Invalid value: ")
        if errors := getattr(error.__cause__, "errors", None):  # pydantic's, which do not say what came
            problem = re.sub(r"Input should be (greater|less)", r"expected a number \1", problem)
            problem = re.sub(r"Input should be (.*?)(, unable.*)?$", r"expected \1", problem)
            problem += f", got {errors()[0]['input']!r}"
    except MemoryError:
        problem = "not enough memory for a model of this size"
    except OSError as error:
        problem = f"cannot write: {error.strerror}"
        with suppress(OSError):
            sys.stdout.close()
    print(f"{program}: {' '.join(problem.split())}", file=sys.stderr)
    return 2

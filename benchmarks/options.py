"""What the commands share: their options, and what is refused before any work is done."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature
from math import inf
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer

from scratch.processes import available_cores
from scratch.terminal import drawable, writable

from .contestants import CPU_DTYPES, DTYPES
from .problems import Problem, matching
from .results import kept


class Options(NamedTuple):
    """What the commands can be told. Each takes those that it names."""

    file: Annotated[
        Path | None,
        typer.Argument(help="A UTF-8 text [default: the beginning of Python's standard library].", show_default=False),
    ] = None
    quick: Annotated[bool, typer.Option("--quick", help="A few sizes, in under a minute; on a GPU in a few.")] = False
    patterns: Annotated[
        list[str] | None,
        typer.Option(
            "--problems", metavar="PATTERN", help="Only these: part of a name, with * and ?. Can be repeated."
        ),
    ] = None
    list_sizes: Annotated[bool, typer.Option("--list", help="List the sizes, and do nothing else.")] = False
    threads: Annotated[
        int, typer.Option(min=1, show_default=False, help="Threads of each library [default: one a core].")
    ] = available_cores()
    device: Annotated[str, typer.Option(metavar="DEVICE", help="cpu; or cuda, beside the CPU.")] = "cpu"
    dtype: Annotated[
        str | None,
        typer.Option(metavar="DTYPE", help=f"{', '.join(DTYPES)} [default: float32; on cuda the halves too]."),
    ] = None
    minutes: Annotated[float, typer.Option(min=0, help="Begin no further size after so many.")] = inf
    again: Annotated[bool, typer.Option("--again", help="Measure anew what is in the file already.")] = False
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures to this JSON file.")] = None
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw them into this file: .png, .svg or .pdf.")] = None
    seed: Annotated[int, typer.Option(min=0, help="Draws the numbers.")] = 0

    def check(self) -> None:
        """Refuse what no command can do, with typer.BadParameter."""
        if self.device not in ("cpu", "cuda"):
            raise typer.BadParameter(f"expected --device cpu or cuda, got {self.device}")
        allowed = CPU_DTYPES if self.device == "cpu" else DTYPES
        if self.dtype is not None and self.dtype not in allowed:
            raise typer.BadParameter(
                f"expected --dtype {', '.join(allowed)} with --device {self.device}, got {self.dtype}"
            )
        if self.threads > (cores := available_cores()):
            raise typer.BadParameter(f"expected --threads of at most {cores}, one a core, got {self.threads}")
        writable("--json", self.json)
        try:
            kept(self.json)
        except ValueError:
            raise typer.BadParameter(f"expected --json with a new file or one of results, got {self.json}") from None
        if self.plot is not None:
            drawable("--plot", self.plot)

    def chosen(self, offered: list[Problem], quick: tuple[str, ...]) -> list[Problem]:
        """The sizes to measure. Those for a GPU alone take part without one only where a pattern asks for them."""
        offered = [one for one in offered if self.device == "cuda" or self.patterns or not one.gpu_only]
        found = matching(offered, self.patterns or list(quick if self.quick else ["*"]))
        if not found:
            asked = ", ".join(self.patterns or [])
            raise typer.BadParameter(f"expected --problems in a name that --list shows, got {asked}")
        return found


def taking(names: str, **fixed: Any) -> Callable[[Callable[[Options], int]], Callable[..., int]]:
    """Make a function of `options` a command that takes the options of these names.

    fixed: options with another default, and if they are not among the names, which the user is not asked for.
    """
    hints, defaults = get_type_hints(Options, include_extras=True), Options._field_defaults | fixed

    def decorate(command: Callable[[Options], int]) -> Callable[..., int]:
        @wraps(command)
        def taken(**given: Any) -> int:
            options = Options(**fixed | given)
            options.check()
            return command(options)

        asked = names.split()
        vars(taken)["__signature__"] = Signature(  # which typer reads
            [Parameter(n, Parameter.KEYWORD_ONLY, default=defaults[n], annotation=hints[n]) for n in asked]
        )
        taken.__annotations__ = {name: hints[name] for name in asked}
        return taken

    return decorate

"""What the commands share: their options, and what is refused before any work is done."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer

from scratch.processes import available_cores
from scratch.terminal import writable

from .contestants import CPU_DTYPES, DTYPES
from .problems import QUICK, Problem, matching, sizes
from .results import reading

ENDINGS = (".png", ".svg", ".pdf")

Command = Callable[..., int]


class Options(NamedTuple):
    """What the commands can be told. Each takes those that it names."""

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
            raise typer.BadParameter(
                f"expected --threads of at most {cores}, as many as there are cores, got {self.threads}"
            )
        writable("--json", self.json)
        if self.json is not None and self.json.exists() and self.json.stat().st_size:
            try:
                with reading(self.json) as content:
                    content.items()
            except ValueError:
                raise typer.BadParameter(
                    f"expected --json with a new file or one of results, got {self.json}"
                ) from None
        writable("--plot", self.plot)
        if self.plot is not None and self.plot.suffix not in ENDINGS:
            raise typer.BadParameter(f"expected --plot with the ending .png, .svg or .pdf, got {self.plot}")

    @property
    def whole(self) -> bool:
        """Whether all sizes are measured, so that the results are kept."""
        return not self.quick and not self.patterns

    def problems(self, quick: tuple[str, ...] = QUICK) -> list[Problem]:
        """The sizes to measure. Those for a GPU alone take part without one only where a pattern asks for them."""
        offered = [one for one in sizes() if self.device == "cuda" or self.patterns or not one.gpu_only]
        found = matching(offered, self.patterns or list(quick if self.quick else ["*"]))
        if not found:
            asked = ", ".join(self.patterns or [])
            raise typer.BadParameter(f"expected --problems in a name that --list shows, got {asked}")
        return found


def taking(*names: str, **fixed: Any) -> Callable[[Command], Command]:
    """Make a function of `options` a command that takes the options of these names behind its own arguments.

    fixed: what an option is that the user is not asked for.
    """
    hints = get_type_hints(Options, include_extras=True)

    def decorate(command: Command) -> Command:
        @wraps(command)
        def taken(**given: Any) -> int:
            options = Options(**fixed, **{name: given.pop(name) for name in names})
            options.check()
            return command(options, **given)

        _, *own = signature(command, eval_str=True).parameters.values()
        parameters = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in own]
        parameters += [
            Parameter(name, Parameter.KEYWORD_ONLY, default=Options._field_defaults[name], annotation=hints[name])
            for name in names
        ]
        vars(taken)["__signature__"] = Signature(parameters)  # which typer reads
        taken.__annotations__ = {one.name: one.annotation for one in parameters}
        return taken

    return decorate


MEASURING = ("quick", "threads", "device", "dtype", "json", "plot", "seed")
"""What the commands take that measure sizes of their own."""

"""What the commands share: their options, and what is refused before any work is done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from scratch.terminal import writable

from .contestants import CPU_DTYPES, DTYPES
from .problems import QUICK, Problem, matching, sizes
from .results import available_cores, reading

ENDINGS = (".png", ".svg", ".pdf")

Quick = Annotated[bool, typer.Option("--quick", help="A few sizes, in under a minute.")]
Patterns = Annotated[
    list[str] | None,
    typer.Option("--problems", metavar="PATTERN", help="Only these: part of a name, with * and ?. Can be repeated."),
]
List = Annotated[bool, typer.Option("--list", help="List the sizes, and do nothing else.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of each library [default: one a core].")]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="cpu; or cuda, beside the CPU.")]
Dtype = Annotated[
    str | None, typer.Option(metavar="DTYPE", help=f"{', '.join(DTYPES)} [default: float32; on cuda the halves too].")
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this JSON file.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Draw them into this file: .png, .svg or .pdf.")]
Seed = Annotated[int, typer.Option(min=0, help="Draws the numbers.")]


class Options(NamedTuple):
    """The options that all commands have, checked."""

    threads: int
    device: str
    dtype: str | None
    json: Path | None
    plot: Path | None
    seed: int


def checked(
    threads: int | None, device: str, dtype: str | None, json: Path | None, plot: Path | None, seed: int
) -> Options:
    """The options, or typer.BadParameter."""
    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"expected --device cpu or cuda, got {device}")
    allowed = CPU_DTYPES if device == "cpu" else DTYPES
    if dtype is not None and dtype not in allowed:
        raise typer.BadParameter(f"expected --dtype {', '.join(allowed)} with --device {device}, got {dtype}")
    cores = available_cores()
    if threads is not None and threads > cores:
        raise typer.BadParameter(f"expected --threads of at most {cores}, as many as there are cores, got {threads}")
    writable("--json", json)
    if json is not None and json.exists() and json.stat().st_size:
        try:
            with reading(json) as content:
                content.items()
        except ValueError:
            raise typer.BadParameter(f"expected --json with a new file or one of results, got {json}") from None
    checked_plot(plot)
    return Options(threads or cores, device, dtype, json, plot, seed)


def checked_plot(plot: Path | None) -> None:
    """Refuse a picture that cannot be written, with typer.BadParameter."""
    writable("--plot", plot)
    if plot is not None and plot.suffix not in ENDINGS:
        raise typer.BadParameter(f"expected --plot with the ending .png, .svg or .pdf, got {plot}")


def chosen(patterns: list[str] | None, quick: bool, device: str) -> list[Problem]:
    """The sizes to measure. A size for a GPU alone takes part without one only where a pattern asks for it by name."""
    offered = [problem for problem in sizes() if device == "cuda" or patterns or not problem.gpu_only]
    if patterns:
        offered = matching(offered, patterns)
        if not offered:
            raise typer.BadParameter(f"expected --problems in a name that --list shows, got {', '.join(patterns)}")
        return offered
    return matching(offered, list(QUICK)) if quick else offered

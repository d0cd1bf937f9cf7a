"""What the commands share: their options, and what is refused before any work is done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from scratch.terminal import writable

from .contestants import CPU_DTYPES, DTYPES
from .problems import QUICK, Problem, matching, sizes
from .process import Workers
from .results import available_cores, gpu, keep, results_file

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
    for option, path in (("--json", json), ("--plot", plot)):
        writable(option, path)
    if plot is not None and plot.suffix not in ENDINGS:
        raise typer.BadParameter(f"expected --plot with the ending .png, .svg or .pdf, got {plot}")
    return Options(threads or cores, device, dtype, json, plot, seed)


def chosen(patterns: list[str] | None, quick: bool, device: str) -> list[Problem]:
    """The sizes to measure. A size for a GPU alone takes part without one only where a pattern asks for it by name."""
    offered = [problem for problem in sizes() if device == "cuda" or patterns or not problem.gpu_only]
    if patterns:
        offered = matching(offered, patterns)
        if not offered:
            raise typer.BadParameter(f"expected --problems in a name that --list shows, got {', '.join(patterns)}")
        return offered
    return matching(offered, list(QUICK)) if quick else offered


def gpu_of(options: Options, workers: Workers) -> str | None:
    """The GPU, if one is asked for and there."""
    return gpu(workers) if options.device == "cuda" else None


def write(
    options: Options, command: str, figures: dict[str, Any], gpu_name: str | None, whole: bool, plot: Any
) -> Path | None:
    """Keep the figures where --json says; those of a whole run else with the results. Draw them. Returns the file."""
    path = options.json or (results_file(options.device, options.threads, gpu_name) if whole else None)
    if options.device == "cuda" and gpu_name is None:
        path = options.json  # there is no device to keep results of
    if path is not None:
        keep(path, command, options.dtype or ("float32" if options.device == "cpu" else "all"), figures)
    if options.plot is not None:
        plot().savefig(options.plot, dpi=150)
    return path

"""The command `python -m reference check`: the whole space of options, `scratch` or a candidate against the truth."""

import json
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.text import Text

from scratch.processes import available_cores
from scratch.terminal import progress, table, writable

from .candidates import DTYPES, Candidate, Implementation, Scratch, candidate
from .check import PYTORCH, Found
from .check import check as run_check
from .devices import NO_DEVICE
from .exercise_command import module_of
from .failures import Failure, Told, failures
from .problems import CELLS, Configuration
from .space import examples, grid
from .summary import agreements, as_json, in_ulps, lines, on_gpu, ratio

Choice = bool | None


def check(
    subject: Annotated[
        str | None,
        typer.Option(
            "--candidate",
            metavar="MODULE:NAME",
            help="What to check instead of scratch: a class, or two functions (MODULE:FORWARD,BACKWARD).",
        ),
    ] = None,
    cell: Annotated[
        list[str] | None,
        typer.Option(metavar="CELL", help=f"Only this: {', '.join(CELLS)}, or a part of the name. Can be repeated."),
    ] = None,
    layers: Annotated[
        list[int] | None, typer.Option(min=1, max=3, metavar="N", help="Only so many layers. Can be repeated.")
    ] = None,
    packed: Annotated[Choice, typer.Option(help="Only packed input, or none.")] = None,
    unbatched: Annotated[Choice, typer.Option(help="Only unbatched input, or none.")] = None,
    batch_first: Annotated[Choice, typer.Option(help="Only input with the batch first, or none.")] = None,
    bidirectional: Annotated[Choice, typer.Option(help="Only two directions, or one.")] = None,
    bias: Annotated[Choice, typer.Option(help="Only with biases, or without.")] = None,
    projection: Annotated[Choice, typer.Option(help="Only with a projection, or without.")] = None,
    dropout: Annotated[Choice, typer.Option(help="Only with dropout, or without.")] = None,
    state: Annotated[Choice, typer.Option(help="Only with a given initial state, or without.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(metavar="DTYPE", help=f"Only this: {', '.join(DTYPES)}.")] = None,
    count: Annotated[
        int, typer.Option("--examples", min=0, help="How many random configurations to check besides the grid.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Draws the numbers, and the random configurations.")] = 0,
    witnesses: Annotated[
        Choice, typer.Option(help="Hear PyTorch and the other witnesses [default: yes, unless --candidate].")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the work [default: one a core].")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the summary to this JSON file.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the whole of it as one HTML page.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the picture to this file: .png, .svg or .pdf.")] = None,
    solution: Annotated[bool, typer.Option("--solution", help="Of an exercise: show the textbook's line.")] = False,
) -> int:
    """Hold a recurrence against the truth, over every combination of options, tensor by tensor.

    The truth is scratch in longdouble, to which four witnesses testify: PyTorch's autograd, complex-step derivatives,
    real-time recurrent learning and central differences. Checked are scratch itself and PyTorch, in float64 and in
    float32, on the CPU and, where there is one, on a GPU; or a recurrence of your own (--candidate): a class with the
    interface of scratch.nn or of torch.nn, or a pair of functions. What is wrong with it is told as a teacher would.
    A module with the textbook's `step` (see `exercise`) is taken stage by stage instead, if no other options are given.

    Exit status: 0 if everything agrees, 1 if not, 2 if the command is wrong; 3 if something of an exercise is to do.
    """
    if solution:
        raise typer.BadParameter("expected --solution with the --candidate module of an exercise, and at most --cell")
    for option, path in (("--json", json_file), ("--report", report), ("--plot", plot)):
        writable(option, path)
    files = [path.resolve() for path in (json_file, report, plot) if path is not None]
    if len(set(files)) < len(files):
        raise typer.BadParameter("expected --json, --report and --plot to be different files")
    if plot is not None and plot.suffix not in (".png", ".svg", ".pdf"):
        raise typer.BadParameter(f"expected --plot with the ending .png, .svg or .pdf, got {plot}")
    cells = chosen_cells(cell)
    for name in dtype or ():
        if name not in DTYPES:
            raise typer.BadParameter(f"expected --dtype {' or '.join(DTYPES)}, got {name}")
    implementation: Implementation = Scratch() if subject is None else load(subject, cells if cell else None)
    hear = subject is None if witnesses is None else witnesses

    choices: list[tuple[Choice, Callable[[Configuration], bool]]] = [
        (packed, lambda c: c.layout == "packed"),
        (unbatched, lambda c: c.layout == "unbatched"),
        (batch_first, lambda c: c.batch_first),
        (bidirectional, lambda c: c.bidirectional),
        (bias, lambda c: c.bias),
        (projection, lambda c: c.proj_size > 0),
        (dropout, lambda c: c.dropout > 0),
        (state, lambda c: c.initial_state),
    ]

    def wanted(c: Configuration) -> bool:
        fits = all(choice is None or holds(c) == choice for choice, holds in choices)
        return fits and c.cell in cells and c.cell in implementation.cells and (not layers or c.num_layers in layers)

    configurations = [c for c in grid(seed) if wanted(c)]
    configurations += examples(np.random.default_rng(seed), lambda c: wanted(c) and implementation.offers(c), count)
    if not configurations:
        raise typer.BadParameter("there is no configuration with all these options")

    # The problems are small: threads would only hinder each other.
    torch.set_num_threads(1)
    with progress() as bar:
        task = bar.add_task(f"checking {implementation.name}", total=len(configurations))
        most = jobs or min(available_cores(), 8)  # each needs its own PyTorch
        processes = min(most, 1 + len(configurations) // 30)  # each takes seconds to start
        found = run_check(
            configurations, implementation, dtype or DTYPES, hear, processes, lambda n: bar.advance(task, n)
        )
        told = Told([])
        if found.failures:
            bar.add_task("finding the simplest case of each failure", total=None)
            told = failures(found)
        if json_file is not None:
            text = json.dumps(as_json(found, told), indent=1, ensure_ascii=False)
            json_file.write_text(text + "\n", encoding="utf-8")
        if report is not None or plot is not None:
            bar.add_task("drawing", total=None)
            draw(found, told, report, plot)
    show(Console(), found, told)
    wrong = [row for row in found.disagreements if row.who != implementation.name]
    for row in wrong[:5]:
        print(f"reference: disagreement: {row}", file=sys.stderr)
    return 1 if told.failures or wrong or not found.configurations else 0


def chosen_cells(names: list[str] | None) -> list[str]:
    """The cells that --cell asks for. Raises typer.BadParameter for a name that is no cell's."""
    for name in names or ():
        if not any(name.lower() in cell.lower() for cell in CELLS):
            raise typer.BadParameter(f"expected --cell among {', '.join(CELLS)}, or a part of one, got {name!r}")
    return [cell for cell in CELLS if not names or any(name.lower() in cell.lower() for name in names)]


def load(subject: str, cells: list[str] | None) -> Candidate:
    """The candidate that --candidate names. Raises typer.BadParameter for what cannot be imported, or is none."""
    place, _, names = subject.rpartition(":") if ":" in subject else (subject, "", "")
    module = module_of(place)
    place = module.__name__
    chosen = [name for name in names.split(",") if name]
    missing = [name for name in chosen if not has(module, name)]
    if missing:
        raise typer.BadParameter(f"expected a class or function of {place}, got {', '.join(missing)}: there is none")
    parts = tuple(attrgetter(name)(module) for name in chosen)
    try:
        found = candidate(parts[0] if len(parts) == 1 else parts or module, cell=cells)
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(f"{subject}: {error}") from None
    found.imported = imported(place, chosen)
    return found


def imported(place: str, names: list[str]) -> tuple[str, str]:
    """The statement that imports these names of a module, or the module, and the expression that they are then."""
    expression = names[0] if len(names) == 1 else f"({', '.join(names)})"
    if not all(part.isidentifier() for part in place.split(".")):  # a name that no statement can import
        whole = f"import_module({place!r})"
        parts = [f"{whole}.{name}" for name in names] or [whole]
        return "from importlib import import_module", parts[0] if len(parts) == 1 else f"({', '.join(parts)})"
    if not names:
        return f"import {place}", place
    return f"from {place} import {', '.join(dict.fromkeys(name.split('.')[0] for name in names))}", expression


def has(module: ModuleType, name: str) -> bool:
    """Whether a module has an attribute, which may be one of an attribute, as in A.B."""
    try:
        attrgetter(name)(module)
    except AttributeError:
        return False
    return True


def draw(found: Found, told: Told, report: Path | None, plot: Path | None) -> None:
    """The picture, and the page with it."""
    from .picture import picture  # matplotlib takes a while to load
    from .report import page

    if plot is not None:
        picture(found).savefig(plot, dpi=110)
    if report is not None:
        report.write_text(page(found, told), encoding="utf-8")


def show(out: Console, found: Found, told: Told) -> None:
    """Everything in print."""
    name = found.subject.name
    against = "" if name == Scratch.name else "scratch "
    out.print(Text(f"\n{name} against {against}longdouble, {len(found.configurations)} configurations", style="bold"))
    for dtype in found.subject.dtypes:
        if lines(found, name, dtype):
            show_tensors(out, found, dtype)
    if found.witnessed:
        show_witnesses(out, found)
        if found.in_torch:
            show_gpu(out, found)
    for what, reason in found.not_offered.items():
        out.print(Text(f"not offered: {what} ({reason})"), soft_wrap=True)
    for failure in told.failures:
        show_failure(out, failure)
    if told.rest:
        out.print(Text(f"\n{told.rest}"), soft_wrap=True)
    unjudged = sum(not row.judged for row in found.rows if row.who == name)
    if unjudged:
        out.print(
            f"{unjudged} tensors cannot be judged: rounding alone may move them by more than a tenth.", soft_wrap=True
        )
    if not found.configurations:
        out.print("Nothing could be checked: no configuration does without what is not offered.")
    elif not told.failures:
        offered = "that it offers, in every tensor that it computes" if found.not_offered else ", in every tensor"
        what = f"{len(found.configurations)} configurations{' ' if found.not_offered else ''}{offered}"
        out.print(f"{name} agrees with the truth in all {what}.", highlight=False, soft_wrap=True)
    others = dict.fromkeys(row.who for row in found.disagreements if row.who != name)
    if others:
        out.print(
            f"But not everybody agrees with that truth: not {', '.join(others)}.", highlight=False, soft_wrap=True
        )


def show_tensors(out: Console, found: Found, dtype: str) -> None:
    """The worst error of each tensor in one dtype, and where it is."""
    ours, theirs = lines(found, found.subject.name, dtype), lines(found, PYTORCH, dtype)
    errors = table(dtype, found.subject.name, "ULP", "typical")
    if theirs:
        errors = table(dtype, found.subject.name, "ULP", "typical", PYTORCH, "ULP", "typical", "ratio")
    for kind, line in ours.items():
        cells = [f"{line.worst.error:.1e}", in_ulps(line.ulps), f"{line.typical:.1e}"]
        if kind in theirs:
            other = theirs[kind]
            cells += [f"{other.worst.error:.1e}", in_ulps(other.ulps), f"{other.typical:.1e}"]
            cells += [f"{ratio(found, kind, dtype):.2f}"]
        errors.add_row(kind, *cells)
    out.print(errors)
    out.print(Text(f"where {found.subject.name} is worst:"))
    for line in ours.values():
        out.print(Text(f"  {line.worst.tensor}: {line.worst.what or line.worst.configuration}"), soft_wrap=True)


def show_witnesses(out: Console, found: Found) -> None:
    """Which witnesses agree, and which recurrences PyTorch could not testify to."""
    said = table("witnesses of the truth", "agrees", "of", "worst")
    for one in agreements(found):
        said.add_row(one.witness, f"{one.agreements}", f"{one.tensors}", f"{one.worst.error:.1e}")
    out.print(said)
    for name in found.not_in_torch:
        out.print(f"PyTorch has no {name}: only the other witnesses are heard on it.", highlight=False, soft_wrap=True)


def show_gpu(out: Console, found: Found) -> None:
    """PyTorch on a GPU, in each of its modes, against the same truth."""
    modes = table("PyTorch on a GPU", "output", "state", "gradients", "typical")
    for mode, kinds in on_gpu(found).items():
        if not kinds:
            modes.add_row(mode, NO_DEVICE, "", "", "")
            continue
        groups = [
            [line for kind, line in kinds.items() if kind == "output"],
            [line for kind, line in kinds.items() if kind.endswith("_n")],
            [line for kind, line in kinds.items() if kind.startswith("d_")],
        ]
        worst = [max((line.worst.error for line in group), default=0.0) for group in groups]
        modes.add_row(mode, *(f"{error:.1e}" for error in worst), f"{max(one.typical for one in kinds.values()):.1e}")
    out.print(modes)


def show_failure(out: Console, failure: Failure) -> None:
    """What is wrong, as a teacher would tell it, and how to see it."""
    out.print(Text(f"\n{failure}", style="bold"), soft_wrap=True)
    agreed = ", ".join(failure.against)
    agreed = f"; with the truth against it: {agreed}" if agreed else ""
    number = f"{failure.count} configuration{'s' if failure.count > 1 else ''}"
    out.print(Text(f"  seen in {number}{agreed}"), soft_wrap=True)
    out.print(Text("\n".join(f"    {line}" for line in failure.reproduction.splitlines())), soft_wrap=True)

"""The command `python -m reference check`: the whole space of options, `scratch` or a candidate against the truth."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from rich.console import Console

from scratch.processes import available_cores
from scratch.terminal import progress, writable

from .candidates import DTYPES, HALVES, Implementation, Scratch, candidate, requirements
from .check import Found
from .check import check as run_check
from .check_printed import show
from .exercise_command import module_of
from .failures import Told, failures
from .faults import held_to
from .problems import CELLS, Configuration
from .space import examples, grid, sized, traits
from .summary import as_json

Choice = bool | None


def choice(text: str) -> Any:
    """An option that is on, off, or both."""
    return typer.Option(help=text)


def several(metavar: str, text: str) -> Any:
    """An option that can be repeated."""
    return typer.Option(metavar=metavar, help=f"{text} Can be repeated.")


def check(
    subject: Annotated[
        str | None,
        typer.Option(
            "--candidate",
            metavar="MODULE:NAME",
            help="What to check instead of scratch: a class, or two functions (MODULE:FORWARD,BACKWARD).",
        ),
    ] = None,
    cell: Annotated[list[str] | None, several("CELL", f"Only this: {', '.join(CELLS)}, or a part of the name.")] = None,
    layers: Annotated[list[int] | None, typer.Option(min=1, max=3, metavar="N", help="Only so many layers.")] = None,
    packed: Annotated[Choice, choice("Only packed input, or none.")] = None,
    unbatched: Annotated[Choice, choice("Only unbatched input, or none.")] = None,
    batch_first: Annotated[Choice, choice("Only input with the batch first, or none.")] = None,
    bidirectional: Annotated[Choice, choice("Only two directions, or one.")] = None,
    bias: Annotated[Choice, choice("Only with biases, or without.")] = None,
    projection: Annotated[Choice, choice("Only with a projection, or without.")] = None,
    dropout: Annotated[Choice, choice("Only with dropout, or without.")] = None,
    state: Annotated[Choice, choice("Only with a given initial state, or without.")] = None,
    dtype: Annotated[
        list[str] | None, several("DTYPE", f"Only this: {', '.join(DTYPES)}; of a candidate also {', '.join(HALVES)}.")
    ] = None,
    sizes: Annotated[
        str | None, typer.Option(metavar="T5B3I4H8", help="Only these steps, sequences, features; or some of the four.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(metavar="ERROR", help="The largest error that is right [default: by the dtype].")
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="PART", help="forward, or final: gradients at the final state alone.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FORM", help="Of two functions: keras, onnx, or of columns,one-bias,order=ifog what is so."
        ),
    ] = None,
    reset: Annotated[
        str | None, typer.Option(metavar="before", help="Of a GRU: it resets before the product with W_hh (Cho 2014).")
    ] = None,
    require: Annotated[
        list[str] | None, several("OPTION", "Fail if this is not offered; all: if anything is not.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="Where a torch Module computes: cpu, cuda.")] = "cpu",
    count: Annotated[
        int, typer.Option("--examples", min=0, help="How many random configurations to check besides the grid.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Draws the numbers, and the random configurations.")] = 0,
    witnesses: Annotated[Choice, choice("Hear PyTorch and the other witnesses [default: unless --candidate].")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the work [default: a core each].")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Say where each tensor is worst.")] = False,
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

    Exit status: 0 if everything agrees, 1 if not, 2 if the command is wrong; 3 if nothing is wrong and something, as
    backward, is to do.
    """
    if solution:
        raise typer.BadParameter("expected --solution with the --candidate module of an exercise, and at most --cell")
    files = Files(json_file, report, plot)
    files.check()
    given = letters(sizes)
    if tolerance is not None and not 0 < tolerance < float("inf"):
        raise typer.BadParameter(f"expected --tolerance above 0, got {tolerance}")
    options = {"only": only, "weights": weights, "device": device, "tolerance": tolerance, "sizes": given}
    if subject is None and any((only, weights, device != "cpu", tolerance, require, reset)):
        names = "--only, --weights, --device, --tolerance, --require, --reset"
        raise typer.BadParameter(f"expected {names} with a --candidate")
    known = (*DTYPES, *(HALVES if subject else ()))
    for name in dtype or ():
        if name not in known:
            raise typer.BadParameter(f"expected --dtype {' or '.join(known)}, got {name}")
    cells = chosen_cells(cell)
    implementation: Implementation = Scratch()
    try:
        required = requirements(require or ())
        if subject is not None:
            implementation = load(subject, cells if cell else None, **options)
        if reset is not None:
            held_to(implementation, f"reset {reset}")
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(f"{subject}: {error}") from None
    flags = {"packed": packed, "unbatched": unbatched, "batch_first": batch_first, "bidirectional": bidirectional}
    flags |= {"bias": bias, "projection": projection, "dropout": dropout, "state": state}
    configurations = chosen(implementation, cells, layers or (1, 2, 3), flags, seed, count)
    torch.set_num_threads(1)  # the problems are small: threads would only hinder each other
    with progress() as bar:
        hear = subject is None if witnesses is None else witnesses
        task = bar.add_task("checking", total=len(configurations))
        most = jobs or (min(available_cores(), 8) if device == "cpu" else 1)  # each needs its own PyTorch
        processes = min(most, 1 + len(configurations) // 30)  # each takes seconds to start
        found = run_check(
            configurations, implementation, dtype or DTYPES, hear, processes, lambda n: bar.advance(task, n)
        )
        bar.add_task("finding the simplest case of each failure", total=None, visible=bool(found.failures))
        told, missing = failures(found), implementation.missing(required)
        files.write(found, told)
    show(Console(), found, told, missing, verbose)
    for row in found.others[:5]:
        print(f"reference: disagreement: {row}", file=sys.stderr)
    if told.failures or missing or found.others or not found.configurations:
        return 1
    return 3 if implementation.to_do else 0


class Files(NamedTuple):
    """What is to be written."""

    json: Path | None
    report: Path | None
    plot: Path | None

    def check(self) -> None:
        """Raise typer.BadParameter for a file that cannot be written."""
        for option, path in self._asdict().items():
            writable(f"--{option}", path)
        paths = [path.resolve() for path in self if path is not None]
        if len(set(paths)) < len(paths):
            raise typer.BadParameter("expected --json, --report and --plot to be different files")
        if self.plot is not None and self.plot.suffix not in (".png", ".svg", ".pdf"):
            raise typer.BadParameter(f"expected --plot with the ending .png, .svg or .pdf, got {self.plot}")

    def write(self, found: Found, told: Told) -> None:
        """Write what is asked for."""
        if self.json is not None:
            text = json.dumps(as_json(found, told), indent=1, ensure_ascii=False)
            self.json.write_text(text + "\n", encoding="utf-8")
        if self.report is None and self.plot is None:
            return
        from .picture import picture  # matplotlib takes a while to load
        from .report import page

        if self.plot is not None:
            picture(found).savefig(self.plot, dpi=110)
        if self.report is not None:
            self.report.write_text(page(found, told), encoding="utf-8")


def chosen(
    implementation: Implementation,
    cells: Sequence[str],
    layers: Sequence[int],
    flags: Mapping[str, Choice],
    seed: int,
    count: int,
) -> list[Configuration]:
    """The configurations of the grid that are asked for, and random ones besides.

    Raises typer.BadParameter if there are none.
    """

    def wanted(c: Configuration) -> bool:
        there = c.cell in cells and c.cell in implementation.cells and c.num_layers in layers
        return there and all(flags[name] in (None, holds) for name, holds in traits(c).items())

    rng = np.random.default_rng(seed)
    found = [c for c in grid(seed) if wanted(c)]
    found += examples(rng, lambda c: wanted(c) and implementation.offers(c), count)
    if not found:
        raise typer.BadParameter("there is no configuration with all these options")
    return list(dict.fromkeys(sized(c, implementation.sizes) for c in found))


def letters(text: str | None) -> dict[str, int]:
    """The sizes that --sizes names, as T5B3I4H8. Raises typer.BadParameter for anything else."""
    pairs = re.findall(r"([TBIH])(\d+)", (text or "").upper())
    sizes = {letter: int(number) for letter, number in pairs}
    rest = re.sub(r"[TBIH]\d+|[ ,]", "", (text or "").upper())
    if rest or len(sizes) < len(pairs) or 0 in sizes.values() or (text is not None and not sizes):
        raise typer.BadParameter(f"expected --sizes as T5B3I4H8, or some of the four, from 1 up, got {text!r}")
    return sizes


def chosen_cells(names: list[str] | None) -> list[str]:
    """The cells that --cell asks for. Raises typer.BadParameter for a name that is no cell's."""
    for name in names or ():
        if not any(name.lower() in cell.lower() for cell in CELLS):
            raise typer.BadParameter(f"expected --cell among {', '.join(CELLS)}, or a part of one, got {name!r}")
    return [cell for cell in CELLS if not names or any(name.lower() in cell.lower() for name in names)]


def load(subject: str, cells: list[str] | None, **options: Any) -> Implementation:
    """The candidate that --candidate names.

    Raises typer.BadParameter for what cannot be imported, and as `candidate` does.
    """
    place, _, names = subject.rpartition(":") if ":" in subject else (subject, "", "")
    module = module_of(place)
    place = module.__name__
    chosen = [name for name in names.split(",") if name]
    missing = [name for name in chosen if not has(module, name)]
    if missing:
        raise typer.BadParameter(f"expected a class or function of {place}, got {', '.join(missing)}: there is none")
    parts = tuple(attrgetter(name)(module) for name in chosen)
    found = candidate(parts[0] if len(parts) == 1 else parts or module, cell=cells, **options)
    found.imported = place, chosen
    if len(chosen) > 1:
        found.name = subject
    return found


def has(module: ModuleType, name: str) -> bool:
    """Whether a module has an attribute, which may be one of an attribute, as in A.B."""
    try:
        attrgetter(name)(module)
    except AttributeError:
        return False
    return True

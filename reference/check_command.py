"""The command `python -m reference check`: the whole space of options, `scratch` or a candidate against the truth."""

import json
import re
import sys
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console

from scratch.processes import available_cores
from scratch.terminal import progress, writable

from .candidates import DTYPES, HALVES, Implementation, Scratch, candidate, requirements
from .check import Found
from .check import check as run_check
from .exercise_command import module_of
from .failures import Told, failures
from .faults import held_to
from .problems import CELLS, Configuration
from .space import examples, grid, sized, traits
from .summary import as_json, show, summary

Option = typer.Option
Names = list[str] | None
Choice = bool | None
# The help of options, where it is too long to stand beside them.
CANDIDATE = "What to check instead of scratch: a class, or two functions (MODULE:FORWARD,BACKWARD)."
CELL = f"Only this: {', '.join(CELLS)}, or a part of the name. Can be repeated."
DTYPE = f"Only this: {', '.join(DTYPES)}; of a candidate also {', '.join(HALVES)}. Can be repeated."
WEIGHTS = "Of two functions: keras, onnx, or of columns,one-bias,order=ifog what is so."
SIZES = "Only these steps, sequences, features; or some of the four."
TOLERANCE = "The largest error that is right [default: by the dtype]."
RESET = "Of a GRU: it resets before the product with W_hh (Cho 2014)."
REQUIRE = "Fail if this is not offered; all: if anything is not. Can be repeated."
EXAMPLES = "How many random configurations to check besides the grid."


def check(
    subject: Annotated[str | None, Option("--candidate", metavar="MODULE:NAME", help=CANDIDATE)] = None,
    cell: Annotated[Names, Option(metavar="CELL", help=CELL)] = None,
    layers: Annotated[list[int] | None, Option(min=1, max=3, metavar="N", help="Only so many layers.")] = None,
    packed: Annotated[Choice, Option(help="Only packed input, or none.")] = None,
    unbatched: Annotated[Choice, Option(help="Only unbatched input, or none.")] = None,
    batch_first: Annotated[Choice, Option(help="Only input with the batch first, or none.")] = None,
    bidirectional: Annotated[Choice, Option(help="Only two directions, or one.")] = None,
    bias: Annotated[Choice, Option(help="Only with biases, or without.")] = None,
    projection: Annotated[Choice, Option(help="Only with a projection, or without.")] = None,
    dropout: Annotated[Choice, Option(help="Only with dropout, or without.")] = None,
    state: Annotated[Choice, Option(help="Only with a given initial state, or without.")] = None,
    dtype: Annotated[Names, Option(metavar="DTYPE", help=DTYPE)] = None,
    sizes: Annotated[str | None, Option(metavar="T5B3I4H8", help=SIZES)] = None,
    tolerance: Annotated[float | None, Option(metavar="ERROR", help=TOLERANCE)] = None,
    only: Annotated[
        str | None, Option(metavar="PART", help="forward, or final: gradients at the final state alone.")
    ] = None,
    weights: Annotated[str | None, Option(metavar="FORM", help=WEIGHTS)] = None,
    reset: Annotated[str | None, Option(metavar="before", help=RESET)] = None,
    require: Annotated[Names, Option(metavar="OPTION", help=REQUIRE)] = None,
    device: Annotated[str, Option(metavar="DEVICE", help="Where a torch Module computes: cpu, cuda.")] = "cpu",
    count: Annotated[int, Option("--examples", min=0, help=EXAMPLES)] = 0,
    seed: Annotated[int, Option(min=0, help="Draws the numbers, and the random configurations.")] = 0,
    witnesses: Annotated[
        Choice, Option(help="Hear PyTorch and the other witnesses [default: unless --candidate].")
    ] = None,
    jobs: Annotated[int | None, Option(min=1, help="Processes that share the work [default: a core each].")] = None,
    verbose: Annotated[bool, Option("--verbose", help="Say where each tensor is worst.")] = False,
    json: Annotated[Path | None, Option("--json", help="Write the summary to this JSON file.")] = None,
    report: Annotated[Path | None, Option(help="Write the whole of it as one HTML page.")] = None,
    plot: Annotated[Path | None, Option(help="Write the picture to this file: .png, .svg or .pdf.")] = None,
    solution: Annotated[bool, Option("--solution", help="Of an exercise: show the textbook's line.")] = False,
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
    asked = SimpleNamespace(**locals())
    refuse(asked)
    implementation, required = subject_of(asked)
    configurations = chosen(asked, implementation)
    return checked(asked, implementation, required, configurations)


def refuse(asked: SimpleNamespace) -> None:
    """Raise typer.BadParameter for options that do not fit each other, and for a file that cannot be written.

    The names of cells, or parts of them, become `asked.cells`.
    """
    if asked.solution:
        raise typer.BadParameter("expected --solution with the --candidate module of an exercise, and at most --cell")
    files = {option: path for option in ("json", "report", "plot") if (path := getattr(asked, option)) is not None}
    for option, path in files.items():
        writable(f"--{option}", path)
    if len({path.resolve() for path in files.values()}) < len(files):
        raise typer.BadParameter("expected --json, --report and --plot to be different files")
    if asked.plot is not None and asked.plot.suffix not in (".png", ".svg", ".pdf"):
        raise typer.BadParameter(f"expected --plot with the ending .png, .svg or .pdf, got {asked.plot}")
    if asked.tolerance is not None and not 0 < asked.tolerance < float("inf"):
        raise typer.BadParameter(f"expected --tolerance above 0, got {asked.tolerance}")
    names = ("only", "weights", "tolerance", "require", "reset")
    if asked.subject is None and (any(getattr(asked, name) for name in names) or asked.device != "cpu"):
        raise typer.BadParameter(f"expected --{', --'.join(names)}, --device with a --candidate")
    for name in asked.cell or ():
        if not any(name.lower() in cell.lower() for cell in CELLS):
            raise typer.BadParameter(f"expected --cell among {', '.join(CELLS)}, or a part of one, got {name!r}")
    asked.cells = [c for c in CELLS if not asked.cell or any(name.lower() in c.lower() for name in asked.cell)]
    known = (*DTYPES, *(HALVES if asked.subject else ()))
    for name in asked.dtype or ():
        if name not in known:
            raise typer.BadParameter(f"expected --dtype {' or '.join(known)}, got {name}")


def letters(text: str | None) -> dict[str, int]:
    """The sizes that --sizes names, as T5B3I4H8. Raises typer.BadParameter for anything else."""
    pairs = re.findall(r"([TBIH])(\d+)", (text or "").upper())
    sizes = {letter: int(number) for letter, number in pairs}
    rest = re.sub(r"[TBIH]\d+|[ ,]", "", (text or "").upper())
    if rest or len(sizes) < len(pairs) or 0 in sizes.values() or (text is not None and not sizes):
        raise typer.BadParameter(f"expected --sizes as T5B3I4H8, or some of the four, from 1 up, got {text!r}")
    return sizes


def subject_of(asked: SimpleNamespace) -> tuple[Implementation, list[str]]:
    """What is to be checked, and what it must offer. Raises typer.BadParameter if --candidate names nothing that is."""
    sizes = letters(asked.sizes)
    implementation: Implementation = Scratch()
    implementation.sizes = sizes
    try:
        required = requirements(asked.require or ())
        if asked.subject is not None:
            options = {name: getattr(asked, name) for name in ("only", "weights", "device", "tolerance")}
            implementation = load(asked.subject, asked.cells if asked.cell else None, sizes=sizes, **options)
        if asked.reset is not None:
            held_to(implementation, f"reset {asked.reset}")
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(f"{asked.subject}: {error}") from None
    own = getattr(sys.modules.get(implementation.imported[0]), "__file__", None) if implementation.imported else None
    for path in filter(None, (asked.json, asked.report, asked.plot)):
        if own and path.exists() and path.samefile(own):
            raise typer.BadParameter(f"{path} would be written over the candidate")
    return implementation, required


def load(subject: str, cells: list[str] | None, **options: Any) -> Implementation:
    """The candidate that --candidate names.

    Raises typer.BadParameter for what cannot be imported, and as `candidate` does.
    """
    place, _, names = subject.rpartition(":") if ":" in subject else (subject, "", "")
    module, chosen = module_of(place), [name for name in names.split(",") if name]
    parts: tuple[Any, ...] = ()
    for name in chosen:
        try:
            parts = (*parts, attrgetter(name)(module))  # a name may be one of an attribute, as in A.B
        except AttributeError:
            told = f"expected a class or function of {module.__name__}, got {name}: there is none"
            raise typer.BadParameter(told) from None
    found = candidate(parts[0] if len(parts) == 1 else parts or module, cell=cells, **options)
    found.imported = module.__name__, chosen
    if len(chosen) > 1:
        found.name = subject
    return found


def chosen(asked: SimpleNamespace, implementation: Implementation) -> list[Configuration]:
    """The configurations of the grid that are asked for, and random ones besides.

    Raises typer.BadParameter if there are none.
    """

    def wanted(c: Configuration) -> bool:
        there = c.cell in asked.cells and c.cell in implementation.cells
        there = there and c.num_layers in (asked.layers or (1, 2, 3))
        return there and all(getattr(asked, name) in (None, holds) for name, holds in traits(c).items())

    found = [c for c in grid(asked.seed) if wanted(c)]
    rng = np.random.default_rng(asked.seed)
    found += examples(rng, lambda c: wanted(c) and implementation.offers(c), asked.count)
    if not found:
        raise typer.BadParameter("there is no configuration with all these options")
    return list(dict.fromkeys(sized(c, implementation.sizes) for c in found))


def checked(
    asked: SimpleNamespace, implementation: Implementation, required: list[str], configurations: list[Configuration]
) -> int:
    """Run the check, write and print what it has found. Returns the exit status."""
    torch.set_num_threads(1)  # the problems are small: threads would only hinder each other
    with progress() as bar:
        hear = asked.subject is None if asked.witnesses is None else asked.witnesses
        task = bar.add_task("checking", total=len(configurations))
        most = asked.jobs or (min(available_cores(), 8) if asked.device == "cpu" else 1)  # each needs its own PyTorch
        jobs = min(most, 1 + len(configurations) // 30)  # each takes seconds to start
        dtypes = asked.dtype or DTYPES
        found = run_check(configurations, implementation, dtypes, hear, jobs, lambda n: bar.advance(task, n))
        bar.add_task("finding the simplest case of each failure", total=None, visible=bool(found.failures))
        told, missing = failures(found), implementation.missing(required)
        shown = summary(found, told)
        write(asked, found, told, shown)
    show(Console(), found, told, shown, missing, asked.verbose)
    for row in found.others[:5]:
        print(f"reference: disagreement: {row}", file=sys.stderr)
    if told.failures or missing or found.others or not found.configurations:
        return 1
    return 3 if implementation.to_do else 0


def write(asked: SimpleNamespace, found: Found, told: Told, shown: dict[str, Any]) -> None:
    """Write the files that are asked for."""
    if asked.json is not None:
        text = json.dumps(as_json(shown), indent=1, ensure_ascii=False)
        asked.json.write_text(text + "\n", encoding="utf-8")
    if asked.report is None and asked.plot is None:
        return
    from .report import page, picture  # matplotlib takes a while to load

    figure = picture(found)
    if asked.plot is not None and figure is not None:
        figure.savefig(asked.plot, dpi=110)
    if asked.report is not None:
        asked.report.write_text(page(found, told, shown, figure), encoding="utf-8")

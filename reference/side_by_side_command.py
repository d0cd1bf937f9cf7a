"""The command `python -m reference`: training side by side, then the worst error of everything that is computed."""

import sys
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.text import Text

from scratch.doors import python
from scratch.processes import one_blas_thread
from scratch.terminal import count, progress, say, table
from scratch.text.train_command import text_of

from .check import Row, beside_torch
from .equivalence import TOLERANCE
from .problems import CELLS
from .runs import is_in_torch
from .side_by_side import EXAMPLES, LOSS_TOLERANCE, Example, Result, train
from .space import grid
from .summary import grouped

SHOWN = 200
"""How many characters of a generated text are printed."""

IN_BOTH = [name for name, row in CELLS.items() if is_in_torch(row["module"])]
"""The recurrences that PyTorch has, too."""

Cell = StrEnum("Cell", list(dict.fromkeys(CELLS[name]["module"].lower() for name in IN_BOTH)))
"""The classes that can be chosen."""

Hidden = Annotated[
    int | None, typer.Option("--hidden-size", "--hidden", min=1, max=65536, help="H, for --text [default: 50].")
]
Layers = Annotated[int | None, typer.Option("--num-layers", "--layers", min=1, help="L, for --text [default: 1].")]
Learned = Annotated[int | None, typer.Option(min=2, help="Learn only so many, from --text's start [default: 100].")]


def side_by_side(
    context: typer.Context,
    text: Annotated[Path | None, typer.Option(help="Learn this file instead of the three examples.")] = None,
    encoding: Annotated[str, typer.Option(help="Of --text.")] = "utf-8",
    cell: Annotated[Cell | None, typer.Option(help="The recurrence for --text [default: lstm].")] = None,
    hidden_size: Hidden = None,
    num_layers: Layers = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Training steps, for --text [default: 100].")] = None,
    characters: Learned = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Adam's, for --text [default: 0.01].")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the initial weights.")] = 0,
) -> int:
    """Train character models in NumPy and in PyTorch from the same weights, and compare everything.

    First the losses and what the trained models say, side by side: of three classic examples, or of your own text.
    Then the worst error of every output and every gradient over a grid of configurations, in float64.

    Exit status: 0 if everything agrees, 1 if not, 2 if the command is wrong. Tensors agree to 1e-12, losses to 1e-9.
    Training on a long text may magnify rounding until the runs part; then every single step has to agree to 1e-9.
    """
    names = ("hidden_size", "num_layers", "epochs", "learning_rate", "characters")
    values = locals()
    given = {name: values[name] for name in names if values[name] is not None}
    given |= {"cell": cell.name.upper()} if cell else {}
    if context.invoked_subcommand:
        if text or given or seed:
            raise typer.BadParameter(f"these options are not for {context.invoked_subcommand}: see its own --help")
        return 0
    if text is None and given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in ("cell", *names))
        raise typer.BadParameter(f"{options} need --text")
    if text is None:
        return compared([Example(**{**vars(example), "seed": seed}) for example in EXAMPLES])
    return compared([example_from(text, encoding, seed=seed, **given)])


def example_from(path: Path, encoding: str, characters: int = 100, **given: Any) -> Example:
    """The example that the command line asks for. Raises typer.BadParameter for a file that cannot be learned."""
    text = text_of([path], encoding)
    if not isfinite(given.get("learning_rate", 0)):
        raise typer.BadParameter(f"expected a finite --learning-rate, got {given['learning_rate']}")
    options = {"cell": "LSTM", "hidden_size": 50, "epochs": 100, **given}
    learned = "all" if len(text) <= characters else f"the first {characters:,}"
    title = f"{learned} of the {len(text):,} characters of {path.name!r}, {options['cell']}"
    return Example(title, text=text[:characters], every=max(1, options["epochs"] // 10), forgiving=False, **options)


def compared(examples: list[Example]) -> int:
    """Train the examples and run the grid in both libraries, and print what is found. Returns the exit status."""
    torch.set_num_threads(1)  # in one process two thread pools hinder each other, and these problems are small
    out, failures = Console(), []
    configurations = [configuration for configuration in grid() if configuration.cell in IN_BOTH]
    for example in examples:
        with progress() as bar, one_blas_thread():
            task = bar.add_task(f"training {example.title}", total=example.epochs)
            result = train(example, lambda bar=bar, task=task: bar.advance(task))
        show_training(out, result)
        failures += result.disagreements()
    with progress() as bar, one_blas_thread():
        task = bar.add_task("comparing gradients", total=len(configurations))
        found = beside_torch(configurations, lambda: bar.advance(task))
    groups = grouped(found.rows, lambda row: (row.kind, row.configuration.cell))
    worst = {key: max(rows, key=lambda row: row.error) for key, rows in groups.items()}
    show_tensors(out, worst, len(configurations))
    failures += [in_words(row) for row in worst.values() if not row.agrees]
    for failure in failures:
        print(f"reference: disagreement: {failure}", file=sys.stderr)
    both = f"{count(len(examples), 'training')} and {count(len(configurations), 'configuration')}"
    agree = f"scratch and PyTorch agree in {both}: every step and every gradient."
    disagree = f"scratch and PyTorch DISAGREE in {count(len(failures), 'place')} of {both}."
    say(out, f"\n{disagree if failures else agree}", "bold")
    print(f"to see {'who is wrong' if failures else 'both beside a more precise truth'}: {python()} -m reference check")
    return 1 if failures else 0


def show_training(out: Console, result: Result) -> None:
    """The losses of both libraries, and what the trained models say."""
    example = result.example
    out.print(Text(f"\n{example.title}", style="bold"))
    out.print(f"input {result.input_shape}, hidden {result.hidden_shape}", highlight=False)
    losses = table("epoch", "scratch", "PyTorch", "difference", "one step")
    losses.columns[0].justify = "right"
    for row in result.rows:
        errors = f"{row.difference:.1e}", f"{row.step.error:.1e}"
        losses.add_row(str(row.epoch), f"{row.scratch:.12f}", f"{row.torch:.12f}", *errors)
    out.print(losses)
    if result.parted:
        out.print("This training magnifies rounding: the runs part, though each step from the same weights agrees.")
    verb, expected = "generates" if example.generates else "predicts", result.expected
    for library, said in (("scratch", result.scratch), ("PyTorch", result.torch)):
        alike = sum(a == b for a, b in zip(said, expected, strict=True))
        right = "as it should" if said == expected else f"{alike} of {len(expected)} characters as in the text"
        shown = repr(said if len(said) <= SHOWN else said[:SHOWN] + "…")
        out.print(Text(f"{library} {verb} {shown}, {right}"))


def show_tensors(out: Console, worst: dict[tuple[str, str], Row], count: int) -> None:
    """The worst error of each kind of tensor in each cell."""
    out.print(Text(f"\nworst error of each tensor over {count} configurations, float64", style="bold"))
    errors = table("tensor", *IN_BOTH)
    for kind in dict.fromkeys(kind for kind, _ in worst):
        rows = (worst.get((kind, cell)) for cell in IN_BOTH)
        errors.add_row(kind, *("" if row is None else f"{row.error:.1e}" for row in rows))
    out.print(errors)
    out.print(Text(f"the worst: {in_words(max(worst.values(), key=lambda row: row.error))}"), soft_wrap=True)
    promised = f"{TOLERANCE:.0e} for each tensor, ‖ours − PyTorch‖ / ‖PyTorch‖; {LOSS_TOLERANCE:.0e} for losses"
    out.print(Text(f"promised: {promised}"))


def in_words(row: Row) -> str:
    """How a tensor differs."""
    return f"{row.tensor} {row.what or f'differs by {row.error:.1e}'} in {row.configuration}"

"""The command `python -m scratch study memory`: how far back recurrences learn to remember, in figures."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from ..processes import available_cores
from ..terminal import count, drawable, progress, save, say, table
from .commands import Plot, Runs, Seed, span
from .memory import LEARNING_RATE, LENGTHS, MODELS, SOLVED, TASKS, Findings, study


def memory(
    length: Annotated[
        list[int] | None,
        typer.Option(
            min=max(task.least for task in TASKS),
            max=1000,
            help=f"T; can be repeated [default: {', '.join(map(str, LENGTHS))}].",
        ),
    ] = None,
    hidden_size: Annotated[int, typer.Option(min=1, max=256, help="H.")] = 32,
    batch_size: Annotated[int, typer.Option(min=1, max=256, help="How many sequences an update sees.")] = 32,
    updates: Annotated[int, typer.Option(min=1, max=100_000, help="After how many to give a run up.")] = 1000,
    runs: Runs = 5,
    seed: Seed = 0,
    processes: Annotated[
        int,
        typer.Option(
            "--jobs",
            "--processes",
            min=0,
            max=64,
            help="How many processes share the work; 0 for as many as there are cores.",
        ),
    ] = 0,
    plot: Plot = Path("memory.png"),
) -> None:
    """Measure over how many steps an RNN, an LSTM and a GRU learn to remember, and where each stops.

    On the adding problem and the copy task, for every length T, in several runs: small models, briefly trained, all in
    the same way. The findings do not depend on how many processes share the work.
    """
    drawable("--plot", plot)
    lengths = sorted(set(length or LENGTHS))
    trainings = len(TASKS) * len(MODELS) * len(lengths) * runs
    with progress() as bar:
        task = bar.add_task("trainings", total=trainings)
        found = study(
            lengths,
            hidden_size=hidden_size,
            batch_size=batch_size,
            updates=updates,
            runs=runs,
            seed=seed,
            processes=min(processes or available_cores(), trainings),
            progress=lambda: bar.advance(task),
        )

    from .memory_picture import picture  # late: it takes half a second, and bad input should not wait for it

    out = Console()
    for a in range(len(found.tasks)):
        show_task(out, found, a)
    show_failures(out, found)
    save(out, picture(found), plot)


def show_task(out: Console, found: Findings, a: int) -> None:
    """One task: a row for each model, a column for each length, and the verdict."""
    task, N = found.tasks[a], found.loss.shape[3]
    say(out, f"{task.name}: {task.measure}, on fresh sequences{f', median of {N} runs' if N > 1 else ''}", "bold")
    say(out, f"guessing: {task.baseline:.3g}; solved: below {SOLVED * task.baseline:.2g}")
    rows = table("T", *(f"{T}" for T in found.lengths))
    for m, model in enumerate(found.models):
        medians, solved = np.median(found.loss[a, m], axis=-1), found.solved[a, m].sum(axis=-1)
        rows.add_row(model.name, *(f"{loss:.2g}" for loss in medians))
        rows.add_row("  runs that solved it", *(f"{some}/{N}" for some in solved))
    out.print(rows)
    for m, model in enumerate(found.models):
        say(out, f"{model.name}: {verdict(found, a, m)}")
    say(out, "")


def verdict(found: Findings, a: int, m: int) -> str:
    """Where a model stops learning a task."""
    lengths, N = found.lengths, found.loss.shape[3]
    every, most = (int(found.reach(runs)[a, m]) for runs in (N, N // 2 + 1))
    last = np.flatnonzero(found.solved[a, m].any(axis=-1)).max(initial=-1)  # the last that any run solved
    if N == 1:
        parts = [f"solved up to T = {every}" if every else "not solved at the shortest T"]
    else:
        parts = [f"solved in every run up to T = {every}" if every else "not solved in every run at any T"]
        if most > every:
            parts.append(f"in most up to T = {most}")
        if last >= 0 and lengths[last] > most:
            parts.append(f"in some up to T = {lengths[last]}")
    if every == lengths[-1]:
        parts.append("the longest tried")
    elif last + 1 < len(lengths):
        parts.append(f"in no run from T = {lengths[last + 1]} on")
    return ", ".join(parts) + "."


def show_failures(out: Console, found: Findings) -> None:
    """How many runs failed and how, and what all runs have in common."""
    for m, model in enumerate(found.models):
        failed, stuck = ~found.solved[:, m], found.stuck[:, m]
        say(
            out,
            f"{model.name}: {failed.sum()} of {count(failed.size, 'run')} failed, {stuck.sum()} of them with a loss no "
            "more than a tenth below that of guessing.",
        )
    sizes = zip(found.models, found.parameters.min(axis=0), found.parameters.max(axis=0), strict=True)
    shown = (f"{model.name} {span(f'{low:,}', f'{high:,}')}" for model, low, high in sizes)
    say(
        out,
        f"\nEvery model has {count(found.hidden_size, 'hidden unit')} (parameters: {'; '.join(shown)}) and is trained "
        f"alike: by Adam in batches of {found.batch_size}, with a learning rate that falls from {LEARNING_RATE:g} to 0 "
        f"and gradients clipped to 1. A run fails that has not solved its task within {count(found.most, 'update')}; "
        "with more of them, it might have.",
    )

"""The command `python -m reference train`: a training goes on in PyTorch, in one process or in several."""

from __future__ import annotations

import shlex
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from scratch.doors import python
from scratch.terminal import writable
from scratch.text.train_command import (
    limits_of,
    more_minutes,
    one_of,
    refuse_special,
    resumed,
    run_shown,
    show_beginning,
)

from ..devices import Mode
from . import files
from .commands import refusing
from .ranks import Ranks, joined
from .training import Leading, Training, follow

DEVICES = ("cpu", "cuda")


def train(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A checkpoint of scratch, or what `export` or `train` has written.")
    ],
    texts: Annotated[
        list[Path] | None, typer.Argument(metavar="TEXT", help="The text, if it is no longer where it was.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps in all.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Stop after so many passes over the text in all.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after so many minutes in all [default: as the training had it].")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="What is written: .pt or .safetensors [default: FILE].")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")] = False,
    device: Annotated[
        str, typer.Option(help="Where it is computed. CUDA has not been tried.", **one_of(DEVICES))
    ] = "cpu",
    save_every: Annotated[float, typer.Option(min=0, help="Seconds between two saves; 0: after every step.")] = 10.0,
) -> int:
    """Go on with a training of scratch in PyTorch, on the same text from the same place.

    Alone, or data-parallel in several processes of one machine, of which each reads its part of the streams:

    torchrun --nproc-per-node 2 -m reference train FILE

    The losses are those of scratch, but for rounding and dropout, which PyTorch draws. FILE.safetensors is then a
    checkpoint of scratch; `import` makes one of FILE.pt. Ctrl-C finishes the step and saves.

    Exit status: 0; 1 if the loss is no number any more; 2 if the command or a file is wrong; 130 after Ctrl-C.
    torchrun makes 1 of all but 0.
    """
    try:
        with joined(device) as ranks, computing_as_scratch(device):
            try:
                return train_as(ranks, file, texts or [], (steps, epochs, minutes), out, overwrite, save_every)
            except typer.TyperException:
                if ranks.rank:
                    return 0  # rank 0 says why and fails; were it not the last, it would be ended before
                raise
    except RuntimeError as error:
        raise typer.BadParameter(" ".join(str(error).split())) from None


def computing_as_scratch(device: str) -> AbstractContextManager[None]:
    """On a GPU float32 has all its digits: of itself PyTorch would multiply in TF32, which has three."""
    return nullcontext() if device == "cpu" else Mode("float32", "ieee", cudnn=True).switched_on()


def train_as(
    ranks: Ranks,
    file: Path,
    texts: list[Path],
    limits: tuple[int | None, float | None, float | None],
    out: Path | None,
    overwrite: bool,
    save_every: float,
) -> int:
    """The command in one of the processes."""
    path = out or file
    with refusing(path):
        files.suffix(file)
        files.suffix(path)
    refuse_special("--out", path)
    if path != file and path.exists() and not overwrite:
        raise typer.BadParameter(f"{path} is there already: --overwrite replaces it, --out writes another")
    kind = Leading if ranks.count > 1 and not ranks.rank else Training
    training = resumed(
        file,
        texts,
        limits_of(*limits),
        files.read,
        lambda checkpoint, text: kind.resumed(checkpoint, text, ranks),
    )
    assert isinstance(training, Training)
    if ranks.rank:
        follow(training)
        return 0
    try:
        writable("--out", path)
        return lead(training, path, save_every)
    finally:
        if isinstance(training, Leading):
            training.stop()


def lead(training: Training, path: Path, save_every: float) -> int:
    """Train, show it and save it."""
    show_beginning(training, again=True)
    program = python() if training.ranks.count == 1 else f"torchrun --nproc-per-node {training.ranks.count}"
    again = f"{program} -m reference train {shlex.quote(str(path))}"
    if training.ranks.device.type != "cpu":
        again += f" --device {training.ranks.device.type}"
    status = run_shown(training, path, save_every, again, "reference")
    if status:
        return status
    print(f"written: {path}")
    print(f"to train on:      {again} --minutes {more_minutes(training):.0f}")
    back = path
    if path.suffix == ".pt":
        back = path.with_suffix(".safetensors")
        there = " --overwrite" if back.exists() else ""
        names = f"{shlex.quote(str(path))} {shlex.quote(str(back))}"
        print(f"back to scratch:  {python()} -m reference import {names}{there}")
    print(f"in scratch:       {python()} -m scratch train --resume {shlex.quote(str(back))}")
    return 0

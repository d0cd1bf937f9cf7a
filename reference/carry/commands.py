"""The commands `python -m reference export`, `import` and `train`: a training goes on in PyTorch and comes back."""

import shlex
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from scratch import text
from scratch.doors import python
from scratch.terminal import writable
from scratch.text import Checkpoint
from scratch.text.settings import Limits
from scratch.text.train_command import (
    limits_of,
    more_minutes,
    one_of,
    refuse_special,
    refusing,
    resumed,
    run_shown,
    show_beginning,
)

from ..devices import Mode
from . import files
from .ranks import STOP, Ranks, joined
from .training import Training, follow

DEVICES = ("cpu", "cuda")

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")]
File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A checkpoint of scratch, or what `export` or `train` has written.")
]
Texts = Annotated[list[Path] | None, typer.Argument(metavar="TEXT", help="The text, if it is no longer where it was.")]


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="What scratch's `train` has written.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To be written: .pt or .safetensors.")],
    overwrite: Overwrite = False,
) -> int:
    """Write a training that began in scratch for PyTorch.

    FILE.pt holds what torch.save makes of the model's state_dict(), the optimizer's, the state of the recurrence, the
    history and the settings: torch.load(FILE, weights_only=True) reads it. FILE.safetensors holds the same as arrays.

    Exit status: 0, or 2 if the command or the file is wrong.
    """
    return carried(checkpoint, file, overwrite, text.read, files.export)


def import_(
    file: File,
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="To be written: .safetensors.")],
    overwrite: Overwrite = False,
) -> int:
    """Write a training that went on in PyTorch as a checkpoint of scratch, for train --resume and sample.

    Learning rate, weight decay and momentum are taken over from the optimizer in FILE.pt. The place in the text is
    counted by the losses in the history: steps made by hand without a loss change the weights alone. Nothing in FILE is
    executed.

    Exit status: 0, or 2 if the command or the file is wrong.
    """
    if checkpoint.suffix != ".safetensors":
        raise typer.BadParameter(f"expected CHECKPOINT with the ending .safetensors, got {checkpoint}")
    return carried(file, checkpoint, overwrite, files.read, files.write)


def carried(
    source: Path,
    target: Path,
    overwrite: bool,
    read: Callable[[Path], Checkpoint],
    write: Callable[[Path, Checkpoint], None],
) -> int:
    """Read one file and write the other. Raises typer.BadParameter for a file that is no good."""
    with refusing(target):
        files.suffix(target)
    if target.exists() and not overwrite:
        raise typer.BadParameter(f"{target} is there already: --overwrite replaces it")
    writable("FILE", target)
    with refusing(source):
        found = read(source)
        write(target, found)
    print(f"written: {target}, {described(found)}")
    updates = max((int(values["step"]) for values in found.optimizer.values() if "step" in values), default=found.step)
    if updates != found.step:
        print(
            f"note: the optimizer has made {updates:,} updates, and there are {found.step:,} losses: "
            f"the training goes on after step {found.step:,} of its way through the text",
            file=sys.stderr,
        )
    return 0


def train(
    file: File,
    texts: Texts = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps in all.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Stop after so many passes over the text in all.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after so many minutes in all [default: as the training had it].")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="What is written: .pt or .safetensors [default: FILE].")] = None,
    overwrite: Overwrite = False,
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
    # On a GPU float32 shall have all its digits: of itself PyTorch would multiply in TF32, which has three.
    precise = nullcontext() if device == "cpu" else Mode("float32", "ieee", cudnn=True).switched_on()
    path = out or file
    try:
        with joined(device) as ranks, precise:
            try:
                for each in (file, path):
                    with refusing(each):
                        files.suffix(each)
                refuse_special("--out", path)
                if path != file and path.exists() and not overwrite:
                    raise typer.BadParameter(f"{path} is there already: --overwrite replaces it, --out writes another")
                return train_as(ranks, file, texts or [], limits_of(steps, epochs, minutes), path, save_every)
            except typer.TyperException:
                if ranks.rank:
                    return 0  # rank 0 says why and fails; were it not the last, it would be ended before
                raise
    except RuntimeError as error:
        raise typer.BadParameter(" ".join(str(error).split())) from None


def train_as(ranks: Ranks, file: Path, texts: list[Path], limits: Limits | None, path: Path, save_every: float) -> int:
    """The command in one of the processes."""
    training = resumed(file, texts, limits, files.read, lambda found, text: Training.resumed(found, text, ranks))
    if ranks.rank:
        follow(training)
        return 0
    try:
        writable("--out", path)
        show_beginning(training, again=True)
        program = python() if ranks.count == 1 else f"torchrun --nproc-per-node {ranks.count}"
        place = "" if ranks.device.type == "cpu" else f" --device {ranks.device.type}"
        again = f"{program} -m reference train {shlex.quote(str(path))}{place}"
        status = run_shown(training, path, save_every, again, "reference")
    finally:
        ranks.tell(STOP)
    if status == 0:
        back = path.with_suffix(".safetensors")
        print(f"written: {path}")
        print(f"to train on:      {again} --minutes {more_minutes(training):.0f}")
        if back != path:
            names = f"{shlex.quote(str(path))} {shlex.quote(str(back))}{' --overwrite' if back.exists() else ''}"
            print(f"back to scratch:  {python()} -m reference import {names}")
        print(f"in scratch:       {python()} -m scratch train --resume {shlex.quote(str(back))}")
    return status


def described(checkpoint: Checkpoint) -> str:
    """A training in a few words."""
    settings = checkpoint.settings
    options = ", ".join(f"{name} {value:g}" for name, value in settings.optimizer_options.items() if value)
    model = f"{settings.cell} {settings.num_layers} × {settings.hidden_size} {settings.dtype}"
    return f"{model} after {checkpoint.step:,} steps, {settings.optimizer} ({options})"

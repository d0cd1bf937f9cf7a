"""The commands `python -m reference export` and `import`: a training goes to PyTorch and comes back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from scratch import text
from scratch.terminal import writable
from scratch.text import Checkpoint, CheckpointError
from scratch.text.settings import Settings

from . import files

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there already.")]


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
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` or `train` has written.")],
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
    updates = {int(values["step"]) for values in found.optimizer.values() if "step" in values}
    if updates and max(updates) != found.step:
        print(
            f"note: the optimizer has made {max(updates):,} updates, and there are {found.step:,} losses: "
            f"the training goes on after step {found.step:,} of its way through the text",
            file=sys.stderr,
        )
    return 0


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Within this, what is wrong with a file is told in one line, as typer.BadParameter."""
    try:
        yield
    except CheckpointError as error:
        raise typer.BadParameter(f"{path}: {error}") from None
    except FileNotFoundError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}") from None


def described(checkpoint: Checkpoint) -> str:
    """A training in a few words."""
    settings: Settings = checkpoint.settings
    options = ", ".join(f"{name} {value:g}" for name, value in settings.optimizer_options.items() if value)
    model = f"{settings.cell} {settings.num_layers} × {settings.hidden_size} {settings.dtype}"
    return f"{model} after {checkpoint.step:,} steps, {settings.optimizer} ({options})"

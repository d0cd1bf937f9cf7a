"""All commands of `python -m reference`."""

from collections.abc import Callable

import typer

from .bad_input import bad_input
from .carry.commands import export, import_, train
from .carry.losses import losses
from .check_command import check
from .exercise_command import exercise
from .grade_command import CALLS, epilog, grade
from .side_by_side_command import side_by_side

COMMANDS: dict[str, tuple[Callable[..., int], list[str]]] = {
    "check": (
        check,
        [
            "check",
            "check --report check.html",
            "check --cell lstm --packed --layers 2 --examples 500 --seed 1",
            "check --candidate my_module:MyLSTM",
            "check --candidate my_module:forward,backward --cell lstm",
        ],
    ),
    "exercise": (exercise, ["exercise lstm", "check --candidate my_lstm", "check --candidate my_lstm --solution"]),
    "grade": (grade, CALLS),
    "bad-input": (bad_input, ["bad-input", "bad-input --verbose"]),
    "export": (export, ["export model.safetensors model.pt", "export model.safetensors arrays.safetensors"]),
    "import": (import_, ["import model.pt back.safetensors", "python -m scratch train --resume back.safetensors"]),
    "train": (
        train,
        [
            "train model.safetensors --minutes 10",
            "train model.pt book.txt --epochs 20 --out longer.pt",
            "torchrun --nproc-per-node 2 -m reference train model.pt --steps 5000",
        ],
    ),
    "losses": (losses, ["losses model.safetensors", "losses model.safetensors --steps 500 --dtype float64"]),
}
"""Each command, and how it may be called."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
own = ["", "--text README.md --cell rnn --hidden-size 32 --epochs 50"]
first = [calls[0] for _, calls in COMMANDS.values()]
app.callback(invoke_without_command=True, epilog=epilog(own + first))(side_by_side)
for name, (command, calls) in COMMANDS.items():
    app.command(name, epilog=epilog(calls))(command)

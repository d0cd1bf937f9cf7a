"""The door for people: `python -m scratch` and its commands."""

import sys
from collections.abc import Callable

from .doors import lacks

if lacks("scratch", "apps"):
    sys.exit(2)

import typer

from . import terminal
from .forecast.command import forecast
from .study.commands import cells, explore, gradients, memory, truncation
from .text.sample_command import sample
from .text.train_command import train

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


study = typer.Typer(rich_markup_mode=None)


def examples(*commands: str) -> str:
    """What stands below a help text."""
    return "\b\nExamples:\n" + "".join(f"  python -m scratch {command}\n" for command in commands)


COMMANDS: dict[Callable[..., object], tuple[str, ...]] = {
    train: (
        "train",
        "train book.txt --out book.safetensors --hidden-size 256 --num-layers 2 --dropout 0.2 --epochs 20",
        "train a.txt b.txt --cell rnn --optimizer sgd --learning-rate 1 --embedding-size 32",
        "train --resume book.safetensors --epochs 30",
    ),
    sample: (
        "sample model.safetensors",
        'sample model.safetensors --prime "import " --temperature 0',
        "sample model.safetensors --length 2000 --temperature 0.9 --top-p 0.95 --seed 7",
    ),
    forecast: (
        "forecast",
        "forecast --horizon 1 --plot sunspots.svg",
        "forecast weather.csv --column temperature --horizon 7 --window 60 --season 365",
    ),
    explore: (
        "study explore",
        'study explore --string "to be or not to be" --out hamlet.html',
        'study explore --checkpoint model.safetensors --string "def f(x):"',
    ),
    gradients: ("study gradients", "study gradients --radius 0.9 --radius 1.1 --steps 200 --plot gradients.svg"),
    truncation: ("study truncation", "study truncation book.txt --steps 256 --hidden-size 64 --plot truncation.svg"),
    cells: (
        "study cells",
        "study cells model.safetensors",
        "study cells book.safetensors --text book.txt --out book.html --plot book.svg",
    ),
    memory: ("study memory", "study memory --length 20 --length 40 --runs 3 --updates 3000 --plot memory.svg"),
}
"""Each with examples, the studies below `study`."""


@app.callback(invoke_without_command=True, epilog=examples(*(shown[0] for shown in COMMANDS.values())))
def door(context: typer.Context) -> int:
    """Recurrences at work, in NumPy alone."""
    if context.invoked_subcommand is None:
        print(context.get_help())
    return 0


@study.callback(invoke_without_command=True)
def study_door(context: typer.Context) -> int:
    """What the equations do, made visible."""
    return door(context)


for command, shown in COMMANDS.items():
    (study if shown[0].startswith("study ") else app).command(epilog=examples(*shown))(command)
app.add_typer(study, name="study")


def main() -> int:
    """Run the command and give its exit status."""
    return terminal.run(lambda: app(standalone_mode=False, prog_name="python -m scratch"), "scratch")


if __name__ == "__main__":
    sys.exit(main())

"""The door for people: `python -m scratch` and its commands."""

import sys

from .doors import lacks

if lacks("scratch", "apps"):
    sys.exit(2)

import typer

from . import terminal
from .forecast.command import forecast
from .study.cells_command import cells
from .study.explore_command import explore
from .study.gradients_command import gradients
from .study.memory_command import memory
from .study.truncation_command import truncation
from .text.sample_command import sample
from .text.train_command import train

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(
    invoke_without_command=True,
    epilog="""\b
Examples:
  python -m scratch train
  python -m scratch train book.txt --hidden-size 256 --num-layers 2 --minutes 10
  python -m scratch train --resume model.safetensors --minutes 20
  python -m scratch sample model.safetensors --prime "def " --temperature 0.7
  python -m scratch forecast
  python -m scratch study explore --string "hello world"
""",
)
def door(context: typer.Context) -> int:
    """Recurrences at work, in NumPy alone."""
    if context.invoked_subcommand is None:
        print(context.get_help())
    return 0


app.command(
    epilog="""\b
Examples:
  python -m scratch train
  python -m scratch train book.txt --out book.safetensors --hidden-size 256 --num-layers 2 --dropout 0.2 --epochs 20
  python -m scratch train a.txt b.txt --cell rnn --optimizer sgd --learning-rate 1 --embedding-size 32
  python -m scratch train --resume book.safetensors --epochs 30
"""
)(train)
app.command(
    epilog="""\b
Examples:
  python -m scratch sample model.safetensors
  python -m scratch sample model.safetensors --prime "import " --temperature 0
  python -m scratch sample model.safetensors --length 2000 --temperature 0.9 --top-p 0.95 --seed 7
"""
)(sample)
app.command(
    epilog="""\b
Examples:
  python -m scratch forecast
  python -m scratch forecast --horizon 1 --plot sunspots.svg
  python -m scratch forecast weather.csv --column temperature --horizon 7 --window 60 --season 365
"""
)(forecast)

study = typer.Typer(rich_markup_mode=None)
app.add_typer(study, name="study")


@study.callback(invoke_without_command=True)
def study_door(context: typer.Context) -> int:
    """What the equations do, made visible."""
    return door(context)


study.command(
    epilog="""\b
Examples:
  python -m scratch study explore
  python -m scratch study explore --string "to be or not to be" --out hamlet.html
  python -m scratch study explore --checkpoint model.safetensors --string "def f(x):"
"""
)(explore)
study.command(
    epilog="""\b
Examples:
  python -m scratch study gradients
  python -m scratch study gradients --radius 0.9 --radius 1.1 --steps 200 --plot gradients.svg
"""
)(gradients)
study.command(
    epilog="""\b
Examples:
  python -m scratch study truncation
  python -m scratch study truncation book.txt --steps 256 --hidden-size 64 --plot truncation.svg
"""
)(truncation)
study.command(
    epilog="""\b
Examples:
  python -m scratch study cells
  python -m scratch study cells model.safetensors
  python -m scratch study cells book.safetensors --text book.txt --out book.html --plot book.svg
"""
)(cells)
study.command(
    epilog="""\b
Examples:
  python -m scratch study memory
  python -m scratch study memory --length 20 --length 40 --runs 3 --updates 3000 --plot memory.svg
"""
)(memory)


def main() -> int:
    """Run the command and give its exit status."""
    return terminal.run(lambda: app(standalone_mode=False, prog_name="python -m scratch"), "scratch")


if __name__ == "__main__":
    sys.exit(main())

"""All commands of `python -m reference`."""

import typer

from .bad_input_command import bad_input
from .carry import commands
from .carry.losses_command import losses
from .carry.train_command import train
from .check_command import check
from .exercise_command import exercise
from .grade_command import EPILOG, grade
from .side_by_side_command import side_by_side

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.callback(
    invoke_without_command=True,
    epilog="""\b
Examples:
  python -m reference
  python -m reference --text README.md --cell rnn --hidden-size 32 --epochs 50
  python -m reference check
  python -m reference exercise lstm
  python -m reference bad-input
  python -m reference bad-input --verbose
  python -m reference export model.safetensors model.pt
  python -m reference train model.pt --minutes 10
  python -m reference import model.pt back.safetensors
  python -m reference losses model.safetensors --dtype float64
""",
)(side_by_side)
app.command(
    epilog="""\b
Examples:
  python -m reference check
  python -m reference check --report check.html
  python -m reference check --cell lstm --packed --layers 2 --examples 500 --seed 1
  python -m reference check --candidate my_module:MyLSTM
  python -m reference check --candidate my_module:forward,backward --cell lstm
"""
)(check)
app.command(
    epilog="""\b
Examples:
  python -m reference exercise lstm
  python -m reference check --candidate my_lstm
  python -m reference check --candidate my_lstm --solution
"""
)(exercise)
app.command(epilog=EPILOG)(grade)
app.command(
    "bad-input",
    epilog="""\b
Example:
  python -m reference bad-input
  python -m reference bad-input --verbose
""",
)(bad_input)
app.command(
    epilog="""\b
Examples:
  python -m reference export model.safetensors model.pt
  python -m reference export model.safetensors arrays.safetensors
"""
)(commands.export)
app.command(
    "import",
    epilog="""\b
Examples:
  python -m reference import model.pt back.safetensors
  python -m scratch train --resume back.safetensors
""",
)(commands.import_)
app.command(
    epilog="""\b
Examples:
  python -m reference train model.safetensors --minutes 10
  python -m reference train model.pt book.txt --epochs 20 --out longer.pt
  torchrun --nproc-per-node 2 -m reference train model.pt --steps 5000
"""
)(train)
app.command(
    epilog="""\b
Examples:
  python -m reference losses model.safetensors
  python -m reference losses model.safetensors --steps 500 --dtype float64
"""
)(losses)

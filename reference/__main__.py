"""The door for people: `python -m reference` and its commands."""

import sys

import typer

from scratch import terminal

from .bad_input_command import bad_input
from .check_command import check
from .side_by_side_command import side_by_side

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.callback(
    invoke_without_command=True,
    epilog="""\b
Examples:
  python -m reference
  python -m reference --text README.md --cell rnn --hidden 32 --epochs 50
  python -m reference check
  python -m reference bad-input
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
    "bad-input",
    epilog="""\b
Example:
  python -m reference bad-input
""",
)(bad_input)


def main() -> int:
    """Run the command and give its exit status."""
    return terminal.run(lambda: app(standalone_mode=False, prog_name="python -m reference"))


if __name__ == "__main__":
    sys.exit(main())

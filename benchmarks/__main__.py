"""The door for people: `python -m benchmarks` and its commands."""

import sys

from scratch.doors import lacks

if lacks("benchmarks", "benchmarks"):
    sys.exit(2)

import typer

from scratch import terminal

from .agree_command import agree
from .growth_command import growth
from .ladder_command import ladder
from .long_command import long
from .measure_command import measure
from .memory_command import memory
from .show_command import show
from .text_command import text

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.callback(
    invoke_without_command=True,
    epilog="""\b
Examples:
  python -m benchmarks --quick
  python -m benchmarks --list
  python -m benchmarks --problems toy --problems "LSTM T25 B16 * H512"
  python -m benchmarks --threads 1 --dtype float64 --json float64.json --plot float64.svg
  python -m benchmarks --device cuda
  python -m benchmarks ladder --quick
  python -m benchmarks growth --plot growth.png
  python -m benchmarks memory --problems characters
  python -m benchmarks long --plot long.png
  python -m benchmarks text
""",
)(measure)
app.command(
    epilog="""\b
Examples:
  python -m benchmarks ladder
  python -m benchmarks ladder --quick --threads 1 --plot ladder.svg
  python -m benchmarks ladder --device cuda
"""
)(ladder)
app.command(
    epilog="""\b
Examples:
  python -m benchmarks growth --plot growth.png
  python -m benchmarks growth --quick --threads 1
"""
)(growth)
app.command(
    epilog="""\b
Examples:
  python -m benchmarks memory
  python -m benchmarks memory --problems "LSTM T25" --plot memory.svg
"""
)(memory)
app.command(
    epilog="""\b
Examples:
  python -m benchmarks long --plot long.png
  python -m benchmarks long --quick
"""
)(long)
app.command(
    epilog="""\b
Examples:
  python -m benchmarks show
  python -m benchmarks show benchmarks/results/intel-xeon-2-threads.json
"""
)(show)
app.command(
    epilog="""\b
Examples:
  python -m benchmarks agree
  python -m benchmarks agree first.json second.json
"""
)(agree)
app.command(
    epilog="""\b
Examples:
  python -m benchmarks text
  python -m benchmarks text book.txt --quick --threads 1
"""
)(text)


def main() -> int:
    """Run the command and give its exit status."""
    return terminal.run(lambda: app(standalone_mode=False, prog_name="python -m benchmarks"), "benchmarks")


if __name__ == "__main__":
    sys.exit(main())

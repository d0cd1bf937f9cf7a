"""The door for people: `python -m benchmarks` and its commands."""

import signal
import sys
from collections.abc import Callable

from scratch.doors import lacks

if lacks("benchmarks", "benchmarks"):
    sys.exit(2)

import typer

from scratch import terminal

from . import commands
from .show_command import agree, show

EXAMPLES: dict[Callable[..., int], list[str]] = {
    commands.step: [
        "--quick",
        "--list",
        '--problems toy --problems "LSTM T25 B16 * H512"',
        "--device cuda",
        "--threads 1 --dtype float64 --json float64.json --plot float64.svg",
    ],
    commands.ladder: ["ladder", "ladder --quick --threads 1 --plot ladder.svg", "ladder --device cuda"],
    commands.growth: ["growth --plot growth.png", "growth --quick --threads 1"],
    commands.memory: ["memory", 'memory --problems "LSTM T25" --plot memory.svg'],
    commands.long: ["long --plot long.png", "long --quick"],
    commands.gpu: ["gpu --quick", "gpu --minutes 8 --json gpu.json --plot gpu.png", 'gpu --problems "B64 * H4096"'],
    show: ["show", "show gpu.json --beside benchmarks/results/intel-xeon-2-threads.json", "show --table ladder"],
    agree: ["agree", "agree first.json second.json"],
    commands.text: ["text", "text book.txt --quick --threads 1"],
}
"""The commands, and how each may be called."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def about() -> None:
    """Measure scratch (NumPy) beside PyTorch and cuDNN. Options without a command are those of `step`."""


for command, calls in EXAMPLES.items():
    lines = "".join(f"  python -m benchmarks {call}\n" for call in calls)
    app.command(epilog=f"\b\nExamples:\n{lines}")(command)


def main() -> int:
    """Run the command and give its exit status."""
    given = sys.argv[1:]
    if not given or (given[0].startswith("-") and given[0] != "--help"):
        given = ["step", *given]
    return terminal.run(lambda: app(given, standalone_mode=False, prog_name="python -m benchmarks"), "benchmarks")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever is told to end ends the workers first
    sys.exit(main())

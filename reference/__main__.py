"""The door for people: `python -m reference` and its commands."""

import sys

from scratch.doors import lacks

from .child import guarded, runs_foreign_code


def main() -> int:
    """Run the command and give its exit status."""
    if lacks("reference", "apps" if sys.argv[1:2] in (["exercise"], ["check"], ["grade"]) else "reference"):
        return 2
    from scratch import terminal

    return terminal.run(run)


def run() -> object:
    """The exercises and their grading are apart: they do without PyTorch, which takes longer to load than they run."""
    from . import exercise_command

    if exercise_command.meant(sys.argv[1:]):
        app = exercise_command.app
    elif lacks("reference", "reference"):
        return 2
    else:
        from .commands import app
    return app(standalone_mode=False, prog_name="python -m reference")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(guarded(arguments) if runs_foreign_code(arguments) else main())

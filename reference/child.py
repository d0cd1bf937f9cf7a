"""A command that runs somebody else's code does so in a process of its own, which cannot end without a verdict.

A submission that calls `os._exit(0)` would otherwise look right. It is no sandbox: who wants to deceive can.
"""

import multiprocessing
import os
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

from scratch.processes import end_with_parent


def runs_foreign_code(arguments: list[str]) -> bool:
    """Whether a command line is one of `check --candidate`."""
    return arguments[:1] == ["check"] and any(each.split("=")[0] == "--candidate" for each in arguments)


def guarded(arguments: list[str]) -> int:
    """The exit status of the command, run in a child: 1, with a line on standard error, if the child says nothing."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=in_child, args=(arguments, sender))
    child.start()
    sender.close()
    try:
        return int(receiver.recv())
    except EOFError:
        child.join()
        told = f"the candidate ended the process (exit status {child.exitcode}) before there was a verdict"
        print(f"reference: {told}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # the child hears it too
        return 130
    finally:
        child.join()


def in_child(arguments: list[str], sender: Connection) -> None:
    """Run the command, say its status, and end."""
    from .__main__ import main

    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.argv = ["reference", *arguments]
    try:
        status = main()
    except SystemExit as ended:  # by rich, when nobody reads any more what it prints; otherwise by the candidate
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it may have gone; then it is closed
            stream.flush()
    sender.send(status)
    os._exit(status)  # whatever threads the candidate has left

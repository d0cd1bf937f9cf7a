"""What holds a submission off, within its process: limits, and an audit hook that refuses and notes.

Python tells an audit hook of imports, files, processes and the like before they are done, and a hook cannot be taken
away again. It is no sandbox all the same: whoever knows Python's inside well gets around it.
"""

import builtins
import ctypes
import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

globals()["__builtins__"] = dict(
    vars(builtins)
)  # for this file alone: a submission may put something else in place of `any`

REFUSED = {
    "it starts a process": "os.fork os.forkpty os.system os.exec os.posix_spawn os.spawn subprocess.Popen pty.spawn",
    "it sends signals": "os.kill os.killpg signal.pthread_kill",
    "it uses the network": "socket.connect socket.bind socket.getaddrinfo socket.sendto socket.sendmsg",
    "it reaches below Python": "ctypes.dlopen ctypes.dlsym ctypes.dlsym/handle ctypes.cdata ctypes.call_function",
    "it searches the memory": "gc.get_objects gc.get_referrers gc.get_referents",
    "it changes its limits": "resource.setrlimit resource.prlimit",
}
"""What is refused, in words and as Python's audit events."""
WRITES = {
    *("os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"),
    *("os.utime", "shutil.copyfile", "shutil.move", "shutil.rmtree", "sqlite3.connect"),
}
"""The events of what changes files, but for opening one."""
FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
"""With which a file is opened to be written."""
MOST_FILES = 100
MOST_NOTES = {"import": 30, "imported by a library": 10, "refused": 30}
TRIED_BY_PYTHON = {"org", "java", "vms_lib", "sitecustomize", "usercustomize", "charset_normalizer"}
"""What the standard library and NumPy themselves try to import: `from numpy import *` the last."""


def limit(memory: int, processor: int, file_size: int) -> None:
    """Limit this process: memory in bytes beyond what it has now, processor seconds, and a file's bytes.

    It ends with the process that has started it, where Linux can see to that.
    """
    limits = {"CPU": processor, "FSIZE": file_size, "CORE": 0, "NOFILE": 64}
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    with suppress(OSError), open("/proc/self/statm") as file:
        limits["AS"] = memory + int(file.read().split()[0]) * resource.getpagesize()
    for which, most in limits.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{which}"), (most, most))
    for module, function in (("_posixsubprocess", "fork_exec"), ("subprocess", "_fork_exec")):  # no event tells of them
        setattr(import_module(module), function, no_process)


def no_process(*_: Any) -> None:
    """Stand for what starts a process."""
    raise PermissionError("it starts a process: a submission may not")


def watch(notes: int, here: str, roots: list[str], denied: list[str], below: bool) -> None:
    """Refuse from now on what is not for a submission, and note it, and imports, in a pipe.

    here: the folder where it may write. roots: the folders where it may read, but for what is denied in them.
    below: whether it may do what libraries do: use ctypes, and change functions.
    """
    refused = {event: words for words, events in REFUSED.items() for event in events.split()}
    seen, written, left = set[tuple[str, str]](), set[str](), dict(MOST_NOTES)
    known = sys.stdlib_module_names | TRIED_BY_PYTHON | {"numpy", "submission"}
    package = re.compile(r".*/(?:site|dist)-packages/(\w+)/").match
    readable, mine = (*roots, f"/proc/{os.getpid()}"), (here, "/dev/null")
    write, getframe, fsdecode, realpath, within = os.write, sys._getframe, os.fsdecode, resolver(), inside
    script = realpath(sys.argv[0])  # Python itself reads it, to show a stack or a warning with its lines

    def note(kind: str, text: str) -> None:  # once, not too many of a kind, and at once: it cannot be taken back
        if (kind, text) not in seen and left[kind]:
            seen.add((kind, text))
            left[kind] -= 1
            with suppress(OSError):
                write(notes, f"{kind}\t{text[:300]!a}\n".encode())

    def check(place: str, writes: bool) -> None:
        if within(place, mine):
            written.update([place] * writes)
            if len(written) <= MOST_FILES or not writes:
                return
        if writes or (place != script and (within(place, tuple(denied)) or not within(place, readable))):
            what = f"it {'writes' if writes else 'reads'} {place}"
            note("refused", what)
            raise PermissionError(f"{what}: a submission may use its own folder only, and {MOST_FILES} files there")

    def imported(name: str) -> None:
        if name.partition(".")[0] in known or name.startswith("_sysconfigdata"):
            return
        frame = getframe(2)
        while frame.f_back and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        note("imported by a library" if within(frame.f_code.co_filename, tuple(roots)) else "import", name)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "import":
            no_process() if args[0] == "_posixsubprocess" else imported(args[0])
        elif event == "open" and not isinstance(args[0], int):
            place, mode, flags = realpath(fsdecode(args[0])), args[1] or "", args[2] or 0
            if found := package(place):
                imported(found[1])  # by what imports without an event, or reads the module as a text
            check(place, flags & FLAGS != 0 or not {*mode}.isdisjoint("wax+"))
        elif event in WRITES:
            for path in args[:2]:
                if isinstance(path, (str, bytes, os.PathLike)):
                    check(realpath(fsdecode(path)), True)
        elif not (below and event.startswith(("ctypes.", "object."))) and (
            event in refused or (event == "object.__setattr__" and args[1] == "__code__")
        ):
            words = refused.get(event, "it changes functions from within")
            note("refused", f"{words} ({event})")
            raise PermissionError(f"{words}: a submission may not")

    sys.addaudithook(hook)


def inside(path: str, folders: tuple[str, ...]) -> bool:
    """Whether a path is one of these, or within one."""
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def resolver() -> Callable[[str], str]:
    """os.path.realpath, of a copy of its module: what a submission changes in the module does not change this."""
    spec = find_spec("posixpath")
    assert spec and spec.loader
    copied, system = module_from_spec(spec), ModuleType("os")
    copied.__dict__["__builtins__"] = globals()["__builtins__"]
    spec.loader.exec_module(copied)
    system.__dict__.update(vars(os))
    copied.__dict__["os"] = system
    resolve: Callable[[str], str] = copied.__dict__["realpath"]
    return resolve

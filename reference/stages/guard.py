"""What holds a submission off, within its process: limits, and an audit hook that refuses and notes.

Python tells an audit hook of imports, files, processes and the like before they are done, and a hook cannot be taken
away again. It is no sandbox all the same: whoever knows Python's inside well gets around it.
"""

from __future__ import annotations

import builtins
import os
import re
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
TRIED_BY_PYTHON = {"org", "java", "vms_lib", "sitecustomize", "usercustomize"}
"""What the standard library itself tries to import, where it is another Python's."""
Note = Callable[[str, str], None]


def limit(memory: int, processor: int, file_size: int) -> None:
    """Limit this process: memory in bytes beyond what it has now, processor seconds, and a file's bytes.

    It ends with the process that has started it, where Linux can see to that.
    """
    import ctypes
    import resource

    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)

    def at_most(which: int, most: int) -> None:
        with suppress(ValueError, OSError):
            resource.setrlimit(which, (most, most))

    with suppress(OSError), open("/proc/self/statm") as file:
        at_most(resource.RLIMIT_AS, memory + int(file.read().split()[0]) * resource.getpagesize())
    at_most(resource.RLIMIT_CPU, processor)
    at_most(resource.RLIMIT_FSIZE, file_size)
    at_most(resource.RLIMIT_CORE, 0)
    at_most(resource.RLIMIT_NOFILE, 64)


def watch(notes: int, here: str, roots: list[str], denied: list[str], below: bool) -> None:
    """Refuse from now on what is not for a submission, and note it, and imports, in a pipe.

    here: the folder where it may write. roots: the folders where it may read, but for what is denied in them.
    below: whether it may do what libraries do: use ctypes, and change functions.
    """
    refused = {event: words for words, events in REFUSED.items() for event in events.split()}
    refused = {event: words for event, words in refused.items() if not (below and event.startswith("ctypes."))}
    note = noting(notes)
    realpath, fsdecode = resolver(), os.fsdecode
    checked, imported = checking(note, here, tuple(roots), tuple(denied)), importing(note, tuple(roots))
    installed = re.compile(r".*/(?:site|dist)-packages/(\w+)/").match

    def refuse(*_: Any) -> None:
        raise PermissionError("it starts a process: a submission may not")

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "import":
            if args[0] == "_posixsubprocess":
                refuse()
            imported(args[0])
        elif event == "open":
            path, mode, flags = args
            if not isinstance(path, int):
                place = realpath(fsdecode(path))
                if found := installed(place):
                    imported(found[1])  # by what imports without an event, or reads the module as a text
                checked(place, (flags or 0) & FLAGS != 0 or not {*(mode or "")}.isdisjoint("wax+"))
        elif event in WRITES:
            for path in args[:2]:
                if isinstance(path, (str, bytes, os.PathLike)):
                    checked(realpath(fsdecode(path)), True)
        elif event in refused or (event == "object.__setattr__" and args[1] == "__code__" and not below):
            words = refused.get(event, "it changes functions from within")
            note("refused", f"{words} ({event})")
            raise PermissionError(f"{words}: a submission may not")

    for module, name in (("_posixsubprocess", "fork_exec"), ("subprocess", "_fork_exec")):  # which no event tells of
        if hasattr(import_module(module), name):
            setattr(import_module(module), name, refuse)
    sys.addaudithook(hook)


def noting(pipe: int) -> Note:
    """Writes each note once, and not too many of a kind; at once, so that it cannot be taken back."""
    seen: set[tuple[str, str]] = set()
    counts = {"import": 30, "imported by a library": 10, "refused": 30}
    write = os.write

    def note(kind: str, text: str) -> None:
        if (kind, text) not in seen and counts[kind]:
            seen.add((kind, text))
            counts[kind] -= 1
            with suppress(OSError):
                write(pipe, f"{kind}\t{text[:300]!a}\n".encode())

    return note


def checking(note: Note, here: str, roots: tuple[str, ...], denied: tuple[str, ...]) -> Callable[[str, bool], None]:
    """Refuses places that a submission may not read, or write."""
    mine, written = f"/proc/{os.getpid()}", set[str]()
    within = inside

    def check(place: str, write: bool) -> None:
        if within(place, (here, "/dev/null")):
            if write:
                written.add(place)
            if len(written) <= MOST_FILES or not write:
                return
        if write or within(place, denied) or not within(place, (*roots, mine)):
            what = f"it {'writes' if write else 'reads'} {place}"
            note("refused", what)
            raise PermissionError(f"{what}: a submission may use its own folder only, and {MOST_FILES} files there")

    return check


def importing(note: Note, roots: tuple[str, ...]) -> Callable[[str], None]:
    """Notes modules that are neither NumPy's nor the standard library's, and whether a library imports them."""
    known = sys.stdlib_module_names | TRIED_BY_PYTHON | {"numpy", "submission"}
    getframe, within = sys._getframe, inside

    def imported(name: str) -> None:
        if name.partition(".")[0] in known or name.startswith("_sysconfigdata"):
            return
        frame = getframe(2)
        while frame.f_back and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        note("imported by a library" if within(frame.f_code.co_filename, roots) else "import", name)

    return imported


def inside(path: str, folders: tuple[str, ...]) -> bool:
    """Whether a path is one of these, or within one."""
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def resolver() -> Callable[[str], str]:
    """os.path.realpath, of a copy of its module: what a submission changes in the module does not change this."""
    spec = find_spec("posixpath")
    assert spec and spec.loader
    copied = module_from_spec(spec)
    copied.__dict__["__builtins__"] = globals()["__builtins__"]
    spec.loader.exec_module(copied)
    system = ModuleType("os")
    system.__dict__.update(vars(os))
    copied.__dict__["os"] = system
    resolve: Callable[[str], str] = copied.__dict__["realpath"]
    return resolve

"""Files that are written at once or not at all, whenever the process that writes them is killed."""

import os
import tempfile
from contextlib import suppress
from errno import EINVAL
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in place of what is at `path`, at once or not at all; through a link, where it leads.

    Raises OSError, also if something that is not a file is in its place.
    """
    path = Path(os.path.realpath(path))
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OSError(EINVAL, "it is not a file", os.fspath(path))
    descriptor, partial = tempfile.mkstemp(".partial", f".{path.name}.", path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~umask())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise
    with suppress(OSError, AttributeError):  # not every system can flush a folder
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def forget_partial(path: str | os.PathLike[str]) -> None:
    """Remove what writers of `path` left half-done when they were killed. Only while nobody else writes there."""
    path = Path(os.path.realpath(path))
    for partial in path.parent.iterdir():
        name = partial.name.removeprefix(f".{path.name}.").removesuffix(".partial")
        if partial.name == f".{path.name}.{name}.partial" and "." not in name:  # else it is another's: PATH.old, say
            with suppress(OSError):
                partial.unlink()


def umask() -> int:
    """The permissions that new files of this process lack."""
    mask = os.umask(0)
    os.umask(mask)
    return mask

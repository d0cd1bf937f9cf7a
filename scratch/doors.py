"""What the doors of the three packages say before anything is loaded that may not be installed."""

import os
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

APPS = ("matplotlib", "pandas", "rich", "safetensors", "threadpoolctl", "typer")
EXTRAS = {"apps": APPS, "reference": (*APPS, "torch", "jinja2"), "benchmarks": (*APPS, "torch")}
"""What each extra of pyproject.toml brings, by the names that are imported."""


def lacks(program: str, extra: str) -> bool:
    """Whether something of an extra is missing. Then a line on standard error says what, and how to install it."""
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        here = Path(__file__).parent.parent
        cloned = (here / "pyproject.toml").exists()
        what = f"-e '{os.path.relpath(here)}[{extra}]'" if cloned else f"'recurrence-from-scratch[{extra}]'"
        print(f"{program}: needs {', '.join(missing)}; {python()} -m pip install {what}", file=sys.stderr)
    return bool(missing)


def python() -> str:
    """How this Python is called in a shell, so that a printed command can be pasted."""
    if os.path.abspath(shutil.which("python") or "") == sys.executable:
        return "python"
    inside = Path(sys.executable).is_relative_to(Path.cwd())
    return shlex.quote(os.path.relpath(sys.executable) if inside else sys.executable)

"""The core needs NumPy and nothing else, and never looks upstairs."""

import subprocess
import sys
from pathlib import Path

import pytest

import scratch

LIST = "import sys; import {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"


def imported_by(module: str) -> set[str]:
    # A fresh interpreter; -I keeps site customisation by environment variables out.
    command = [sys.executable, "-I", "-c", LIST.format(module=module)]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_importing_scratch_imports_numpy_alone() -> None:
    third_party = imported_by("scratch") - imported_by("numpy.random") - set(sys.stdlib_module_names)
    assert third_party == {"scratch"}


@pytest.mark.parametrize("path", sorted(Path(scratch.__file__).parent.rglob("*.py")), ids=lambda path: path.name)
def test_scratch_never_imports_its_users(path: Path) -> None:
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:1] in (["import"], ["from"]):
            assert words[1].partition(".")[0] not in {"torch", "reference", "tests", "benchmarks"}, line

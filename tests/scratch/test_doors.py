"""The doors of the three packages when something is not installed."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from scratch import doors

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def named(extra: str) -> set[str]:
    """What pyproject.toml asks for in an extra."""
    names = {re.split(r"[>=~<]", each)[0] for each in PROJECT["optional-dependencies"][extra]}
    own = {name for name in names if "[" in name}
    return names - own | (named("apps") if own else set())


@pytest.mark.parametrize("extra", doors.EXTRAS)
def test_the_doors_know_what_the_extras_bring(extra: str) -> None:
    assert set(doors.EXTRAS[extra]) == named(extra)


@pytest.mark.parametrize("extra", doors.EXTRAS)
@pytest.mark.parametrize("cloned", [True, False])
def test_what_is_missing_is_named_in_a_line_with_what_to_install(
    extra: str, cloned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert not doors.lacks("here", extra)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(doors, "find_spec", lambda name: None if name in ("rich", "torch") else name)
    if not cloned:
        monkeypatch.setattr(doors, "__file__", str(tmp_path / "scratch" / "doors.py"))
    assert doors.lacks("here", extra)
    error = capsys.readouterr().err
    missing = "rich" if extra == "apps" else "rich, torch"
    assert error.startswith(f"here: needs {missing}; ") and error.count("\n") == 1
    assert error.endswith(f"[{extra}]'\n") and ("-e" in error.split()) == cloned


@pytest.mark.parametrize(("where", "called"), [("env/bin", "env/bin/python"), ("../env/bin", None)])
def test_python_is_called_so_that_it_can_be_pasted(
    where: str, called: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    path = (here / where).resolve() / "python"
    path.parent.mkdir(parents=True)
    path.touch(0o755)
    here.mkdir(exist_ok=True)
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "executable", str(path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doors.python() == (called or str(path))
    monkeypatch.setenv("PATH", str(path.parent))
    assert doors.python() == "python"

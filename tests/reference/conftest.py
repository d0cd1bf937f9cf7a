"""What the tests of the commands share."""

from pathlib import Path

import pytest

from reference import __main__ as door

from .carried import Command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["reference", *map(str, arguments)])
        status = door.main()
        return status, *capsys.readouterr()

    return run

"""The command: what it prints and draws, and what it refuses."""

from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import typer

from scratch import terminal
from scratch.forecast import Recipe, compare, read_series
from scratch.forecast.command import forecast

QUICK = ("--epochs", "2", "--hidden-size", "4", "--runs", "2")
SERIES = "when,level,other\n" + "".join(f"{t},{t % 7}.5,{t}\n" for t in range(100))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command. Returns exit status, standard output and standard error."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(forecast)
    status = terminal.run(lambda: app(arguments, standalone_mode=False), "scratch")
    return status, *capsys.readouterr()


@pytest.mark.parametrize("horizon", ["1", "6", "7"])
def test_command_prints_everything(capsys: pytest.CaptureFixture[str], tmp_path: Path, horizon: str) -> None:
    plot = tmp_path / "plot.png"
    if horizon == "7":
        plot.touch()
    status, out, error = run(capsys, *QUICK, "--horizon", horizon, "--plot", str(plot))
    assert (status, error.strip()) == (0, "")
    assert plot.read_bytes().startswith(b"\x89PNG")
    for expected in ("NOAA", "version 1", "1963–2008", "season 11", "last value", "The LSTM", "RMSE", "MAE", "2009"):
        assert expected in " ".join(out.split())
    assert ("by step ahead, for 6 of the 7 steps" in out) == (horizon == "7")
    assert ("by step ahead" in out) == (horizon != "1")
    assert ("in place of the one that was there" in " ".join(out.split())) == (horizon == "7")


@pytest.mark.parametrize(
    ("times", "suffix"),
    [
        ([str(t * t) for t in range(100)], "png"),
        ([f"2024-01-01T00:{t % 60:02}" for t in range(60)], "svg"),
        ([f"day [b]{t}\x1b[31m" for t in range(60)], "pdf"),
        ([f"{1900 + t}Q1" for t in range(60)], "svg"),
    ],
)
def test_any_times_and_names(capsys: pytest.CaptureFixture[str], tmp_path: Path, times: list[str], suffix: str) -> None:
    path, plot = tmp_path / "series.csv", tmp_path / f"plot.{suffix}"
    way = ("--dates", "row") if "day" in times[0] else ("--fill", "none")
    rows = (f"{time},{row % 5}\n" for row, time in enumerate(times))
    path.write_text("$t_1$,[red]°C $x$\x1b[31m\n" + "".join(rows), encoding="utf-8")
    status, out, error = run(capsys, str(path), *QUICK, "--window", "5", "--horizon", "2", "--plot", str(plot), *way)
    assert (status, error.strip()) == (0, "")
    assert "\x1b" not in out and "[red]°C" in out
    assert plot.stat().st_size > 0


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, (), "cannot read"),
        (".", (), "cannot read"),
        (SERIES, (), "expected a --column"),
        (SERIES, ("--column", "no"), "'when', 'level', 'other' or its number, got 'no'"),
        (SERIES, ("--column", "level", "--time", "no"), "got 'no'"),
        (SERIES + "100,,1\n101,1,1\n", ("--column", "level"), "1 missing (1 of them cells without a value)"),
        (SERIES + "100,1e999,1\n", ("--column", "level"), "1e999"),
        ("level\n" + "3\n" * 100, (), "varies"),
        ("level\n1\n2\n", (), "at least"),
        (SERIES, ("--column", "level", "--season", "71"), "season from 1 to 70"),
        (SERIES, ("--column", "level", "--horizon", "16"), "at least"),
        (SERIES, ("--column", "level", "--test", "nan"), "shares"),
        (SERIES, ("--column", "level", "--validation", "1"), "shares"),
        (SERIES, ("--column", "level", "--learning-rate", "inf"), "finite"),
        (SERIES, ("--column", "level", "--learning-rate", "1e38"), "finite"),
        (SERIES, ("--column", "level", "--horizon", "0"), "horizon"),
        (SERIES, ("--column", "level", "--window", "x"), "window"),
        (SERIES, ("--column", "level", "--plot", "x.gif"), ".png"),
        (SERIES, ("--column", "level", "--plot", "no/such/x.png"), "no folder"),
        (SERIES, ("superfluous",), "superfluous"),
        (SERIES, ("--column", "level", "--difference", "2"), "--difference 1 or 'season'"),
    ],
)
def test_command_refuses_bad_input(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str | None, arguments: tuple[str, ...], message: str
) -> None:
    path = tmp_path if content == "." else tmp_path / "series.csv"
    if content and path != tmp_path:
        path.write_text(content)
    status, out, error = run(capsys, str(path), *QUICK, "--plot", str(tmp_path / "x.png"), *arguments)
    assert (status, error.count("\n")) == (2, 1)
    assert message in error and (not out or "level: " in out), "what was understood is all that is printed"
    assert not (tmp_path / "x.png").exists()


def test_every_option_goes_somewhere() -> None:
    taken = {name for function in (read_series, compare, Recipe) for name in signature(function).parameters}
    assert signature(forecast).parameters.keys() - taken == {"csv", "plot"}


def test_column_needs_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, error = run(capsys, "--column", "level")
    assert (status, out, error.count("\n")) == (2, "", 1)


def test_a_trend_and_a_season_need_differences(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path, rng = tmp_path / "sales.csv", np.random.default_rng(0)
    months = np.arange(180)
    values = 100 + months + 20 * np.sin(2 * np.pi * months / 12) + rng.normal(0, 2, 180)
    path.write_text("month;sales\n" + "".join(f"{1990 + m // 12}-{m % 12 + 1:02};{values[m]:.1f}\n" for m in months))
    quick = (str(path), "--plot", str(tmp_path / "x.png"), "--epochs", "3", "--runs", "1", "--hidden-size", "8")
    _, out, _ = run(capsys, *quick)
    said = " ".join(out.split())
    assert said.startswith(
        "sales: 180 values by month, 1990-01 to 2004-12, step 1 month, no gaps read as: separator ';'"
    )
    assert "LOSES to seasonal naive" in said and "use it, or try --difference season" in said
    _, out, _ = run(capsys, *quick, "--difference", "season")
    assert "The LSTM beats the best baseline, seasonal naive" in " ".join(out.split()) and "2005-01" in out
    assert all(len(line) <= 80 for line in out.splitlines())

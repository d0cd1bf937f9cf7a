"""The command: what it prints and draws, and what it refuses."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import typer

from scratch import terminal
from scratch.forecast import Recipe, compare, read_series
from scratch.forecast.command import forecast

SERIES = "when,level,other\n" + "".join(f"{t},{t % 7}.5,{t}\n" for t in range(100))
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a short training in an empty folder: exit status, standard output without line ends, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(forecast)

    def command(*arguments: str) -> tuple[int, str, str]:
        quick = ("--epochs", "1", "--hidden-size", "2", "--runs", "2", "--plot", "plot.png", *arguments)
        status = terminal.run(lambda: app(quick, standalone_mode=False), "scratch")
        out, error = capsys.readouterr()
        assert all(len(line) <= 80 for line in out.splitlines())
        return status, " ".join(out.split()), error.strip()

    return command


@pytest.mark.parametrize("horizon", [1, 6, 7])
def test_command_prints_everything(run: Run, horizon: int) -> None:
    if horizon == 7:
        Path("plot.png").touch()
    status, out, error = run("--horizon", str(horizon))
    assert (status, error) == (0, "")
    assert Path("plot.png").read_bytes().startswith(b"\x89PNG")
    for expected in ("NOAA", "version 1", "1963–2008", "season 11", "last value", "The LSTM", "RMSE", "MAE", "2009"):
        assert expected in out
    assert ("by step ahead, for 6 of the 7 steps" in out) == (horizon == 7)
    assert ("by step ahead" in out) == (horizon != 1)
    assert ("in place of the one that was there" in out) == (horizon == 7)


@pytest.mark.parametrize(
    ("time", "plot"),
    [
        (lambda t: t * t, "plot.png"),
        (lambda t: f"2024-01-01T00:{t:02}", "plot.svg"),
        (lambda t: f"day [b]{t}\x1b[31m", "plot.pdf"),
        (lambda t: f"{1900 + t}Q1", "plot.svg"),
    ],
)
def test_any_times_and_names(run: Run, time: Callable[[int], object], plot: str) -> None:
    rows = (f"{time(row)},{row % 5}\n" for row in range(60))
    Path("series.csv").write_text("$t_1$,[red]°C 売 $x$\x1b[31m\n" + "".join(rows), encoding="utf-8")
    way = ("--dates", "row") if plot == "plot.pdf" else ("--fill", "none")
    status, out, error = run("series.csv", "--window", "5", "--horizon", "2", "--plot", plot, *way)
    assert (status, error) == (0, "")
    assert "\x1b" not in out and "[red]°C" in out
    assert Path(plot).stat().st_size > 0


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, "missing.csv", "cannot read"),
        (None, ".", "cannot read"),
        (None, "--column level", "need a CSV file"),
        (SERIES, "", "expected a --column"),
        (SERIES, "--column no", "'when', 'level', 'other' or its number, got 'no'"),
        (SERIES, "--column level --time no", "got 'no'"),
        (SERIES + "100,,1\n101,1,1\n", "--column level", "1 missing (1 of them cells without a value)"),
        (SERIES + "100,1e999,1\n", "--column level", "1e999"),
        ("level\n" + "3\n" * 100, "", "varies"),
        ("level\n1\n2\n", "", "at least"),
        (SERIES, "--column level --season 71", "season from 1 to 70"),
        (SERIES, "--column level --horizon 16", "at least"),
        (SERIES, "--column level --test nan", "shares"),
        (SERIES, "--column level --validation 1", "shares"),
        (SERIES, "--column level --learning-rate inf", "finite"),
        (SERIES, "--column level --learning-rate 1e38", "finite"),
        (SERIES, "--column level --horizon 0", "horizon"),
        (SERIES, "--column level --window x", "window"),
        (SERIES, "--column level --plot x.gif", ".png"),
        (SERIES, "--column level --plot no/such/x.png", "no folder"),
        (SERIES, "superfluous", "superfluous"),
        (SERIES, "--column level --difference 2", "--difference 1 or 'season'"),
    ],
)
def test_command_refuses_bad_input(run: Run, content: str | None, arguments: str, message: str) -> None:
    if content:
        Path("series.csv").write_text(content)
    status, out, error = run(*["series.csv"] * bool(content), *arguments.split())
    assert (status, error.count("\n")) == (2, 0)
    assert message in error and (not out or "level: " in out), "what was understood is all that is printed"
    assert not Path("plot.png").exists()


def test_every_option_goes_somewhere() -> None:
    taken = {name for function in (read_series, compare, Recipe) for name in signature(function).parameters}
    assert signature(forecast).parameters.keys() - taken == {"csv", "plot"}


def test_a_trend_and_a_season_need_differences(run: Run) -> None:
    months, rng = np.arange(180), np.random.default_rng(0)
    values = 100 + months + 20 * np.sin(2 * np.pi * months / 12) + rng.normal(0, 2, 180)
    rows = "".join(f"{1990 + m // 12}-{m % 12 + 1:02};{values[m]:.1f}\n" for m in months)
    Path("sales.csv").write_text("month;sales\n" + rows)
    quick = ("sales.csv", "--epochs", "3", "--runs", "1", "--hidden-size", "8")
    _, out, _ = run(*quick)
    assert out.startswith(
        "sales: 180 values by month, 1990-01 to 2004-12, step 1 month, no gaps read as: separator ';'"
    )
    assert "LOSES to seasonal naive" in out and "use it, or try --difference season" in out
    _, out, _ = run(*quick, "--difference", "season")
    assert "The LSTM beats the best baseline, seasonal naive" in out and "2005-01" in out

"""CSV files turned into series."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratch.forecast import read_series, sunspots
from scratch.forecast.series import axis, times_after

finite = st.floats(allow_nan=False, allow_infinity=False)


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "series.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@given(
    values=st.lists(finite, min_size=1, max_size=30),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n", "\n\n"]),
    mark=st.booleans(),
    quoted=st.booleans(),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], delimiter: str, end: str, mark: bool, quoted: bool
) -> None:
    name = f'°C{delimiter} "mean"' if quoted else "°C"
    cell = '"' + name.replace('"', '""') + '"' if quoted else name
    lines = [delimiter.join(("day", cell, "remark"))]
    lines += [delimiter.join((str(day), repr(value), "x")) for day, value in enumerate(values)]
    path = written(tmp_path_factory.mktemp("series"), ("\ufeff" * mark + end.join(lines) + end).encode())
    for series in (read_series(path), read_series(path, name)):
        assert (series.name, series.time) == (name, "day")
        assert np.array_equal(series.values, values)
        assert series.times == tuple(map(str, range(len(values))))
    assert read_series(path, name, "row").times == tuple(str(1 + row) for row in range(len(values)))


def test_one_column_needs_no_times(tmp_path: Path) -> None:
    series = read_series(written(tmp_path, "level\n3\n-1e3\n"))
    assert (series.name, series.time, series.times, series.values.tolist()) == ("level", "row", ("1", "2"), [3, -1000])


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        ("", None, "first row"),
        ("a,b\n", None, "rows below"),
        ("a,b\n1,2\n\n2,\n", None, "line 4, column 'b', got an empty cell"),
        ("a,b\n1,2\n2,x\n", None, "line 3, column 'b', got 'x'"),
        ("a,b\n1,nan\n", "b", "line 2, column 'b', got 'nan'"),
        ("a,b\n1,-inf\n", "b", "'-inf'"),
        ("a,b\n1,1e999\n", "b", "'1e999'"),
        ("a,b\n1,1_0\n", "b", "'1_0'"),
        ("a;b\n1;1,5\n", "b", "'1,5'"),
        ("a,b\n1,2,3\n", None, "2 cells, as the first row has, got 3 at line 2"),
        ("a,b\n1,2\n", "c", "one of 'a', 'b', got 'c'"),
        ("a,b,b\n1,2,2\n", "b", "'b' 2 times"),
        ("a,b,c\n1,2,3\n", None, "2 columns with numbers beside 'a': 'a', 'b', 'c'"),
        ("a,b\n1,x\n", None, "no column with numbers"),
        ("a,b\n2,1\n1,1\n", None, "got 1 after 2 at line 3"),
        ("a,b\n2020-02-01,1\n2020-01-01,1\n", None, "got 2020-01-01 after 2020-02-01"),
        ('a,b\n1,"2\n', None, "expected CSV"),
        (b"a,b\n1,\xff\n", None, "UTF-8"),
    ],
)
def test_what_is_no_series_is_refused(tmp_path: Path, content: str | bytes, column: str | None, message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read_series(written(tmp_path, content), column)
    assert message in str(caught.value)


def test_sunspots_are_the_years_from_1700_to_2008() -> None:
    series = sunspots()
    assert series.times == tuple(map(str, range(1700, 2009)))
    assert (series.values >= 0).all()
    assert series.values[[0, 1957 - 1700, -1]].tolist() == [5, 190.2, 2.9]


@pytest.mark.parametrize(
    ("times", "after"),
    [
        (["1700", "1701"], ["1702", "1703"]),
        (["0.1", "0.2", "0.3"], ["0.4", "0.5"]),
        (["2024-02-27", "2024-02-28"], ["2024-02-29", "2024-03-01"]),
        (["2024-02-29T12:00", "2024-02-29T18:00"], ["2024-03-01 00:00:00", "2024-03-01 06:00:00"]),
        (["2023-09-01", "2023-10-01", "2023-11-01"], ["2023-12-01", "2024-01-01"]),
        (["2023-12-28 06:00", "2024-03-28 06:00", "2024-06-28 06:00"], ["2024-09-28 06:00:00", "2024-12-28 06:00:00"]),
        (["2023-10-31", "2023-11-30"], ["2023-12-30", "2024-01-29"]),
        (["9999-09-01", "9999-10-01", "9999-11-01"], ["+1", "+2"]),
        (["9999-12-30", "9999-12-31"], ["+1", "+2"]),
        (["1", "2", "4"], ["+1", "+2"]),
        (["1"], ["+1", "+2"]),
        (["1", "1"], ["+1", "+2"]),
        (["Monday", "Tuesday"], ["+1", "+2"]),
        (["nan", "inf"], ["+1", "+2"]),
    ],
)
def test_times_after_the_last(times: list[str], after: list[str]) -> None:
    assert times_after(times, 2) == after


def test_times_that_cannot_be_compared_have_no_axis() -> None:
    assert axis(["2024-01-01", "2024-01-02T00:00+01:00"]) is None
    assert axis(["1", "Monday"]) is None

"""CSV files and what pandas holds turned into series: the one that is meant, or a refusal that helps."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scratch.forecast import Series, read_series, sunspots
from tests.scratch.forecast.files import Brought, brought, read_as_meant

finite = st.floats(allow_nan=False, allow_infinity=False)


def moment(text: str) -> pd.Timestamp:
    """A printed time; of a quarter its beginning."""
    return pd.Period(text).to_timestamp() if "Q" in text else pd.Timestamp(text)


@settings(max_examples=settings.default.max_examples // 2)
@given(file=brought())
def test_never_another_series_than_the_one_meant(tmp_path_factory: pytest.TempPathFactory, file: Brought) -> None:
    series, given_ = read_as_meant(file, tmp_path_factory.getbasetemp() / "series.csv")
    assert np.array_equal(series.values, file.values), (series.understood, given_, file.content)
    assert list(map(moment, series.times)) == file.times, (series.understood, given_)
    assert f"{len(file.times)} values" in series.understood[0]


def daily(n: int = 60, write: Callable[[int], str] = str, form: str = "%Y-%m-%d", step: str = "D") -> str:
    """Rows from 1 January 2020 on."""
    dates = pd.date_range("2020-01-01", periods=n, freq=step)
    return "".join(f"{date.strftime(form)},{write(row)}\n" for row, date in enumerate(dates))


def tenth(cell: str) -> str:
    """A file of such rows, the tenth of which has this cell."""
    return "date,v\n" + daily(write=lambda n: cell if n == 9 else str(n))


def read(tmp_path: Path, content: str | bytes, **options: Any) -> Series:
    path = tmp_path / "series.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_series(path, **options)


@settings(max_examples=settings.default.max_examples // 4)
@given(values=st.lists(finite, min_size=2, max_size=30), end=st.sampled_from(["\n", "\r\n", "\n\n"]))
@example(values=[1.7e308, -1.7e308, 0], end="\n")
def test_numbers_are_read_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], end: str
) -> None:
    lines = ["day,°C", *(f"{day},{value!r}" for day, value in enumerate(values)), ""]
    series = read(tmp_path_factory.getbasetemp(), end.join(lines), decimal=".")
    assert (series.name, series.time) == ("°C", "day")
    assert np.array_equal(series.values, values)
    assert np.array_equal(read_series(pd.DataFrame({"v": values})).values, values)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "at least 2 characters"),
        ("a,b\n", {}, "rows below"),
        (tenth("x"), {}, "column 'v', got 'x' at line 11: say with --na-values that it stands for none"),
        (tenth("1e999"), {}, "'1e999'"),
        (tenth("-999"), {}, "column 'v', got '-999' at line 11, 1 such: say --na-values -999 if it stands for none"),
        (tenth("-999.0"), {"na_values": ["-999", "-99"]}, "got '-999.0' at line 11, 1 such: say --na-values -999.0"),
        (tenth("999.9"), {"na_values": ["999.9"]}, "1 missing (1 of them cells without a value)"),
        (tenth("1_0"), {}, "'1_0'"),
        (tenth("5%"), {}, "one unit in column 'v', got '0' at line 2"),
        *((tenth(cell), {}, "1 missing (1 of them cells without a value)") for cell in ("", ":", "n.a.", "#DIV/0!")),
        ("date,v\n" + daily().replace("2020-01-31", "2020-01-32"), {}, "'2020-01-32' at line 32: say how dates"),
        ("date,v\n" + daily() + "Source: me\n", {}, "'Source: me' at line 62"),
        ("date,v\n" + daily(form="%m/%d/%Y") + "Total,9\n", {}, "a date in column 'date', got 'Total' at line 62"),
        ("date,v\n01.02.2020,1\n02.02.2020,2\n02/03/2020,3\n", {}, "column 'date', got '02/03/2020' at line 4"),
        ("year,v\n2000,1\n2001,2\nTotal,9\n", {"dates": "year"}, "got 'Total' at line 4: say how dates"),
        ("date,v\n" + daily() + "2020-01-03,9\n", {}, "'2020-01-03,2' at line 4 and '2020-01-03,9' at line 62, 1 such"),
        ("date,v\n" + daily(12, form="%d/%m/%Y", step="MS"), {}, "01 Feb 2020 or 02 Jan 2020: say --dayfirst"),
        ("date,v\n" + daily(write=lambda n: f"1.{n:03}"), {}, "say --decimal . for 1, or --decimal , for 1000"),
        ("date,v\n" + daily() + daily(form="%d.%m.%Y"), {}, "got '01.01.2020' at line 62"),
        ("title\n\ndate,v\n" + daily(), {}, "got 2 at line 3: choose the lines of the table with --lines"),
        ("day a  b\n1  5  6\n2     7\n", {"separator": "space"}, "3 cells, as the first row has, got 2 at line 3"),
        ("day,v\nMonday,1\nTuesday,2\n", {}, "--dates row"),
        ("temp,v\n5,1\n3,2\n4,3\n", {"column": "v"}, "--dates row"),
        ("a,b\n1,2\n", {"column": "c"}, "one of 'a', 'b' or its number, got 'c'"),
        ("a,b,b\n1,2,2\n", {"column": "b"}, "'b' 2 times"),
        ("a,b,c\n1,2,3\n", {}, "expected a --column, as 'b', 'c' have numbers"),
        ("date;id;v\n2020-01-01;1;1’200\n2020-01-02;2;1’300\n", {}, "expected a --column, as 'id', 'v' have numbers"),
        ("Month,2019,2018\nJan,5,6\nFeb,7,8\nMar,6,7\n", {}, "got 'Month', '2019', '2018', the first with 'Jan'"),
        ("a,b\n1,x\n", {}, "--dates row"),
        ("year,b\n1,1\n2,2\n4,2\n5,2\n", {}, "at every step of 1, got 1 gap, 1 missing: 1 between 2 and 4"),
        *(("t,v\n" + daily(), {"date_format": form}, "--date-format the parts of a date") for form in ("%Y%Y", "%q")),
        ("t,v\n200130,1\n200131,2\n200201,3\n200202,2\n", {}, "say the --date-format, such as %y%m%d"),
        ("year,b\n1,1\n2,2\n4.5,2\n5,2\n", {}, "even step"),
        ('a,b\n1,"2\n', {}, "expected CSV"),
        (b"PK\3\4\x14\0\x06\0\xff", {}, "a packed file: unpack it; of a workbook save a sheet as CSV"),
        (b"a,b\n1,\xff\n", {}, "likely it is cp1252 (see --encoding)"),
        ("date,v\n" + daily(), {"encoding": "utf-7-or-so"}, "that Python knows, got 'utf-7-or-so' (see --encoding)"),
        ("date,v\n" + daily(), {"where": ["v=61"]}, "a value of column 'v'"),
        ("date,v\n" + daily(), {"lines": "all"}, "such as 4-100"),
        ("date,v\n" + daily(), {"fill": "guess"}, "forward, linear, none, got 'guess'"),
        ("date,v\n" + daily(), {"decimal": ";"}, "--decimal '.' or ','"),
        ("date,v\n" + daily(), {"separator": "::"}, "one character, 'tab' or 'space', got '::'"),
        ("date,v\n" + daily(), {"where": ["v"]}, "such as country=A, got 'v'"),
        ("date,v\n" + daily(), {"column": "v", "dates": 2}, "two columns, got 'v' as --column and as --dates"),
        ("date,v\n" + daily(write=lambda n: "-"), {"column": "v"}, "in column 'v', got 60 cells without a value"),
        ("date,v\n" + daily() + ",9\n", {}, "a date in column 'date', got '' at line 62"),
        *((f"v\n1\n{cell}\n4\n5\n", {}, "1 gap, 1 missing") for cell in ('""', "")),
        ("date,v\n" + daily() + "2050-01-01,9\n", {"fill": "linear"}, "is a date wrong?"),
        ("date,v\n2020-01-01 10:00Z,1\n2020-01-01 11:00,2\n", {}, "or none, in column 'date', got '2020-01-01 10:00Z'"),
    ],
)
def test_what_may_be_meant_in_two_ways_or_none_is_refused(
    tmp_path: Path, content: str | bytes, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read(tmp_path, content, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "options", "after", "said"),
    [
        ("date,v\n" + daily(step="B"), {}, "2020-03-25", "step 1 weekday, no gaps"),
        (
            "date,v\n" + re.sub("2020-01-1[03].*\n", "", daily(12, step="B")),
            {"fill": "forward"},
            "2020-01-17",
            "weekday, 1 gap",
        ),
        ("date,v\n" + daily(step="MS", form="%m/%d/%Y"), {}, "2025-01-01", "dates M-D-Y"),  # even only with M first
        ("year,v\n2000,1850\n2001,1870\n2002,1930\n", {"date_format": "%Y"}, "2003-01-01", "v: 3 values by year"),
        ("date,v\n" + daily() + "2020-03-01,-1.0\n", {"na_values": [-1.0]}, "2020-03-01", "1 without a value"),
        ("date,v\n" + daily(step="BME"), {}, "2025-01-31", "step 1 month"),
        ("date,v\n" + daily() + "2020-03-01,-32768\n", {}, "2020-03-02", "-32768 at line 62 is far from all others"),
        ("date,v\n" + "".join(f"2020-{m:02}-28,{m}\n" for m in range(1, 9)), {}, "2020-09-28", "step 1 month"),
        ("date,v\n" + daily(step="15min", form="%d.%m.%Y %H:%M"), {}, "2020-01-01 15:00", "step 15 minutes"),
        ("t,v\n" + daily(9, step="250ms", form="%Y-%m-%d %H:%M:%S.%f"), {}, "2020-01-01 00:00:02.250000", "step 0.25"),
        ("date,v\n" + daily(60, step="QS", form="%Y-%m"), {}, "2035-01", "step 1 quarter"),
        ("date,v\n" + daily(30, step="h", form="%Y-%m-%d %I:%M %p"), {}, "2020-01-02 06:00", "step 1 hour"),
        ("t,v\n" + daily(30, step="h", form="%d.%m.%Y %H:%M").replace(" 00:00", ""), {}, "2020-01-02 06:00", "1 hour"),
        ("v\n1\n2\n-3e2\n", {}, "4", "by row"),
        ("v\nNA\n1\n2\n3\n", {}, "5", "by row, 2 to 4"),
        ("2020,1\n2021,2\n2022,5\n", {}, "2023", "no header"),
        (",0\n" + daily(), {}, "2020-03-01", "by column 1"),
        (daily(write=lambda n: "" if n == 0 else str(n)), {}, "2020-03-01", "by column 1"),  # no name is a date
        ("0.1,1\n0.2,2\n0.3,5\n", {}, "0.4", "step 0.1"),
        ("1960.0,1\n1961.0,2\n1962.0,5\n", {}, "1963", "step 1,"),  # month 0 is none
        ("1960,1\n1960.25,2\n1960.5,4\n1960.75,5\n", {}, "1961", "step 0.25"),
        ("d;v\n1;0,500\n2;1,250\n3;0,125\n", {}, "4", "decimal ','"),  # no thousand begins with 0
        ("d;v\n1;1,500e-3\n2;1,250E+4\n3;1,125e0\n", {}, "4", "decimal ','"),  # nor has one a power of ten
        ("January 10, 2000\t1,0\nJanuary 11, 2000\t2,5\n", {}, "2000-01-12", "decimal ','"),  # 2000 and 1 are no month
        ("2020 MAR,1\n2020 APR,2\n2020 MAY,5\n", {}, "2020-06", "dates Y-MON"),  # no currency
        ("day v\n1 1\n2 2\n3 5\n", {"separator": "space"}, "4", "separator space"),
        ("20200227,1\n20200228,2\n20200229,5\n", {}, "2020-03-01", "dates YMD"),
        ("day,v\n1,1\n2,2\n4.5,5\n", {"fill": "none"}, "+1", "rows taken as neighbours"),
        ("day,v\n1,1\n2,2\n3,\n", {}, "3", "1 without a value at the ends left out"),
        ("day,v\n1,1\n2,\n3,2\n4,\n5,4\n", {}, "7", "step 2, no gaps, 2 without a value between them"),
        ("a\n\nd,v\n" + daily() + "Source\n", {"lines": "4-63"}, "2020-03-01", "no header"),
        ("date,v\n" + daily() + "2020-01-03,9\n", {"duplicates": "mean"}, "2020-03-01", "of equal dates the mean"),
        ("date;v\n" + daily(write="1’2{:02}".format).replace(",", ";"), {}, "2020-03-01", 'thousands "\'"'),
        ("date v\n2020-01-01 1’200\n2020-01-02  1’300\n", {"separator": "space"}, "2020-01-03", 'thousands "\'"'),
        ("n/a,0\n1,1\n2,4\n", {"column": 2, "dates": "row"}, "4", "column 2: 3 values"),
        ("2000,?,0\n2001,1,1\n2002,2,4\n", {"column": 3}, "2003", "column 3: 3 values"),
        ("day,v\n" + daily(form="%Y%j"), {"date_format": "%Y%j"}, "2020-03-01", "dates %Y%j"),
        ("t,v\n2020102502+0200,1\n2020102502+0100,2\n", {"date_format": "%Y%m%d%H%z"}, "2020-10-25 02:00", "in UTC"),
        ("day,v\n" + daily(form="%Y. %m. %d."), {}, "2020-03-01", "dates Y-M-D"),
        ("id,day,v\n" + daily(form="a%j,%d%m%Y"), {"date_format": "%d%m%Y"}, "2020-03-01", "by day"),
        ("w,v\n1999W10-1,1\n1999-W11-1,2\n1999W12,5\n", {}, "1999-03-29", "step 1 week"),
        ("t,v\n" + "".join(f"{20200101 + 101 * n},{n % 5}\n" for n in range(9)), {}, "20201010", "step 101"),
        ("t,v\n20200101,1\n20200102,2\n20200104,2\n20200105,2\n", {"fill": "linear"}, "2020-01-06", "dates YMD"),
        ("d,g’s  v\n1,1\n2,2\n3,5\n", {"column": "g’s  v"}, "4", "g's v: 3 values"),
        ("d,g,v\n1,g’s  v,1\n2,g’s  v,2\n2,h,5\n", {"where": ["g=g’s  v"]}, "3", "v: 2 values"),
        ("Entity,Year,v\n" + "".join(f"World,{2000 + n},{n % 5}\n" for n in range(9)), {}, "2009", "by Year"),
        ("out,date,v\n" + daily().replace("2020-", "2024-05-06,2020-"), {}, "2020-03-01", "by date"),
        ("date,v,note\n" + daily(write='{},"a; b"'.format), {}, "2020-03-01", "separator ','"),
        ("date,v,note\n" + daily(write="{},a|b".format), {}, "2020-03-01", "separator ','"),
        ("date,v\t\n" + daily(write="{}\t".format), {}, "2020-03-01", "separator ','"),
        ("year,\tv\n2000,\t1\n2001,\t2\n", {}, "2002", "by year"),
        ("v\n1,5\n2,5\n3,5\n", {}, "4", "decimal ','"),
        ("a,b,c,d,date,v\n" + daily().replace("2020-", "x,x,x,x,2020-"), {}, "2020-03-01", "separator ','"),
        ("x,y,z\n" * 210 + "date;v\n" + daily().replace(",", ";"), {"lines": "211-"}, "2020-03-01", "separator ';'"),
    ],
)
def test_how_a_series_goes_on(tmp_path: Path, content: str, options: dict[str, Any], after: str, said: str) -> None:
    series = read(tmp_path, content, **options)
    labels, places = series.after(3)
    assert labels[0] == after
    assert said in " ".join(series.understood)
    assert len(places) == len(series) + 3 and (np.diff(places) > 0).all()


@pytest.mark.parametrize(
    ("step", "season"),
    [("15min", 96), ("h", 24), ("7h", None), ("D", 7), ("B", 5), ("W", 52), ("MS", 12), ("QS", 4), ("YS", None)],
)
def test_the_calendar_has_a_season(tmp_path: Path, step: str, season: int | None) -> None:
    series = read(tmp_path, daily(40, step=step, form="%Y-%m-%d %H:%M"))
    assert series.axis and series.axis.grid and series.axis.grid.season == season


def test_amounts_below_zero_stand_in_brackets(tmp_path: Path) -> None:
    for cell in ("$ (5.00)", "($5.)", "$( 5 )", "(5 $)", "-$ 5", "$-5"):
        assert read(tmp_path, f"d;v\n1;$0.5\n2;{cell}\n").values.tolist() == [0.5, -5]
    for cell in ("(5", "5)", "(5)5", "((5))", "()"):
        with pytest.raises(ValueError, match="expected a number"):
            read(tmp_path, f"d;v\n1;0.5\n2;{cell}\n3;6\n")


def test_gaps_are_filled_as_asked() -> None:
    frame = pd.Series(
        [1.0, 2, 8, 9, 10], pd.to_datetime(["2020-01-01", "2020-01-02", *pd.date_range("2020-01-05", periods=3)])
    )
    assert read_series(frame, fill="forward").values.tolist() == [1, 2, 2, 2, 8, 9, 10]
    assert read_series(frame, fill="linear").values.tolist() == [1, 2, 4, 6, 8, 9, 10]
    assert read_series(frame, fill="none").values.tolist() == [1, 2, 8, 9, 10]
    for eight in ("8", [8], [8.0]):
        assert read_series(frame[1:], na_values=eight, fill="forward").values.tolist() == [2, 2, 2, 2, 9, 10]


@pytest.mark.parametrize(
    ("index", "after"),
    [
        (pd.period_range("2020", periods=30, freq="Q"), "2027Q3"),
        (pd.date_range("2020-03-01", periods=60, freq="D", tz="Europe/Berlin"), "2020-04-30"),
        (pd.date_range("2020-03-28", periods=60, freq="h", tz="Europe/Berlin"), "2020-03-30 11:00"),  # in UTC
        (pd.RangeIndex(30), "31"),
        (pd.RangeIndex(1960, 2020), "2020"),
    ],
)
def test_what_pandas_holds_is_read(index: pd.Index, after: str) -> None:
    values = 1.125 + 1.25 * np.arange(len(index))  # three decimals each: in a file it could be thousands
    rows = pd.Series(values, index)
    for source in (rows, rows.to_frame("level"), rows.iloc[::-1] if len(set(index)) == 60 else rows):
        series = read_series(source)
        assert np.array_equal(series.values, values)
        assert series.after(1)[0] == [after]


def test_frames_without_rows_or_numbers_and_with_a_name_twice() -> None:
    with pytest.raises(ValueError, match="expected rows, got a DataFrame without any"):
        read_series(pd.DataFrame({"date": [], "v": []}))
    with pytest.raises(ValueError, match="with a file alone, got a Series"):
        read_series(pd.Series([1.0, 2, 4]), lines="2-3")
    for other in (pd.array([True, False], dtype="boolean"), [1j, 2j]):
        with pytest.raises(ValueError, match="expected a column with numbers"):
            read_series(pd.Series(other))
    frame = pd.DataFrame({"date": pd.date_range("2020-01-01", periods=4), "v": [1.0, 2, 4, 8]})
    assert read_series(frame.set_index("date", drop=False)).values.tolist() == [1, 2, 4, 8]


def test_sunspots_are_the_years_from_1700_to_2008() -> None:
    series = sunspots()
    assert series.times == tuple(map(str, range(1700, 2009)))
    assert (series.values >= 0).all()
    assert series.values[[0, 1957 - 1700, -1]].tolist() == [5, 190.2, 2.9]

"""Text as numbers: files, vocabularies, and streams."""

import os
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from scratch.text import Streams, Vocabulary, corpus, read_text
from scratch.text.corpus import digest, read_texts, split, standard_library
from tests.scratch.nn.equations import Docstring

DOCSTRING = Docstring(corpus.__doc__)
SIZES = st.integers(1, 12) | st.integers(1, 10**30)


@DOCSTRING.equation("x[b, t] = text[b·n + k·T + t]")
@given(st.integers(2, 150), SIZES, SIZES)
def test_streams_are_equation_1(N: int, batch_size: int, length: int) -> None:
    """With as many streams, and as long segments, as were asked for, unless the text is too short."""
    text = np.arange(N)
    streams = Streams(text, batch_size, length)
    B, T = streams.batch_size, streams.length
    n = (N - 1) // B
    assert (streams.length, streams.batch_size) == (min(length, N - 1), min(batch_size, (N - 1) // T))
    assert (streams.segments, streams.characters) == (-(-n // T), n * B)
    for k in range(streams.segments):
        steps = range(min(T, n - k * T))
        x, y = streams.segment(k)
        assert x.tolist() == [[text[b * n + k * T + t] for t in steps] for b in range(B)]
        assert y.tolist() == [[text[b * n + k * T + t + 1] for t in steps] for b in range(B)]
        for array in (x, y):
            array[...] = -1  # they are copies: what is read next is right
    for outside in (-1, streams.segments):
        with pytest.raises(IndexError, match="segment"):
            streams.segment(outside)
    assert np.array_equal(text, np.arange(N))


def test_every_equation_of_the_docstring_is_tested() -> None:
    assert DOCSTRING.numbered() == set(DOCSTRING.tested)


@given(st.text(min_size=4, max_size=60), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_both_parts_of_a_split_can_be_predicted(text: str, fraction: float) -> None:
    training, validation = split(text, fraction)
    assert training + validation == text
    assert min(len(training), len(validation)) >= 2
    assert len(validation) in (2, len(text) - 2) or abs(len(validation) - fraction * len(text)) <= 0.5


@given(st.sets(st.characters(), min_size=1).map(list).flatmap(st.permutations), st.data())
def test_a_vocabulary_in_any_order_numbers_its_characters_and_no_others(
    characters: list[str], data: st.DataObject
) -> None:
    vocabulary = Vocabulary("".join(characters))
    text = "".join(characters) + data.draw(st.text(st.sampled_from(characters)))
    indices = vocabulary.encode(text)
    assert indices.tolist() == [characters.index(character) for character in text]
    assert vocabulary.decode(indices.reshape(1, -1)) == text
    assert Vocabulary.of(text).characters == "".join(sorted(characters))
    with pytest.raises(ValueError, match="known"):
        vocabulary.encode(text + data.draw(st.characters().filter(lambda other: other not in text)))
    for index in (-1, len(vocabulary)):
        with pytest.raises(IndexError, match="indices"):
            vocabulary.decode(np.array([0, index]))
    with pytest.raises(ValueError, match="once"):
        Vocabulary(text + text[0])


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (Vocabulary, ("",), ValueError, "once"),
        *((split, ("abc"[:length], 0.5), ValueError, "characters") for length in range(4)),
        *((split, ("text", fraction), ValueError, "fraction") for fraction in (0.0, 1.0, -0.1, 2.0, np.nan)),
        *((Streams, (np.arange(N), 1, 1), ValueError, "at least") for N in (0, 1)),
        *((Streams, (np.arange(9), *sizes), ValueError, "at least") for sizes in ((0, 1), (1, 0))),
        (Streams, (np.arange(9), 1.5, 1), TypeError, "int"),
    ],
)
def test_what_cannot_be_read_or_divided_is_refused(
    function: Any, arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        function(*arguments)


def as_read(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.text("\r\n\ufeffa")


@given(st.lists(ANY.filter(lambda text: len(as_read(text)) >= 2), min_size=2, max_size=3))
def test_texts_are_read_as_they_are_and_told_apart(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    paths = [tmp_path_factory.getbasetemp() / f"text{index}" for index in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text.encode())
        assert read_text(path) == as_read(text)
        assert (digest(text) == digest(texts[0])) == (text == texts[0])
    assert read_texts(paths) == "".join(map(as_read, texts))


SPOKEN = {
    "cp1252": "Ein Bär äße Brötchen, né à Noël.\n",
    **dict.fromkeys(["cp1251", "koi8-r", "utf-16-le"], "Все счастливые семьи похожи друг на друга.\n"),
    **dict.fromkeys(["shift_jis", "euc_jp"], "吾輩は猫である。名前はまだ無い。\n"),
    "euc_kr": "나는 고양이로소이다. 이름은 아직 없다.\n",
    "gb18030": "学而时习之,不亦说乎?有朋自远方来,不亦乐乎?\n",
    "big5": "學而時習之,不亦說乎?有朋自遠方來,不亦樂乎?\n",
    **dict.fromkeys(["utf-16", "utf-16-be", "utf-32"], "Any text at all.\n"),
}


@pytest.mark.parametrize("encoding", SPOKEN)
@profile(max_examples=profile.default.max_examples // 4)
@given(more=st.text(string.ascii_letters + " \n", max_size=99), mark=st.booleans(), windows=st.booleans())
def test_a_text_is_read_in_its_encoding_and_a_wrong_one_names_the_likely(
    tmp_path_factory: pytest.TempPathFactory, encoding: str, more: str, mark: bool, windows: bool
) -> None:
    text, path, notes = SPOKEN[encoding] + more, tmp_path_factory.getbasetemp() / "encoded", list[str]()
    path.write_bytes((text.replace("\n", "\r\n") if windows else text).encode(encoding))
    assert read_text(path, encoding, notes.append) == text
    assert len(notes) == windows
    with pytest.raises(ValueError, match=rf"expected UTF-8 .* likely it is {encoding}$"):
        read_text(path)
    path.write_text(text, "utf-8-sig" if mark else "utf-8")
    assert read_text(path) == text


def test_the_standard_library_is_the_same_text_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.py", "a/c.py", "a/__init__.py", "test/x.py", "a/tests/x.py", "site-packages/x.py", "a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    (tmp_path / "latin.py").write_bytes(b"# \xff\n")
    (tmp_path / "empty.py").touch()
    monkeypatch.setattr("sysconfig.get_path", {"stdlib": os.fspath(tmp_path)}.__getitem__)
    assert standard_library() == "# a/__init__.py\n# a/c.py\n# b.py\n"

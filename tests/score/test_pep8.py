"""Pep8 and Pep8Local against pycodestyle itself, and at the edges of what is Python."""

from __future__ import annotations

import bisect
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pycodestyle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valence.corpus.segment import SEGMENTERS, line_ends
from valence.corpus.stdlib import read_stdlib
from valence.corpus.unformat import unformat
from valence.data import Document, Failure, Result, Score, tile
from valence.score.pep8 import Pep8, Pep8Local, complete_statements, is_tokenizable


@cache
def library() -> list[Document]:
    return [item for item in read_stdlib() if isinstance(item, Document)]


def document(text: str) -> Document:
    return Document(id="x", text=text, source="x")


def score(scorer: Pep8 | Pep8Local, text: str, segmenter: str = "line") -> list[Result]:
    return scorer.score(document(text), tile(SEGMENTERS[segmenter](text)))


def values(results: list[Result]) -> list[float]:
    assert all(isinstance(result, Score) for result in results)
    return [result.value for result in results if isinstance(result, Score)]


class _Report(pycodestyle.BaseReport):
    def init_file(self, *arguments: object) -> None:
        self.found: list[tuple[int, str, str]] = []
        super().init_file(*arguments)

    def error(self, row: int, column: int, text: str, check: object) -> None:
        if super().error(row, column, text, check):
            self.found.append((row, text[:4], text[5:]))


_OPTIONS = pycodestyle.StyleGuide(reporter=_Report).options


def oracle(text: str) -> list[tuple[int, str, str]]:
    """(row, code, message) by pycodestyle's own Checker, errors of syntax left out."""
    lines = io.StringIO(text, newline=None).readlines()
    checker = pycodestyle.Checker(lines=lines, options=_OPTIONS)
    checker.check_all()
    return sorted(found for found in checker.report.found if found[1][:2] != "E9")


def ours(text: str) -> list[tuple[int, str, str]]:
    ends = line_ends(text)
    return sorted(
        (bisect.bisect_right(ends, mark.start) + 1, mark.code, mark.message)
        for mark in Pep8().marks(text)
        if mark.code != "E902"
    )


@pytest.mark.parametrize("item", library()[::40], ids=lambda item: item.source)
def test_marks_are_those_of_pycodestyle(item: Document) -> None:
    messy = unformat(item.text, share=0.5, seed=0)
    assert ours(item.text) == oracle(item.text)
    assert ours(messy) == oracle(messy)


@pytest.mark.slow
def test_marks_are_those_of_pycodestyle_on_the_whole_library() -> None:
    for item in library():
        assert ours(item.text) == oracle(item.text), item.source


WORDS = ("None", " not ", " in ", "if ", "def f", "class ", "type(", "import os", "lambda", "==")
ODDITIES = ("except:", "f'{x=}'", "\\d", '"""', "# noqa", "\r\n", "\\\n", "\n    ", "é" * 40)
CHARACTERS = "()[]{}:;,='#@-$1xl \t\f\n\r\xa0\u2028"


@settings(deadline=None)
@given(text=st.lists(st.sampled_from([*CHARACTERS, *WORDS, *ODDITIES]), max_size=40).map("".join))
def test_anything_is_numbers_or_failures_and_agrees_with_pycodestyle(text: str) -> None:
    results = score(Pep8(), text)
    assert len(results) == len(line_ends(text))
    failure = is_tokenizable(text)
    if failure:
        assert results == [failure] * len(results)
    try:
        expected = oracle(text)
    except (SystemError, IndexError):  # pycodestyle's own crashes, under Python 3.12 and 3.13
        assert all(isinstance(result, Failure) for result in results)
    else:
        assert ours(text) == expected
        assert failure or len(values(results)) == len(results)
    assert len(values(score(Pep8Local(), text))) == len(line_ends(text))
    for mark in Pep8().marks(text) + Pep8Local().marks(text):
        assert 0 <= mark.start < mark.end <= len(text)
    prefix = complete_statements(text)
    assert text.startswith(prefix)
    assert prefix == text or (not is_tokenizable(prefix) and complete_statements(prefix) == prefix)


def test_counts_are_those_of_the_command_line(tmp_path: Path) -> None:
    sources = ["ast.py", "this.py", "turtle.py", "optparse.py", "lib2to3/pytree.py", "zipfile.py"]
    chosen = [item for item in library() if item.source in sources]
    for item in chosen:
        path = tmp_path / item.source
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(item.text.replace("\n", "\r\n").encode())
    names = [item.source for item in chosen]
    answer = subprocess.run(
        [sys.executable, "-m", "pycodestyle", *names],
        cwd=tmp_path,
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"^(.+?):(\d+):\d+: (\w+)", answer.stdout, re.MULTILINE)
    assert len(found) > 100
    expected = Counter((source, int(row)) for source, row, _ in found)
    for item in chosen:
        text = item.text.replace("\n", "\r\n")
        segments = tile(line_ends(text))
        results = Pep8().score(document(text), segments)
        for row, (segment, value) in enumerate(zip(segments, values(results), strict=True), 1):
            count = expected[item.source, row]
            assert value == -count / (segment.end - segment.start), (item.source, row)


def test_no_configuration_file_is_read(tmp_path: Path) -> None:
    for name in ("pycodestyle", "setup.cfg", "tox.ini"):
        (tmp_path / name).write_text("[pycodestyle]\nignore = E,W\nmax-line-length = 5\nodd = 1\n")
    program = (
        "import json; from valence.score.pep8 import Pep8\n"
        "print(json.dumps([[m.code for m in Pep8().marks('x=1\\n')], Pep8().id.digest]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(answer.stdout) == [["E225"], Pep8().id.digest]


def test_a_violation_counts_where_it_is_located() -> None:
    text = "import os\nx=1\n\ndef f(a,b):\n    return a\n"
    assert values(score(Pep8(), text)) == [0, -1 / 4, 0, -2 / 12, 0]
    assert values(score(Pep8(), text, "document")) == [-3 / len(text)]
    parts = tile([12, 20, len(text)])  # in the middle of lines 2 and 4
    assert values(Pep8().score(document(text), parts)) == [-1 / 12, -1 / 8, -1 / (len(text) - 20)]
    assert score(Pep8(), "") == score(Pep8Local(), "") == []


def test_form_feeds_and_odd_breaks_do_not_shift_lines() -> None:
    text = "\ufeffx = 1\x0c\ny = '\u2028'\r\nz=3\rw = 4 \n"
    assert values(score(Pep8(), text)) == [0, 0, -1 / 4, -1 / 7]
    marks = [(text[mark.start : mark.end], mark.code) for mark in Pep8().marks(text)]
    assert marks == [("=", "E225"), (" ", "W291")]
    first = "\ufeffx=1\n"
    assert [(mark.start, mark.code) for mark in Pep8().marks(first)] == [(2, "E225")]
    assert [(mark.start, mark.code) for mark in Pep8Local().marks(first)] == [(2, "E225")]


def test_marks_point_at_characters_and_name_the_rule() -> None:
    text = "value = 1 \n" + "x = '" + "a" * 80 + "'\n"
    marks = Pep8().marks(text)
    assert [(text[mark.start : mark.end], mark.code) for mark in marks] == [
        (" ", "W291"),
        ("a" * 6 + "'\n", "E501"),
    ]
    assert marks[0].message == "trailing whitespace"


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("x=1\ny = (1,\n", 3),
        ('x=1\ny = """\n', 2),
        ("if x:\n    a=1\n  b = 2\n", 3),
        ("x=1\ny = 'a\n", 2),
        ("x=1\ny = '\0'\n", 2),
        ("x=1\ny = $\n", 2),
    ],
)
def test_what_cannot_be_tokenised_is_a_failure_and_keeps_its_marks(text: str, row: int) -> None:
    results = score(Pep8(), text)
    failure = is_tokenizable(text)
    assert failure is not None
    assert results == [failure] * len(line_ends(text))
    assert (failure.stage, failure.kind) == ("score", "untokenizable")
    codes = [mark.code for mark in Pep8().marks(text)]
    assert codes.count("E902") == 1
    if sys.version_info < (3, 12):  # where the tokenizer yields all that it can first
        assert failure.message.startswith(f"line {row}: ")
        assert "E225" in codes


def test_local_looks_at_each_line_alone() -> None:
    text = "import os\ndef f(a,b):\n\n\n\n        x= (1, \n    \n  y = 2; z: int\n"
    assert values(score(Pep8Local(), text)) == [0, -1 / 12, 0, 0, 0, -2 / 16, 0, -1 / 16]
    marks = Pep8Local().marks(text)
    assert [(text[mark.start : mark.end], mark.code) for mark in marks] == [
        (",", "E231"),
        ("=", "E225"),
        (" ", "W291"),
        (";", "E702"),
    ]


def test_local_judges_length_without_the_indentation_and_keeps_the_ignore_list() -> None:
    long = "x = '" + "a" * 73 + "'\n"
    assert len(long) == 80
    assert values(score(Pep8Local(), " " * 40 + long)) == [0]
    assert values(score(Pep8Local(), "    y" + long)) == [-1 / 85]
    assert values(score(Pep8Local(), "x = a*b\n")) == [0]  # E226 is on the default ignore list


def test_local_is_a_part_of_pep8_for_unindented_statements() -> None:
    text = "x=1\nfoo (1)\ny = [ 2]\n"
    assert score(Pep8(), text) == score(Pep8Local(), text)


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("", ""),
        ("x = 1", ""),
        ("x = 1\ny = (2,\n", "x = 1\n"),
        ("x = 1\r\ny = [\r\n1", "x = 1\r\n"),
        ("\ufeffx = 1\ny", "\ufeffx = 1\n"),
        ("x = 1\n\n# comment\n\ny = '''\n\n", "x = 1\n"),
        ("def f():\n    return 1\n    x = 'unfin", "def f():\n    return 1\n"),
        ("x = 1\ny = f(2, 'unfin", "x = 1\n"),
        ("x = 1\ny = 2 + \\", "x = 1\n"),
        ("x = 1\ny = 2 + \\\n", "x = 1\n"),
        ("x = 1\ny = 'unfin\nz = 3\n", None),
        ("x = 1\nif y:\n    z\n  w\nv", None),
        ("x = $\ny = (", None),
        ("x = 1\n", None),
    ],
)
def test_complete_statements(text: str, prefix: str | None) -> None:
    assert complete_statements(text) == (text if prefix is None else prefix)


def test_each_line_that_was_messed_up_is_worse_than_before() -> None:
    messed = worse = 0
    for item in library()[::100]:
        messy = unformat(item.text, share=0.4, seed=1)
        before, after = score(Pep8(), item.text), score(Pep8(), messy)
        if is_tokenizable(messy):
            assert is_tokenizable(item.text)
            continue
        starts = zip(tile(line_ends(item.text)), tile(line_ends(messy)), strict=True)
        for index, (old, new) in enumerate(starts):
            if item.text[old.start : old.end] != messy[new.start : new.end]:
                messed += 1
                worse += values(after)[index] < values(before)[index]
    assert messed > 1000
    assert worse / messed > 0.99


def test_identity() -> None:
    scorer, local = Pep8(), Pep8Local()
    assert (scorer.id.name, local.id.name) == ("pep8", "pep8-local")
    assert scorer.id == Pep8().id
    assert len({scorer.id.digest, local.id.digest}) == 2
    assert "0 is clean" in scorer.meaning

"""The unformatter adds bad style and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
import warnings
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valence.corpus.segment import line_ends
from valence.corpus.stdlib import read_stdlib
from valence.corpus.unformat import DEFAULT_SHARES, file_share, unformat
from valence.data import Document


@cache
def library() -> list[Document]:
    return [item for item in read_stdlib() if isinstance(item, Document)]


def tree(text: str) -> str | None:
    """The syntax tree without positions; None where this Python cannot parse the text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.dump(ast.parse(text))
        except (SyntaxError, ValueError):
            return None


def lines(text: str) -> list[str]:
    return [text[start:end] for start, end in pairwise([0, *line_ends(text)])]


EVERYTHING = '''\
#!/usr/bin/env python
# -*- coding: utf-8 -*-
import os, sys

# A plain comment
@property
def f(a, *, b=1, c: int = 2, **kw) -> dict:
    """A docstring  with ( odd ) ,blanks."""
    x = [a[1:2], (b, ), {"k": -1, 'l': 2 ** 3}]  # inline
    y = a < -b or 1. + .5 == b and not (c := f(a, b=x))  # type: ignore
    if x: y = 3
    text = f"{a = } {b:>{c}} {{"  # noqa: E501
    return {**kw, "z": lambda q=1: q - 1 \\
            if y else (yield)}


class C(object):
    s = """
  a = 1
""" ; t = 2
'''


@given(seed=st.integers(0, 2**64), share=st.floats(0, 1))
def test_every_construct_keeps_its_tree(seed: int, share: float) -> None:
    messy = unformat(EVERYTHING, share=share, seed=seed)
    assert tree(messy) == tree(EVERYTHING) is not None
    assert messy.startswith("#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n")
    assert '"""A docstring  with ( odd ) ,blanks."""' in messy
    assert "# type: ignore\n" in messy
    assert "# noqa: E501\n" in messy


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.sampled_from([*DEFAULT_SHARES, 1.0]), data=st.data())
def test_library_files_keep_their_tree(seed: int, share: float, data: st.DataObject) -> None:
    document = data.draw(st.sampled_from([item for item in library() if len(item.text) < 20_000]))
    assert tree(unformat(document.text, share=share, seed=seed)) == tree(document.text)


@pytest.mark.slow
def test_the_whole_library_keeps_its_trees() -> None:
    for document in library():
        share = file_share(document.id, seed=0)
        messy = unformat(document.text, share=share, seed=0)
        assert tree(messy) == tree(document.text), document.id


@settings(deadline=None)
@given(data=st.data(), seed=st.integers(0, 99))
def test_line_breaks_and_byte_order_mark_stay(data: st.DataObject, seed: int) -> None:
    breaks = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    plain = unformat(EVERYTHING, share=1, seed=seed)
    text = "\ufeff" + EVERYTHING.replace("\n", breaks)
    messy = unformat(text, share=1, seed=seed)
    assert messy.startswith("\ufeff#!")
    assert messy.count(breaks) == plain.count("\n")
    translated = messy.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    assert tree(translated) == tree(plain)


@pytest.mark.parametrize("share", DEFAULT_SHARES)
def test_about_the_asked_share_of_lines_changes(share: float) -> None:
    changed = total = 0
    for document in library()[::60]:
        messy = unformat(document.text, share=share, seed=3)
        before, after = lines(document.text), lines(messy)
        assert len(before) == len(after)
        # Lines inside of strings cannot change, nor can those with nothing but "#" or a ")".
        able = lines(unformat(document.text, share=1, seed=3))
        total += sum(one != other for one, other in zip(before, able, strict=True))
        changed += sum(one != other for one, other in zip(before, after, strict=True))
    assert changed / total == pytest.approx(share, abs=0.02)


def test_share_zero_and_broken_text_change_nothing() -> None:
    assert unformat(EVERYTHING, share=0, seed=1) == EVERYTHING
    for broken in ("x = (1,\ny = 2\n", 'x = """\n', "if x:\n    a = 1\n  b = 2\n", "a = 1 $ 2\n"):
        assert unformat(broken, share=1, seed=1) == broken
    assert unformat("", share=1, seed=1) == ""


def test_the_same_in_every_process() -> None:
    program = (
        "import sys; from valence.corpus.unformat import *;"
        "sys.stdout.write(repr((unformat(sys.stdin.read(), share=.5, seed=7), file_share('a'))))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=EVERYTHING,
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert outputs == {repr((unformat(EVERYTHING, share=0.5, seed=7), file_share("a")))}


def test_file_share_picks_each_rate_for_about_as_many_files() -> None:
    shares = [file_share(f"stdlib/{number}.py", seed=5) for number in range(3000)]
    for share in DEFAULT_SHARES:
        assert shares.count(share) == pytest.approx(1000, abs=100)
    assert shares != [file_share(f"stdlib/{number}.py", seed=6) for number in range(3000)]

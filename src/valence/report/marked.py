"""Text as HTML that shows exactly that text, with marks on it.

What is added for the eye (codes at the end of a line, dots for blanks, names of control
characters) is generated content of the style sheet: it is neither selected, nor copied,
nor part of the element's text.
"""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from valence.data import Mark

# HTML cannot hold NUL, and UTF-8 cannot hold half a surrogate pair.
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
# Controls other than tab and newline, invisible characters, and those that reorder text.
_UNSEEN = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


def escape(text: str) -> str:
    """Text for use between tags or in a quoted attribute."""
    return html.escape(_UNWRITABLE.sub("\ufffd", text), quote=True).replace("\r", "&#13;")


def marked_html(text: str, marks: Sequence[Mark]) -> str:
    """Phrasing content for a `<pre><code>`: the text, each mark a `<mark>` with a title.

    Marks may overlap, be empty, or reach past the text (they are cut to it). The codes of
    the marks that begin in a line are listed after that line.
    """
    opening: dict[int, list[Mark]] = defaultdict(list)
    cuts = {0, len(text)}
    for found in re.finditer("\n", text):
        cuts |= {found.start(), found.end()}
    for mark in sorted(marks, key=lambda mark: (mark.start, mark.end, mark.code)):
        opening[_clamp(mark.start, text)].append(mark)
        cuts |= {_clamp(mark.start, text), _clamp(mark.end, text)}
    return "".join(_pieces(text, opening, sorted(cuts)))


def _pieces(text: str, opening: dict[int, list[Mark]], cuts: list[int]) -> Iterator[str]:
    open_marks: list[Mark] = []
    codes: list[str] = []
    for here, there in zip(cuts, [*cuts[1:], len(text)], strict=True):
        new = opening.get(here, [])
        codes += [mark.code for mark in new]
        points = [mark for mark in new if _clamp(mark.end, text) <= here]
        open_marks = [mark for mark in open_marks + new if _clamp(mark.end, text) > here]
        if points:
            yield f'<mark class="point" title="{_title(points)}"></mark>'
        ends_line = text[here : here + 1] in ("", "\n")
        if ends_line and any(_clamp(mark.start, text) == here for mark in open_marks):
            yield f'<mark class="newline" title="{_title(open_marks)}"></mark>'
        if ends_line and codes:
            yield f'<span class="codes" data-codes="{escape(" ".join(codes))}"></span>'
            codes = []
        if ends_line:
            yield text[here:there]
        elif there > here:
            yield _piece(text[here:there], open_marks, last=text[there : there + 1] in ("", "\n"))


def _piece(piece: str, marks: Sequence[Mark], *, last: bool) -> str:
    """Part of one line, `last` if it is the last, under the same marks from end to end."""
    if not marks:
        return _visible(piece)
    shown = _visible(piece)
    if piece.isspace():
        shown = "".join(map(_blank, piece))
    elif last:
        body = piece.rstrip(" \t")
        shown = _visible(body) + "".join(map(_blank, piece[len(body) :]))
    return f'<mark title="{_title(marks)}">{shown}</mark>'


def _visible(text: str) -> str:
    parts, last = [], 0
    for found in _UNSEEN.finditer(text):
        parts.append(escape(text[last : found.start()]) + _control(found.group()))
        last = found.end()
    return "".join([*parts, escape(text[last:])])


def _blank(char: str) -> str:
    name = {" ": "sp", "\t": "tab"}.get(char)
    return f'<i class="{name}">{char}</i>' if name else _visible(char)


def _control(char: str) -> str:
    name, code = repr(char)[1:-1], f"U+{ord(char):04X}"
    return f'<span class="control" title="{code}" data-name="{name}">{escape(char)}</span>'


def _title(marks: Sequence[Mark]) -> str:
    return escape("\n".join(dict.fromkeys(map(described, marks))))


def described(mark: Mark) -> str:
    """The mark's code and message, the code said once."""
    return mark.message if mark.message.startswith(mark.code) else f"{mark.code} {mark.message}"


def _clamp(offset: int, text: str) -> int:
    return min(max(offset, 0), len(text))

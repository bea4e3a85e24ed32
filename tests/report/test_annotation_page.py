"""The page and the terminal show an annotation as it is, and nothing in its text is obeyed."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from valence.data import Mark
from valence.report.annotation import example_text, histogram_text, print_annotation
from valence.report.annotation_content import (
    Agreement,
    AnnotationReport,
    Bands,
    Calibration,
    Detection,
    Example,
    Examples,
    FailureKind,
    Group,
    Histogram,
    Interval,
    PartSummary,
    Quantile,
    Reliability,
    Summary,
)
from valence.report.annotation_page import render_annotation, write_annotation_page
from valence.report.annotation_words import bands, visible
from valence.report.bound import Bound
from valence.report.frame import framed

SHARES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
EVIL = "[bold]x[/] </code></pre><script>alert(1)</script>\x1b[31m\x9b2J\r\u202e\u2066\x07\t\"'&"


class Reader(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def histogram(**changes: object) -> Histogram:
    plain = Histogram(
        edges=(-1.0, -0.5, -0.1, 0.0), counts=(1, 20, 3000), masses=((0.0, 6979),), threshold=0.1
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def example(text: str = "Some text.", **changes: object) -> Example:
    plain = Example(
        document="d1",
        start=200,
        end=200 + len(text),
        rewards=(("mine", -0.5), ("yours", None)),
        before="before ",
        text=text,
        after=" after",
        goes_on=True,
        left_out=(0, 0),
        marks=(Mark(start=1, end=3, code="A1", message="wrong"),),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def summary(name: str = "mine", said: str = "said") -> Summary:
    quantiles = tuple(Quantile(share=share, value=share - 1) for share in SHARES)
    return Summary(
        name=name,
        scorer=f"{said}@1+abc",
        meaning=said,
        device="cpu",
        segments=10_100,
        scored=10_000,
        mean=-0.1,
        mean_by_char=-0.2,
        quantiles=quantiles,
        histogram=histogram(),
        bands=Bands(
            asked=Bound(best=0.05),
            reward=0.0,
            scored=10_000,
            upper=6979,
            tied=6979,
            chars=50_000,
            upper_chars=20_000,
        ),
        splits=(
            Group(name="training", documents=9, segments=90, scored=90, mean=-0.1, upper=5),
            Group(name="held out", documents=1, segments=9, scored=0, mean=None, upper=0),
        ),
        sources=tuple(
            Group(name=f"{said}{at}", documents=9, segments=9, scored=9, mean=0.0, upper=1)
            for at in range(2)
        ),
        examples=(Examples(title=f"the worst {said}", examples=(example(said * 2),)),),
        failures=(
            FailureKind(
                stage="score", kind=said, documents=3, segments=100, document="d", message=said
            ),
        ),
        parts=(
            PartSummary(name=said, scored=10_000, mean=-0.3, quantiles=quantiles, correlation=None),
        ),
        mean_length=50.0,
        lengths=quantiles,
        ledger=(("calls", "1,000"),),
    )


def report(said: str = "said") -> AnnotationReport:
    measured = Interval(value=0.5, low=0.4, high=0.6)
    return AnnotationReport(
        title=f"Annotation {said}",
        corpus=(("documents", "10"),),
        unread=(
            FailureKind(
                stage="read", kind="x", documents=1, segments=0, document="d9", message=said
            ),
        ),
        summaries=(summary("mine", said), summary("yours", said), summary("Mine", said)),
        agreements=(
            Agreement(
                first="mine",
                second="yours",
                bounds=(0.0, -0.1),
                asked=(Bound(best=0.05), Bound(reward=-0.1)),
                segments=10,
                left_out=2,
                documents=3,
                sampled=9,
                table=((1, 2), (3, 4)),
                kappa=measured,
                spearman=Interval(value=None),
                pearson=measured,
                auroc=(0.7, None),
                disagreements=(Examples(title=said, examples=(example(said),)),),
            ),
        ),
        calibrations=(
            Calibration(
                name="mine",
                labels="label",
                bound=0.0,
                sampled=None,
                reliability=tuple(
                    Reliability(low=at, high=at + 0.1, mean=at, count=5, label=measured)
                    for at in (-0.5, -0.2, -0.1)
                ),
                detection=(
                    Detection(
                        split="all",
                        segments=10,
                        lower=2,
                        auroc=measured,
                        average_precision=measured,
                        f1=measured,
                        bound=Interval(value=-0.2),
                    ),
                ),
            ),
        ),
        notes=(f"A note: {said}",),
    )


def printed(shown: AnnotationReport, width: int = 100) -> str:
    out = io.StringIO()
    print_annotation(shown, Console(file=out, width=width, color_system=None))
    return out.getvalue()


@pytest.fixture(scope="module")
def page() -> str:
    return render_annotation(report())


def test_the_page_says_all_of_it(page: str) -> None:
    for said in (
        "Rewards by mine",
        "mine and yours",
        "mine against label",
        "10,000 segments scored",
        "69.8% (6,979 of 10,000)",
        "Not 5%, because 69.8% have exactly that reward; strictly above it are 0%.",
        "0.500 [0.400, 0.600]",
        "yours failed",
    ):
        assert said in page


def test_the_page_needs_nothing_else_and_its_ids_are_unique(page: str) -> None:
    reader = Reader(page)
    assert set(re.findall(r"https?://[^\"'\s<>]*", page)) == {"http://www.w3.org/2000/svg"}
    assert not [tag for tag, _ in reader.tags if tag in ("script", "link", "img", "iframe")]
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [attrs["href"] or "" for tag in ("a", "use") for attrs in reader.all(tag)]
    targets += re.findall(r"url\(([^)]*)\)", page)
    assert {target.removeprefix("#") for target in targets} <= set(ids)
    assert len(reader.all("svg")) == 8
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in reader.all("svg"))
    assert all("scope" in cell for cell in reader.all("th"))
    assert len(reader.all("caption")) == len(reader.all("table"))


def test_text_is_escaped_everywhere_on_the_page() -> None:
    hostile = report(EVIL)
    hostile = replace(hostile, summaries=(summary(EVIL, EVIL),))
    reader = Reader(render_annotation(hostile))
    assert not reader.all("script")
    assert reader.text.count("<script>alert(1)</script>") >= 12


@pytest.mark.parametrize("width", [40, 80, 200])
def test_text_cannot_steer_the_terminal(width: int) -> None:
    hostile = replace(report(EVIL), summaries=(summary(EVIL, EVIL),))
    shown = printed(hostile, width)
    assert not re.search("[\0-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert "[bold]" in shown
    assert max(map(len, shown.splitlines())) <= width


def test_the_terminal_says_all_of_it() -> None:
    shown = " ".join(printed(report(), 120).split())
    for said in (
        "Rewards by mine",
        "Agreement of mine and yours",
        "mine against label",
        "= 0 ",
        "strictly above it are 0%",
        "⟦",
        "A note: said",
    ):
        assert said in shown


def test_an_example_shows_marks_context_and_what_is_cut() -> None:
    text = example_text(example("abcdef"))
    assert text.plain == "…before ⟦abcdef⟧ after…"
    assert [text.plain[s.start : s.end] for s in text.spans if "underline" in str(s.style)] == [
        "bc"
    ]
    assert example_text(example("a\nb\n", marks=())).plain == "…before ⟦a\nb↵⟧ after…"
    assert example_text(example("x\n" * 50)).plain.endswith("more lines]")
    page = render_annotation(
        replace(
            report(),
            summaries=(
                replace(
                    summary(),
                    examples=(Examples(title="t", examples=(example(left_out=(0, 1234)),)),),
                ),
            ),
        )
    )
    assert "of this segment not shown: 1,234 characters after" in page
    assert '<mark title="A1 wrong">om</mark>' in page


@pytest.mark.parametrize(
    "shape",
    [
        {"edges": (), "counts": (), "masses": ()},
        {"edges": (), "counts": (), "masses": ((0.0, 5),)},
        {"edges": (), "counts": (), "masses": ((-1.0, 5), (0.0, 9), (1.0, 7))},
        {"edges": (2.0, 2.0), "counts": (4,), "masses": (), "threshold": None},
        {"edges": (-4.0, -1.0, 2.0), "counts": (4, 5), "masses": (), "threshold": None},
        {"edges": (-1e30, -1.0, 1e30), "counts": (4, 5), "threshold": 1e22},
    ],
)
def test_histograms_of_any_shape_are_drawn(shape: dict[str, object]) -> None:
    found = histogram(**shape)
    mine = replace(summary(), histogram=found, bands=None, parts=())
    shown = replace(report(), summaries=(mine,))
    assert "<svg" in render_annotation(shown)
    text = histogram_text(found, 20).plain
    assert text.count("\n") + 1 == max(len(found.masses) + len(found.counts), 1)
    assert printed(shown)


def test_nothing_scored_and_nothing_read_says_so() -> None:
    empty = replace(
        summary(),
        segments=3,
        scored=0,
        mean=None,
        mean_by_char=None,
        quantiles=(),
        lengths=(),
        mean_length=None,
        histogram=Histogram(edges=(), counts=(), masses=(), threshold=None),
        bands=None,
        splits=(),
        sources=(),
        examples=(),
        parts=(),
        ledger=(),
    )
    shown = replace(report(), summaries=(empty,), agreements=(), calibrations=(), unread=())
    page = render_annotation(shown)
    assert "No segment could be scored, of 3." in page
    assert "Histogram of the rewards" not in page
    assert "No segment could be scored, of 3." in printed(shown)


def test_a_bound_that_parts_nothing_is_named() -> None:
    found = summary().bands
    assert found is not None
    assert "parts nothing: all of them are at or above" in bands(replace(found, upper=10_000))[1]
    assert "parts nothing: all of them are below" in bands(replace(found, upper=0, tied=0))[1]
    exact = replace(found, upper=500, tied=1)
    assert len(bands(exact)) == 1


def test_visible_leaves_text_alone_and_names_the_rest() -> None:
    assert visible("päss\nwörd 漢字 🦊 e\u0301") == "päss\nwörd 漢字 🦊 e\u0301"
    assert visible("\x1b[0m\r\u202e\t") == "\\x1b[0m\\r\\u202e→"


def test_headings_that_differ_by_case_alone_have_their_own_ids() -> None:
    page = framed("t", "l", {"A b": "1", "a B": "2", "a-b": "3"})
    assert re.findall(r'<section id="([^"]*)"', page) == ["a-b", "a-b-2", "a-b-3"]


def test_the_page_is_written_whole_and_always_the_same(tmp_path: Path, page: str) -> None:
    path = write_annotation_page(tmp_path / "annotation.html", report())
    assert path.read_text(encoding="utf-8") == page

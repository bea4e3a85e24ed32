"""The page shows exactly what it was given, needs nothing else, and never changes by itself."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from valence.data import Conclusions, Mark, Measurement
from valence.report import Curve, MarkedSample, MetricInfo, Report, format_value, render
from valence.report.marked import marked_html

HEADINGS = (
    "Conclusions",
    "Results",
    "Ability and misalignment",
    "Every sample",
    "Samples side by side",
    "Training",
    "What was done",
    "Ledger",
    "Notes",
    "Recipe",
)
NASTY = "\n</code></script><b>&amp; 'x' \"y\"\t \r\n\x1b[31m \u202eabc\x0c 🦊 ünï\n\n"


class Reader(HTMLParser):
    """Every text, by the tag that it stands in, and every tag with its attributes."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.codes: list[str] = []
        self.text = ""
        self._in_code = False
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "code":
            self.codes.append("")
            self._in_code = True

    def handle_endtag(self, tag: str) -> None:
        self._in_code = self._in_code and tag != "code"

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_code:
            self.codes[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def measured(
    model: str, mode: str, metric: str, value: float | None, *, failures: int = 0, seed: int = 0
) -> Measurement:
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    return Measurement(
        model=model,
        mode=mode,
        metric=metric,
        value=value,
        low=low,
        high=high,
        count=0 if value is None else 1250,
        failures=failures,
        seed=seed,
    )


def report(*, seeds: tuple[int, ...] = (0,)) -> Report:
    rows = (("mle", "none"), ("conditional", "good"), ("conditional", "bad"))
    return Report(
        title="A <run> & more",
        lead="What it is.",
        steps=(("train", "Trained <three> models."),),
        conclusions=Conclusions(pairs=("The good mode writes fewer violations.",)),
        notes=("One corpus only.",),
        metrics=(
            MetricInfo(name="bits", label="Bits per byte", lower_is_better=True, note="Held out."),
            MetricInfo(name="wrong", label="Violations", lower_is_better=True, note=""),
        ),
        measurements=tuple(
            measured(model, mode, metric, at + seed + 0.5, seed=seed)
            for seed in seeds
            for at, (model, mode) in enumerate(rows)
            for metric in ("bits", "wrong")
        ),
        front=("bits", "wrong"),
        strips={row: (0.0, 0.0, 0.5, 40.0 + at) for at, row in enumerate(rows)},
        strip_metric="wrong",
        samples=tuple(
            MarkedSample(
                model=model,
                mode=mode,
                index=0,
                text="x=1 \n",
                ended=True,
                marks=(Mark(start=1, end=2, code="E225", message="E225 missing whitespace"),),
            )
            for model, mode in rows
        ),
        curves=tuple(
            Curve(model=model, seed=seed, tokens=(0.0, 1e6, 2e6), loss=(9.0, 4.0, 3.0 + seed))
            for seed in seeds
            for model in ("mle", "conditional")
        ),
        ledger=(("Time", "41 min"),),
        recipe="seed: 0\nname: '<x>'\n",
    )


def sample(text: str, *marks: Mark) -> MarkedSample:
    return MarkedSample(model="mle", mode="none", index=1, text=text, ended=False, marks=marks)


def test_every_section_is_there_in_order() -> None:
    page = render(report())
    at = [page.index(f">{heading}</h2>") for heading in HEADINGS]
    assert at == sorted(at)
    for said in ("The good mode writes", "One corpus only.", "41 min", "Held out."):
        assert said in page


def test_the_same_report_gives_the_same_page() -> None:
    assert render(report()) == render(report())


def test_the_page_needs_nothing_else() -> None:
    page = render(report())
    reader = Reader(page)
    assert set(re.findall(r"https?://[^\"'\s<>]*", page)) == {"http://www.w3.org/2000/svg"}
    assert not [tag for tag, _ in reader.tags if tag in ("script", "link", "img", "iframe")]
    assert "@import" not in page
    targets = [attrs["href"] or "" for tag in ("a", "use") for attrs in reader.all(tag)]
    targets += re.findall(r"url\(([^)]*)\)", page)
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(targets) > 10
    assert {target.removeprefix("#") for target in targets} <= set(ids)
    assert all(target.startswith("#") for target in targets)


def test_ids_are_unique_though_six_figures_share_the_page() -> None:
    reader = Reader(render(report()))
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(reader.all("svg")) == 6
    assert len(ids) == len(set(ids))


def test_text_is_escaped_everywhere() -> None:
    evil = '</script></title></svg><script>alert(1)</script>" onload="x$ $'
    rows = tuple(replace(row, model=evil, mode=evil) for row in report().measurements)
    hostile = replace(
        report(),
        title=evil,
        lead=evil,
        steps=((evil, evil),),
        conclusions=Conclusions(pairs=(evil,), overall=(evil,)),
        notes=(evil,),
        metrics=(MetricInfo(name="bits", label=evil, lower_is_better=None, note=evil),),
        measurements=rows,
        strips={(evil, evil): (1.0,)},
        samples=(sample(evil, Mark(start=0, end=3, code=evil, message=evil)),),
        curves=(Curve(model=evil, seed=0, tokens=(0.0, 1.0), loss=(2.0, 1.0)),),
        ledger=((evil, evil),),
        recipe=evil,
    )
    reader = Reader(render(hostile))
    assert not reader.all("script")
    assert not any("onload" in attrs for _, attrs in reader.tags)
    assert reader.text.count(evil) >= 15


@pytest.mark.parametrize("text", [NASTY, "", "\n", "   ", "a\tb \n\n \t", "x" * 20_000])
def test_the_text_of_a_sample_is_exact(text: str) -> None:
    marks = [
        Mark(start=start, end=start + length, code=f"E{length}", message="m")
        for start in range(-1, min(len(text), 40) + 2, 3)
        for length in (0, 1, 9)
    ]
    reader = Reader(render(replace(report(), samples=(sample(text, *marks),))))
    assert reader.codes[0] == text


def test_what_html_or_utf8_cannot_hold_is_shown_as_replaced() -> None:
    page = render(replace(report(), samples=(sample("a\0b\ud800c"),)))
    assert Reader(page).codes[0] == "a\ufffdb\ufffdc"
    assert page.encode("utf-8")


def test_marks_stand_where_they_belong() -> None:
    marks = (
        Mark(start=1, end=2, code="E225", message="E225 missing whitespace"),
        Mark(start=2, end=2, code="E231", message="after ','"),
    )
    assert marked_html("x=1\ny", marks) == (
        'x<mark title="E225 missing whitespace">=</mark>'
        '<mark class="point" title="E231 after &#x27;,&#x27;"></mark>1'
        '<span class="codes" data-codes="E225 E231"></span>\ny'
    )


def test_overlapping_marks_share_their_common_part() -> None:
    marks = (
        Mark(start=0, end=3, code="A", message="a"),
        Mark(start=2, end=4, code="B", message="b"),
    )
    shown = re.sub(r"<span.*?</span>", "", marked_html("wxyz", marks))
    assert shown == (
        '<mark title="A a">wx</mark><mark title="A a\nB b">y</mark><mark title="B b">z</mark>'
    )


def test_marked_blanks_at_the_end_of_a_line_are_visible() -> None:
    shown = marked_html(
        "a  \n\n",
        (
            Mark(start=1, end=3, code="W291", message="W291 trailing whitespace"),
            Mark(start=4, end=5, code="W391", message="W391 blank line at end of file"),
        ),
    )
    assert '<i class="sp"> </i><i class="sp"> </i></mark><span class="codes"' in shown
    assert '<mark class="newline" title="W391 blank line at end of file"></mark>' in shown


def test_a_mark_over_several_lines_stays_on_each() -> None:
    shown = marked_html("ab\ncd", (Mark(start=1, end=4, code="A", message="a"),))
    assert re.sub(r"<span.*?</span>", "", shown) == (
        'a<mark title="A a">b</mark>\n<mark title="A a">c</mark>d'
    )


def test_what_was_not_measured_is_a_dash_and_its_failures_are_counted() -> None:
    rows = (
        measured("mle", "none", "bits", 1.234),
        measured("mle", "none", "wrong", None, failures=7),
        measured("conditional", "good", "bits", 0.0),
        measured("conditional", "good", "wrong", 2.0),
    )
    page = render(replace(report(), measurements=rows))
    dash = '<span class="dash" title="not measured">—</span>'
    assert f'{dash} <small>n 0, <em title="left out of the value">7 failed</em></small>' in page
    assert "<b>1.23</b> <small>n 1,250</small><span>[1.13, 1.33]</span>" in page
    assert "<b>0</b>" in page
    assert "Not shown, for lack of one of the two values: 1." in page


def test_a_metric_that_nobody_described_is_shown_all_the_same() -> None:
    rows = (*report().measurements, measured("mle", "none", "extra", 5.0))
    page = render(replace(report(), measurements=rows))
    assert '<th scope="col">extra</th>' in page
    assert page.count('<td><span class="dash" title="not measured">—</span></td>') == 2


def test_many_metrics_are_parted_so_that_they_fit() -> None:
    rows = tuple(measured("mle", "none", f"metric{at}", 1.0) for at in range(13))
    page = render(replace(report(), metrics=(), measurements=rows))
    assert page.count('<table class="results">') == 3
    assert "(part 3 of 3)" in page


def test_every_seed_has_its_row() -> None:
    page = render(report(seeds=(3, 11)))
    assert page.count("<small>seed 3</small>") == 3
    assert page.count("<small>seed 11</small>") == 3
    assert "Small points are single seeds" in page
    assert "<small>seed" not in render(report())


def test_of_many_conclusions_those_on_all_models_are_read_first() -> None:
    pairs = tuple(f"pair {at}." for at in range(8))
    page = render(replace(report(), conclusions=Conclusions(pairs=pairs, overall=("best.",))))
    assert "8 comparisons of two" in page
    assert page.index("best.") < page.index("pair 0.")
    page = render(replace(report(), conclusions=Conclusions(pairs=pairs[:2], overall=("best.",))))
    assert "comparisons of two" not in page
    assert page.index("best.") > page.index("pair 1.")


def test_an_empty_report_says_so() -> None:
    empty = replace(
        report(),
        steps=(),
        conclusions=Conclusions(),
        notes=(),
        metrics=(),
        measurements=(),
        strips={},
        samples=(),
        curves=(),
        ledger=(),
        recipe="",
    )
    page = render(empty)
    assert all(f">{heading}</h2>" in page for heading in HEADINGS)
    assert "Nothing was measured." in page
    assert "There are no samples to show." in page
    assert "<svg" not in page


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("strip", [(0.0,), (0.0, 0.0), (5.0, 5.0), (-3.0, 0.0, 900.0), (1e-9, 1e6)])
def test_strips_of_any_shape_are_drawn(strip: tuple[float, ...]) -> None:
    page = render(replace(report(), strips={("mle", "none"): strip, ("mle", "漢字"): ()}))
    assert "漢字" in page
    assert "no samples" in page


def test_figures_have_names_and_tables_have_captions_and_scopes() -> None:
    reader = Reader(render(report()))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in reader.all("svg"))
    assert all("scope" in cell for cell in reader.all("th"))
    assert len(reader.all("caption")) == len(reader.all("table"))
    assert reader.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in reader.all("meta"))


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="strip of mle, none: nan"):
        replace(report(), strips={("mle", "none"): (float("nan"),)})
    with pytest.raises(ValueError, match="bits of mle, good: inf"):
        replace(report(), measurements=(measured("mle", "good", "bits", float("inf")),))
    with pytest.raises(ValueError, match="2 token counts but 1 losses"):
        Curve(model="mle", seed=0, tokens=(0.0, 1.0), loss=(1.0,))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "—"),
        (0.0, "0"),
        (0.5, "0.500"),
        (-1.2345, "\N{MINUS SIGN}1.23"),
        (9.996, "10.0"),
        (123.4, "123"),
        (1234.0, "1,230"),
        (999_999.0, "1.00 \N{MULTIPLICATION SIGN} 10⁶"),
        (0.00123, "0.00123"),
        (0.000123, "1.23 \N{MULTIPLICATION SIGN} 10⁻⁴"),
    ],
)
def test_three_significant_digits(value: float | None, shown: str) -> None:
    assert format_value(value) == shown

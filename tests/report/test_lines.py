"""Lines in panels: none is lost, none too crowded, and any shape can be drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valence.data import Series
from valence.report.drawing import Look
from valence.report.kinds import KINDS, group_of, kind_of
from valence.report.lines import lines_figure
from valence.report.panels import MOST_LINES, family, panels
from valence.report.seeds import mean_interval

LOOK = Look(models=("a", "b", "c"), modes=("none", "good", "bad"))


def series(
    model: str = "a",
    mode: str = "none",
    name: str = "verdict",
    *,
    kind: str = "prefix",
    seed: int = 0,
    x: tuple[float, ...] = (0.1, 0.5, 1.0),
    y: tuple[float | None, ...] = (0.5, 0.6, 0.7),
) -> Series:
    return Series(
        kind=kind,
        name=name,
        model=model,
        mode=mode,
        seed=seed,
        x=x,
        y=y,
        low=tuple(None if v is None else v - 0.1 for v in y),
        high=tuple(None if v is None else v + 0.1 for v in y),
        count=tuple(range(len(x))),
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from(LOOK.models),
            st.sampled_from((*LOOK.modes, "verdict")),
            st.sampled_from(("verdict", "p_true", "gcg@harm", "a", "b", "c", "d", "e")),
        ),
        unique=True,
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=60, deadline=None)
def test_every_line_is_in_one_panel_of_few(keys: list[tuple[str, str, str]]) -> None:
    made = panels([series(*key) for key in keys], LOOK)
    assert sum(len(panel.lines) for panel in made) == len(keys)
    assert all(1 <= len(panel.lines) <= MOST_LINES for panel in made)
    for panel in made:
        looks = [(line.label, line.colour, line.style) for line in panel.lines]
        assert len(set(looks)) == len(looks)


def test_a_panel_is_a_model_then_a_model_in_a_mode_then_a_part() -> None:
    judges = [series(m, j, j) for m in "ab" for j in ("verdict", "linear", "mlp")]
    assert [p.title for p in panels(judges, LOOK)] == ["a", "b"]
    assert [line.label for line in panels(judges, LOOK)[0].lines] == ["verdict", "linear", "mlp"]
    attacks = [series("a", m, n) for m in LOOK.modes for n in ("pool", "greedy", "gcg")]
    assert [p.title for p in panels(attacks, LOOK)] == ["a · none", "a · good", "a · bad"]
    many = [series("a", "good", f"n{at}") for at in range(8)]
    assert [len(p.lines) for p in panels(many, LOOK)] == [4, 4]
    alone = [series(model) for model in "abc"]
    (panel,) = panels(alone, LOOK)
    assert panel.title == "verdict"
    assert [line.colour for line in panel.lines] == [LOOK.colour(model) for model in "abc"]


def test_several_seeds_have_their_mean_and_its_interval() -> None:
    values = ((0.5, 0.6, None), (0.7, 0.6, None), (0.6, 0.9, 0.8))
    (panel,) = panels([series(seed=n, y=y) for n, y in enumerate(values)], LOOK)
    (line,) = panel.lines
    assert len(line.seeds) == 3
    assert [point.y for point in line.points] == pytest.approx([0.6, 0.7, 0.8])
    assert (line.points[0].low, line.points[0].high) == mean_interval((0.5, 0.7, 0.6))
    assert line.points[2].low is None
    apart = [series(seed=0), series(seed=1, x=(0.2, 0.3, 0.4))]
    assert panels(apart, LOOK)[0].lines[0].points == ()


def test_reliability_belongs_to_what_it_is_of() -> None:
    assert group_of(series(kind="reliability")) == "verdict"
    assert group_of(series(kind="reliability", name="p_true@world")) == "knowing"
    assert group_of(series(kind="redteam", name="pool@harm")) == "red team"
    assert group_of(series(kind="new_thing")) == "other"
    assert kind_of(series(kind="new_thing")).title == "New thing"
    assert family(series(name="pool@harm")) == "harm"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [*KINDS, "new_thing"])
@pytest.mark.parametrize("narrow", [False, True])
def test_any_kind_is_an_image_with_a_name(kind: str, narrow: bool) -> None:
    lines = [
        series("a", "good", "one", kind=kind),
        series("a", "bad", "two <b>$", kind=kind, x=(0.0, 2.0, 16.0), y=(None, 0.2, None)),
        series("a", "bad", "none", kind=kind, y=(None, None, None)),
        series("a", "bad", "empty", kind=kind, x=(), y=()),
        series("b", "bad", "dense", kind=kind, x=tuple(n / 20 for n in range(20)), y=(0.3,) * 20),
        series("c", "bad", "seeds", kind=kind, seed=0),
        series("c", "bad", "seeds", kind=kind, seed=1, x=(0.2, 0.3, 0.4)),
    ]
    made = panels(lines, LOOK)
    svg = lines_figure(made, kind=kind_of(lines[0]), y="y", prefix="p", alt="a <b>", narrow=narrow)
    root = ET.fromstring(svg)
    assert root.attrib["aria-label"] == "a <b>"
    assert "two &lt;b&gt;$" in svg


def test_the_same_lines_give_the_same_image() -> None:
    made = panels([series(kind="reliability")], LOOK)
    kind = KINDS["reliability"]
    drawn = [lines_figure(made, kind=kind, y="y", prefix="p", alt="a") for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != lines_figure(made, kind=kind, y="y", prefix="q", alt="a")


def test_points_of_a_reliability_plot_are_as_large_as_their_bins_however_many() -> None:
    x = tuple(n / 20 for n in range(20))
    made = panels([series(kind="reliability", x=x, y=x)], LOOK)
    svg = lines_figure(made, kind=KINDS["reliability"], y="y", prefix="p", alt="a")
    line = lines_figure(made, kind=KINDS["flagged"], y="y", prefix="p", alt="a")
    assert svg.count("<path") > line.count("<path") + 15

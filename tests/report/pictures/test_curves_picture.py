"""The picture of a sweep: each run and its bound at its place, the best marked, many rows."""

from __future__ import annotations

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report.pictures.curves import BEST, MOST_BARS, draw
from harness.report.pictures.style import BOUND, MOST_CURVES
from harness.study.sweep_curves import Curve, Point, SweepCurves

DEPTH = "depth: submissions in flight per column"


def lines(count: int, points: int = 3, best: frozenset[int] = frozenset()) -> SweepCurves:
    """Curves over the depth; the later ones are faster."""
    curves = [
        Curve(
            f"batch={place}",
            tuple(
                Point(place * points + x, x, 10.0 * (count - place) + x, 5.0 * (count - place))
                for x in range(1, points + 1)
            ),
        )
        for place in range(count)
    ]
    return SweepCurves("depth", DEPTH, tuple(curves), best)


def bars(count: int, best: frozenset[int] = frozenset()) -> SweepCurves:
    curves = [
        Curve(f"mine {row}", (Point(row, row, 10.0 + row, 8.0 if row else None),))
        for row in range(count)
    ]
    return SweepCurves("", "strategy", tuple(curves), best)


def drawn(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    return {
        str(each.get_label()): [(float(x), float(y)) for x, y in each.get_xydata().tolist()]
        for each in axes.get_lines()
    }


def keys(figure: Figure) -> list[str]:
    (legend,) = [*figure.legends, *(each for axes in figure.axes if (each := axes.get_legend()))]
    return [each.get_text().replace("\n", " ") for each in legend.get_texts()]


def test_each_run_and_its_bound_is_at_its_place() -> None:
    curves = lines(2, best=frozenset({5}))
    figure = draw(curves, "a sweep")
    (axes,) = figure.axes
    found = drawn(axes)
    for place, curve in enumerate(curves.curves):
        assert found.pop(curve.name) == [(each.x, each.tile_ms) for each in curve.points]
        bound = found.pop(f"_bound of {place}")
        assert bound == [(each.x, each.bound_ms) for each in curve.points]
    assert found == {}
    (best,) = axes.collections
    # Row 5 is of the second curve, at depth 2.
    assert best.get_offsets().tolist() == [[2, 12.0]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (DEPTH, "ms per tile")
    assert [each.get_text() for each in axes.get_xticklabels()] == ["1", "2", "3"]
    assert keys(figure) == ["batch=0", "batch=1", BOUND, BEST]
    assert figure.get_suptitle() == "a sweep"


def test_a_bound_that_is_not_known_is_not_drawn() -> None:
    points = (Point(0, 1, 2.0, None), Point(1, 2, 1.0, None))
    figure = draw(SweepCurves("depth", DEPTH, (Curve("", points),)), "")
    assert drawn(figure.axes[0]) == {"measured": [(1, 2.0), (2, 1.0)]}
    assert keys(figure) == ["measured"]


@pytest.mark.parametrize(("last", "scale"), [(8, "linear"), (64, "log")])
def test_the_axis_is_logarithmic_for_values_far_apart(last: int, scale: str) -> None:
    points = (Point(0, 1, 2.0, None), Point(1, last, 1.0, None))
    (axes,) = draw(SweepCurves("depth", DEPTH, (Curve("", points),)), "").axes
    assert axes.get_xscale() == scale
    assert [each.get_text() for each in axes.get_xticklabels()] == ["1", str(last)]


def test_of_many_curves_the_fastest_are_drawn() -> None:
    figure = draw(lines(MOST_CURVES + 6), "many")
    names = {key for key in drawn(figure.axes[0]) if not key.startswith("_")}
    assert names == {f"batch={place}" for place in range(6, MOST_CURVES + 6)}
    text = f"the fastest {MOST_CURVES} of {MOST_CURVES + 6} curves"
    assert figure.get_suptitle() == f"many\n{text}"


def test_a_name_with_an_underscore_is_in_the_legend() -> None:
    curve = Curve("_mine", (Point(0, 1, 2.0, None), Point(1, 2, 1.0, None)))
    assert keys(draw(SweepCurves("depth", DEPTH, (curve,)), "")) == [" _mine"]


def test_categories_are_bars_with_their_bounds() -> None:
    figure = draw(bars(3, frozenset({1})), "a sweep")
    (axes,) = figure.axes
    assert [each.get_width() for each in axes.patches] == [10.0, 11.0, 12.0]
    assert [each.get_text() for each in axes.get_yticklabels()] == ["mine 0", "mine 1", "mine 2"]
    first, best, last = (each.get_facecolor() for each in axes.patches)
    assert first == last != best
    (bounds,) = axes.collections
    segments = [each.tolist() for each in bounds.get_segments()]
    assert [each[0][0] for each in segments] == [8.0, 8.0]
    assert [sum(y for _, y in each) / 2 for each in segments] == [1.0, 2.0]
    assert [each.get_text() for each in axes.texts] == [
        "10",
        "11 (1.375x bound)",
        "12 (1.500x bound)",
    ]
    assert keys(figure) == ["measured", BEST, BOUND]
    assert axes.get_xlim()[0] == 0


def test_of_many_bars_the_fastest_are_drawn() -> None:
    figure = draw(bars(200), "many")
    names = [each.get_text() for each in figure.axes[0].get_yticklabels()]
    assert names == [f"mine {row}" for row in range(MOST_BARS)]
    assert figure.get_suptitle() == f"many\nthe fastest {MOST_BARS} of 200 runs"
    assert figure.get_figheight() < 14


@pytest.mark.parametrize(("count", "runs"), [(1, "1 run"), (3, "3 runs")])
def test_runs_that_are_left_out_are_counted(count: int, runs: str) -> None:
    curves = SweepCurves("", "strategy", bars(2).curves, left_out=count)
    text = f"t\nwithout {runs} that gave no right outputs or no time"
    assert draw(curves, "t").get_suptitle() == text


@pytest.mark.parametrize("key", ["", "depth"])
def test_names_are_drawn_as_they_are(key: str) -> None:
    name = r"$a_1$ <b> \frac{"
    figure = draw(SweepCurves(key, name, (Curve(name, (Point(0, 1, 2.0, 1.0),)),) * 2), name)
    figure.canvas.draw()
    escaped = r"\$a_1\$ <b> \frac{"
    (axes,) = figure.axes
    assert figure.get_suptitle() == escaped
    assert (axes.get_xlabel() if key else axes.get_ylabel()) == escaped
    shown = keys(figure) if key else [each.get_text() for each in axes.get_yticklabels()]
    assert escaped in shown

"""The picture of the roadmap: a panel for each accounting, and every value at its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from harness.report.pictures.roadmap import draw
from harness.report.pictures.style import ACCOUNTING_COLOURS
from harness.study.roadmap import PHASES, PhaseRun, Roadmap, Row

GUIDE_RTF = ((16.2, 16.2), (26.9, 26.9), (54.0, 80.0), (), (89.0, 192.0))


def run(rtf: float, ceiling: float | None = 36.1, bottleneck: str = "host") -> PhaseRun:
    return PhaseRun("folder", "pooled d1 b1 c1", rtf, ceiling, 220 / rtf, bottleneck, True)


def roadmap(guide: dict[str, PhaseRun], full: dict[str, PhaseRun], model: str = "m") -> Roadmap:
    rows = [
        Row(phase, "goal", "2x", rtf, guide.get(phase), full.get(phase))
        for phase, rtf in zip(PHASES, GUIDE_RTF, strict=True)
    ]
    return Roadmap("simulator", model, tuple(rows), ())


def marks(axes: Axes, begin: str) -> dict[str, Any]:
    """Artists whose label begins with a text, by the rest of the label."""
    named = {str(each.get_label()): each for each in [*axes.get_lines(), *axes.collections]}
    return {key.removeprefix(begin): each for key, each in named.items() if key.startswith(begin)}


def places(axes: Axes) -> dict[str, tuple[float, float]]:
    """Where each measured value is."""
    found = marks(axes, "_measured of ").items()
    return {key: (each.get_xdata()[0], each.get_ydata()[0]) for key, each in found}


def texts(axes: Axes) -> list[str]:
    return [each.get_text() for each in axes.texts if isinstance(each, Annotation)]


def title(figure: Figure) -> str:
    return str(figure.get_suptitle())


def test_each_accounting_has_a_panel() -> None:
    guide = {phase: run(16.0 + place) for place, phase in enumerate(PHASES)}
    full = {"dma": run(0.026, 30.0, "device: matmul")}
    figure = draw(roadmap(guide, full))
    assert title(figure) == "m on device=simulator: realtime factor of each phase"
    first, second = figure.axes
    assert [each.get_title("left") for each in figure.axes] == [
        "guide accounting",
        "full accounting",
    ]
    assert places(first) == {phase: (place, 16.0 + place) for place, phase in enumerate(PHASES)}
    assert places(second) == {"dma": (1, 0.026)}
    assert texts(second) == ["0.026, device: matmul"]
    for axes, kind in zip(figure.axes, ("guide", "full"), strict=True):
        for each in marks(axes, "_measured of ").values():
            assert same_color(each.get_color(), ACCOUNTING_COLOURS[kind])
    keys = [each.get_text() for each in figure.legends[0].get_texts()]
    assert keys[:2] == ["run, guide accounting", "run, full accounting"], "not all are measured"
    names = [each.get_text() for each in second.get_xticklabels()]
    assert names == [phase if phase == "dma" else f"{phase}: not run" for phase in PHASES]


def test_target_ceiling_and_what_the_guide_expects_are_at_their_values() -> None:
    (axes,) = draw(roadmap({"dma": run(20.0, 30.0), "fusion": run(40.0, None)}, {})).axes
    assert list(marks(axes, "_target")[""].get_ydata()) == [220, 220]
    (ceiling,) = marks(axes, "_ceiling of ")["dma"].get_segments()
    assert ceiling.tolist() == [[0.5, 30.0], [1.5, 30.0]]
    expected = {
        phase: each.get_paths()[0].get_extents().get_points()[:, 1].tolist()
        for phase, each in marks(axes, "_expected of ").items()
    }
    assert expected["multicore"] == [54, 80]
    assert expected["baseline"] == pytest.approx([16.2 * 0.97, 16.2 * 1.03])
    assert set(expected) == set(PHASES) - {"fusion"}


def test_an_accounting_that_no_phase_has_run_with_has_no_panel() -> None:
    figure = draw(roadmap({"dma": run(20.0)}, {}))
    assert len(figure.axes) == 1
    assert title(figure).splitlines()[1:] == ["full accounting: not run"]


def test_the_axis_is_logarithmic_only_for_values_far_apart() -> None:
    (far,) = draw(roadmap({"dma": run(19.0)}, {})).axes
    assert far.get_yscale() == "log"
    low, high = far.get_ylim()
    # Not decades below: 16, 19 and 28 must not look alike.
    assert 19 / 3 < low < 16
    assert 220 < high < 500
    near = roadmap({"dma": run(190.0, 210.0)}, {})
    near = replace(near, rows=tuple(replace(row, guide_rtf=(150.0, 200.0)) for row in near.rows))
    (axes,) = draw(near).axes
    assert axes.get_yscale() == "linear"
    assert axes.get_ylim()[0] == 0


def test_names_are_drawn_as_they_are() -> None:
    figure = draw(roadmap({"dma": run(20.0, bottleneck="device: $a_b$")}, {}, r"<b>$\alpha$"))
    figure.canvas.draw()
    assert title(figure).startswith(r"<b>\$\alpha\$ on device")
    assert texts(figure.axes[0]) == [r"20.0, device: \$a_b\$"]

"""The picture of a search: each measured setting by each knob, the fastest of a value, bounds."""

from __future__ import annotations

from dataclasses import replace

from support.record_samples import a_record

from harness.config.strategy import Strategy
from harness.report.pictures.curves import BEST
from harness.report.pictures.tuned import draw
from harness.results.record import Record
from harness.study.tuned_knobs import Tried, knob_panels


def measured(tile_ms: float, ratio: float | None, **knobs: int) -> Record:
    record = a_record()
    metrics = {**record.metrics, "time/tile_ms": tile_ms, "bound/ratio": ratio}
    return replace(record, metrics=metrics, knobs=Strategy(**knobs))


RECORDS = [
    measured(4.0, 2.0, depth=1, columns=16),
    measured(3.0, None, depth=2, columns=16),
    measured(2.0, 1.0, depth=2, columns=2),
]


def test_each_knob_that_varies_has_a_panel_in_the_order_of_its_values() -> None:
    depth, columns = knob_panels(RECORDS)
    assert (depth.knob, depth.values) == ("depth", ("1", "2"))
    assert depth.settings == (Tried(0, 4.0, 2.0), Tried(1, 2.0, 2.0), Tried(1, 3.0, None))
    assert depth.fastest == [Tried(0, 4.0, 2.0), Tried(1, 2.0, 2.0)]
    assert (columns.knob, columns.values) == ("columns", ("2", "16"))
    assert columns.fastest == [Tried(0, 2.0, 2.0), Tried(1, 3.0, None)]
    assert knob_panels(RECORDS[:1]) == []


def test_the_picture_has_every_setting_the_fastest_and_their_bounds() -> None:
    panels = knob_panels(RECORDS)
    figure = draw(panels, "a $search")
    for axes, panel in zip(figure.axes, panels, strict=True):
        assert axes.get_xlabel() == panel.knob
        assert [each.get_text() for each in axes.get_xticklabels()] == [*panel.values]
        all_of, _, best = axes.collections
        dots = [(each.place, each.tile_ms) for each in panel.settings]
        assert [tuple(each) for each in all_of.get_offsets().tolist()] == dots
        (line,) = axes.get_lines()
        fastest = [[each.place, each.tile_ms] for each in panel.fastest]
        assert line.get_xydata().tolist() == fastest
        assert best.get_label() == BEST
        assert best.get_offsets().tolist() == [min(fastest, key=lambda each: each[1])]
        bounds = axes.collections[1].get_segments()
        known = [each.bound_ms for each in panel.fastest if each.bound_ms is not None]
        assert [each[0][1] for each in bounds] == known
    figure.draw_without_rendering()

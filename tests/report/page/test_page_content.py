"""`harness report`: what its page contains, that texts are escaped, and what it refuses."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.process import Done, Shell
from support.report_pages import HOSTILE, hostile_run, overlapped, sweep

from harness.commands.report import FILE_NAME
from harness.measure.metrics import METRIC_NAMES
from harness.report.page.charts import Chart
from harness.report.page.curves import payoff_chart, sweep_chart
from harness.report.page.timeline import timeline_chart
from harness.report.trace import MOST_TILES, save_trace, shown_tiles
from harness.results.record import Record
from harness.study.payoff import Payoff
from harness.study.sweep_curves import Curve, Point, SweepCurves

pytest.importorskip("plotly")

LOADS = {"src", "href", "action", "data", "poster", "srcset", "background", "formaction"}
"""Attributes by which a page loads something or leads somewhere."""
VOID = {"meta", "br", "link", "img", "input", "hr"}


@dataclass
class Parsed(HTMLParser):
    """A page as the standard library reads it: its texts by tag, and what it would load."""

    tags: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    rows: list[list[str]] = field(default_factory=list)
    open_tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open_tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.links += [value or "" for name, value in attrs if name in LOADS]

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.open_tags[-1] if self.open_tags else ""
        self.texts.setdefault(inside, []).append(data)
        if {"td", "th"} & set(self.open_tags):
            self.rows[-1][-1] += data

    @property
    def words(self) -> str:
        """What a reader can read."""
        hidden = ("script", "style")
        shown = (texts for tag, texts in self.texts.items() if tag not in hidden)
        return " ".join(text for texts in shown for text in texts)

    @property
    def charts(self) -> dict[str, Any]:
        """The data of the charts."""
        return json.loads(self.texts["script"][0])


def parsed(path: Path) -> Parsed:
    result = Parsed()
    result.feed(path.read_text())
    result.close()
    assert not result.open_tags
    return result


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    folder = tmp_path_factory.mktemp("hostile")
    return folder, hostile_run(folder)


def report(shell: Shell, *arguments: object) -> Done:
    return shell("report", *map(str, arguments))


def refused(shell: Shell, *arguments: object) -> str:
    done = report(shell, *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    return done.err


def test_texts_of_a_run_are_texts(shell: Shell, hostile: tuple[Path, Record]) -> None:
    folder, record = hostile
    done = report(shell, folder)
    assert done.code == 0, done.err
    page = parsed(folder / FILE_NAME)
    assert page.tags.count("script") == 3, "the data, plotly.js and page.js"
    assert page.texts["h1"] == [f"run {HOSTILE}"]
    # Name, label, kernel, strategy, reason, override, host, command, tenants, hazard, YAML.
    assert page.words.count(HOSTILE) >= 11
    assert not [each for each in page.links if not each.startswith("#")]
    assert "stalls" in page.words
    for place in record.hazards[0].earlier, record.hazards[0].later:
        assert str(place) in page.words
    assert record.hazards[0].kind.remedy in page.words
    assert ["power_mode", "default", "turbo"] in page.rows
    assert page.texts["strong"][0] == "HAZARD"
    assert {row[0] for row in page.rows} >= set(METRIC_NAMES)
    policy = re.search(
        r'Content-Security-Policy" content="([^"]*)"', (folder / FILE_NAME).read_text()
    )
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;")


def test_a_chart_has_no_markup_of_a_run(hostile: tuple[Path, Record]) -> None:
    """plotly.js reads some HTML in its texts."""
    folder, _ = hostile
    chart = timeline_chart("timeline", folder)
    assert isinstance(chart, Chart)
    assert "<script" not in json.dumps(chart.content)
    trace = json.loads((folder / "trace.json").read_text())["traceEvents"]
    spans = chart.content["spans"]
    assert len(spans["begin"]) == sum(each["ph"] == "X" for each in trace)
    assert len(spans["stalls"]) == sum(each.get("cat") == "stall" for each in trace) > 0


def test_a_sweep(shell: Shell, tmp_path: Path) -> None:
    records = sweep(tmp_path / "sweep", 10)
    done = report(shell, tmp_path / "sweep", "--out", tmp_path / "mine.html")
    size = (tmp_path / "mine.html").stat().st_size
    assert done.out == f"report: mine.html ({size / 1e6:.1f} MB; open it in a browser)\n"
    page = parsed(tmp_path / "mine.html")
    assert page.texts["strong"][:2] == ["8 OK", "2 FAILED"]
    # The table, row for row as `harness show` prints it.
    shown = shell("show", str(tmp_path / "sweep")).out.splitlines()
    cells = [" ".join(" ".join(row).split()) for row in page.rows[: len(records) + 1]]
    assert cells == [" ".join(line.split()) for line in shown[: len(records) + 1]]
    for line in shown[len(records) + 1 :]:
        if not line.startswith("FAILED "):
            assert line in page.texts["li"]
    failed = [each for each in records if not each.ok]
    assert page.words.count(failed[0].reason) >= len(failed) == 2
    assert {f"#run-{place}" for place in range(len(records))} <= set(page.links)
    assert {"curves-of-runs", "forest", "run-0-timeline"} <= set(page.charts)
    assert len([each for each in page.charts if each.endswith("-timeline")]) <= 3
    (best,) = (place for place, row in enumerate(page.rows) if row[0] == "*")
    assert f"run-{best - 1}-timeline" in page.charts
    assert "the fastest right run" in page.words
    assert ["strategy.depth", "1, 2, 3, 4, 5"] in page.rows


def test_figures_are_figures_of_plotly(
    shell: Shell, hostile: tuple[Path, Record], tmp_path: Path
) -> None:
    """Its own check finds misspelt properties, which plotly.js would ignore."""
    from plotly.graph_objects import Figure

    sweep(tmp_path / "sweep", 10)
    assert report(shell, tmp_path / "sweep").code == 0
    charts = parsed(tmp_path / "sweep" / FILE_NAME).charts
    for chart in charts.values():
        if "data" in chart:
            Figure(data=chart["data"], layout=chart["layout"])


@pytest.mark.slow
def test_a_run_of_the_command(shell: Shell) -> None:
    done = shell("strategy=pipelined", "tracking=off", "workload.tiles=4", "measure.repeats=2")
    (folder,) = done.folders
    assert report(shell).out.startswith(f"report: {folder / FILE_NAME} (")
    page = parsed(folder / FILE_NAME)
    assert "OK" in page.texts["strong"]
    assert (
        "harness strategy=pipelined tracking=off workload.tiles=4 measure.repeats=2"
        in page.texts["pre"]
    )
    assert [each for each in page.texts["p"] if each.startswith("The device limits the run")]
    reason = "exact (virtual time without noise: each pass takes the same time)"
    assert f"Why the passes ended: {reason}. " in page.words
    assert "The warm-up before them, which does not count, took " in page.words
    assert {"run-0-depth", "run-0-batch", "run-0-columns"} <= set(page.charts)
    assert report(shell, folder.name).code == 0, "by its name; it replaces an older page"


def test_a_long_pass_has_the_stretches_of_its_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown_tiles, "__defaults__", (40,))
    save_trace(overlapped(1_000, slow=range(500, 510)), "long", tmp_path)
    chart = timeline_chart("timeline", tmp_path)
    assert isinstance(chart, Chart)
    assert "only tiles 0 to 19 and 491 to 510 of 1000: the first and the slowest" in chart.caption
    spans = chart.content["spans"]
    assert spans["stages"][-1][0] == "left out"
    assert len(spans["gaps"]) == 2, "before and behind the slowest stretch"
    per_tile = len(json.dumps(chart.content)) / 40
    assert per_tile * MOST_TILES < 3_000_000, "bytes of the longest trace"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "has no trace.json"),
        ("{", "cannot be read"),
        ("[]", "not a trace"),
        ('{"traceEvents": [], "otherData": {}}', "no spans"),
        ('{"traceEvents": [{"ph": "X", "name": "x"}], "otherData": {}}', "not a trace"),
    ],
)
def test_without_a_timeline_the_page_says_why(
    text: str | None, sentence: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "trace.json").write_text(text)
    reason = timeline_chart("timeline", tmp_path)
    assert isinstance(reason, str)
    assert sentence in reason


def test_what_it_refuses(shell: Shell, hostile: tuple[Path, Record], tmp_path: Path) -> None:
    folder, _ = hostile
    notes = tmp_path / "notes.html"
    notes.write_text("<p>mine</p>")
    before = sorted(tmp_path.iterdir())
    assert "no runs here" in refused(shell)
    assert "no such folder; give the folder of a run or of a sweep" in refused(shell, "absent")
    assert "exists and is no report" in refused(shell, folder, "--out", notes)
    assert "no folder gone; create it" in refused(shell, folder, "--out", "gone/report.html")
    assert "a folder; give the name of a file" in refused(shell, folder, "--out", tmp_path)
    assert "--out: no value" in refused(shell, folder, "--out")
    (tmp_path / "record.json").write_text("{")
    assert "damaged: it ends too early" in refused(shell, tmp_path)
    (tmp_path / "record.json").unlink()
    assert sorted(tmp_path.iterdir()) == before


def test_of_many_curves_a_page_has_the_fastest() -> None:
    curves = [Curve(f"batch={row}", (Point(row, 1, 40.0 - row, 1.0),)) for row in range(20)]
    chart = sweep_chart("c", SweepCurves("depth", "depth", tuple(curves), frozenset({19})))
    assert chart is not None
    names = [each["name"] for each in chart.content["data"] if each["name"] != "bound"]
    assert names == [*(f"batch={row}" for row in range(6, 20)), "fastest right run"]
    assert "The chart has the fastest 14 of 20 curves." in chart.caption


def test_the_current_folder_has_its_name_in_the_title(
    shell: Shell, hostile: tuple[Path, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("0", "1"):
        hostile[1].save(_new(tmp_path / "mine" / name))
    monkeypatch.chdir(tmp_path / "mine")
    assert report(shell, ".", "--out", "page.html").code == 0
    assert "<h1>Runs of mine</h1>" in Path("page.html").read_text()


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_a_page_that_cannot_be_written(
    shell: Shell, hostile: tuple[Path, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: str, **_: Any) -> int:
        path.write_bytes(content[:10].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    done = report(shell, hostile[0], "--out", tmp_path / "page.html")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "the report cannot be written (No space left on device)" in done.err
    assert not list(tmp_path.iterdir())


def test_a_python_without_plotly_names_the_extra(
    shell: Shell, hostile: tuple[Path, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    assert "report: needs plotly, which this Python lacks; pip install '.[report]'" in refused(
        shell, hostile[0]
    )


def test_one_setting_has_no_comparison(
    shell: Shell, hostile: tuple[Path, Record], tmp_path: Path
) -> None:
    _, record = hostile
    for name in ("0", "1"):
        (tmp_path / "twice" / name).mkdir(parents=True)
        replace(record, created=record.created[:-1] + name).save(tmp_path / "twice" / name)
    assert report(shell, tmp_path / "twice").code == 0
    assert (
        "There is no comparison: all 2 runs have one setting"
        in parsed(tmp_path / "twice" / FILE_NAME).words
    )


def test_a_comparison_reports_the_runs_that_it_leaves_out(
    shell: Shell, hostile: tuple[Path, Record], tmp_path: Path
) -> None:
    _, record = hostile
    folder = tmp_path / "repeated"
    for number, depth in enumerate((1, 3, 3)):
        config = {**record.config, "strategy": {**record.config["strategy"], "depth": depth}}
        (folder / str(number)).mkdir(parents=True)
        created = record.created[:-1] + str(number)
        replace(record, created=created, config=config).save(folder / str(number))
    assert report(shell, folder).code == 0
    assert "1 of 3 runs are left out: another run has the same setting" in (
        parsed(folder / FILE_NAME).words
    )


@pytest.mark.parametrize(
    ("enough", "sentence"),
    [
        (1, "From columns 1 on, more gains less than 1 %."),
        (2, "The largest value here, columns 2, is the fastest."),
    ],
)
def test_a_curve_speaks_of_more_only_where_the_device_has_more(enough: int, sentence: str) -> None:
    data = Payoff("columns", (1, 2), (200, 100), (90, 90), own=1, enough=enough)
    assert sentence in payoff_chart("chart", data).caption

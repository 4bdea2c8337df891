"""The views and descriptions of MLflow's pages, without a browser."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.record_samples import CONFIG, a_record

from harness.commands.closing import tracking_line
from harness.config.compose import conf_dir, load
from harness.measure.metrics import METRICS
from harness.results.record import Record
from harness.tracking import mlflow_views as views
from harness.tracking.notes import MOST_CHARACTERS, run_note, sweep_report
from harness.tracking.run_data import _params, _tags

PAGE = "#/experiments/1/runs"


def with_overrides(*overrides: str) -> Record:
    return replace(a_record(), overrides=list(overrides))


@pytest.mark.parametrize("view", views.VIEWS, ids=lambda view: view.key)
def test_a_view_decodes_and_names_columns_that_runs_have(view: views.View) -> None:
    shared = json.loads(views.shared_view(view))
    state = json.loads(shared["state"])
    record = a_record()
    known = {f"metrics.`{name}`" for name in METRICS}
    known |= {f"params.`{name}`" for name in _params(record)}
    known |= {f"tags.`{name}`" for name in _tags(record, Path("run"))}
    assert shared["name"] == view.name
    assert set(state["selectedColumns"]) <= known
    assert state["columnOrder"] == state["selectedColumns"]
    assert state["orderByKey"] in known | {views.NEWEST_FIRST}
    assert {chart["metricKey"] for chart in state["compareRunCharts"]} <= set(METRICS)
    (section,) = state["compareRunSections"]
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == {section["uuid"]}


def test_the_views_of_the_menu() -> None:
    assert [view.name for view in views.VIEWS] == [
        "Strategies",
        "Stalls and bounds",
        "Phases",
        "Verdicts and hazards",
    ]


def test_an_experiment_is_updated_once() -> None:
    tags = views.update({}, "1")
    assert list(tags)[-1] == views.VERSION_TAG
    assert views.update(tags, "1") == {}
    assert views.update({**tags, views.VERSION_TAG: "older"}, "1").keys() == tags.keys()
    # MLflow 3.1 takes 5,000 characters.
    assert max(map(len, tags.values())) < 5000


def test_the_description_explains_every_metric_of_the_views() -> None:
    text = views.description("7")
    for view in views.VIEWS:
        assert f"[{view.name}](#/experiments/7/runs?viewStateShareKey={view.key}&" in text
        for name in view.metrics:
            assert METRICS[name].description in text


def test_params_are_values_and_not_what_was_typed() -> None:
    config = {**CONFIG, "seed": 10_000_000, "phase": {"name": "dma"}}
    record = replace(with_overrides("+seed=10_000_000", "phase=dma"), config=config)
    params = _params(record)
    assert (params["seed"], params["phase"]) == (10_000_000, "dma")


def test_a_run_describes_itself() -> None:
    lines = run_note(a_record()).splitlines()
    assert lines[0].startswith("| strategy | run | ms/tile |")
    assert lines[2].startswith("| baseline | per_tile d1 b1 c1 |")


def test_the_report_of_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "roadmap.png").touch()
    (tmp_path / "notes.txt").touch()
    slow, fast = a_record(), a_record()
    fast = replace(fast, name="fast", metrics={**fast.metrics, "rtf/encoder": 1e9})
    folders = [tmp_path / "0", tmp_path / "1"]
    report = sweep_report(tmp_path, list(zip([slow, fast], folders, strict=True)), [None, None])
    assert report.description.startswith("Fastest right run: **fast**, ")
    assert report.texts["runs.md"].count("\n| ") == 4
    assert len(json.loads(report.texts["runs.json"])) == 2
    assert report.pictures == [tmp_path / "roadmap.png"]


def test_long_settings_differ_in_the_description(tmp_path: Path) -> None:
    sources = [f"{'folder/' * 400}{name}.wav" for name in ("speech", "music")]
    records = [with_overrides(f"workload.source={source}") for source in sources]
    report = sweep_report(tmp_path, [(each, tmp_path) for each in records], [None, None])
    rows = report.description.split("| --- ")[-1].splitlines()[1:3]
    assert [name in row for name, row in zip(("speech", "music"), rows, strict=True)] == [True] * 2
    assert max(map(len, rows)) < 300
    assert all(source in report.texts["runs.md"] for source in sources)


def test_a_long_table_is_cut_in_the_description_only(tmp_path: Path) -> None:
    records = [a_record()] * 300
    report = sweep_report(tmp_path, [(each, tmp_path) for each in records], [None] * 300)
    assert len(report.description) <= MOST_CHARACTERS
    assert " of 300 rows." in report.description
    assert report.texts["runs.md"].count("| baseline |") == 300


@pytest.mark.parametrize(
    ("overrides", "begin"),
    [
        ((), "MLflow: harness ui, then http://127.0.0.1:5000/"),
        (
            ("tracking.uri=sqlite:///a b.db",),
            "MLflow: harness ui 'tracking.uri=sqlite:///a b.db', then http://127.0.0.1:5000/",
        ),
        (
            ("tracking.experiment=mine",),
            "MLflow: harness ui tracking.experiment=mine, then http://127.0.0.1:5000/",
        ),
        (("tracking=server", "tracking.uri=http://h:1/"), "MLflow: http://h:1/"),
    ],
)
def test_the_link_of_a_run(overrides: tuple[str, ...], begin: str) -> None:
    overrides = tuple(
        each.replace("=sqlite:///a b.db", "='sqlite:///a b.db'") for each in overrides
    )
    tracking = load(*overrides).tracking
    assert tracking_line(tracking, "name", PAGE, Path("/")) == f"{begin}{PAGE}"


@pytest.mark.parametrize(("path", "served"), [(None, "make ui"), ("/bin/harness", "harness ui")])
def test_without_the_command_make_serves_the_link(
    path: str | None, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.commands.closing.which", lambda name: path)
    line = tracking_line(load().tracking, "name", PAGE, conf_dir().parent)
    assert line.startswith(f"MLflow: {served}, then http://")
    assert "harness ui" in tracking_line(load().tracking, "name", PAGE, Path("/"))

"""The index of records, against a client that answers in pages and holds its runs in memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness.commands import open_store as opening
from harness.execution.outcome import Verdict
from harness.measure.stats import Ratio
from harness.tracking import processes, server_runs
from harness.tracking.mlflow import MlflowStore
from harness.tracking.store import SweepReport, TrackingError


@dataclass
class Run:
    run_id: str
    tags: dict[str, str]
    status: str = "RUNNING"
    metrics: dict[str, float] = field(default_factory=dict)
    params: list[tuple[str, str]] = field(default_factory=list)

    @property
    def info(self) -> SimpleNamespace:
        return SimpleNamespace(run_id=self.run_id)

    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(tags=self.tags, metrics=self.metrics)


class Page(list[Run]):
    """As MLflow's PagedList: a token where there are more."""

    token: str | None = None


class Client:
    """The calls of MlflowClient that a store makes."""

    def __init__(self, tracking_uri: str = "") -> None:
        self.runs: list[Run] = RUNS

    def get_experiment_by_name(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(experiment_id="1", tags=dict(TAGS))

    def set_experiment_tag(self, experiment_id: str, key: str, value: str) -> None:
        TAGS[key] = value
        TAG_WRITES.append(key)

    def search_runs(
        self, ids: list[str], filter_string: str, *, max_results: int, page_token: str | None
    ) -> Page:
        running = "RUNNING" in filter_string
        found = [run for run in self.runs if not running or run.status == "RUNNING"]
        first = int(page_token or 0)
        page = Page(found[first : first + max_results])
        page.token = str(first + max_results) if first + max_results < len(found) else None
        return page

    def set_terminated(self, run_id: str, status: str) -> None:
        for run in self.runs:
            if run.run_id == run_id:
                run.status = status

    def create_run(self, experiment_id: str, run_name: str, tags: dict[str, str]) -> Run:
        self.runs.append(Run("parent", tags))
        return self.runs[-1]

    def log_batch(self, run_id: str, metrics: Sequence[Any] = (), params: Any = ()) -> None:
        (run,) = (each for each in self.runs if each.run_id == run_id)
        run.metrics |= {metric.key: metric.value for metric in metrics}
        run.params += params

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        raise OSError("the server died")

    def log_metric(self, run_id: str, name: str, value: float) -> None:
        pass


RUNS: list[Run] = []
TAGS: dict[str, str] = {}
"""Tags of the experiment."""
TAG_WRITES: list[str] = []


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of MLflow, whose import takes seconds."""
    for each in (RUNS, TAGS, TAG_WRITES):
        each.clear()
    modules = {name: ModuleType(name) for name in ("mlflow", "mlflow.tracking", "mlflow.entities")}
    modules["mlflow.tracking"].MlflowClient = Client  # type: ignore[attr-defined]
    modules["mlflow.entities"].Metric = (  # type: ignore[attr-defined]
        lambda key, value, time, step: SimpleNamespace(key=key, value=value)
    )
    modules["mlflow.entities"].Param = lambda key, value: (key, value)  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


def open_store() -> MlflowStore:
    return MlflowStore("http://nowhere", "", "harness")


@pytest.mark.parametrize("page_size", [1, 2, 3, 1000])
def test_every_run_of_a_sweep_gets_its_speed_up(
    monkeypatch: pytest.MonkeyPatch, page_size: int
) -> None:
    """MLflow answers a search with 1,000 runs at most."""
    monkeypatch.setattr(server_runs, "PAGE_SIZE", page_size)
    store = open_store()
    RUNS.extend(Run(str(number), {"record": f"/{number}"}, "FINISHED") for number in range(5))
    ratios = {f"/{number}": Ratio(number, number, number) for number in range(5)}
    store.end_sweep("parent", [Verdict.OK], ratios)
    logged = [run.metrics["speedup/vs_baseline"] for run in RUNS]
    assert logged == [0, 1, 2, 3, 4]


def test_an_interval_is_logged_only_where_there_is_one() -> None:
    store = open_store()
    RUNS.extend(Run(name, {"record": name}, "FINISHED") for name in ("few", "many"))
    ratios = {"few": Ratio(None, 2.0, None), "many": Ratio(1.0, 2.0, 3.0)}
    store.end_sweep("parent", [Verdict.OK], ratios)
    assert [run.metrics for run in RUNS] == [
        {"speedup/vs_baseline": 2.0},
        {
            "speedup/vs_baseline": 2.0,
            "speedup/vs_baseline_low": 1.0,
            "speedup/vs_baseline_high": 3.0,
        },
    ]


def test_an_existing_experiment_gets_the_views_once() -> None:
    TAGS["mlflow.note.content"] = "what an older version wrote"
    open_store()
    written = len(TAG_WRITES)
    assert written == len(set(TAG_WRITES)) == 6
    assert TAGS["mlflow.note.content"].startswith("Runs of the NPU harness.")
    open_store()
    assert len(TAG_WRITES) == written


def test_an_experiment_that_cannot_be_written_can_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(client: Client, experiment_id: str, key: str, value: str) -> None:
        raise OSError("attempt to write a readonly database")

    monkeypatch.setattr(Client, "set_experiment_tag", refuse)
    store = open_store()
    assert "attempt to write a readonly database" in store.failure
    assert store.home_page().startswith("#/experiments/1/runs")
    with pytest.raises(TrackingError, match="readonly"):
        opening.open_store(SimpleNamespace(open_store=lambda *_: store), *[None] * 3)  # type: ignore[arg-type]


def tags(pid: int, **others: str) -> dict[str, str]:
    return {"harness.host": os.uname().nodename, "harness.pid": str(pid), **others}


def test_runs_of_dead_processes_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pid may be used again; with its start time it is not."""
    monkeypatch.setattr(server_runs, "PAGE_SIZE", 2)
    own = processes.process_tags()
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    RUNS.extend(
        [
            Run("own", own),
            Run("reused pid", {**own, "harness.pid_started": "1"}),
            Run("own, without a start time", tags(os.getpid())),
            Run("no such pid", tags(most + 1, **{"harness.pid_started": "1"})),
            Run("no such pid, without a start time", tags(most + 1)),
        ]
    )
    open_store()
    assert {run.run_id: run.status for run in RUNS} == {
        "own": "RUNNING",
        "reused pid": "KILLED",
        "own, without a start time": "RUNNING",
        "no such pid": "KILLED",
        "no such pid, without a start time": "KILLED",
    }


def test_the_start_time_is_field_22_whatever_the_process_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = " ".join(str(number) for number in range(3, 53))
    text = f"7 (a) S (b) {fields}"
    monkeypatch.setattr(Path, "read_text", lambda self: text)
    assert processes.start_ticks("7") == "22"


def test_the_last_of_repeated_overrides_counts() -> None:
    """MLflow refuses a batch with the same key twice."""
    open_store().begin_sweep("depth", Path("/sweep"), ["depth=1,2", "kernel=gelu", "depth=1,3"])
    assert RUNS[0].params == [("depth", "1,3"), ("kernel", "gelu")]


def test_a_sweep_is_ended_before_its_report_is_stored() -> None:
    store = open_store()
    parent = store.begin_sweep("depth", Path("/sweep"))
    with pytest.raises(Exception, match="the server died"):
        store.end_sweep(parent, [Verdict.OK], {}, SweepReport("text", {}, []))
    assert RUNS[0].status == "FINISHED"

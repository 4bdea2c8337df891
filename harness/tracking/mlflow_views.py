"""What MLflow's UI shows of an experiment: named views, a description, and addresses of pages.

MLflow documents neither the tags of shared views nor the parameters of its addresses: they are
those that MLflow 3.17 itself writes, and tests/tracking/test_ui.py opens them in a browser.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from harness.measure.metric import Unit
from harness.measure.metrics import METRICS

NOTE_TAG = "mlflow.note.content"
"""Description of a run or an experiment, in Markdown."""
VIEW_TAG = "mlflow.sharedViewState."
VERSION_TAG = "harness.views"
"""Tag of an experiment with the version of the views and the description that it has."""
MACHINE_LEARNING = "workflowType=machine_learning"
"""Without it, MLflow 3 shows its menu for language models."""
FASTEST_FIRST = "metrics.`time/tile_ms`"
NEWEST_FIRST = "attributes.end_time"
"""Columns of an order; MLflow sorts down unless the address says otherwise."""
PARAMS = ("kernel", "workload.tiles")
KNOBS = tuple(
    f"strategy.{name}" for name in ("buffers", "depth", "batch", "prefetch", "columns", "resident")
)


@dataclass(frozen=True)
class View:
    """A named view of the table of runs.

    key: its name in addresses; it never changes, so that a new version replaces the old one. use:
    what it is for. filter: MLflow's search expression. order: column of the order. ascending:
    direction of the order. metrics, params, tags: columns, from left to right after the tags.
    """

    key: str
    name: str
    use: str
    filter: str
    order: str
    ascending: bool
    metrics: tuple[str, ...]
    params: tuple[str, ...] = ()
    tags: tuple[str, ...] = ("strategy",)

    @property
    def columns(self) -> list[str]:
        """Names of the columns as MLflow spells them."""
        kinds = {"tags": self.tags, "metrics": self.metrics, "params": self.params}
        return [f"{kind}.`{name}`" for kind, names in kinds.items() for name in names]


# The runs that are parents of sweeps have no tag `verdict`: every filter leaves them out. Ordered
# by their start, MLflow would add them again and fold their runs below them.
VIEWS = (
    View(
        "strategies",
        "Strategies",
        "which strategy is fastest; right runs only",
        "tags.verdict = 'OK'",
        FASTEST_FIRST,
        True,
        (
            "time/tile_ms",
            "speedup/vs_baseline",
            "bound/ratio",
            "device/utilisation",
            "rtf/end_to_end",
            "throughput/tiles_per_s",
        ),
        (*PARAMS, *KNOBS),
    ),
    View(
        "bounds",
        "Stalls and bounds",
        "how far each run is from its bound, and where the host's time goes; farthest first",
        "tags.verdict = 'OK'",
        "metrics.`bound/ratio`",
        False,
        (
            "bound/ratio",
            "stall/count",
            "stall/total_ms",
            "overlap/efficiency",
            "device/utilisation",
            "time/tile_ms",
            "time/alloc_ms",
            "time/write_ms",
            "time/launch_ms",
            "time/wait_ms",
            "time/read_ms",
            "time/exec_ms",
            "dma/overhead_pct",
        ),
        PARAMS,
    ),
    View(
        "phases",
        "Phases",
        "runs of the phases of the guide, by realtime factor; compare equal accountings only",
        "tags.verdict = 'OK' and tags.phase != 'free'",
        "metrics.`rtf/end_to_end`",
        False,
        ("rtf/end_to_end", "rtf/encoder", "rtf/ceiling", "time/total_ms", "bound/ratio"),
        (*PARAMS, *KNOBS),
        ("phase", "accounting", "strategy"),
    ),
    View(
        "verdicts",
        "Verdicts and hazards",
        "every run with its verdict and the reason; newest first",
        "tags.verdict != ''",
        NEWEST_FIRST,
        False,
        ("hazard/count", "verify/mismatches", "verify/tiles", "alloc/steady_state"),
        PARAMS,
        ("verdict", "reason", "device", "strategy"),
    ),
)
CHARTS, CHARTED_RUNS = 6, 20
"""Bar charts of a view: of its first metrics, and most bars in each."""
HOME = VIEWS[0]
"""The view that `harness ui` opens."""


def update(tags: Mapping[str, str], experiment_id: str) -> dict[str, str]:
    """The tags to set on an experiment that has `tags`: none if it has this version.

    The last one is the version, so that an interrupted update is done again.
    """
    note = description(experiment_id)
    content = json.dumps([note, *map(asdict, VIEWS)])
    version = hashlib.sha256(content.encode()).hexdigest()[:16]
    if tags.get(VERSION_TAG) == version:
        return {}
    views = {f"{VIEW_TAG}{view.key}": shared_view(view) for view in VIEWS}
    return {**views, NOTE_TAG: note, VERSION_TAG: version}


def shared_view(view: View) -> str:
    """The value of a view's tag: JSON that holds the state of the table, as JSON in a string."""
    state: dict[str, Any] = {
        "searchFilter": view.filter,
        "orderByKey": view.order,
        "orderByAsc": view.ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": view.columns,
        "columnOrder": view.columns,
        "runsHiddenMode": "SHOW_ALL",
        # Charts: those of the view first, then MLflow's own, a section per prefix of the metrics.
        "isAccordionReordered": True,
        "compareRunSections": [
            {"uuid": view.key, "name": view.name, "display": True, "isReordered": True}
        ],
        "compareRunCharts": [
            {
                "type": "BAR",
                "uuid": f"{view.key}-{name}",
                "metricSectionId": view.key,
                "metricKey": name,
                "runsCountToCompare": CHARTED_RUNS,
                "isGenerated": False,
                "deleted": False,
            }
            for name in view.metrics[:CHARTS]
        ],
    }
    now_ms = int(datetime.now().timestamp() * 1000)
    return json.dumps(
        {"name": view.name, "createdAt": now_ms, "updatedAt": now_ms, "state": json.dumps(state)}
    )


def description(experiment_id: str) -> str:
    """The experiment's description: its views, and what the metrics in them mean."""
    lines = ["Runs of the NPU harness. Open a view here, or in the menu Views:", ""]
    lines += [f"* [{view.name}]({view_page(experiment_id, view)}): {view.use}" for view in VIEWS]
    lines += [
        "",
        "A run is one setting; its metrics describe the median of its timed passes. Select runs "
        "and press Compare to see them side by side. A sweep is the parent of its runs: its page "
        "has their table.",
        "",
        "| metric | unit | better | meaning |",
        "|---|---|---|---|",
    ]
    for name in dict.fromkeys(name for view in VIEWS for name in view.metrics):
        metric = METRICS[name]
        unit = "" if metric.unit is Unit.count else metric.unit.value
        lines.append(f"| `{name}` | {unit} | {metric.better.value} | {metric.description} |")
    lines += [
        "",
        "The tag `record` names the folder of a run, whose `record.json` is the original. "
        "In the source tree, docs/metrics.md lists all metrics, docs/ui.md describes this UI.",
    ]
    return "\n".join(lines)


def view_page(experiment_id: str, view: View = HOME) -> str:
    """Address of a view, without the server."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={view.key}&{MACHINE_LEARNING}"


def run_page(experiment_id: str, run_id: str) -> str:
    """Address of a run, without the server."""
    return f"#/experiments/{experiment_id}/runs/{run_id}"


def sweep_page(experiment_id: str, parent: str) -> str:
    """Address of the charts of a sweep's runs, the fastest first, without the server.

    MLflow takes no view beside a filter. Any order but its own keeps it from folding the runs below
    their parent.
    """
    expression = quote(f'tags.mlflow.parentRunId="{parent}"', safe="=")
    return (
        f"#/experiments/{experiment_id}/runs?searchFilter={expression}"
        f"&orderByKey={quote(FASTEST_FIRST)}&orderByAsc=true&compareRunsMode=CHART"
        f"&{MACHINE_LEARNING}"
    )

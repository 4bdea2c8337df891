"""What the page shows of one run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.device.host.state import changes
from harness.execution.agreement import Oracle
from harness.execution.outcome import Verdict
from harness.measure.metric import Unit, Value
from harness.measure.metrics import SPEEDUP, TABLE
from harness.measure.stats import Ratio
from harness.report.page.charts import Chart, samples_chart
from harness.report.page.curves import payoff_chart
from harness.report.page.timeline import timeline_chart
from harness.report.runs import FORMATS
from harness.report.tables import NOTHING
from harness.report.time_spent import sentence
from harness.results.record import Record
from harness.study.differences import flat
from harness.study.payoff import payoffs_of

MEANINGS = {
    Verdict.OK: "All outputs are right, and the times are valid.",
    Verdict.WRONG: "An output differs from the reference.",
    Verdict.HAZARD: "A buffer was used in a wrong way.",
    Verdict.FAILED: "The device failed, or the run was interrupted.",
    Verdict.INVALID: "The machine changed during the timed passes: the times mean nothing.",
}


@dataclass(frozen=True)
class RunView:
    """One run. anchor: id of its section. folder: as texts name it. meaning: of its verdict.
    limit: the sentence about what limits it, empty without one.

    timeline: a chart, the sentence why there is none, or None where the page leaves it out.
    payoffs: a curve for each knob that the model covers.
    metrics: name, value, unit and description of each.
    """

    anchor: str
    record: Record
    folder: str
    meaning: str
    limit: str
    timeline: Chart | str | None
    samples: Chart | None
    payoffs: Sequence[Chart]
    metrics: list[tuple[str, str, str, str]]

    @property
    def charts(self) -> list[Chart]:
        """All charts of the section."""
        found = (self.timeline, self.samples, *self.payoffs)
        return [each for each in found if isinstance(each, Chart)]

    @property
    def configuration(self) -> str:
        """The resolved configuration as YAML."""
        config = self.record.config
        return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100))

    @property
    def environment(self) -> list[tuple[str, str]]:
        """The fields of the environment, without the command line."""
        fields = flat(asdict(self.record.environment))
        return [(key, _text(value)) for key, value in fields.items() if key != "command"]

    @property
    def machine(self) -> list[tuple[str, str, str]]:
        """Each field of the machine's state: name, before and after the timed passes."""
        states = self.record.machine
        if states is None:
            return []
        before = flat(asdict(states.before))
        after = flat(asdict(states.after)) if states.after else {}
        rows = [(key, before.get(key), after.get(key)) for key in {**before, **after}]
        return [
            (key, _text(old), _text(new))
            for key, old, new in rows
            if old is not None or new is not None
        ]

    @property
    def machine_changes(self) -> list[str]:
        """What changed during the timed passes."""
        states = self.record.machine
        return changes(states.before, states.after) if states and states.after else []

    @property
    def command(self) -> str:
        """The command line that runs this one again."""
        return shlex.join(["harness", *self.record.overrides])

    @property
    def whole_command(self) -> str:
        """The command line of the process that ran it, which may have been a sweep."""
        first, *rest = self.record.environment.command or ("",)
        name = "harness" if Path(first).name in ("__main__.py", "harness") else first
        return shlex.join([name, *rest])


def run_view(
    anchor: str,
    record: Record,
    folder: Path,
    shown: Path,
    speedup: Ratio | None,
    *,
    charts: bool,
    curves: bool,
) -> RunView:
    """The view of a run.

    shown: its folder as texts name it. charts: whether it has a timeline and its passes; curves:
    whether it has those of its knobs.
    """
    return RunView(
        anchor,
        record,
        str(shown),
        _meaning(record),
        sentence(record) or "",
        timeline_chart(f"{anchor}-timeline", folder) if charts else None,
        samples_chart(f"{anchor}-passes", record) if charts else None,
        [payoff_chart(f"{anchor}-{each.knob}", each) for each in payoffs_of(record)]
        if curves
        else [],
        _metrics(record, speedup),
    )


def _meaning(record: Record) -> str:
    if record.ok and record.config.get("verify") == "off":
        return "The run completed; its outputs were not compared (verify=off)."
    if record.ok and record.verification and record.verification.oracle is Oracle.device:
        return (
            "The outputs equal those of a serial pass on the same device (verify=device), which "
            "proves nothing about what the kernels compute."
        )
    if record.ok and record.hazards:
        return f"{MEANINGS[Verdict.OK]} But it has hazards (device.hazards=report)."
    return MEANINGS[record.verdict]


def _metrics(record: Record, speedup: Ratio | None) -> list[tuple[str, str, str, str]]:
    """Name, value, unit and description of each metric."""
    values: Mapping[str, Value] = record.metrics
    if speedup:
        values = {**values, SPEEDUP: speedup.ratio}
    return [
        (each.name, _number(values.get(each.name), each.unit), each.unit.value, each.description)
        for each in TABLE
    ]


def _number(value: Value, unit: Unit) -> str:
    if value is None:
        return NOTHING
    if unit in FORMATS:
        return FORMATS[unit](value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


def _text(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)

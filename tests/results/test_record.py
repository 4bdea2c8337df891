"""Records are written whole, read back equal, and refused in one line where they are damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.record_samples import a_record

from harness.errors import HarnessError
from harness.results.record import FILE_NAME, Record, _name
from harness.results.whole_file import write_json

NEW_IN_TOTALS_6 = (
    *("busy_ns", "fill_ns", "drain_ns", "exposed_ns", "load_ns"),
    *("stall_host_ns", "stall_queue_ns", "stall_slot_ns"),
)
NEW_IN_7 = ("verification", "input_hashes", "kernel_hashes")
Change = Callable[[dict[str, Any]], None]


def written(folder: Path) -> dict[str, Any]:
    return json.loads(a_record().save(folder).read_text())


def test_a_record_reads_back_equal(tmp_path: Path) -> None:
    record = a_record()
    record.save(tmp_path)
    assert Record.load(tmp_path) == record


def test_the_file_has_plain_names_and_values(tmp_path: Path) -> None:
    raw = written(tmp_path)
    assert raw["schema_version"] == 7
    assert raw["samples"] == {
        "total_ns": [100, 101, 99, 100, 102],
        "warmup_ns": [150],
        "cold": False,
    }
    assert raw["stop"] == {"reason": "requested", "width": 0.03}
    assert raw["knobs"] == {
        "buffers": "per_tile",
        "depth": 1,
        "batch": 1,
        "prefetch": 0,
        "columns": 1,
        "resident": False,
    }
    assert raw["accounting"] == {
        "kind": "guide",
        "audio_s": 11.0,
        "host_ms": 304.7,
        "measured_host_ms": 300.0,
        "encoder_tiles": 140.625,
        "overlap_host": False,
    }
    assert (raw["hazards"][0]["kind"], raw["hazards"][0]["later"]["line"]) == ("overlap", 12)
    assert raw["machine"]["before"]["clocks_mhz"] == {"h": 1600}
    assert raw["machine"]["after"] is None
    assert (raw["steps"][0]["operation"]["unit"], raw["steps"][0]["run"]) == ("MAC", 2)
    assert raw["name"] == "per_tile d1 b1 c1 attention simulator workload.tiles=10 seed=0"


def test_counts_stay_whole_numbers(tmp_path: Path) -> None:
    """A count of 7 is written as 7, not as 7.0."""
    metrics = written(tmp_path)["metrics"]
    assert type(metrics["hazard/count"]) is type(metrics["verify/tiles"]) is int
    assert type(metrics["rtf/end_to_end"]) is float


@pytest.mark.parametrize(
    ("version", "absent"),
    [
        (1, ("machine", "totals", "steps", "run_key", "stop", "caching", *NEW_IN_7)),
        (2, ("totals", "steps", "run_key", "stop", "caching", *NEW_IN_7)),
        (3, ("run_key", "stop", "caching", *NEW_IN_7)),
        (4, ("stop", "caching", *NEW_IN_7)),
        (5, ("stop", "caching", *NEW_IN_7)),
    ],
)
def test_older_schemas_are_read(tmp_path: Path, version: int, absent: tuple[str, ...]) -> None:
    raw = written(tmp_path) | {"schema_version": version}
    for key in absent:
        del raw[key]
    if 1 < version < 5:
        del raw["machine"]["before"]["processor"]
    if version > 2:
        for totals in (raw["totals"], *(step["totals"] for step in raw["steps"])):
            for key in NEW_IN_TOTALS_6:
                del totals[key]
    del raw["accounting"]["overlap_host"]
    del raw["knobs"]["resident"]
    del raw["samples"]["warmup_ns"]
    del raw["samples"]["cold"]
    (tmp_path / FILE_NAME).write_text(json.dumps(raw))
    record = Record.load(tmp_path)
    assert record.schema_version == version
    assert (record.run_key == "") == (version < 4)
    assert (record.totals is None) == (record.steps == ()) == (version < 3)
    if record.totals:
        assert {getattr(record.totals, key) for key in NEW_IN_TOTALS_6} == {None}
    assert (record.machine is None) == (version == 1)
    assert record.caching is record.verification is None
    assert record.input_hashes == record.kernel_hashes == {}
    assert (record.stop, record.samples.warmup_ns, record.samples.cold) == (None, (), None)
    assert (record.accounting.overlap_host, record.knobs.resident) == (False, False)


def test_schema_6_is_read(tmp_path: Path) -> None:
    raw = written(tmp_path) | {"schema_version": 6}
    for key in NEW_IN_7:
        del raw[key]
    (tmp_path / FILE_NAME).write_text(json.dumps(raw))
    record = Record.load(tmp_path)
    assert (record.schema_version, record.verification) == (6, None)
    assert record.input_hashes == {}
    assert (record.ok, record.caching) == (True, a_record().caching)


def set_to(*path: str | int, value: Any) -> Change:
    def change(raw: Any) -> None:
        for key in path[:-1]:
            raw = raw[key]
        raw[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            set_to("schema_version", value=8),
            "schema_version: 8, and this version of the harness reads 1, 2, 3, 4, 5, 6 or 7; read ",
        ),
        (set_to("verdict", value="FINE"), "verdict: input should be 'OK', 'WRONG', "),
        (
            set_to("samples", "total_ns", 1, value="x"),
            "samples.total_ns.1: input should be a valid integer",
        ),
        (set_to("totals", "tiles", value=1.5), "totals.tiles: input should be a valid integer"),
        (
            set_to("steps", 0, "operation", "calls", value=None),
            "steps.0.operation.calls: input should be a valid int",
        ),
        (set_to("stop", "reason", value="bored"), "stop.reason: input should be 'exact', "),
        (set_to("knobs", "depth", value=0), "strategy.depth=0: out of range"),
        (set_to("knobs", "speed", value=1), "knobs.speed: unexpected keyword argument"),
        (lambda raw: raw.pop("kernel"), "not a complete record: 1 field is missing: kernel"),
        (
            lambda raw: raw["accounting"].pop("kind"),
            "not a complete record: 1 field is missing: accounting.kind",
        ),
    ],
)
def test_a_damaged_record_gives_one_line(tmp_path: Path, change: Change, message: str) -> None:
    raw = written(tmp_path)
    change(raw)
    (tmp_path / FILE_NAME).write_text(json.dumps(raw))
    with pytest.raises(HarnessError) as caught:
        Record.load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / FILE_NAME}: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"a": 1}', "\xff"])
def test_another_file_gives_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content, encoding="latin-1")
    with pytest.raises(HarnessError, match=f"^{tmp_path / FILE_NAME}: [^\n]+$"):
        Record.load(tmp_path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"cannot be read \(No such file"):
        Record.load(tmp_path)


def test_a_durable_file_is_synced_then_renamed_then_its_folder_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the last step, a loss of power may undo the rename."""
    log: list[str] = []
    replace = Path.replace

    def fsync(descriptor: int) -> None:
        log.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")

    def logged(self: Path, target: Path) -> Path:
        log.append(f"rename {self.name} {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", logged)
    write_json(tmp_path / "a.json", {})
    temporary = f".a.json.{os.getpid()}"
    assert log == [f"sync {temporary}", f"rename {temporary} a.json", f"sync {tmp_path.name}"]
    log.clear()
    write_json(tmp_path / "a.json", {}, durable=False)
    assert log == [f"rename {temporary} a.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_name_begins_with_what_the_sweep_varies() -> None:
    outcome: Any = SimpleNamespace(label="pooled d2 b1 c1", kernel="matmul", device="simulator")
    settings = {"seed": "7", "workload.source": "/folder/of/the/speech.wav", "verify": "off"}
    swept = ["workload.source", "strategy", "depth"]
    assert _name(outcome, "pooled", settings, swept) == (
        "source=...er/of/the/speech.wav pooled pooled d2 b1 c1 matmul simulator seed=7 verify=off"
    )
    assert _name(outcome, "pooled", {"seed": "7"}, []) == "pooled d2 b1 c1 matmul simulator seed=7"

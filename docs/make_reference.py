"""Write the reference pages of docs/ from the code, and the table of hazards in emulate.md.

    python docs/make_reference.py              write metrics.md, records.md, configuration.md, and
                                               the table in emulate.md
    python docs/make_reference.py --outputs    run the commands that the pages show, and replace
                                               the outputs below them by what they print

The same code gives the same pages; tests/test_docs.py compares them with the committed ones.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

import yaml

from harness.config import compose
from harness.config.device import DEVICES
from harness.config.presets import presets
from harness.config.schema import GROUP_SCHEMAS, Config
from harness.config.setting import Setting, setting_of
from harness.config.strategy import Strategy
from harness.device.host.state import MachineState, Processor
from harness.execution.agreement import Agreement, Verification
from harness.execution.outcome import MachineStates
from harness.execution.tile_passes import Step
from harness.hazard import Call, Hazard, Kind
from harness.measure.caching import CacheCheck
from harness.measure.metrics import TABLE
from harness.measure.stopping import Stop
from harness.measure.totals import Totals
from harness.models.operations import Operation
from harness.results import record as record_module
from harness.results.environment import Environment
from harness.results.record import Record, RtfBasis, Samples

DOCS = Path(__file__).parent
BY_HAND = "Written by `docs/make_reference.py`; do not edit."
HAZARDS_BEGIN = f"<!-- Begin of the table of hazards. {BY_HAND} -->\n"
HAZARDS_END = "<!-- End of the table of hazards. -->\n"

RECORD_CLASSES: dict[type, str] = {
    Record: "The file itself",
    Samples: "`samples`",
    Stop: "`stop`",
    CacheCheck: "`caching`",
    Verification: "`verification`",
    Agreement: "An element of `agreements` of `verification`",
    RtfBasis: "`accounting`",
    Strategy: "`knobs`",
    Environment: "`environment`",
    MachineStates: "`machine`",
    MachineState: "`machine.before` and `machine.after`",
    Processor: "`processor` of a machine's state",
    Hazard: "An element of `hazards`",
    Call: "`earlier` and `later` of a hazard",
    Totals: "`totals`",
    Step: "An element of `steps`",
    Operation: "`operation` of a step",
}
"""Every dataclass in a record, and its place there."""

RECORD_FIELDS: dict[type, dict[str, str]] = {
    Record: {
        "name": "as in MLflow: the swept values, label, kernel, device and further settings",
        "label": "effective strategy, as in the table: `pooled d3 b1 c1`",
        "preset": "name of the strategy's YAML file",
        "phase": "name of the phase",
        "device": "kind of the device",
        "kernel": "name of the kernel, chain or encoder",
        "verdict": "how the run ended: [the verdicts](concepts.md#what-a-verdict-says)",
        "reason": "why the verdict is not `OK`; empty for `OK`",
        "metrics": "[every metric](metrics.md) by name; null: not measured or not visible",
        "samples": "raw values of each pass",
        "timed_pass": "index of the median pass, which all metrics belong to; null: nothing timed",
        "accounting": "what the RTF counts",
        "config": "the resolved configuration, every key of [the reference](configuration.md)",
        "config_hash": "sha256 of the configuration; equal for runs of the same configuration",
        "knobs": "the effective strategy",
        "overrides": "overrides of the command line, in order",
        "environment": "the machine and the software",
        "machine": "state of the machine of an NPU or of device=cpu; null where it cannot change",
        "hazards": "buffer hazards that the simulator reported",
        "totals": "sums over the timed pass; null: nothing timed",
        "steps": "operations of an encoder; empty for other workloads",
        "run_key": "hash of configuration, code and device, by which a sweep recognises a run",
        "stop": "why the timed passes ended; null: nothing timed, or an older record",
        "caching": "passes over one input (`measure.cache_check`); null: not run",
        "verification": "how outputs were [verified](verification.md); null: an older record",
        "input_hashes": "sha256 of each file that the workload names, by its path",
        "kernel_hashes": "sha256 of the declaration and the code of each kernel, by its name",
        "created": "time at which the record was made, ISO 8601, UTC",
        "schema_version": "version of this format",
    },
    Samples: {
        "total_ns": "length of every timed pass, in order",
        "warmup_ns": "length of every warm-up pass, in order; never part of a metric",
        "cold": "whether each timed pass began on new contexts (`measure.warmup=0`); null: unknown",
    },
    CacheCheck: {
        "in_turn_ns": "length of passes over the inputs in turn, after the timed passes",
        "repeated_ns": "length of passes over one input again and again, between them",
    },
    Verification: {
        "oracle": "what outputs were compared with: references, a serial pass on the device, or "
        "nothing",
        "agreements": "how close the outputs are, for each kernel with a tolerance",
        "remarks": "stale outputs that the comparison cannot detect",
    },
    Agreement: {
        "kernel": "name of the kernel",
        "tolerance": "its tolerance, in words",
        "reason": "why outputs may differ, as the kernel declares it",
        "text": "where the outputs lie in the tolerance, and where the largest error is",
        "largest": "largest error of all passes, in the unit of the tolerance; of a cosine, what "
        "is missing to 1; null: an element that no tolerance allows",
    },
    Stop: {
        "reason": "why ([the reasons](concepts.md#how-many-passes-and-why))",
        "width": "length of the 95 % interval of the median pass, as a share of the median; null: "
        "the passes are exact, or too few or too correlated for an interval",
    },
    RtfBasis: {
        "kind": "accounting of the encoder",
        "audio_s": "seconds of audio",
        "host_ms": "preprocessing that the RTF counts",
        "measured_host_ms": "preprocessing as measured in this run",
        "encoder_tiles": "tiles or calls that encode the audio; null: the kernel encodes none",
        "overlap_host": "whether preprocessing overlaps with the encoder's waiting",
    },
    Environment: {
        "host": "name of the machine",
        "kernel": "release of the operating system's kernel",
        "machine": "architecture of the processor",
        "cpu_count": "number of logical processors",
        "python": "version of Python",
        "packages": "versions by package; null: not installed",
        "git_commit": "commit of the source tree; null for an installed package",
        "git_dirty": "whether the source tree had changes that were not committed",
        "command": "command line of the process",
    },
    MachineStates: {
        "before": "before the timed passes",
        "after": "after them; null: it could not be read",
    },
    MachineState: {
        "power_mode": "as `xrt-smi configure --pmode` names it",
        "clocks_mhz": "clocks in MHz, by XRT's names",
        "firmware": "version of the NPU's firmware",
        "driver": "version of amdxdna",
        "xrt": "version of XRT",
        "tenants": "other processes with hardware contexts: `pid 12 (name)`",
        "governor": "frequency governors of the processor",
        "kernel": "release of the operating system's kernel",
        "processor": "what runs the kernels of device=cpu; null on other devices",
    },
    Processor: {
        "model": "name of the processor",
        "allowed": "logical processors that the process may use",
        "pinned": "whether these are fewer than the machine has",
        "compiler": "first line of the compiler's version; null: no kernel has C++",
        "flags": "flags of the compiler",
        "programs": "`C++` or `numpy`, by kernel",
    },
    Hazard: {
        "kind": "[class of the hazard](emulate.md#hazards)",
        "bo": "the buffer object",
        "low": "first byte concerned",
        "high": "end of the bytes concerned, not included",
        "run": "the run concerned",
        "earlier": "first of the two conflicting calls; null: a call is missing",
        "later": "second of the two conflicting calls",
        "count": "number of conflicts between the same two places of the program",
    },
    Call: {
        "what": "the pyxrt call",
        "file": "file of the caller",
        "line": "line of the caller; 0: `file` describes the place in words",
        "now_ns": "time of the call on the device's clock",
    },
    Totals: {
        "clock": "`virtual` or `monotonic`",
        "columns": "columns that the pass held",
        "tiles": "tiles of the pass",
        "makespan_ns": "first stage-in to last collect",
        "alloc_ns": "host time to allocate bos",
        "write_ns": "host time to write inputs and sync them",
        "launch_ns": "host time to start runs",
        "wait_ns": "host time spent waiting",
        "read_ns": "host time to sync and read outputs",
        "open_ns": "time to open contexts between parts of the pass",
        "exec_ns": "execution on the device; null: no device timestamps",
        "stalls": "number of stalls",
        "stall_ns": "total length of the stalls",
        "bound_ns": "shortest pass that the stage times allow",
        "serial_ns": "length of the pass without any overlap",
        "host_bound_ns": "host's side of the bound",
        "device_bound_ns": "device's side of the bound",
        "busy_ns": "time from the first to the last execution of each column, without its stalls",
        "fill_ns": "time before the first execution of each column, sum over the columns",
        "drain_ns": "time after the last execution of each column, sum over the columns",
        "stall_host_ns": "stalls that begin while the host works for another submission",
        "stall_queue_ns": "stalls that begin while a launch waits for a place in a queue",
        "stall_slot_ns": "stalls that begin while the host waits, because no slot is free",
        "exposed_ns": "host time to write and read during which no column executes",
        "load_ns": "time that columns load contexts; part of `busy_ns`, not of `exec_ns`",
    },
    Step: {
        "operation": "the operation of the encoder",
        "run": "calls that were executed; the others are extrapolated",
        "totals": "totals of all calls",
    },
    Operation: {
        "name": "name of the operation",
        "kernel": "kernel that computes it; null: the host does",
        "calls": "calls of the kernel",
        "unit": "unit of `work`: multiply-accumulates or values",
        "work": "work of the model",
        "tile_work": "work of the calls, padding included",
        "bytes_moved": "inputs and outputs of all calls",
        "additions": "additions that the host has to do",
        "notes": "why the calls do not give the result of the operation",
        "layer": "layer, from 0; null: outside the layers",
    },
}
"""Meanings of the fields; those of `Strategy` are in its declaration."""

MOST_ENTRIES = 10
"""Of a mapping that is shown in full."""
TYPES: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true, false",
    NoneType: "null",
    Any: "any",
    Record: "object",
}


def main() -> None:
    """Write the pages, or the outputs in them."""
    if sys.argv[1:] == ["--outputs"]:
        from shown_commands import rewrite_outputs

        rewrite_outputs()
        return
    for path, text in pages().items():
        path.write_text(text)


def pages() -> dict[Path, str]:
    """Text of every page that is written from the code, all of it or a table in it."""
    texts = {"metrics": metrics(), "records": records(), "configuration": configuration()}
    whole = {
        DOCS / f"{name}.md": "\n".join(lines).rstrip("\n") + "\n" for name, lines in texts.items()
    }
    emulate = DOCS / "emulate.md"
    before, begin, rest = emulate.read_text().partition(HAZARDS_BEGIN)
    _, end, after = rest.partition(HAZARDS_END)
    hazards_table = "".join(f"{line}\n" for line in hazards())
    return {**whole, emulate: f"{before}{begin}{hazards_table}{end}{after}"}


def hazards() -> Iterator[str]:
    """The table of all kinds of hazards."""
    rows = ((kind.value, kind.explanation, kind.remedy) for kind in Kind)
    yield from table(("hazard", "what is wrong", "what to change"), rows)


def metrics() -> Iterator[str]:
    """The page of the table of metrics."""
    yield from [f"<!-- {BY_HAND} -->", "# Metrics", ""]
    yield from [
        "`record.json`, MLflow and the tables use the same names. A metric is null (`-` in a",
        "table) if it was not measured or is not visible on the device; nothing is estimated. A",
        "speed-up is null too if the sweep has no comparable baseline. All metrics belong to one",
        "pass, the median of the timed ones, except where the description names all passes.",
        "Percentiles need enough independent samples: 459 for the 99th.",
        "",
        "MLflow also has `sample/total_ms`: `time/total_ms` of every timed pass, as steps.",
        "",
        "The columns `model ms` and `residual` are shown with `-v`, as in `harness show -v`. The",
        "prediction is that of [the model of a pass](simulator.md#the-model-of-a-pass). Runs whose",
        "tiles encode no audio show `tiles/s`, `GOPS` and `GB/s` in place of `RTF`, with the share",
        "of the device's peak in parentheses where its profile has one; others show the last two",
        "with `-v`.",
        "",
    ]
    rows = [
        (
            f"`{metric.name}`",
            metric.unit.value,
            "-" if metric.better.value == "neither" else metric.better.value,
            metric.heading or "-",
            metric.description,
        )
        for metric in TABLE
    ]
    yield from table(("metric", "unit", "better", "column of the table", "meaning"), rows)


def records() -> Iterator[str]:
    """The page of the record's format."""
    yield from [f"<!-- {BY_HAND} -->", "# The record of a run", ""]
    yield from [
        "Each run writes `record.json` into its folder, whole or not at all, and never changes it.",
        "`harness.results.record.Record.load(folder)` reads it as a typed, immutable object and",
        "raises `HarnessError` with the name of the field for a damaged file. Names that end in",
        "`_ns` are integer nanoseconds.",
        "",
    ]
    for cls, place in RECORD_CLASSES.items():
        yield from [f"## {place}", ""]
        yield from table(("field", "type", "meaning"), _record_rows(cls))
        yield ""
    yield from ["## Schema history", ""]
    history = inspect.getdoc(record_module) or ""
    entries = re.findall(r"^(\d)  (.*(?:\n   .*)*)", history, re.MULTILINE)
    assert len(entries) == record_module.SCHEMA_VERSION
    rows = [(number, " ".join(text.split())) for number, text in entries]
    yield from table(("version", "change"), rows)


def _record_rows(cls: type) -> Iterator[tuple[str, ...]]:
    """A row per field; KeyError for a field without a meaning."""
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        meaning = setting_of(item).meaning if cls is Strategy else RECORD_FIELDS[cls][item.name]
        yield f"`{item.name}`", type_name(hints[item.name]), meaning


def configuration() -> Iterator[str]:
    """The page of groups, options and keys."""
    yield from [f"<!-- {BY_HAND} -->", "# Configuration", ""]
    yield from [
        "A request has one option of each group (`strategy=pipelined`) and a value for each key",
        "(`strategy.batch=4`). The command line sets both; "
        "a key that it does not set has the value",
        "of the option's YAML file in [conf/](../conf/), or the default below. "
        "With `-m`, a list of",
        "values makes a sweep: `depth=1,2,3`. `python -m harness --cfg job` prints the composed",
        "request and runs nothing. A misspelt key or a value out of range is an error that names",
        "the key, the value and what is allowed.",
        "",
    ]
    hints = typing.get_type_hints(Config)
    yield from ["## Keys without a group", ""]
    plain = [item for item in dataclasses.fields(Config) if item.default is not compose.MISSING]
    plain = [item for item in plain if not dataclasses.is_dataclass(hints[item.name])]
    yield from key_table((item, hints[item.name], item.default) for item in plain)
    meanings = {item.name: setting_of(item).meaning for item in dataclasses.fields(Config)}
    for group in ("device", *GROUP_SCHEMAS):
        yield from ["", f"## {group}", "", f"{_capital(meanings[group])}.", ""]
        headings = ("option", "what it selects", "keys that it sets")
        yield from table(headings[: 2 + (group != "device")], option_rows(group))
        if group == "device":
            yield from device_keys()
        else:
            yield ""
            yield from key_table(_keys(GROUP_SCHEMAS[group], GROUP_SCHEMAS[group].__name__, {}))
    yield from ["", "## experiment", "", "Named requests: options and keys of several groups.", ""]
    headings = ("option", "what it selects", "what it sets")
    yield from table(headings, option_rows("experiment"))


def device_keys() -> Iterator[str]:
    """Keys of each kind of device, with the defaults of its YAML file."""
    for kind, cls in DEVICES.items():
        device = compose.load("tracking=off", f"device={kind}").device
        sources = getattr(device, "sources", {})
        yield from ["", f"### device={kind}", ""]
        if sources:
            yield from [
                "The source of a number says where it comes from; `assumed` marks a number that",
                "was never measured.",
                "",
            ]
        yield from key_table(_keys(cls, "", vars(device)), sources)
        for item in dataclasses.fields(cls):
            inner = getattr(device, item.name)
            if dataclasses.is_dataclass(inner):
                yield from ["", f"### device.{item.name}", ""]
                yield from key_table(_keys(type(inner), "", vars(inner)))


def _keys(cls: type, name: str, values: dict[str, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Field, type and default of every key that holds a value."""
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        default = values.get(item.name, _default(item))
        if not dataclasses.is_dataclass(default):
            yield item, hints[item.name], default


def _default(item: dataclasses.Field[Any]) -> Any:
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return "required" if item.default is dataclasses.MISSING else item.default


def key_table(
    keys: Iterable[tuple[Any, Any, Any]], sources: dict[str, str] | None = None
) -> Iterator[str]:
    """A table of keys: field, type, default; with the source of each number if there are any."""
    rows = []
    for item, hint, default in keys:
        key = setting_of(item)
        row = [f"`{item.name}`", type_name(hint), _shown(default, hint)]
        row += [_allowed(key, hint), key.meaning]
        if sources:
            row.append(_source(item.name, sources))
        rows.append(row)
    headings = ["key", "type", "default", "allowed", "meaning", *["source"] * bool(sources)]
    yield from table(headings, rows)


def _source(name: str, sources: dict[str, str]) -> str:
    inner = [f"{key}: {text}" for key, text in sources.items() if key.startswith(f"{name}.")]
    return sources.get(name, "<br>".join(inner) or "-")


def _allowed(key: Setting, hint: Any) -> str:
    """Limits with their unit, or the members of an enumeration."""
    for member in typing.get_args(hint) or (hint,):
        if isinstance(member, type) and issubclass(member, Enum):
            return ", ".join(f"`{each.value}`" for each in member)
    limits = [f"{_number(limit)}" for limit in (key.least, key.most) if limit is not None]
    text = " to ".join(limits) if len(limits) == 2 else "".join(f"{one} or more" for one in limits)
    return " ".join(part for part in (text, key.unit) if part) or "any"


def _shown(value: Any, hint: Any) -> str:
    """A default as it is typed."""
    if hint == dict[str, str] and len(value) > MOST_ENTRIES:
        return "in the last column"
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, dict):
        return ", ".join(f"`{key}: {_plain(each)}`" for key, each in value.items()) or "`{}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(_plain, value))}]`"
    if value == "required":
        return "required"
    if value == "":
        return "empty"
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, Enum):
        return str(value.value)
    return _number(value) if isinstance(value, int | float) else str(value)


def _number(value: float) -> str:
    return f"{value:_}" if value == int(value) and abs(value) >= 10_000 else f"{value:g}"


def option_rows(group: str) -> Iterator[tuple[str, ...]]:
    """Options of a group in alphabetical order: the first line of the YAML file, and what it sets.

    Without the latter for a device, which sets nearly all of its keys.
    """
    for path in sorted((compose.conf_dir() / group).glob("*.yaml")):
        row = f"`{group}={path.stem}`", description(path)
        yield row if group == "device" else (*row, ", ".join(_settings(path, group)) or "-")


def _settings(path: Path, group: str) -> Iterator[str]:
    """`key: value` of everything that a YAML file sets; options of other groups first."""
    content = yaml.safe_load(path.read_text()) or {}
    for entry in content.pop("defaults", ()):
        for key, option in entry.items():
            yield f"`{key.removeprefix('override /')}={option}`"
    for key, value in content.items():
        if not isinstance(value, dict) or key == "links":
            yield f"`{key}: {_braced(value)}`"
            continue
        for inner, each in value.items():
            yield f"`{inner if key == group else f'{key}.{inner}'}: {_braced(each)}`"


def _braced(value: Any) -> str:
    """A value on one line, as YAML writes it."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip()


def description(path: Path) -> str:
    """The first comment of a YAML file that is neither for Hydra nor a command, as one line.

    A phase without such a comment has its goal instead, as in `harness list`.
    """
    skipped = re.compile("# (@package| *python -m)")
    lines = [line for line in path.read_text().splitlines() if not skipped.match(line)]
    if lines[0].startswith("# "):
        return lines[0].removeprefix("# ")
    described = {each.name: each.description for each in presets(path.parent.name)}
    if not described[path.stem]:
        raise ValueError(f"{path}: begins with no comment; describe the option in its first line")
    return f"{described[path.stem]}."


def type_name(hint: Any) -> str:
    """A type in words."""
    arguments = typing.get_args(hint)
    if hint in TYPES:
        return TYPES[hint]
    if typing.get_origin(hint) in (UnionType, typing.Union):
        return " or ".join(dict.fromkeys(map(type_name, arguments)))
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(str, arguments))
    if typing.get_origin(hint) is dict:
        return f"{type_name(arguments[1])} by name"
    if typing.get_origin(hint) in (list, tuple):
        return f"list of {type_name(arguments[0])}"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "name"
    return "object"


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A Markdown table."""
    headings = tuple(headings)
    for cells in (headings, ("---",) * len(headings), *rows):
        yield f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(cell: str) -> str:
    """A cell in which bars and angle brackets are text; line breaks stay."""
    parts = (part.replace("|", "\\|").replace("<", "&lt;") for part in cell.split("<br>"))
    return "<br>".join(parts)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


if __name__ == "__main__":
    main()

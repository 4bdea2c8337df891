"""Kills sweeps at random moments, and counts what is lost, duplicated or half-written."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness.commands.resume import resumed
from harness.commands.stored import unended
from harness.commands.sweep_speedups import sweep_speedups
from harness.measure.metrics import SPEEDUP
from harness.results.find import TRACE_NAME, artifacts, digest_of, run_folders
from harness.results.record import Record
from harness.tracking.mlflow_views import NOTE_TAG
from harness.tracking.run_data import RECORD_TAG
from support.fork_server import POLL_S, Forked, environment

PICTURES = {"timeline.png", "curves.png"}
SWEEP_FILES = {"runs.md", "runs.json"}
STRATEGIES = ("baseline", "pooled", "pipelined")
SEEDS = 4
JOBS = len(STRATEGIES) * SEEDS
LIMIT_S = 300
STORE = Path("outputs/mlflow.db")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Moment(StrEnum):
    """What a kill interrupts."""

    start = "before a first job of the process"
    job = "in a job without a record"
    between = "between the record of a job and the next job"
    end = "after the last record of the sweep"


@dataclass
class Toll:
    """What kills did. runs: finished runs; lost, duplicated: of these.

    half: what is half-written. untraced: finished runs without a trace. left: traces without a
    record, and parts of files, after the last sweep. sweeps: that ran to their end. moments: kills
    by what they interrupted.
    """

    runs: int = 0
    sweeps: int = 0
    lost: int = 0
    duplicated: int = 0
    untraced: int = 0
    left: int = 0
    half: list[str] = field(default_factory=list)
    moments: Counter[Moment] = field(default_factory=Counter)

    @property
    def kills(self) -> int:
        return self.moments.total()

    def add(self, other: Toll) -> None:
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def sweep(number: int) -> tuple[str, ...]:
    """Arguments of a sweep of JOBS jobs; another number has other jobs."""
    seeds = ",".join(str(SEEDS * number + each) for each in range(SEEDS))
    return (
        "-m",
        f"strategy={','.join(STRATEGIES)}",
        f"seed={seeds}",
        "workload.tiles=5",
        "measure.repeats=2",
    )


def run_for(process: Forked, cpu_s: float) -> float:
    """Wait until a process ends or has used a CPU time, which the machine's load does not change.

    Returns the CPU time in seconds.
    """
    used_s = 0.0
    while used_s < cpu_s and process.poll() is None:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
        # Fields 14 and 15 (proc_pid_stat(5)); the second may contain spaces and parentheses.
        used_s = sum(map(int, stat.rpartition(")")[2].split()[11:13])) / TICKS_PER_S
        time.sleep(POLL_S)
    return used_s


def kill_sweeps(kills: int, longest_s: float, generator: random.Random) -> Toll:
    """Run sweeps in this folder, and kill that many processes; then end the last, and publish.

    A sweep starts again until all its jobs have a record, then comes one with other seeds.
    longest_s: a kill comes at a random CPU time of a process up to it.
    """
    toll = Toll()
    finished: dict[Path, str] = {}
    while toll.kills < kills:
        before = set(finished)
        begun = begun_folders()
        process = Forked("", sweep(toll.sweeps), environment())
        run_for(process, generator.uniform(0, longest_s))
        killed = process.poll() is None
        process.kill()
        process.communicate(LIMIT_S)
        count(finished, toll)
        left = JOBS * (toll.sweeps + 1) - len(finished)
        if killed:
            toll.moments[moment(begun_folders() - begun, set(finished) - before, left)] += 1
        elif process.returncode:
            raise RuntimeError(f"exit code {process.returncode} of a sweep that was not killed")
        toll.sweeps += not left
    for arguments in (sweep(toll.sweeps), ("publish",)):
        process = Forked("", arguments, environment())
        out, err = process.communicate(LIMIT_S)
        if process.returncode:
            raise RuntimeError(f"{arguments}: exit code {process.returncode}: {out}{err}")
    toll.sweeps += 1
    count(finished, toll)
    toll.runs = len(finished)
    toll.left += sum(1 for _ in leftovers(Path("outputs")))
    check_records(finished, toll)
    check_store(finished, toll)
    return toll


def begun_folders() -> set[Path]:
    """Folders of jobs that Hydra has begun."""
    return {path.parents[1] for path in Path("outputs").glob("*/*/*/.hydra/overrides.yaml")}


def moment(begun: set[Path], recorded: set[Path], left: int) -> Moment:
    """What was killed. begun, recorded: folders of its process. left: jobs without a record."""
    if not left:
        return Moment.end
    if not begun:
        return Moment.start
    return Moment.job if begun - recorded else Moment.between


def count(finished: dict[Path, str], toll: Toll) -> None:
    """Note new records, and that the old ones are as they were."""
    for path in [*Path("outputs").rglob("record.json"), *Path("outputs").rglob("trace.json")]:
        try:
            json.loads(path.read_text())
        except ValueError:
            toll.half.append(f"{path}: no JSON")
    digests = {folder: digest_of(folder) for folder in run_folders(Path("outputs"))}
    toll.lost += sum(digests.get(folder) != digest for folder, digest in finished.items())
    finished.update(digests)


def leftovers(folder: Path) -> Iterator[Path]:
    """Traces without a record, and parts of records and traces."""
    yield from folder.rglob(".record.json.*")
    yield from folder.rglob(f".{TRACE_NAME}.*")
    for trace in folder.rglob(TRACE_NAME):
        if not trace.with_name("record.json").exists():
            yield trace


def check_records(finished: dict[Path, str], toll: Toll) -> None:
    """Every job has one record."""
    keys = Counter(json.loads((each / "record.json").read_text())["run_key"] for each in finished)
    toll.duplicated += sum(number - 1 for number in keys.values())
    toll.lost += JOBS * toll.sweeps - len(keys)


def check_store(finished: dict[Path, str], toll: Toll) -> None:
    """Every record has one whole run in MLflow's tables, and every sweep a parent; none is open."""
    with closing(sqlite3.connect(STORE)) as connection:
        runs = connection.execute("SELECT run_uuid, status, artifact_uri FROM runs").fetchall()
        tags, metrics = (
            {(run, key): value for run, key, value in connection.execute(query)}
            for query in (
                "SELECT run_uuid, key, value FROM tags",
                "SELECT run_uuid, key, value FROM latest_metrics",
            )
        )
    by_digest = Counter(value for (_, key), value in tags.items() if key == RECORD_TAG)
    toll.lost += len(set(finished.values()) - set(by_digest))
    toll.duplicated += sum(number - 1 for number in by_digest.values())
    folders = {digest: folder for folder, digest in finished.items()}
    ratios = expected_speedups(finished)
    for run, status, location in runs:
        stored = Path(unquote(urlsplit(location).path))
        names = {path.name for path in stored.iterdir()} if stored.is_dir() else set()
        # A sweep draws at its end; a picture that a kill prevents is no loss.
        names -= PICTURES
        own = {key: value for (each, key), value in metrics.items() if each == run}
        digest, place = tags.get((run, RECORD_TAG)), Path(tags.get((run, "sweep"), ""))
        state: tuple[object, ...] = (status,)
        right: tuple[object, ...] = ("KILLED",)
        if digest:
            files = {path.name for path in artifacts(folders[digest])} - PICTURES
            toll.untraced += TRACE_NAME not in files
            below = (run, "mlflow.parentRunId") in tags
            state = (status, len(own) > 20, own.get(SPEEDUP), names, below)
            right = ("FINISHED", True, ratios[digest], files, True)
        elif any(place.glob("*/record.json")):
            rows = len(resumed(place)[1]) + len(run_folders(place))
            state = (status, own, names, (run, NOTE_TAG) in tags)
            ended = "KILLED" if unended(place) else "FINISHED"
            right = (ended, {"sweep/OK": rows}, SWEEP_FILES, True)
        if state != right:
            toll.half.append(f"{place} {digest}: {state} instead of {right}")


def expected_speedups(finished: dict[Path, str]) -> dict[str, float | None]:
    """The speed-up of each record, by digest."""
    runs = [(Record.load(folder), folder) for folder in finished]
    ratios = sweep_speedups(runs)
    return {
        finished[folder]: ratio.ratio if ratio else None
        for (_, folder), ratio in zip(runs, ratios, strict=True)
    }

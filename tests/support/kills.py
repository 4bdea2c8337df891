"""Kills sweeps at random moments, and counts what is lost, duplicated or half-written."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness.results.find import digest_of, run_folders
from support.fork_server import POLL_S, Forked, environment

SWEEP = (
    "-m",
    "strategy=baseline,pooled,pipelined",
    "seed=1,2,3,4",
    "workload.tiles=5",
    "measure.repeats=2",
)
JOBS = 12
LIMIT_S = 300
STORE = Path("outputs/mlflow.db")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Toll:
    """What kills did. runs: finished runs; lost, duplicated, half: of these, or parts of runs."""

    kills: int = 0
    runs: int = 0
    lost: int = 0
    duplicated: int = 0
    half: int = 0

    def add(self, other: Toll) -> None:
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))


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


def kill_sweep(kills: int, longest_s: float, generator: random.Random) -> Toll:
    """Start a sweep in this folder until that many were killed, then once more, and publish.

    longest_s: a kill comes at a random CPU time of a process up to it.
    """
    toll = Toll()
    finished: dict[Path, str] = {}
    while toll.kills < kills:
        process = Forked("", SWEEP, environment())
        run_for(process, generator.uniform(0, longest_s))
        toll.kills += process.poll() is None
        process.kill()
        process.communicate(LIMIT_S)
        count(finished, toll)
    for arguments in (SWEEP, ("publish",)):
        process = Forked("", arguments, environment())
        out, err = process.communicate(LIMIT_S)
        if process.returncode:
            raise RuntimeError(f"{arguments}: exit code {process.returncode}: {out}{err}")
    count(finished, toll)
    toll.runs = len(finished)
    check_records(finished, toll)
    check_store(set(finished.values()), toll)
    return toll


def count(finished: dict[Path, str], toll: Toll) -> None:
    """Note new records, and that the old ones are as they were."""
    for path in [*Path("outputs").rglob("record.json"), *Path("outputs").rglob("trace.json")]:
        try:
            json.loads(path.read_text())
        except ValueError:
            toll.half += 1
    digests = {folder: digest_of(folder) for folder in run_folders(Path("outputs"))}
    toll.lost += sum(digests.get(folder) != digest for folder, digest in finished.items())
    finished.update(digests)


def check_records(finished: dict[Path, str], toll: Toll) -> None:
    """Every job has one record."""
    keys = Counter(json.loads((each / "record.json").read_text())["run_key"] for each in finished)
    toll.duplicated += sum(number - 1 for number in keys.values())
    toll.lost += JOBS - len(keys)


def check_store(digests: set[str], toll: Toll) -> None:
    """Every record has one whole run in MLflow's tables, and no run is open."""
    with closing(sqlite3.connect(STORE)) as connection:
        rows = connection.execute(
            "SELECT tags.value, runs.run_uuid, runs.status, runs.artifact_uri FROM tags "
            "JOIN runs USING (run_uuid) WHERE tags.key = 'harness.record'"
        ).fetchall()
        metrics = Counter(
            run_id for (run_id,) in connection.execute("SELECT run_uuid FROM latest_metrics")
        )
        (running,) = connection.execute(
            "SELECT count(*) FROM runs WHERE status = 'RUNNING'"
        ).fetchone()
    by_digest = Counter(digest for digest, *_ in rows)
    toll.lost += len(digests - set(by_digest))
    toll.duplicated += sum(number - 1 for number in by_digest.values())
    toll.half += running
    for _, run_id, status, artifacts in rows:
        folder = Path(unquote(urlsplit(artifacts).path))
        names = {path.name for path in folder.iterdir()}
        whole = status == "FINISHED" and metrics[run_id] > 20
        toll.half += not (whole and names == {"record.json", "trace.json", "config.yaml"})

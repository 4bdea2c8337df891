"""How many stored records a second `harness publish` brings into a sqlite store."""

from __future__ import annotations

import packages  # noqa: F401 - exits where one is missing

# isort: split
import json
import shutil
import sys
import tempfile
from pathlib import Path

from commands import run_s

TARGET_PER_S = 50
RECORDS = 10_000
RUNS_PER_SWEEP = 100
CLIENT_RUNS = 100
"""Runs that MLflow's client stores, for comparison."""


def copies(original: Path, outputs: Path, count: int) -> None:
    """Sweeps with copies of one run; each record differs from all others."""
    record = json.loads((original / "record.json").read_text())
    for number in range(count):
        sweep = outputs / "bench" / str(number // RUNS_PER_SWEEP)
        folder = sweep / str(number % RUNS_PER_SWEEP)
        shutil.copytree(original, folder)
        name = f"{record['name']} {number}"
        (folder / "record.json").write_text(json.dumps({**record, "name": name}))
        (sweep / "multirun.yaml").touch()


def client_s(outputs: Path, count: int) -> float:
    """Seconds a run that MLflow's client needs for the same content, in a store of its own."""
    import time

    from harness.results.find import artifacts, digest_of, run_folders
    from harness.results.record import Record
    from harness.tracking.mlflow import MlflowStore
    from harness.tracking.run_data import run_data
    from harness.tracking.server_runs import ServerRuns
    from harness.tracking.store import Entry

    folder = outputs.parent / "client"
    store = MlflowStore(f"sqlite:///{folder}/mlflow.db", f"{folder}/artifacts", "client")
    runs = ServerRuns(store._client, store._experiment_id)
    begin = time.perf_counter()
    for each in run_folders(outputs)[:count]:
        entry = Entry(Record.load(each), each, digest_of(each), artifacts(each))
        runs.write([run_data(entry, None)], new=True)
    return (time.perf_counter() - begin) / count


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    with tempfile.TemporaryDirectory() as root:
        place = Path(root)
        run_s("harness", place)  # creates the store, and the run to copy
        (original,) = (path.parent for path in place.glob("outputs/2*/*/record.json"))
        copies(original, place / "outputs", count)
        first_s = run_s("harness", place, "publish", "outputs/bench")
        again_s = run_s("harness", place, "publish", "outputs/bench")
        client = client_s(place / "outputs" / "bench", min(count, CLIENT_RUNS))
    print(
        f"publish: {count / first_s:.0f} records/s (target >= {TARGET_PER_S}): {count:,} records "
        f"in {first_s:.1f} s, once more in {again_s:.1f} s; MLflow's client: {1 / client:.0f}/s"
    )


if __name__ == "__main__":
    main()

"""Add pictures that are drawn later to the MLflow runs of their records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.commands.open_store import open_store
from harness.commands.resume import Run
from harness.commands.terminal import say
from harness.config.schema import Tracking, TrackingKind
from harness.results.find import TIMELINE_NAME, digest_of
from harness.tracking.store import TrackingError, backend_of

SQLITE = "sqlite:///"


def attach_timelines(runs: Sequence[Run], drawn: Iterable[Path]) -> tuple[list[str], list[str]]:
    """Add timelines to the runs of local stores; returns what is added, and what failed.

    runs: records with their folders. drawn: the pictures. Relative addresses of stores start at
    the current folder. Runs of servers, and of stores that do not exist here, are left out.
    """
    pictures = {each.parent: each for each in drawn if each.name == TIMELINE_NAME}
    stores: dict[Tracking, dict[Path, Path]] = {}
    for record, folder in runs:
        if folder in pictures and (tracking := local_store_of(record.config.get("tracking", {}))):
            stores.setdefault(tracking, {})[folder] = pictures[folder]
    added, failed = list[str](), list[str]()
    for tracking, by_folder in stores.items():
        try:
            number = _attach(tracking, by_folder)
        except TrackingError as error:
            failed.append(f"{error}; the pictures are in the folders of the runs, not in MLflow")
            continue
        count = f"{number} of {len(by_folder)} runs"
        line = f"added to MLflow ({tracking.uri}): {TIMELINE_NAME} of {count}"
        rest = "; harness publish stores the others there" if number < len(by_folder) else ""
        added.append(line + rest)
    return added, failed


def local_store_of(group: Mapping[str, Any]) -> Tracking | None:
    """The store that a record's configuration names, if it is local and its file exists here.

    group: the resolved group `tracking`.
    """
    uri = str(group.get("uri", ""))
    is_local = group.get("kind") == TrackingKind.local.value and uri.startswith(SQLITE)
    if not is_local or not Path(uri.removeprefix(SQLITE)).is_file():
        return None
    # A record of an earlier version has no backend.
    names = {"backend", "artifacts", "experiment"} & group.keys()
    return Tracking(TrackingKind.local, uri=uri, **{name: group[name] for name in names})


def _attach(tracking: Tracking, pictures: Mapping[Path, Path]) -> int:
    """Add pictures by the folder of their run; returns how many of the runs the store has."""
    backend = backend_of(tracking)
    assert backend is not None
    store = open_store(backend, tracking, Path.cwd(), say)
    digests = {digest_of(folder): folder for folder in pictures}
    stored = store.stored({key: str(each.absolute()) for key, each in digests.items()})
    store.attach({key: [pictures[digests[key]]] for key in digests if key in stored})
    return len(stored)

"""Open the MLflow store that a command reads or writes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.config.compose import load
from harness.config.credentials import refuse_credentials
from harness.config.schema import Tracking
from harness.errors import RequestError
from harness.tracking.store import Store, TrackingBackend, TrackingError

log = logging.getLogger("harness")


def tracking_of(overrides: Sequence[str], what: str) -> Tracking:
    """The MLflow store that overrides name; RequestError for an override of anything else.

    what: the command and its verb, for the message.
    """
    refuse_credentials(overrides)
    for override in overrides:
        # Anything else would be composed without an effect, and the user would not know.
        if override.lstrip("+~").partition("=")[0].split(".")[0] != "tracking":
            raise RequestError(f"{override}: {what} stored runs; only tracking can be overridden")
    return load(*overrides).tracking


def open_store(
    backend: TrackingBackend,
    tracking: Tracking,
    here: Path,
    remark: Callable[[str], None],
    *,
    writes: bool = True,
) -> Store:
    """Open a store; remark: prints what it reports. TrackingError if that fails.

    writes: whether it is to be written.
    """
    store = backend.open_store(tracking, here)
    if writes and store.failure:
        raise TrackingError(store.failure)
    for line in store.remarks:
        log.info("%s", line)
        remark(line)
    return store

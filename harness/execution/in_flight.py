"""Ends a failed pass: waits for the runs in flight, and never frees one that has not ended."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

from harness.device.backend import Slot, Submission
from harness.errors import MAYBE_IN_FLIGHT, DeviceError, DeviceTimeoutError

PATIENCE = 10
"""Timeouts to wait for each run in flight after a failed pass.

A run that has not ended keeps its context until the process exits, so a long wait is better.
"""
log = logging.getLogger(__name__)


class InFlight(NamedTuple):
    """A submission in flight; queue: (kernel index, column). Those in one queue end in order."""

    slot: Slot
    submission: Submission
    queue: tuple[int, int]


def finish_in_flight(launched: Iterable[InFlight], failed: Iterable[InFlight]) -> None:
    """Wait for submissions in flight, and keep the slots of those that do not end.

    failed: submissions whose launch raised. XRT treats them as in flight, but they may never have
    started, so they are checked without waiting.
    """
    waiting, stuck = list(launched), set[tuple[int, int]]()
    for each in waiting:
        try:
            _await(each.submission, 0 if each.queue in stuck else PATIENCE, len(waiting))
        except DeviceError as error:
            log.debug("a run in flight failed too", exc_info=True)
            if isinstance(error, MAYBE_IN_FLIGHT):
                each.slot.keep()
            # The submissions behind it in its queue cannot end before it.
            if isinstance(error, DeviceTimeoutError):
                stuck.add(each.queue)
        except BaseException:
            log.debug("the wait for a run in flight was stopped", exc_info=True)
            each.slot.keep()
            # Second Ctrl-C: only check the others, do not wait for them.
            stuck.update(other.queue for other in waiting)
    for each in failed:
        try:
            each.submission.wait(0)
        except DeviceError as error:
            log.debug("a submission failed at its launch", exc_info=True)
            if isinstance(error, MAYBE_IN_FLIGHT):
                each.slot.keep()
        except BaseException:
            log.debug("the check of a failed launch was stopped", exc_info=True)
            each.slot.keep()


def _await(submission: Submission, patience: int, runs: int) -> None:
    try:
        # The warning below only appears once a wait takes long: most runs end within one timeout.
        submission.wait(min(patience, 1))
    except DeviceTimeoutError:
        if patience <= 1:
            raise
        log.warning(
            "waiting for %d submissions in flight; Ctrl-C stops waiting and leaves them running",
            runs,
        )
        submission.wait(patience - 1)

"""The end of a pass that failed: no run in flight is dropped."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

from harness.device.backend import Slot, Submission
from harness.errors import MAYBE_IN_FLIGHT, DeviceError, DeviceTimeoutError

PATIENCE = 10
"""Timeouts that a run in flight is given when its pass has failed: dropping it would be worse than waiting."""
log = logging.getLogger(__name__)


class InFlight(NamedTuple):
    """A submission in flight; those on one `queue`, of a kernel on a column, end in order."""

    slot: Slot
    submission: Submission
    queue: tuple[int, int]


def finish_in_flight(launched: Iterable[InFlight], refused: Iterable[InFlight]) -> None:
    """Wait for the submissions in flight; what is not seen to end is never freed.

    refused: whose launch raised. XRT counts them as in flight, but they may never have begun.
    """
    flying, stuck = list(launched), set[tuple[int, int]]()
    for each in flying:
        try:
            _await(each.submission, 0 if each.queue in stuck else PATIENCE, len(flying))
        except DeviceError as error:
            log.debug("a run in flight failed too", exc_info=True)
            if isinstance(error, MAYBE_IN_FLIGHT):
                each.slot.keep()
            if isinstance(error, DeviceTimeoutError):  # what follows it in its queue is behind it
                stuck.add(each.queue)
        except BaseException:
            log.debug("a run was not seen to end", exc_info=True)
            each.slot.keep()
            stuck.update(other.queue for other in flying)  # second Ctrl-C: stop waiting
    for each in refused:
        try:
            each.submission.wait(0)
        except DeviceError as error:
            log.debug("a submission failed at its launch", exc_info=True)
            if isinstance(error, MAYBE_IN_FLIGHT):
                each.slot.keep()
        except BaseException:
            log.debug("a submission was not seen to end", exc_info=True)
            each.slot.keep()


def _await(submission: Submission, patience: int, runs: int) -> None:
    try:
        submission.wait(min(patience, 1))
    except DeviceTimeoutError:
        if patience <= 1:
            raise
        log.warning(
            "%d submissions are in flight and waited for; Ctrl-C leaves them to the driver", runs
        )
        submission.wait(patience - 1)

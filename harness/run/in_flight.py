"""The end of a pass that failed: no run in flight is dropped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple

from harness.device.backend import Slot, Submission
from harness.errors import MAYBE_IN_FLIGHT, DeviceError, DeviceTimeoutError

PATIENCE = 10
"""Timeouts that a run in flight is given when its pass has failed: dropping it would be worse than waiting."""
log = logging.getLogger(__name__)


class InFlight(NamedTuple):
    """A submission in flight; those on one `queue` end in order."""

    slot: Slot
    group: Submission
    queue: int


def drain(flying: Sequence[InFlight], refused: InFlight | Literal[False]) -> None:
    """Wait for the submissions in flight; what is not seen to end is kept for ever.

    refused: a submission whose launch raised. XRT counts it as in flight, but it may never have begun.
    """
    stuck: set[int] = set()
    for each in flying:
        try:
            _await(each.group, 0 if each.queue in stuck else PATIENCE, len(flying))
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
    if refused:
        try:
            refused.group.wait(0)
        except DeviceError as error:
            log.debug("a submission failed at its launch", exc_info=True)
            if isinstance(error, MAYBE_IN_FLIGHT):
                refused.slot.keep()
        except BaseException:
            log.debug("a submission was not seen to end", exc_info=True)
            refused.slot.keep()


def _await(group: Submission, patience: int, runs: int) -> None:
    try:
        group.wait(min(patience, 1))
    except DeviceTimeoutError:
        if patience <= 1:
            raise
        log.warning(
            "%d submissions are in flight and waited for; Ctrl-C leaves them to the driver", runs
        )
        group.wait(patience - 1)

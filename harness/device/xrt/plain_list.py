"""What stands in for a runlist where pyxrt has none."""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import MAYBE_IN_FLIGHT, DeviceError


class PlainList:
    """Replaces a runlist if pyxrt has none: starts its runs and waits for them one by one."""

    def __init__(
        self, starts: list[Callable[[], None]], waits: list[Callable[[int], None]]
    ) -> None:
        self._starts = starts
        self._waits = waits
        self._started = 0

    def execute(self) -> None:
        """Start every run, up to the first whose start raises."""
        self._started = 0
        for start in self._starts:
            # Count first: XRT treats a run whose start has failed as in flight.
            self._started += 1
            start()

    def wait(self, patience: int) -> None:
        """Wait for every started run, then raise an error of one of them, if any.

        An error that leaves a run in flight is raised before the others, else the first error.
        """
        errors: list[DeviceError] = []
        try:
            for wait in self._waits[: self._started]:
                try:
                    wait(patience)
                except DeviceError as error:
                    errors.append(error)
            if errors:
                raise next(
                    (error for error in errors if isinstance(error, MAYBE_IN_FLIGHT)), errors[0]
                )
        finally:
            # An error's traceback refers to this frame: the cycle would keep the contexts open.
            errors.clear()

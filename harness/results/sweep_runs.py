"""The runs of a sweep while its jobs run: their number must not decide how much memory it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from harness.errors import HarnessError
from harness.results.record import FILE_NAME, Record
from harness.results.shared_parts import SharedParts

Run = tuple[Record, Path]


class SweepRuns:
    """Runs with their folders, in the order in which they ended; the records are in the folders.

    Memory holds the last record and those that could not be stored. problem: called with a message
    about a record that cannot be read when the runs are iterated; its run is left out.

        runs = SweepRuns(print)
        runs.append((record, folder))
        for record, folder in runs: ...
    """

    def __init__(self, problem: Callable[[str], None]) -> None:
        self._problem = problem
        self._runs: list[tuple[Record | None, str]] = []
        self._right = 0
        self._shared = SharedParts()

    def append(self, run: Run) -> None:
        """Add a run, whose record need not be stored yet."""
        if self._runs:
            _, folder = self._runs[-1]
            if Path(folder, FILE_NAME).is_file():
                self._runs[-1] = None, folder
        record, place = run
        self._runs.append((record, str(place)))
        self._right += record.ok

    @property
    def last(self) -> Run | None:
        """The run that ended last; None before the first."""
        if not self._runs:
            return None
        record, folder = self._runs[-1]
        assert record
        return record, Path(folder)

    @property
    def right(self) -> int:
        """Number of runs with verdict OK."""
        return self._right

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        for record, folder in self._runs:
            if record:
                yield self._shared(record), Path(folder)
            else:
                yield from self.read([Path(folder)])

    def read(self, folders: Iterable[Path]) -> Iterator[Run]:
        """The runs of other processes and sweeps, read from their folders."""
        for folder in folders:
            try:
                yield self._shared(Record.load(folder)), folder
            except HarnessError as error:
                self._problem(str(error))

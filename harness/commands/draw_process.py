"""Draw pictures in a process of its own, which inherits no lock, thread or device of the command.

It imports little but matplotlib: that alone takes half a second.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from harness.report.pictures.files import Picture, save
from harness.results.whole_file import temporary_of

TIMEOUT_S = 60
"""Longest wait for the pictures. The first use of matplotlib searches for fonts, for seconds."""
ROOT = Path(__file__).parents[2]
"""The folder that the package is imported from."""


class Drawing:
    """Pictures that another process draws.

    drawing = Drawing([TimelinePicture(folder)])
    failures = drawing.wait()
    """

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.drawn: list[Path] = []
        """The files that the process wrote, once `wait` has returned."""
        self._pictures = pictures
        self._process: subprocess.Popen[bytes] | None = None
        self._failure = ""
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            self._process = subprocess.Popen(
                # -P: no module of the current folder takes the place of another one.
                [sys.executable, "-P", "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                # Ctrl-C is for the command, which then ends this process.
                start_new_session=True,
            )
            assert self._process.stdin is not None
            with self._process.stdin as stream:
                pickle.dump([*pictures], stream)
        except OSError as error:  # no process, or it ended at once
            self._failure = str(error)
        if self._process:
            self._process.stdin = None

    def wait(self) -> list[str]:
        """Wait until the pictures are drawn; returns a message for each that is not."""
        process, self._process = self._process, None
        if process is None:
            return self._messages([], self._failure) if self._failure else []
        try:
            output, _ = process.communicate(timeout=TIMEOUT_S)
            reason = f"its process ended with {process.returncode}"
        except subprocess.TimeoutExpired:
            output, reason = self._end(process), f"it took longer than {TIMEOUT_S} s"
        except BaseException:
            self._end(process)
            raise
        self._clean(process)
        # A killed process may leave half of a line.
        whole, _, _ = output.rpartition(b"\n")
        return self._messages([json.loads(line) for line in whole.splitlines()], reason)

    def cancel(self) -> None:
        """End the process without a picture."""
        process, self._process = self._process, None
        if process:
            self._end(process)

    def _end(self, process: subprocess.Popen[bytes]) -> bytes:
        """Kill the process; returns what it has written."""
        process.kill()
        output, _ = process.communicate()
        self._clean(process)
        return output

    def _clean(self, process: subprocess.Popen[bytes]) -> None:
        """Remove the files that a killed process was writing."""
        for each in self._pictures:
            with suppress(OSError):
                temporary_of(each.path, process.pid).unlink(missing_ok=True)

    def _messages(self, results: Sequence[str], reason: str) -> list[str]:
        """What the process reported of its first pictures, and `reason` for all others."""
        others = [failure(each, reason) for each in self._pictures[len(results) :]]
        messages = [*results, *others]
        # By the reports: a file that exists may be an older one.
        for picture, message in zip(self._pictures, messages, strict=True):
            if not message:
                self.drawn.append(picture.path)
        return list(filter(None, messages))


def failure(picture: Picture, reason: object) -> str:
    """The message about a picture that could not be drawn."""
    text = " ".join(str(reason).split()) or type(reason).__name__
    return f"{picture.path}: cannot be drawn ({text}); everything else is stored"


def draw_each(pictures: Sequence[Picture]) -> Iterator[str]:
    """Draw in this process; yields a message for each picture, empty if it is drawn."""
    for each in pictures:
        try:
            save(each)
        except Exception as error:  # also what a broken matplotlib raises
            yield failure(each, error)
        else:
            yield ""


if __name__ == "__main__":
    results, sys.stdout = sys.stdout, sys.stderr  # a library may print
    for message in draw_each(pickle.load(sys.stdin.buffer)):
        print(json.dumps(message), file=results, flush=True)

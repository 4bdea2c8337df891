"""Draw pictures in a process of its own, which inherits no lock, thread or device of the command.

It imports little but matplotlib: that alone takes half a second.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
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
            return self._failed(self._failure) if self._failure else []
        try:
            output, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._end(process)
            return self._failed(f"it took longer than {TIMEOUT_S} s")
        except BaseException:
            self._end(process)
            raise
        if process.returncode:
            self._clean(process)
            return self._failed(f"its process ended with {process.returncode}")
        return output.decode(errors="replace").splitlines()

    @property
    def drawn(self) -> list[Path]:
        """The files that exist."""
        return [each.path for each in self._pictures if each.path.exists()]

    def cancel(self) -> None:
        """End the process without a picture."""
        process, self._process = self._process, None
        if process:
            self._end(process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.communicate()
        self._clean(process)

    def _clean(self, process: subprocess.Popen[bytes]) -> None:
        """Remove the files that a killed process was writing."""
        for each in self._pictures:
            with suppress(OSError):
                temporary_of(each.path, process.pid).unlink(missing_ok=True)

    def _failed(self, reason: str) -> list[str]:
        """Messages about all pictures that do not exist."""
        return [failure(each, reason) for each in self._pictures if not each.path.exists()]


def failure(picture: Picture, reason: object) -> str:
    """The message about a picture that could not be drawn."""
    text = " ".join(str(reason).split()) or type(reason).__name__
    return f"{picture.path}: cannot be drawn ({text}); everything else is stored"


def draw_all(pictures: Sequence[Picture]) -> list[str]:
    """Draw in this process; returns a message for each picture that cannot be drawn."""
    failures = []
    for each in pictures:
        try:
            save(each)
        except Exception as error:  # also what a broken matplotlib raises
            failures.append(failure(each, error))
    return failures


if __name__ == "__main__":
    for line in draw_all(pickle.load(sys.stdin.buffer)):
        print(line)

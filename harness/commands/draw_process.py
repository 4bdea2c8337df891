"""Draw pictures in a process of its own, which inherits no lock, thread or device of the command.

It imports little but matplotlib: that alone takes half a second. A process that starts before the
pictures are known does this first, and ends without a picture when its stdin closes, as it does
when the command is killed.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from harness.report.pictures.files import Picture, new_figure, save
from harness.results.whole_file import temporary_of

TIMEOUT_S = 60
"""Longest wait for the pictures. The first use of matplotlib searches for fonts, for seconds."""
ROOT = Path(__file__).parents[2]
"""The folder that the package is imported from."""


class Drawing:
    """Pictures that another process draws. The process starts at once, and waits for `draw`.

    drawing = Drawing()
    drawing.draw([TimelinePicture(folder)])
    failures = drawing.wait()
    """

    def __init__(self) -> None:
        self.drawn: list[Path] = []
        """The files that the process wrote, once `wait` has returned."""
        self._pictures: Sequence[Picture] = ()
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
        except OSError as error:
            self._failure = str(error)

    def draw(self, pictures: Sequence[Picture]) -> None:
        """Begin to draw; once only."""
        self._pictures = pictures
        if self._process is None:
            return
        assert self._process.stdin is not None
        # A process that has ended is reported by `wait`.
        with suppress(OSError), self._process.stdin as stream:
            pickle.dump([*pictures], stream)
        self._process.stdin = None

    def wait(self) -> list[str]:
        """Wait until the pictures are drawn; returns a message for each that is not.

        Without pictures, end the process.
        """
        if not self._pictures:
            self.cancel()
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
        if process.stdin:
            process.stdin.close()
            process.stdin = None
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


def warm_up() -> None:
    """Import matplotlib and load its fonts; without effect if that fails."""
    with suppress(Exception):  # each picture reports it
        figure = new_figure(1, 1)
        figure.suptitle("warm-up")
        figure.savefig(BytesIO(), format="png")


if __name__ == "__main__":
    results, sys.stdout = sys.stdout, sys.stderr  # a library may print
    warm_up()
    with suppress(EOFError):  # nothing to draw
        for message in draw_each(pickle.load(sys.stdin.buffer)):
            print(json.dumps(message), file=results, flush=True)

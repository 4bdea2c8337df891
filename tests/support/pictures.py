"""Pictures that cannot be drawn, and a process that is none, for tests of pictures."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.commands.draw_process import draw_each
from harness.report.pictures.files import Picture, new_figure
from harness.results.whole_file import replacing


class Here:
    """Draws in this process, which has imported matplotlib."""

    def __init__(self) -> None:
        self._pictures: Sequence[Picture] = ()
        self.drawn: list[Path] = []

    def draw(self, pictures: Sequence[Picture]) -> None:
        self._pictures = pictures

    def cancel(self) -> None:
        self._pictures = ()

    def wait(self) -> list[str]:
        messages = [*draw_each(self._pictures)]
        pairs = zip(self._pictures, messages, strict=True)
        self.drawn = [each.path for each, message in pairs if not message]
        return list(filter(None, messages))


@dataclass(frozen=True)
class Broken:
    """A picture that cannot be drawn."""

    path: Path

    def figure(self) -> Any:
        raise ImportError("no $FONTS\nat all")


@dataclass(frozen=True)
class Quick:
    """An empty picture."""

    path: Path

    def figure(self) -> Any:
        return new_figure(1, 1)


@dataclass(frozen=True)
class Hanging:
    """A picture that takes forever, after it has begun its file."""

    path: Path

    def figure(self) -> Any:
        with replacing(self.path) as temporary:
            temporary.touch()
            signal.pause()

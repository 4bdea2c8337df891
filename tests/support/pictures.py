"""Pictures that cannot be drawn, and a process that is none, for tests of pictures."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.commands.draw_process import draw_all
from harness.report.pictures.files import Picture
from harness.results.whole_file import replacing


class Here:
    """Draws in this process, which has imported matplotlib."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._pictures = pictures

    def wait(self) -> list[str]:
        return draw_all(self._pictures)

    @property
    def drawn(self) -> list[Path]:
        return [each.path for each in self._pictures if each.path.exists()]


@dataclass(frozen=True)
class Broken:
    """A picture that cannot be drawn."""

    path: Path

    def figure(self) -> Any:
        raise ImportError("no $FONTS\nat all")


@dataclass(frozen=True)
class Hanging:
    """A picture that takes forever, after it has begun its file."""

    path: Path

    def figure(self) -> Any:
        with replacing(self.path) as temporary:
            temporary.touch()
            signal.pause()

"""Pictures that cannot be drawn, for tests of the process that draws."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
        self.path.with_name(f".{self.path.name}.{os.getpid()}").touch()
        signal.pause()

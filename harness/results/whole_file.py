"""Files that a reader finds whole or not at all, even after a crash."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def temporary_of(path: Path, pid: int) -> Path:
    """The file that a process writes before it takes the place of `path`."""
    # In the same folder, because a rename is atomic only within a file system.
    return path.with_name(f".{path.name}.{pid}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write beside `path`, which takes its place when this context ends without an error.

    with replacing(path) as temporary:
        figure.savefig(temporary)

    The temporary file is removed after an error. OSError if the file cannot take its place.
    """
    temporary = temporary_of(path, os.getpid())
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write a text in UTF-8, and its folder if that does not exist; OSError where that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        # A path on Linux may have bytes that are no text.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return path


def write_json(path: Path, content: Any, *, durable: bool = True, readable: bool = True) -> Path:
    """Write JSON as `written_last`, at once; returns the path."""
    with written_last(path, content, durable=durable, readable=readable):
        return path


@contextmanager
def written_last(
    path: Path, content: Any, *, durable: bool = True, readable: bool = True
) -> Iterator[None]:
    """Write JSON beside `path`, and rename it to `path` when this context ends, in whatever way.

    So the file follows what the context writes. OSError if it cannot be written, on a full disk
    before the context begins. durable: flush to disk, so that the file survives a loss of power.
    readable: indent it for people; without that, it is written faster.
    """
    temporary = temporary_of(path, os.getpid())
    try:
        with temporary.open("w") as file:
            file.write(json.dumps(content, indent=1 if readable else None) + "\n")
            if durable:
                file.flush()
                os.fsync(file.fileno())
        try:
            yield
        finally:
            temporary.replace(path)
            if durable:
                _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a loss of power (fsync(2), "Description")."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems cannot sync folders; the record itself is written.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)

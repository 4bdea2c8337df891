"""Locks across processes: one experiment a device, one opening of contexts at a time.

They are flock's, which the kernel gives back when a process ends, however it ends: a stale lock cannot be. The file
says who holds it and is never removed: somebody may wait on it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.errors import RequestError

FOLDER = Path("/tmp")
"""The one folder that every user can write to on every Linux; a per-user one would let two users meet."""


def lock_device(index: int) -> int:
    """Lock device `index` for experiments of this process; returns the lock, held until it is closed.

    RequestError naming the holder if another process has it.
    """
    path = _device_path(index)
    lock = _open(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise RequestError(
            f"device=hardware device.index={index}: {_said(path) or 'another process'} runs an experiment on it; "
            "wait until it ends, or stop it"
        ) from None
    holder = {"pid": os.getpid(), "command": shlex.join(sys.orig_argv), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(holder).encode(), 0)
    return lock


@contextmanager
def opening(index: int) -> Iterator[None]:
    """Wait until no other process opens contexts on device `index`, and keep others from it.

    Contexts made at the same time have timed out on Phoenix and left the mailbox broken until a power cycle
    (mlir-air #1809).
    """
    lock = _open(FOLDER / f"npu-harness-{index}.opening.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def holder(index: int) -> str | None:
    """Who experiments on device `index` now, in words; None if nobody. Takes no lock, so it disturbs nobody."""
    path = _device_path(index)
    with suppress(OSError, ValueError, KeyError, TypeError):
        recorded = json.loads(path.read_text())
        running = Path(f"/proc/{int(recorded['pid'])}/cmdline").read_bytes().split(b"\0")
        if shlex.join(os.fsdecode(word) for word in running[:-1]) == recorded["command"]:
            return _said(path)
    return None


def _device_path(index: int) -> Path:
    return FOLDER / f"npu-harness-{index}.lock"


def _open(path: Path) -> int:
    """The lock file, made if need be; RequestError where it can't be opened.

    Not with O_CREAT if it is there: in a sticky folder the kernel refuses that for another user's file.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with suppress(FileNotFoundError):
            return os.open(path, flags)
        with suppress(FileExistsError):
            lock = os.open(path, flags | os.O_CREAT | os.O_EXCL)
            os.fchmod(lock, 0o666)  # for other users, whatever the umask
            return lock
        return os.open(path, flags)
    except OSError as error:
        raise RequestError(
            f"{path}: this lock of the device cannot be opened ({error.strerror}); make it readable and writable"
        ) from error


def _said(path: Path) -> str:
    """The holder as the file tells it, or an empty text."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        recorded: dict[str, Any] = json.loads(path.read_text())
        return f"pid {recorded['pid']} ({recorded['command']}), since {recorded['since']},"
    return ""

"""Locks across processes: one experiment a device, one opening of contexts at a time.

They are flock's, which the kernel gives back when a process ends, however it ends: no lock is ever stale. The file
says who holds it and is never removed: somebody may wait on it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from threading import Event

from harness.errors import DeviceError, RequestError

FOLDER = Path("/tmp")
"""A folder that every user can write to on every Linux; a per-user one would let two users meet, as containers do,
which have one each."""
OPENING_ATTEMPTS, OPENING_PAUSE_S = 600, 0.1
"""A minute: contexts open in some 60 ms each."""


class DeviceLock:
    """The lock of a device, held until `release`, or until this process ends.

    A child process does not hold it: it would keep the lock of a parent that has ended.
    """

    def __init__(self, descriptor: int) -> None:
        """descriptor: of the locked file."""
        self._descriptor: int | None = descriptor
        os.register_at_fork(after_in_child=self.release)

    def release(self) -> None:
        """Give the lock back; nothing the second time."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)


def lock_device(index: int) -> DeviceLock:
    """Lock device `index` for experiments of this process.

    RequestError naming the holder if another process has it.
    """
    path = _device_path(index)
    lock = _open(path)
    if not _taken(lock):
        os.close(lock)
        raise RequestError(
            f"device=hardware device.index={index}: {holder(index) or 'another process'} runs an experiment on it "
            f"(lock {path}); wait until it ends, or stop it"
        )
    _sign(lock)
    return DeviceLock(lock)


@contextmanager
def opening(index: int) -> Iterator[None]:
    """Wait until no other process opens contexts on device `index`, and keep others from it.

    SessionPool made at the same time have timed out on Phoenix and left the mailbox broken until a power cycle
    (mlir-air #1809). DeviceError where another process does not come to an end of it.
    """
    path = FOLDER / f"npu-harness-{index}.opening.lock"
    lock, pause = _open(path), Event()
    try:
        for _ in range(OPENING_ATTEMPTS):
            if _taken(lock):
                break
            pause.wait(OPENING_PAUSE_S)
        else:
            raise DeviceError(
                f"{_living(path) or 'another process'} has been opening contexts on device {index} for "
                f"{OPENING_ATTEMPTS * OPENING_PAUSE_S:g} s (lock {path}); stop it, and if that does not help reload "
                "the amdxdna driver"
            )
        _sign(lock)
        yield
    finally:
        os.close(lock)


def holder(index: int) -> str | None:
    """Who experiments on device `index` now, in words; None if nobody. Takes no lock, so it disturbs nobody."""
    return _living(_device_path(index))


def _living(path: Path) -> str | None:
    """Who signed the lock, if that process lives; in another namespace of processes it seems not to."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        inode = path.stat().st_ino
        if not re.search(rf"FLOCK .*:{inode} ", Path("/proc/locks").read_text()):
            return None
        signed = json.loads(path.read_text())
        running = Path(f"/proc/{int(signed['pid'])}/cmdline").read_bytes().split(b"\0")
        if shlex.join(os.fsdecode(word) for word in running[:-1]) == signed["command"]:
            return f"pid {signed['pid']} ({signed['command']}), since {signed['since']},"
    return None


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(lock: int) -> None:
    """Write down who has the lock: a courtesy, so a full disk is no reason to fail."""
    command, now = shlex.join(sys.orig_argv), f"{datetime.now():%Y-%m-%d %H:%M:%S}"
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(
            lock, json.dumps({"pid": os.getpid(), "command": command, "since": now}).encode(), 0
        )


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
            f"{path}: this lock of the device cannot be opened ({error.strerror}); its owner or root may let "
            f"every user: chmod 666 {path}"
        ) from error

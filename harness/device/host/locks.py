"""Locks between processes: one experiment per device, and one process opening contexts at a time.

The locks are flock(2) locks. The kernel releases them when a process ends for any reason, so no
lock is ever stale. The lock file names the process that holds the lock. It is never removed,
because another process may be waiting on it.
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
"""Folder of the lock files: every user of every Linux can write to it.

With a folder per user, two users could lock the same device. Containers have a /tmp each, so the
locks do not protect containers from each other.
"""
OPENING_ATTEMPTS, OPENING_PAUSE_S = 600, 0.1
"""Wait for up to a minute; a context opens in about 60 ms."""


class DeviceLock:
    """The lock of a device, held until `release` or until this process ends.

    A forked child releases its copy, or it would hold the lock after its parent has ended.
    """

    def __init__(self, descriptor: int) -> None:
        """descriptor: file descriptor of the locked file."""
        self._descriptor: int | None = descriptor
        os.register_at_fork(after_in_child=self.release)

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)


def lock_device(index: int) -> DeviceLock:
    """Lock device `index` for experiments of this process.

    RequestError, which names the other process, if that holds the lock.
    """
    path = _device_path(index)
    lock = _open(path)
    if not _try_lock(lock):
        os.close(lock)
        raise RequestError(
            f"device=hardware device.index={index}: "
            f"{holder(index) or 'another process'} runs an experiment on it "
            f"(lock {path}); wait until it ends, or stop it"
        )
    _sign(lock)
    return DeviceLock(lock)


@contextmanager
def opening(index: int) -> Iterator[None]:
    """Hold the lock for opening contexts on device `index`; waits while another process has it.

    Contexts opened by two processes at the same time have timed out on Phoenix and left the
    mailbox broken until a power cycle (mlir-air #1809). DeviceError if another process holds the
    lock for a minute.
    """
    path = FOLDER / f"npu-harness-{index}.opening.lock"
    lock, pause = _open(path), Event()
    try:
        for _ in range(OPENING_ATTEMPTS):
            if _try_lock(lock):
                break
            pause.wait(OPENING_PAUSE_S)
        else:
            raise DeviceError(
                f"{_living_holder(path) or 'another process'} has been opening contexts on device "
                f"{index} for {OPENING_ATTEMPTS * OPENING_PAUSE_S:g} s (lock {path}); stop it; "
                "if that does not help, reload the amdxdna driver"
            )
        _sign(lock)
        yield
    finally:
        os.close(lock)


def holder(index: int) -> str | None:
    """The process that runs an experiment on device `index` now, as text; None if there is none.

    It takes no lock, so it cannot delay an experiment.
    """
    return _living_holder(_device_path(index))


def _living_holder(path: Path) -> str | None:
    """The process that a lock file names; None if it has ended or is in another PID namespace."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        inode = path.stat().st_ino
        if not re.search(rf"FLOCK .*:{inode} ", Path("/proc/locks").read_text()):
            return None
        signature = json.loads(path.read_text())
        running = Path(f"/proc/{int(signature['pid'])}/cmdline").read_bytes().split(b"\0")
        # A pid is reused after its process has ended; pid and command together rarely are.
        if shlex.join(os.fsdecode(word) for word in running[:-1]) == signature["command"]:
            return f"pid {signature['pid']} ({signature['command']}), since {signature['since']},"
    return None


def _try_lock(lock: int) -> bool:
    """Take the lock if no other process has it; returns whether this process has it now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(lock: int) -> None:
    """Write this process's pid and command into the lock file, for the messages of others."""
    command, now = shlex.join(sys.orig_argv), f"{datetime.now():%Y-%m-%d %H:%M:%S}"
    signature = {"pid": os.getpid(), "command": command, "since": now}
    # The lock works without the signature, so a full disk must not stop the run.
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(signature).encode(), 0)


def _device_path(index: int) -> Path:
    return FOLDER / f"npu-harness-{index}.lock"


def _open(path: Path) -> int:
    """Open the lock file, and create it if it does not exist; RequestError if that fails.

    The first attempt is without O_CREAT: in a sticky folder the kernel refuses O_CREAT for a file
    of another user (fs.protected_regular).
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with suppress(FileNotFoundError):
            return os.open(path, flags)
        with suppress(FileExistsError):
            lock = os.open(path, flags | os.O_CREAT | os.O_EXCL)
            # Other users need write access too, and the umask may have removed it.
            os.fchmod(lock, 0o666)
            return lock
        return os.open(path, flags)
    except OSError as error:
        raise RequestError(
            f"{path}: the lock file of the device cannot be opened ({error.strerror}); "
            f"its owner or root can allow every user: chmod 666 {path}"
        ) from error

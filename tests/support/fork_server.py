"""Starts the command as forks of a process that has imported it, which saves a second each.

A fork is a process of its own: its own memory, signals, descriptors and exit code. What depends on
the start of Python itself (flags, the name in /proc) needs `support.process.start`.
"""

from __future__ import annotations

import functools
import gc
import json
import math
import os
import pkgutil
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from io import BufferedWriter, FileIO, StringIO, TextIOWrapper
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, cast

from support import config_copies, mlflow_schema, yaml_cache

POLL_S = 0.01
OWNER = "HARNESS_TESTS_OWNER"
"""Variable with the id of the process whose processes share a server and that it ends with."""
LONGEST_MESSAGE = 1 << 17
CHOICE = re.compile(r"(device|experiment|phase|strategy|tracking|workload)=(\w+(?:,\w+)*)")
"""An argument that chooses a preset, or several for a sweep."""


class Forked:
    """A running fork, with the methods of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        setup: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stdout: int | None = None,
        stderr: int | None = None,
    ):
        """Run the statements `setup`, then the command, in this process's folder.

        stdout, stderr: descriptors, if not files that `communicate` reads.
        """
        # Files instead of pipes: a fork never waits for a reader.
        self._streams = [os.memfd_create(name) for name in ("stdout", "stderr")]
        self._given = (stdout, stderr)
        for given, stream in zip(self._given, self._streams, strict=True):
            if given is not None:
                os.dup2(given, stream)
        self.returncode: int | None = None
        request = {
            "setup": setup,
            "arguments": arguments,
            "environment": dict(environment),
            "folder": str(Path.cwd()),
        }
        self.pid = _ask(request, self._streams)
        for given, stream in zip(self._given, self._streams, strict=True):
            if given is not None:
                os.close(stream)

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _ask({"ended": self.pid})
        return self.returncode

    def wait(self, timeout: float) -> int:
        until_s = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until_s:
                raise subprocess.TimeoutExpired(f"pid {self.pid}", timeout)
            time.sleep(POLL_S)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        self.wait(timeout)
        out, err = (
            _text(stream) if given is None else ""
            for given, stream in zip(self._given, self._streams, strict=True)
        )
        return out, err

    def send_signal(self, number: int) -> None:
        # The server reaps a fork only when `poll` asks for its end, so the pid is still its own.
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _text(stream: int) -> str:
    """All that was written to a file, which is closed then."""
    os.lseek(stream, 0, os.SEEK_SET)
    with os.fdopen(stream, encoding="utf-8") as file:
        return file.read()


@functools.cache
def _server() -> socket.socket:
    """The connection to the server, which the first of the processes of a test run starts."""
    owner = int(os.environ.get(OWNER, os.getpid()))
    address = f"\0harness-tests-{owner}"
    while True:
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            ours.connect(address)
            return ours
        except ConnectionRefusedError:
            ours.close()
            _start(address, owner)


def _start(address: str, owner: int) -> None:
    """Start the server at an address; return at once if another process has just taken it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        try:
            listener.bind(address)
        except OSError:
            return time.sleep(POLL_S)
        listener.listen()
        code = f"from support.fork_server import listen; listen({listener.fileno()}, {owner})"
        command = [sys.executable, "-c", code]
        server = subprocess.Popen(command, pass_fds=[listener.fileno()], env=environment())
        server.returncode = 0  # Nothing waits for it: it ends with its owner.


def environment() -> dict[str, str]:
    """This process's environment, with the checkout and tests/ on Python's path."""
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join([str(tests.parent), str(tests)])
    return {**os.environ, "PYTHONPATH": paths}


def _ask(request: Mapping[str, Any], descriptors: Sequence[int] = ()) -> Any:
    server = _server()
    socket.send_fds(server, [json.dumps(request).encode()], descriptors)
    return json.loads(server.recv(LONGEST_MESSAGE))


def preload() -> None:
    """Import and build what every command imports and builds."""
    from harness import commands
    from harness.commands import pass_progress
    from harness.results import environment, record, run_key
    from harness.tracking.mlflow import MlflowStore

    config_copies.install()
    yaml_cache.install()
    for each in pkgutil.walk_packages(commands.__path__, f"{commands.__name__}."):
        import_module(each.name)
    import_module("harness.device.xrt.simulated")
    import_module("soundfile")
    # On a loaded machine a sweep may take long enough for lines about its progress.
    pass_progress.LINE_S = math.inf
    # As the command imports it: with its own settings of MLflow.
    with tempfile.TemporaryDirectory() as folder:
        MlflowStore(f"sqlite:///{folder}/mlflow.db", folder, "none")
    mlflow_schema.install()
    mlflow_schema.read()
    compose_presets(())
    record._adapter()
    # The versions of packages: the rest is that of a fork.
    environment.environment()
    environment.environment.cache_clear()
    run_key.code_hash()
    # Else each fork's first garbage collection copies all memory that the libraries occupy.
    gc.freeze()


def compose_presets(arguments: Sequence[str]) -> None:
    """Compose the presets of a command's jobs here, once for all forks."""
    from harness.config.compose import conf_dir

    options = []
    for found in filter(None, map(CHOICE.fullmatch, arguments)):
        names = found[2].split(",")
        # A wrong choice, or one from another folder, is the fork's to report or compose.
        if not all((conf_dir() / found[1] / f"{name}.yaml").is_file() for name in names):
            return
        options.append([f"{found[1]}={name}" for name in names])
    for choices in product(*options):
        _compose(choices)


@functools.cache
def _compose(choices: Sequence[str]) -> None:
    """Compose these presets in this process."""
    from harness.commands.main import dispatch

    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        dispatch([*choices, "--cfg", "job"])


def listen(descriptor: int, owner: int) -> None:
    """Serve each connection in a process of its own, until the process `owner` has ended."""
    listener = socket.socket(fileno=descriptor)
    ended = os.pidfd_open(owner)
    preload()
    while ended not in select.select([listener, ended], [], [])[0]:
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            os.close(ended)
            return serve(connection)
        connection.close()


def serve(connection: socket.socket) -> None:
    """Answer requests until the connection closes; in a fork, run what was asked and exit."""
    running = set[int]()
    while True:
        message, streams, *_ = socket.recv_fds(connection, LONGEST_MESSAGE, 2)
        if not message:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
            return
        request = json.loads(message)
        if "ended" in request:
            pid, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
            running -= {pid}
        else:
            compose_presets(request["arguments"])
            answer = os.fork()
            if not answer:
                connection.close()
                _become(request, streams)
            running.add(answer)
            for each in streams:
                os.close(each)
        connection.send(json.dumps(answer).encode())


def _stdout() -> TextIOWrapper:
    """What Python's start makes of descriptor 1."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    raw = FileIO(1, "w", closefd=False)
    return TextIOWrapper(
        cast(BinaryIO, raw) if unbuffered else BufferedWriter(raw),
        encoding="utf-8",
        errors="strict",
        line_buffering=raw.isatty(),
        write_through=unbuffered,
    )


def _become(request: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Be the command: with its streams, environment, folder and arguments. Does not return."""
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.stdout = _stdout()
    os.chdir(request["folder"])
    tempfile.tempdir = None
    sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)
    sys.argv = ["harness", *request["arguments"]]
    exec(request["setup"], {})
    runpy.run_module("harness", run_name="__main__", alter_sys=True)
    sys.exit()

"""Serve the runs of this folder in MLflow's UI, and print the link of the page to begin with."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from harness.commands.closing import PORT, link
from harness.commands.open_store import open_store, tracking_of
from harness.commands.parser import Parser
from harness.commands.terminal import output, say
from harness.config.schema import TrackingKind
from harness.device.interrupt import exit_code
from harness.errors import HarnessError, RequestError
from harness.tracking.store import LOOPBACK, ServerCommand, backend_of

HELP = "serve the stored runs in MLflow's UI, and print its link"
PORTS = 20
"""Ports that are tried, from the default one on."""
POLL_S = 0.1
LIMIT_S = 600
"""Time for the server to answer: it takes 10 s, and minutes on a machine with busy cores."""
CTRL_C = 128 + signal.SIGINT
"""Exit code of other commands after Ctrl-C, which is the usual end of this one."""


def _parser() -> Parser:
    parser = Parser(
        "ui",
        description=f"Serve the MLflow store of this folder on this machine ({LOOPBACK}), and "
        "print the link of its table of runs. Ctrl-C ends it. With tracking=server: only print the "
        "link.",
        epilog="Example: python -m harness ui --port 5001 tracking.uri=sqlite:///other.db",
    )
    parser.add_argument(
        "--port", type=_number, help=f"port to serve at ({PORT}, or the next one that is free)"
    )
    parser.add_argument("--open", action="store_true", help="open the link in a browser, too")
    parser.add_argument(
        "overrides", nargs="*", help="overrides of tracking, as a run takes them: tracking.uri=..."
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Serve until Ctrl-C, or until the server ends by itself, which is a failure."""
    options = _parser().parse_intermixed_args(arguments)
    tracking = tracking_of(options.overrides, "the UI shows")
    backend = backend_of(tracking)
    if not backend:
        raise RequestError("tracking=off: the UI shows an MLflow store; use local or server")
    is_server = tracking.kind is TrackingKind.server
    port, _held = (PORT, None) if is_server else _port(options.port)
    here = Path.cwd()
    # Creates a store that does not exist, with its views.
    store = open_store(backend, tracking, here, say, writes=False)
    if store.failure:
        say(f"{store.failure}; the store is shown as it is")
    home = store.home_page()
    if not home:
        raise RequestError(
            f"tracking.backend={tracking.backend}: has no pages to show; "
            "use tracking.backend=mlflow"
        )
    page = link(tracking, home, port)
    if is_server:
        _announce(page, options.open)
        return 0
    with (
        tempfile.TemporaryFile() as log,
        _running(backend.server(tracking, here, port), log) as server,
    ):
        _announce(page, options.open)
        say("Ctrl-C ends the server")
        try:
            server.wait()
        except KeyboardInterrupt:
            return 0 if exit_code() == CTRL_C else exit_code()
        raise HarnessError(f"the server ended: {_last_line(log)}")


def _number(text: str) -> int:
    """The number of a port; RequestError for anything else."""
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise RequestError(f"--port={text}: not a port; use 1024 to 65535")
    return int(text)


def _port(wanted: int | None) -> tuple[int, socket.socket]:
    """The port to serve at, and what keeps it from other commands while it is open.

    RequestError if the wanted port, or every usual one, is taken.
    """
    if wanted is not None:
        if not 0 < wanted < 2**16:
            raise RequestError(f"--port={wanted}: not a port; use 1024 to 65535")
        if claim := _claim(wanted):
            return wanted, claim
        raise RequestError(
            f"--port={wanted}: cannot be used, most likely another program uses it; "
            "give another port, or none"
        )
    for port in range(PORT, PORT + PORTS):
        if claim := _claim(port):
            if port != PORT:
                say(f"port {PORT} is taken; {port} in its place (links of runs name {PORT})")
            return port, claim
    raise RequestError(f"ports {PORT} to {PORT + PORTS - 1} are taken; give a free one with --port")


def _claim(port: int) -> socket.socket | None:
    """What keeps a free port from other commands like this one; None if it is taken.

    The server takes seconds until it listens, so two commands could choose the same port, and one
    would wait for the other's server.
    """
    claim = socket.socket(socket.AF_UNIX)
    try:
        # An abstract name (unix(7)): it belongs to the network, as ports do, and to no file.
        claim.bind(f"\0npu-harness ui {port}")
    except OSError:
        claim.close()
        return None
    if _is_free(port):
        return claim
    claim.close()
    return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose last connections have just ended is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


@contextmanager
def _running(wanted: ServerCommand, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The server, once it answers; its processes end with this context."""
    # A session of its own: Ctrl-C reaches this process only, and the server prints no tracebacks.
    process = subprocess.Popen(
        wanted.command,
        env=dict(wanted.environment),
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until_s = time.monotonic() + LIMIT_S
        while not _answers(wanted.ready):
            if process.poll() is not None:
                raise HarnessError(f"the server cannot start: {_last_line(log)}")
            if time.monotonic() > until_s:
                raise HarnessError(f"the server does not answer after {LIMIT_S} s")
            time.sleep(POLL_S)
        yield process
    finally:
        _end(process)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=LIMIT_S):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server's processes; wait until its own is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=5)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it printed nothing"


def _announce(page: str, in_browser: bool) -> None:
    with output("link"):
        print(f"MLflow: {page}")
    if in_browser and not webbrowser.open(page):
        say("no browser was found; open the link yourself")

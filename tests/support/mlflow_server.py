"""An MLflow server with authentication and artifacts, on PostgreSQL; both on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from support.process import wait_for

USER, PASSWORD = "admin", "right-password"
NOBODY = 65534
DATABASE = "mlflow"


class Server:
    """uri: its address. It takes USER and PASSWORD, and keeps artifacts in a folder of its own.

    database: its address for SQLAlchemy. folder: of the server's other files. `start` it first.
    """

    def __init__(self, folder: Path, database: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{port}"
        self._log = folder / "server.log"
        users = folder / "auth.ini"
        text = f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/users.db\n"
        users.write_text(
            f"{text}admin_username = {USER}\nadmin_password = {PASSWORD}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        self._environment = {
            "MLFLOW_AUTH_CONFIG_PATH": str(users),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of the test",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # Eight processes for jobs that no test has.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        self._command = [
            *(sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"),
            *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", database),
            *("--artifacts-destination", str(folder / "artifacts")),
        ]

    def start(self) -> None:
        """Start the server, again after `kill`, and wait until it answers."""
        self._process = _start(self._command, self._log, **self._environment)
        wait_for(self._answers)

    def signal(self, number: int) -> None:
        """Send a signal to the server and its workers."""
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(f"{self.uri}/health") as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False


def postgres_folder() -> Path | None:
    """The folder of PostgreSQL's programs, also where Debian keeps them out of the PATH."""
    found = shutil.which("initdb")
    places = [Path(found)] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return places[-1].resolve().parent if places else None


def missing() -> str:
    """What this machine lacks for the server; empty if nothing."""
    if not postgres_folder():
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    packages = [name for name in ("psycopg2", "flask_wtf") if find_spec(name) is None]
    return f"no {', '.join(packages)}: pip install '.[server]'" if packages else ""


def _unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.getuid():
        return []
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]


def _start(command: Sequence[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            command,
            stdout=file,
            stderr=file,
            env={**os.environ, **environment},
            cwd=log.parent,
            start_new_session=True,
        )


@contextmanager
def postgres() -> Iterator[str]:
    """A database that listens on a socket in a folder only; its address for SQLAlchemy."""
    # Not below pytest's folder, which its other user may not enter.
    with TemporaryDirectory(prefix="harness-") as name, _database(Path(name)) as address:
        yield address


@contextmanager
def _database(folder: Path) -> Iterator[str]:
    programs = postgres_folder()
    assert programs
    user = _unprivileged()
    data = folder / "data"
    data.mkdir()
    if user:
        os.chown(data, NOBODY, NOBODY)
        os.chown(folder, NOBODY, NOBODY)
    create = [*user, programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"]
    subprocess.run(create, check=True, capture_output=True, cwd=folder)
    # Without fsync: the data are gone with the test.
    options = ["-c", "listen_addresses=", "-c", "fsync=off", "-k", folder]
    process = _start([*user, programs / "postgres", "-D", data, *options], folder / "log")
    try:
        query = ["-h", folder, "-U", "postgres", "-c", f"CREATE DATABASE {DATABASE}"]

        def created() -> bool:
            command = [programs / "psql", *query]
            return subprocess.run(command, check=False, capture_output=True).returncode == 0

        wait_for(created)
        yield f"postgresql+psycopg2://postgres@/{DATABASE}?host={folder}"
    finally:
        # Immediate shutdown; SIGKILL would leave its shared memory behind.
        process.send_signal(signal.SIGQUIT)
        process.wait()

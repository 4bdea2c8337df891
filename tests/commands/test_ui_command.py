"""`harness ui` without a server: its port, and stores that cannot be written."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.process import Shell

from harness.commands import ui
from harness.errors import RequestError


def test_two_commands_at_once_have_two_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before either of their servers listens."""
    monkeypatch.setattr(ui, "PORT", 15_000)
    first, held = ui._port(None)
    second, other = ui._port(None)
    assert first < second
    with pytest.raises(RequestError, match=f"--port={first}: cannot be used"):
        ui._port(first)
    held.close()
    again, held = ui._port(first)
    assert again == first
    held.close()
    other.close()


def test_a_store_that_cannot_be_written_is_shown(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SimpleNamespace(remarks=(), failure="mlflow.db: read-only", home_page=lambda: "#/page")
    backend = SimpleNamespace(open_store=lambda tracking, here: store)
    monkeypatch.setattr(ui, "backend_of", lambda tracking: backend)
    done = shell("ui", "tracking=server", "tracking.uri=http://127.0.0.1:9")
    assert (done.code, done.out) == (0, "MLflow: http://127.0.0.1:9/#/page\n")
    assert done.err == "harness: mlflow.db: read-only; the store is shown as it is\n"

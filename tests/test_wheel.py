"""An installed wheel: presets, kernels and the speech clip travel with it."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parent.parent


def test_an_installed_wheel_runs_anywhere(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        archive.extractall(tmp_path / "site")
    assert {name for name in tops if not name.endswith(".dist-info")} == {"harness"}, (
        "one top-level package"
    )

    work = tmp_path / "work"
    work.mkdir()
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import harness.__main__ as command, harness\n"
        f"assert harness.__file__.startswith({str(tmp_path)!r}), harness.__file__\n"
        "command.main()"
    )

    def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done

    done = harness("strategy=pipelined", "depth=3", "tracking=off")
    assert "pooled d3 b1 c1" in done.stdout
    (record,) = work.rglob("record.json")
    assert json.loads(record.read_text())["verdict"] == "OK"
    harness("report")
    assert record.with_name("report.html").is_file(), "the templates of the page are in the wheel"

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


DECLARATION = """# Halves.
arguments:
  - {name: x, direction: in, dtype: int8, shape: [64, 64]}
  - {name: y, direction: out, dtype: int8, shape: [64, 64]}
reference: reference:halve
ops: 4096
cost: {ns: 20000}
"""
REFERENCE = """import numpy as np


def halve(x):
    return x >> np.int8(1)
"""
OWN = """
import numpy as np
from harness.api import Pipeline
from harness.commands.main import dispatch

assert dispatch(["workload.kernel=halve", "tracking=off", "hydra.run.dir=alone"]) == 0
assert dispatch(["list", "kernels"]) == 0
chain = "workload.chain=[attention,halve]"
record = harness.run("workload=attention", "workload.kernel=", chain, "tracking=off")
assert record.ok and record.kernel_hashes.keys() == {"attention", "halve"}, record
sweep = ("workload.kernel=halve", "strategy=baseline,pooled", "tracking=off", "seed=1")
first, again = harness.sweep(*sweep), harness.sweep(*sweep)
assert [each.verdict.value for each in first] == ["OK", "OK"]
assert [each.created for each in first] == [each.created for each in again], "resumed"
tile = np.arange(4096, dtype=np.int8).reshape(1, 64, 64)
with Pipeline(["halve"]) as pipeline:
    assert (pipeline.run([tile]) == tile >> 1).all()
path = "kernels/halve/reference.py"
text = open(path).read().replace("1)", "2)")
open(path, "w").write(text)
later = harness.sweep(*sweep)
assert all(each.ok for each in later)
assert {each.created for each in later}.isdisjoint(each.created for each in first), "edited"
with Pipeline(["halve"]) as pipeline:
    assert (pipeline.run([tile]) == tile >> 2).all()
"""
"""A kernel of one's own: alone, in a chain, in sweeps, from Python, and after an edit."""


def check_own_kernel(work: Path, code: str) -> None:
    for path, content in {
        "conf/kernel/halve.yaml": DECLARATION,
        "kernels/halve/reference.py": REFERENCE,
    }.items():
        (work / path).parent.mkdir(parents=True)
        (work / path).write_text(content)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=work, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "* halve" in done.stdout


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
    check_own_kernel(work, code.replace("command.main()", OWN))

"""`harness roofline`: kernels, workloads and folders by name, and wrong names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.experiments import record_of_run

from harness.commands.main import dispatch
from harness.execution.outcome import Verdict
from harness.report.pictures.files import save


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Drawing takes most of the time; one test does it.
    monkeypatch.setattr("harness.commands.roofline.save", lambda picture: picture.path)


def rows(capfd: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert dispatch(["roofline", "--json", *arguments]) == 0
    found: list[dict[str, object]] = json.loads(capfd.readouterr().out)
    return found


def test_kernels_workloads_and_runs(capfd: pytest.CaptureFixture[str]) -> None:
    quick = ["tracking=off", "workload=gelu", "verify=off", "hydra.run.dir=mine", "-q"]
    assert dispatch(quick) == 0
    capfd.readouterr()
    found = rows(capfd, "attention", "matmul_gelu", "encoder_block", "mine")
    assert [(each["kind"], each["name"]) for each in found] == [
        ("kernel", "attention"),
        ("kernel", "matmul_gelu"),
        ("kernel", "layernorm"),
        ("kernel", "matmul"),
        ("kernel", "gelu"),
        ("workload", "encoder_block"),
        ("run", "gelu pooled d2 b1 c1"),
    ]
    assert {each["limited_by"] for each in found} == {"neither"}
    kernel = found[4]
    # gelu: 11,264 operations on 512 bytes in 8 us.
    assert (kernel["ops"], kernel["time_ns"]) == (11_264, 8000)


def test_a_workload_of_ones_own_and_an_encoder(capfd: pytest.CaptureFixture[str]) -> None:
    Path("conf/workload").mkdir(parents=True)
    Path("conf/workload/twice.yaml").write_text("chain: [gelu, gelu]\n")
    one, both = rows(capfd, "twice")
    assert (both["ops"], both["time_ns"]) == (2 * 11_264, 2 * 8000)
    assert one["time_ns"] == 8000
    encoder = rows(capfd, "whisper_tiny", "workload.accounting=full", "workload.matmul=matmul_64")
    names = ["matmul_64", "attention", "layernorm", "gelu"]
    assert [(each["kind"], each["name"]) for each in encoder] == [
        ("kernel", each) for each in names
    ]


def test_runs_without_a_point_are_left_out(capfd, monkeypatch) -> None:
    right = record_of_run("workload=gelu", "strategy=pooled", "verify=off")
    failed = replace(right, verdict=Verdict.FAILED)
    runs = [(right, Path("a")), (failed, Path("b"))]
    monkeypatch.setattr("harness.commands.roofline.load_runs", lambda paths: runs)
    assert dispatch(["roofline", "."]) == 0
    said = capfd.readouterr()
    assert "gelu pooled d1 b1 c1 run " in said.out
    assert said.err == (
        "harness: gelu pooled d1 b1 c1: left out: not a right run with a time\n"
        "harness: .: has runs of device=phoenix_guide; the roofs are those of "
        "device=phoenix_2026\n"
    )
    assert dispatch(["roofline", ".", "device=simulator"]) == 0
    assert "has runs of" not in capfd.readouterr().err
    del runs[0]
    assert dispatch(["roofline", "."]) == 2


def test_all_kernels_and_another_device(capfd: pytest.CaptureFixture[str]) -> None:
    found = rows(capfd, "device=strix", "strategy.columns=8")
    assert {"attention", "matmul_64", "gelu"} <= {str(each["name"]) for each in found}
    assert found[0]["peak_gops"] == pytest.approx(2 * 512 * 32 * 1.8)


def test_a_profile_without_bandwidth_has_peaks_only(capfd: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["roofline", "gelu", "device=phoenix_guide"]) == 0
    said = capfd.readouterr()
    assert "no bandwidth (device.memory), so only peaks are compared" in said.out
    assert said.err == ""


def test_the_picture(capfd, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("harness.commands.roofline.save", save)
    assert dispatch(["roofline", "gelu", "--picture", "new/mine.png"]) == 0
    assert "written: new/mine.png" in capfd.readouterr().out
    assert (tmp_path / "new/mine.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["gelo"], "gelo: no folder, kernel or workload; did you mean gelu?"),
        (["device=cpu"], "device=cpu: has no profile with a peak; name a simulated device, as in "),
        (["workload.kernel=gelu"], "workload.kernel=gelu: names no row here; give kernels, workl"),
        (["+workload.chain=[gelu]"], "+workload.chain=[gelu]: names no row here; give kernels"),
        (["device.colums=3"], "device.colums=3: unknown key; did you mean device.columns=3?"),
    ],
)
def test_a_wrong_request_is_one_line(capfd, arguments: list[str], text: str) -> None:
    assert dispatch(["roofline", *arguments]) == 2
    said = capfd.readouterr()
    assert said.err.startswith(f"harness: {text}")
    assert said.err.count("\n") == 1

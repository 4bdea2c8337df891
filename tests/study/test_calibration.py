"""A profile that is fitted to records gives the device back that made them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import api
from harness.commands.main import dispatch
from harness.config.compose import load
from harness.config.device import Simulator
from harness.config.strategy import Strategy
from harness.errors import RequestError
from harness.results.record import Record
from harness.study.calibration import Calibration, calibrate
from harness.study.calibration_data import runs_of

pytestmark = pytest.mark.slow

SECRET = {
    "write_fixed_ns": 18_765,
    "read_fixed_ns": 5_432,
    "sync_ns_per_mib": 23_456,
    "launch_ns": 45_123,
    "completion_ns": 41_234,
    "alloc_ns": 9_321,
    "chain_command_ns": 15_678,
    "exec_ns.attention": 1_234_567,
}
FITTED = {
    "baseline": "strategy=baseline",
    "pooled": "strategy=pooled",
    "pipelined": "strategy=pipelined",
    "deep": "strategy=pipelined depth=3",
    "batch": "strategy=batch",
    "pairs": "strategy=batch strategy.batch=2",
}
UNSEEN = {
    "deeper": "strategy=pipelined depth=4",
    "eights": "strategy=batch strategy.batch=8",
    "stacked": "strategy=stacked depth=2",
}
COLUMNS = {"columns": "strategy=pipelined strategy.columns=3"}
OTHERS = {
    "cold": "strategy=pooled measure.warmup=0",
    "chain": "strategy=pooled workload=encoder_block_fused",
}
NOISE = ("device.noise.enabled=true", "measure.repeats=5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of the secret device, a folder each: exact ones, and some with noise."""
    folder = tmp_path_factory.mktemp("records")
    secret = [f"device.{key}={value}" for key, value in SECRET.items()]
    runs = [(name, text.split(), ()) for name, text in {**FITTED, **UNSEEN, **COLUMNS}.items()]
    runs += [(f"noisy_{name}", text.split(), NOISE) for name, text in (FITTED | UNSEEN).items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed, (name, overrides, noise) in enumerate(runs):
            tiles = f"workload.tiles={96 if noise else 16}"
            api.run(
                *secret, *overrides, *noise, tiles, f"seed={seed}", "verify=off", "tracking=off",
                f"hydra.run.dir={name}",
            )  # fmt: skip
        for name, text in OTHERS.items():
            more = ("verify=off", "tracking=off", f"hydra.run.dir={name}")
            api.run(*secret, *text.split(), *more)
    return folder


@pytest.fixture
def records(folder: Path) -> Callable[..., list[Record]]:
    return lambda *names: [Record.load(folder / name) for name in names]


@pytest.fixture(scope="module")
def start() -> Simulator:
    device = load("tracking=off").device
    assert isinstance(device, Simulator)
    return device


Records = Callable[..., list[Record]]


def errors(found: Calibration) -> dict[str, float]:
    """How far each number is from the secret one, as a multiple of its uncertainty."""
    return {
        each.key: abs(each.value - SECRET[each.key]) / each.uncertainty for each in found.numbers
    }


def test_exact_records_give_the_profile_back(records: Records, start: Simulator) -> None:
    found = calibrate(records(*FITTED), records(*UNSEEN, *COLUMNS), start)
    assert set(errors(found)) == set(SECRET)
    assert max(errors(found).values()) <= 1
    assert found.kept == ("cold_start_ns",)
    assert all(each.uncertainty < 0.05 * each.value for each in found.numbers)
    unseen = [each for each in found.checks if not each.is_seen]
    assert len(unseen) == len({**UNSEEN, **COLUMNS})
    assert max(abs(each.residual_pct) for each in unseen) < 0.01


def test_noisy_records_give_the_profile_back(records: Records, start: Simulator) -> None:
    fitted, unseen = ([f"noisy_{name}" for name in names] for names in (FITTED, UNSEEN))
    found = calibrate(records(*fitted), records(*unseen), start)
    assert max(errors(found).values()) <= 1
    assert {each.what for each in found.checks} == {"median interval"}
    assert max(abs(each.residual_pct) for each in found.checks) < 1
    by_key = {each.key: each.uncertainty for each in found.numbers}
    assert by_key["launch_ns"] < 100 < 1000 < by_key["exec_ns.attention"] < 50_000


def test_cold_runs_identify_the_cold_start(records: Records, start: Simulator) -> None:
    found = calibrate(records(*FITTED, "cold"), [], start)
    (cold,) = [each for each in found.numbers if each.key == "cold_start_ns"]
    assert cold.value == pytest.approx(start.cold_start_ns, abs=cold.uncertainty)
    assert found.kept == ()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["pooled"],
            "device.write_fixed_ns, device.read_fixed_ns, device.sync_ns_per_mib, "
            "device.completion_ns, device.exec_ns.attention: not identifiable, these records show "
            "only 3 sums of these 5 numbers; add a run with another strategy.batch and add one "
            "with strategy=pipelined that the device limits, or keep 2 of them with --keep=KEY",
        ),
        (["pooled", "baseline", "pipelined"], "device.sync_ns_per_mib"),
        (
            ["pooled", "batch", "pairs"],
            "device.completion_ns, device.chain_command_ns, device.exec_ns.attention: not "
            "identifiable, these records show only 2 sums of these 3 numbers; add one with "
            "strategy=pipelined that the device limits, or keep 1 of them with --keep=KEY",
        ),
        (["chain"], "device.exec_ns.attention_layernorm, device.exec_ns.matmul_gelu: not "),
    ],
)
def test_a_number_that_is_not_identifiable_is_named(
    names: list[str], message: str, records: Records, start: Simulator
) -> None:
    with pytest.raises(RequestError) as raised:
        calibrate(records(*names), [], start)
    assert message in str(raised.value)
    assert "not identifiable" in str(raised.value)


def test_a_number_can_be_kept(records: Records, start: Simulator) -> None:
    found = calibrate(records("baseline", "pooled", "pipelined"), [], start, ["sync_ns_per_mib"])
    assert found.kept == ("sync_ns_per_mib", "chain_command_ns", "cold_start_ns")
    by_key = {each.key: each for each in found.numbers}
    assert by_key["exec_ns.attention"].value == SECRET["exec_ns.attention"]
    # What the kept number leaves of 12,288 bytes is in the fixed part.
    sync_ns = 12_288 * (SECRET["sync_ns_per_mib"] - start.sync_ns_per_mib) / 2**20
    assert by_key["write_fixed_ns"].value == pytest.approx(
        SECRET["write_fixed_ns"] + sync_ns, abs=2
    )


def test_the_costs_of_a_recorded_simulator_are_not_used(records: Records, start: Simulator) -> None:
    """They would give the profile back without any measured time."""
    (record,) = records("pooled")
    device = dict.fromkeys(("launch_ns", "completion_ns", "write_fixed_ns"), 1)
    config = {**record.config, "device": {**record.config["device"], **device}}
    changed = replace(record, config=config)
    (run,) = runs_of([changed], start)
    own = run.plan.config.device
    assert isinstance(own, Simulator)
    assert own.launch_ns == start.launch_ns


def test_two_hosts_are_two_devices(records: Records, start: Simulator) -> None:
    one, other = records("pooled", "baseline")
    assert one.totals
    real = [
        replace(
            each,
            totals=replace(one.totals, clock="monotonic"),
            environment=replace(each.environment, host=host),
        )
        for each, host in ((one, "a"), (other, "b"))
    ]
    with pytest.raises(RequestError, match="records of hosts a and b: a profile is of one device"):
        calibrate(real, [], start)


def test_batches_without_runlists_are_refused(records: Records, start: Simulator) -> None:
    (record,) = records("batch")
    plain = replace(record, label=f"{record.label} no-runlist", knobs=Strategy(batch=4))
    with pytest.raises(RequestError, match="started run by run"):
        calibrate([plain], [], start)


def test_full_accounting_is_refused(records: Records, start: Simulator) -> None:
    (record,) = records("pooled")
    encoder = {"kernel": "", "model": "whisper_tiny", "accounting": "full"}
    config = {**record.config, "workload": {**record.config["workload"], **encoder}}
    with pytest.raises(RequestError, match=r"workload\.accounting=full: the kernels"):
        calibrate([replace(record, config=config)], [], start)


# The command


@pytest.fixture
def ask(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command in a folder with links to the records."""
    for each in folder.iterdir():
        (tmp_path / each.name).symlink_to(each)
    monkeypatch.chdir(tmp_path)

    def ask(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        return dispatch(["calibrate", *arguments]), *capfd.readouterr()

    return ask


Ask = Callable[..., tuple[int, str, str]]


def test_the_profile_is_an_option_of_the_group_device(ask: Ask, tmp_path: Path) -> None:
    out = "my_conf/device/mine.yaml"
    checks = [text for name in UNSEEN for text in ("--check", name)]
    code, printed, said = ask(*FITTED, *checks, "--out", out)
    assert (code, said) == (0, "")
    assert "largest residual of 3 records that the fit did not see: 0.00 %" in printed
    assert "not fitted, as in device=simulator: cold_start_ns" in printed
    assert f"profile: {out}; use it with --config-dir my_conf device=mine" in printed
    written = yaml.safe_load(Path(out).read_text())
    assert written["exec_ns"] == {"attention": SECRET["exec_ns.attention"]}
    assert written["launch_ns"] == SECRET["launch_ns"]
    assert written["sources"]["launch_ns"].startswith("fitted: 45_123 +- ")
    run = [
        "--config-dir",
        "my_conf",
        "device=mine",
        "tracking=off",
        "strategy=pipelined",
        "depth=4",
    ]
    assert dispatch([*run, "workload.tiles=16", "hydra.run.dir=again", "-q"]) == 0
    again, deeper = Record.load(Path("again")), Record.load(tmp_path / "deeper")
    assert again.samples.total_ns == deeper.samples.total_ns
    code, _, said = ask(*FITTED, "--out", out)
    assert (code, said) == (
        2,
        f"harness: --out={out}: already exists; give another name, or remove it\n",
    )


def test_json_has_both_tables(ask: Ask) -> None:
    code, printed, _ = ask(*FITTED, "--json")
    tables = json.loads(printed)
    assert (code, set(tables)) == (0, {"numbers", "records"})
    assert tables["numbers"][0]["number"] == "write_fixed_ns"
    assert {each["used"] for each in tables["records"]} == {"fitted"}
    left_out = [each["left_out_pct"] for each in tables["records"]]
    assert left_out.count(None) == 1, "the only serial run that allocates buffers for each tile"
    assert max(abs(each) for each in left_out if each is not None) < 0.1
    assert "no record was held back" in ask(*FITTED)[1]


def changed(name: str, **values: Any) -> str:
    """A copy of a record with other values at its top level."""
    stored = json.loads(Path(name, "record.json").read_text()) | values
    target = Path(f"changed_{name}")
    target.mkdir()
    (target / "record.json").write_text(json.dumps(stored))
    return str(target)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("", "calibrate: no records to fit; give folders of runs or sweeps, of several strategies"),
        ("pooled --out", "--out: no value; write --out <value>"),
        ("pooled depth=2", "depth=2: calibrate reads stored runs; only tracking can be overridden"),
        ("pooled --chek baseline", "--chek: no such flag; did you mean --check?"),
        ("nowhere", "nowhere: no such folder; give the folder of a run or of a sweep"),
        ("pooled --out mine.yaml", "--out=mine.yaml: not an option of the group device; give "),
        ("pooled --keep lunch_ns", "--keep=lunch_ns: not fitted; allowed: write_fixed_ns, "),
        ("pooled --check pooled", "--check: pooled d1 b1 c1 attention simulator"),
        ("pooled --check chain", "--check: no fitted record runs attention_layernorm, matmul_gelu"),
        ("pooled", "device.write_fixed_ns, device.read_fixed_ns, device.sync_ns_per_mib, "),
    ],
)
def test_wrong_requests(arguments: str, reason: str, ask: Ask) -> None:
    code, printed, said = ask(*arguments.split())
    assert (code, printed) == (2, "")
    (line,) = said.splitlines()
    assert line.startswith(f"harness: {reason}")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"schema_version": 99}, "schema_version: "),
        ({"metrics": 3}, "metrics: "),
        ({"device": "hardware"}, "records of device=hardware and device=simulator: "),
        ({"config": {}}, "its configuration is incomplete ('device'); leave it out"),
        ({"verdict": "FAILED"}, "verdict FAILED, without times to fit; "),
        ({"totals": None}, "without times to fit; give records with verdict OK of schema 3"),
    ],
)
def test_wrong_records(values: dict[str, Any], reason: str, ask: Ask) -> None:
    code, printed, said = ask("pooled", changed("baseline", **values))
    assert (code, printed) == (2, "")
    (line,) = said.splitlines()
    assert reason in line


def test_a_damaged_record(ask: Ask) -> None:
    Path("torn").mkdir()
    Path("torn/record.json").write_text('{"name": ')
    code, _, said = ask("torn")
    assert code == 2
    assert said.startswith("harness: torn/record.json: damaged: it ends too early")


def test_a_profile_that_cannot_be_written(ask: Ask) -> None:
    Path("device").write_text("a file in place of the folder")
    code, _, said = ask(*FITTED, "--out", "device/mine.yaml")
    assert (code, len(said.splitlines())) == (1, 1)
    assert said.startswith("harness: device/mine.yaml: cannot be written (")

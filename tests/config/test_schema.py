"""What every schema has: a meaning for each key, limits, one variant for each workload."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from harness.api import open_device
from harness.config.compose import deciding_part, load
from harness.config.device import DEVICES, Faults, Noise
from harness.config.schema import GROUP_SCHEMAS, Config, Tracking, TrackingKind
from harness.config.setting import setting_of
from harness.config.workload import (
    ChainWorkload,
    FullEncoder,
    GuideEncoder,
    KernelWorkload,
    LayerWorkload,
    Workload,
)
from harness.config.workload_keys import VARIANTS, WORKLOAD_KEYS
from harness.errors import RequestError
from harness.inputs.chain import Link

SCHEMAS = (Config, *GROUP_SCHEMAS.values(), *DEVICES.values(), *VARIANTS, Noise, Faults)
WHISPER = "workload=whisper_base"


def refusal(*overrides: str) -> str:
    with pytest.raises(RequestError) as raised:
        load(*overrides)
    return str(raised.value)


@pytest.mark.parametrize("fault", [ValueError, TypeError])
def test_a_fault_of_the_harness_is_no_wrong_request(
    fault: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise fault("of the harness")

    monkeypatch.setattr("harness.config.compose.choose_workload", fail)
    with pytest.raises(fault, match="of the harness"):
        load()


def test_a_list_in_a_list_of_numbers() -> None:
    assert refusal("device.faults.hang=[[1]]") == (
        "device.faults.hang=[1]: not a number; give a number"
    )


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
def test_every_key_has_a_meaning(schema: Any) -> None:
    for item in dataclasses.fields(schema):
        assert setting_of(item).meaning, item.name


def test_workloads_have_the_keys_of_their_variants() -> None:
    keys = {item.name for item in dataclasses.fields(WORKLOAD_KEYS)}
    own = {item.name for variant in VARIANTS for item in dataclasses.fields(variant)}
    assert keys == own | {"accounting"}


@pytest.mark.parametrize(
    ("overrides", "workload"),
    [
        ([], KernelWorkload(kernel="attention")),
        (
            ["workload=encoder_block", "workload.tiles=3"],
            ChainWorkload(
                chain=["attention", "layernorm", "matmul", "gelu"],
                links={"layernorm": Link.first, "gelu": Link.pad},
                tiles=3,
            ),
        ),
        (
            ["workload.kernel=", "workload.chain=[matmul,matmul]"],
            ChainWorkload(chain=["matmul", "matmul"]),
        ),
        (
            [WHISPER, "workload.accounting=guide"],
            GuideEncoder(model="whisper_base", tiles=100),
        ),
        (
            [WHISPER, "workload.matmul=matmul_64"],
            FullEncoder(model="whisper_base", matmul="matmul_64", tiles=100),
        ),
        (
            [WHISPER, "workload.layer=5", "workload.weights=w.npz"],
            LayerWorkload(model="whisper_base", layer=5, weights="w.npz", tiles=100),
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Workload) else "",
)
def test_a_request_is_one_variant(overrides: list[str], workload: Workload) -> None:
    assert load(*overrides).workload == workload


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["workload.chain=[matmul,gelu]"],
            "workload.kernel=attention workload.chain=[matmul,gelu]: give one of them; type "
            "workload=attention "
            "workload.kernel=attention for the kernel, or workload=attention workload.kernel= "
            "workload.chain=[matmul,gelu] for the chain",
        ),
        (["workload.kernel="], "workload: nothing to run; give workload.kernel=<kernel>, "),
        (["+workload.links.gelu=pad"], "workload.links={gelu:pad}: connects kernels of a chain"),
        (
            ["workload=whisper_base", "+workload.links.gelu=pad"],
            "workload.links={gelu:pad}: connects kernels of a chain",
        ),
        (
            ["workload.layer=0"],
            "workload.layer=0: belongs to an encoder; use workload=whisper_base",
        ),
        (
            ["workload.tiles=0"],
            "workload.tiles=0: out of range; allowed: 1 to 10000000",
        ),
        (["seed=-1"], "seed=-1: out of range; allowed: 0 or more"),
        (["device.noise.seed=-1"], "device.noise.seed=-1: out of range"),
        (["device.faults.slow=[3,-2]"], "device.faults.slow=-2: out of range; allowed: 0 or more"),
    ],
)
def test_what_to_do_about_a_wrong_request(overrides: list[str], said: str) -> None:
    assert refusal(*overrides).startswith(said)


def test_the_chain_that_an_error_names_can_be_typed() -> None:
    remedy = refusal("workload.chain=[matmul,matmul]").partition(", or ")[2].partition(" for")[0]
    assert load(*remedy.split()).workload == ChainWorkload(chain=["matmul", "matmul"])


@pytest.mark.parametrize("typo", ["devise=hardware", "device.indx=1", "device=hardwre"])
def test_typos_from_python_are_explained(typo: str) -> None:
    with pytest.raises(RequestError, match=f"^{typo}: "):
        open_device(typo)


@pytest.mark.parametrize(
    ("strategy", "equal"), [("batch", True), ("pooled", True), ("pipelined", False)]
)
def test_what_decides_a_result(strategy: str, equal: bool) -> None:
    shallow, deep = (load(f"strategy={strategy}", f"depth={depth}") for depth in (1, 3))
    assert (deciding_part(shallow) == deciding_part(deep)) is equal
    assert deciding_part(load("tracking=off")) == deciding_part(load())
    assert deciding_part(load("seed=1")) != deciding_part(load())


def test_schemas_of_devices_need_the_standard_library_only() -> None:
    """Python of a machine with an NPU may have nothing else; the contract tests' has only numpy."""
    code = (
        "import sys, harness.config.device; print(*sorted({'numpy', 'hydra'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    "uri",
    [
        "http://bob:secret@host",
        "https://secret@host:1",
        "http://bob:sec/secret@host",
        "sqlite://bob:secret@host/x",
        "http://h/?t=secret",
        "http://bob:a secret@host",
        "HTTP://bob:sec/secret@host",
        "postgresql://bob:sec/secret@host/d",
        "bob:secret@host:5000",
    ],
)
def test_an_address_with_a_password_is_refused_and_not_repeated(uri: str) -> None:
    for overrides in (["tracking=server", f"tracking.uri={uri}"], [f"+tracking={{uri: '{uri}'}}"]):
        with pytest.raises(RequestError, match="a user, a password or a query") as error:
            load(*overrides)
        assert "secret" not in str(error.value)
    with pytest.raises(RequestError) as error:
        Tracking(kind=TrackingKind.server, uri=uri)
    assert "secret" not in str(error.value)

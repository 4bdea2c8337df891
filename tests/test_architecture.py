"""The shape of the package: what may import what, how long files are, what is public."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from harness.measure.metrics import METRIC_NAMES
from harness.sim import pyxrt

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "harness"
LAYERS = (
    ("errors", "units", "interrupt"),
    (
        "kernel",
        "chain",
        "chained",
        "strategy",
        "device",
        "hazard",
        "phase",
        "tiles",
        "workload",
        "speech",
        "timeline",
        "encoder",
        "whisper",
        "weights",
        "layer",
        "oracle",
    ),
    ("config", "sim", "hardware"),
    ("world", "image", "session", "slot", "drain"),
    ("executor",),
    ("stations",),
    ("bounds", "totals", "metrics", "stats"),
    (
        "record",
        "preparation",
        "verify",
        "passes",
        "contexts",
        "window",
        "functional",
        "experiment",
        "target",
        "programme",
        "speedup",
        "variation",
    ),
    ("tracking", "report", "api"),
    ("sweeper", "argv", "arguments"),
    ("command", "emulate", "sensitivity", "accounting", "roadmap", "doctor", "__main__"),
)
COMMANDS = set(LAYERS[-1])
LAYER = {module: number for number, modules in enumerate(LAYERS) for module in modules}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
ONLY_IN = {
    "time": {"world", "emulate"},
    "pyxrt": {"world", "doctor"},
    "mlflow": {"tracking"},
    "matplotlib": {"report"},
    "hydra": {"config", "sweeper", "argv", "arguments", "command", "emulate"},
    "omegaconf": {"config", "sweeper", "arguments", "command", "emulate"},
    "rich": {"report", "emulate", "sensitivity", "accounting"},
}
LAZY = {"pyxrt", "mlflow", "matplotlib", "soundfile", "harness.sim"}


def subject(path: Path) -> str:
    """First part of a module's name below the package: `sim` for all of harness/sim/."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path, at_top: bool = False) -> set[str]:
    """Dotted names that a file imports, at its top level only or anywhere."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if at_top else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_the_layers(path: Path) -> None:
    own = LAYER[subject(path)]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "harness" and len(parts) > 1 and parts[1] in LAYER:
            assert LAYER[parts[1]] <= own, (
                f"{path.name} (layer {own}) imports {name} (layer {LAYER[parts[1]]})"
            )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_some_packages_belong_to_some_modules(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    for package, owners in ONLY_IN.items():
        assert package not in roots or subject(path) in owners, f"{path.name} imports {package}"
    if subject(path) not in ("sim", "emulate"):  # which is about nothing else
        early = {
            name
            for name in imports(path, at_top=True)
            if any(f"{name}.".startswith(f"{lazy}.") for lazy in LAZY)
        }
        assert not early, f"{path.name} imports {early} before it needs to"


@pytest.mark.parametrize("module", ["bounds", "totals", "metrics", "stats"])
def test_what_is_said_of_a_pass_comes_from_its_timeline(module: str) -> None:
    """So that it can be said again of a saved one."""
    allowed = {
        "harness.measure.timeline",
        "harness.units",
        "harness.measure.bounds",
        "harness.measure.stats",
        "harness.measure.totals",
    }
    used = {name for name in imports(PACKAGE / f"{module}.py") if name.startswith("harness")}
    assert {".".join(name.split(".")[:2]) for name in used} <= allowed


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short_and_only_commands_print(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 300, "split it by subject"
    calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    printing = any(isinstance(call, ast.Name) and call.id == "print" for call in calls)
    assert not printing or subject(path) in COMMANDS


def test_every_module_has_a_layer() -> None:
    assert {subject(path) for path in MODULES} <= set(LAYER)


def test_metric_names() -> None:
    assert (
        *(
            "time/total_ms",
            "time/tile_ms",
            "time/interval_p50_ms",
            "time/interval_p95_ms",
            "time/interval_p99_ms",
        ),
        *(
            "time/alloc_ms",
            "time/write_ms",
            "time/launch_ms",
            "time/wait_ms",
            "time/read_ms",
            "time/exec_ms",
        ),
        *(
            "dma/overhead_pct",
            "stall/count",
            "stall/total_ms",
            "device/utilisation",
            "overlap/efficiency",
        ),
        *("bound/total_ms", "bound/ratio", "throughput/tiles_per_s"),
        *("rtf/end_to_end", "rtf/encoder", "rtf/ceiling"),
        *("verify/tiles", "verify/mismatches", "hazard/count", "alloc/steady_state"),
        *("speedup/vs_baseline", "harness/self_us"),
    ) == METRIC_NAMES


def test_public_names_of_the_simulated_pyxrt() -> None:
    assert sorted(pyxrt.__all__) == [
        *(
            "XCL_BO_FLAGS_NONE",
            "alert",
            "bo",
            "critical",
            "debug",
            "device",
            "emergency",
            "enumerate_devices",
            "error",
        ),
        *(
            "ert_cmd_state",
            "hw_context",
            "info",
            "kernel",
            "log_message",
            "notice",
            "run",
            "runlist",
            "uuid",
            "warning",
        ),
        *("xclBOSyncDirection", "xclbin", "xrt_info_device", "xrt_msg_level"),
    ]


def test_texts_name_no_machine() -> None:
    """No path of somebody's machine in anything that is kept."""
    suffixes = {".py", ".md", ".yaml", ".toml", ".sh", ""}
    kept = [
        path
        for folder in ("harness", "conf", "kernels", "tests")
        for path in (ROOT / folder).rglob("*")
    ]
    for path in kept:
        if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts:
            text = path.read_text()
            assert "/home/" not in text or path == Path(__file__), path
            assert "/root/" not in text or path == Path(__file__), path

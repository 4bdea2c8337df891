"""The shape of the package: which module may import what, how long files are, what is public."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import harness
from harness.measure.metrics import METRIC_NAMES
from harness.sim import pyxrt

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "harness"
LAYER_LINE = re.compile(r"    (\w+(?: \w+)*) {2,}\S")
"""A line of `harness.__doc__`: names of one layer, then what they are for."""
LAYERS = [match[1].split() for match in LAYER_LINE.finditer(harness.__doc__ or "")]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
ONLY_IN = {
    "time": {"device", "commands"},
    "pyxrt": {"device", "commands"},
    "mlflow": {"tracking"},
    "matplotlib": {"report"},
    "pandas": {"results", "api"},
    "hydra": {"config", "commands"},
    "omegaconf": {"config", "commands"},
    "rich": {"report", "commands"},
    "optuna": {"study"},
    "plotly": {"report"},
    "jinja2": {"report"},
}
"""Libraries, and the only packages that import them."""
LAZY = {"pyxrt", "mlflow", "matplotlib", "pandas", "soundfile", "optuna", "plotly", "jinja2"}
LAZY |= {"harness.sim"}
"""Imported inside functions: slow to import, or absent on some machines."""
ABOUT_THE_SIMULATOR = {"emulate", "emulation", "simulated"}
"""Modules that are imported only where the simulator is used."""


def package_of(path: Path) -> str:
    """First part of a module's name below `harness`: `sim` for all of harness/sim/."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path, at_top: bool = False) -> set[str]:
    """Dotted names that a file imports, at its top level only or anywhere."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if at_top else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_imports(path: Path) -> Iterator[str]:
    """Packages and top-level modules of the harness that a file imports."""
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "harness" and len(parts) > 1 and parts[1] in LAYER:
            yield parts[1]


by_file = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))


def test_every_module_has_a_layer() -> None:
    assert {package_of(path) for path in MODULES} == set(LAYER)


@by_file
def test_imports_go_down_the_layers(path: Path) -> None:
    own = LAYER[package_of(path)]
    higher = {name for name in own_imports(path) if LAYER[name] > own}
    assert not higher, f"{path.name} (layer {own}) imports from higher layers: {higher}"


def test_packages_import_each_other_without_circles() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        graph.setdefault(package_of(path), set()).update(own_imports(path))
    graph = {package: others - {package} for package, others in graph.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"packages import each other in a circle: {error.args[1]}")


@by_file
def test_libraries_belong_to_packages(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    for library, owners in ONLY_IN.items():
        assert library not in roots or package_of(path) in owners, f"{path.name} imports {library}"


@by_file
def test_slow_imports_are_lazy(path: Path) -> None:
    if package_of(path) == "sim" or path.stem in ABOUT_THE_SIMULATOR:
        return
    early = {
        name
        for name in imports(path, at_top=True)
        if any(f"{name}.".startswith(f"{lazy}.") for lazy in LAZY)
    }
    assert not early, f"{path.name} imports {early} before it needs to"


@pytest.mark.slow
def test_the_contract_tests_need_only_numpy_and_pytest() -> None:
    """Debian's Python with the real pyxrt has no more (tests/contract/run)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [re.split("[<>=]", each)[0] for each in project["dependencies"]]
    installed = packages_distributions().items()
    absent = [name for name, owners in installed if {*owners} & {*required} - {"numpy"}]
    assert {"yaml", "hydra", "pydantic"} <= {*absent}
    code = f"""import sys; sys.modules |= dict.fromkeys({[*absent, "hypothesis"]})
import pytest; sys.exit(pytest.main(["--collect-only", "-q", "tests/contract"]))"""
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@by_file
def test_files_stay_short(path: Path) -> None:
    assert path.read_text().count("\n") <= 300, "split it by subject"


@by_file
def test_only_commands_print(path: Path) -> None:
    calls = [
        node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    ]
    printing = any(isinstance(call, ast.Name) and call.id == "print" for call in calls)
    assert not printing or package_of(path) == "commands"


@pytest.mark.parametrize(
    "package",
    sorted(PACKAGE.rglob("__init__.py")),
    ids=lambda path: path.parent.name,
)
def test_packages_say_what_goes_in_and_what_comes_out(package: Path) -> None:
    text = ast.get_docstring(ast.parse(package.read_text())) or ""
    if package != PACKAGE / "__init__.py":
        assert "\nIn: " in text
        assert "Out: " in text


def test_metric_names() -> None:
    assert tuple(METRIC_NAMES) == (
        "time/total_ms",
        "time/tile_ms",
        "time/interval_p50_ms",
        "time/interval_p95_ms",
        "time/interval_p99_ms",
        "time/open_ms",
        "time/alloc_ms",
        "time/write_ms",
        "time/launch_ms",
        "time/wait_ms",
        "time/read_ms",
        "time/exec_ms",
        "time/load_ms",
        "dma/overhead_pct",
        "dma/exposed_ms",
        "stall/count",
        "stall/total_ms",
        "stall/host_busy_ms",
        "stall/queue_full_ms",
        "stall/no_slot_ms",
        "idle/fill_ms",
        "idle/drain_ms",
        "device/utilisation",
        "overlap/efficiency",
        "overlap/transfer",
        "bound/total_ms",
        "bound/ratio",
        "model/total_ms",
        "model/residual_pct",
        "throughput/tiles_per_s",
        "throughput/gops",
        "throughput/gbytes_per_s",
        "throughput/peak_pct",
        "throughput/bandwidth_pct",
        "rtf/end_to_end",
        "rtf/encoder",
        "rtf/ceiling",
        "verify/tiles",
        "verify/mismatches",
        "hazard/count",
        "alloc/steady_state",
        "speedup/vs_baseline",
        "harness/self_us",
    )


def test_public_names_of_the_simulated_pyxrt() -> None:
    assert sorted(pyxrt.__all__) == [
        "XCL_BO_FLAGS_NONE",
        "alert",
        "bo",
        "critical",
        "debug",
        "device",
        "emergency",
        "enumerate_devices",
        "error",
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
        "xclBOSyncDirection",
        "xclbin",
        "xrt_info_device",
        "xrt_msg_level",
    ]


def test_texts_name_no_machine() -> None:
    """No path of one person's machine in anything that is published."""
    suffixes = {".py", ".md", ".yaml", ".toml", ".sh", ""}
    folders = ("harness", "conf", "kernels", "tests", "docs", "benchmarks")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    for path in paths:
        if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts:
            text = path.read_text()
            assert path == Path(__file__) or "/home/" not in text, path
            assert path == Path(__file__) or "/root/" not in text, path

"""xclbin files that XRT's xclbinutil wrote: one in tests/data, and new ones."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

COMMITTED = (Path(__file__).parents[1] / "data" / "mlir_aie.xclbin").read_bytes()
OPCODE = {"name": "opcode", "address-qualifier": "SCALAR", "type": "uint64_t", "offset": "0x00"}
BANKS = ("HOST", 0x10000, 0x4000000), ("SRAM", 0xC000, 0x4000000)


def made(folder: Path, *kernels: tuple[str, int]) -> bytes:
    """An xclbin of metadata only that xclbinutil makes of kernels (name, bos)."""
    if not shutil.which("xclbinutil"):
        pytest.skip("xclbinutil is not installed here; `make test-xrt` has it")
    topology = [
        {
            "m_type": "MEM_DRAM",
            "m_used": "1",
            "m_sizeKB": hex(size),
            "m_tag": tag,
            "m_base_address": hex(base),
        }
        for tag, size, base in BANKS
    ]
    described = {
        "mem.json": {"mem_topology": {"m_count": str(len(topology)), "m_mem_data": topology}},
        "kernels.json": {
            "ps-kernels": {"kernels": [_described(i, *kernel) for i, kernel in enumerate(kernels)]}
        },
    }
    for name, content in described.items():
        (folder / name).write_text(json.dumps(content))
    subprocess.run(
        [
            "xclbinutil",
            "--quiet",
            "--add-section",
            "MEM_TOPOLOGY:JSON:mem.json",
            "--output",
            "made.xclbin",
        ]
        + ["--add-kernel", "kernels.json"] * bool(kernels),
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return (folder / "made.xclbin").read_bytes()


def _described(number: int, name: str, bos: int) -> dict[str, Any]:
    def pointer(name: str, bank: str, offset: int) -> dict[str, str]:
        qualified = {
            "name": name,
            "address-qualifier": "GLOBAL",
            "type": "void*",
            "offset": hex(offset),
        }
        return {**qualified, "memory-connection": bank}

    size = {"name": "ninstr", "address-qualifier": "SCALAR", "type": "uint32_t", "offset": "0x10"}
    data = [pointer(f"bo{i}", "HOST", 0x14 + 8 * i) for i in range(bos)]
    return {
        "name": name,
        "type": "dpu",
        "extended-data": {
            "subtype": "DPU",
            "functional": "0",
            "dpu_kernel_id": hex(0x901 + number),
        },
        "arguments": [OPCODE, pointer("instr", "SRAM", 0x08), size, *data],
        "instances": [{"name": f"instance{number}"}],
    }

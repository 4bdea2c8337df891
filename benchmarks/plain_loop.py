"""A plain pyxrt loop over attention tiles, as scripts are written: it knows nothing of the harness.

    python -m harness emulate benchmarks/plain_loop.py [--in-flight 2]

With two in flight it launches the next tile before it collects the last, with one pair of bos for
both: it is quicker, and wrong.
"""

from __future__ import annotations

import argparse
from collections import deque

import numpy as np
import pyxrt

TO_DEVICE = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
FROM_DEVICE = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE
OPCODE = 3
SIDE = 64
INSTRUCTIONS = np.zeros(64, np.uint32)


def attend(path: str, tiles: int, in_flight: int, parts: list[np.ndarray]) -> list[np.ndarray]:
    """Outputs of `tiles` tiles; parts: Q, K and V, each (n, 64, 64) int8, used in turn."""
    device = pyxrt.device(0)
    xclbin = pyxrt.xclbin(path)
    context = pyxrt.hw_context(device, device.register_xclbin(xclbin))
    kernel = pyxrt.kernel(context, xclbin.get_kernels()[0].get_name())
    code = pyxrt.bo(device, INSTRUCTIONS.nbytes, pyxrt.bo.cacheable, kernel.group_id(1))
    given = pyxrt.bo(device, 3 * SIDE * SIDE, pyxrt.bo.host_only, kernel.group_id(3))
    result = pyxrt.bo(device, SIDE * SIDE, pyxrt.bo.host_only, kernel.group_id(4))
    code.write(INSTRUCTIONS, 0)
    code.sync(TO_DEVICE)
    runs: deque[pyxrt.run] = deque()
    outputs = []

    def collect() -> None:
        state = runs[0].wait()
        if state != pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED:
            raise RuntimeError(f"the kernel ended in {state}")
        runs.popleft()
        result.sync(FROM_DEVICE)
        outputs.append(result.read(SIDE * SIDE, 0))

    for tile in range(tiles):
        if len(runs) == in_flight:
            collect()
        staged = np.concatenate([part[tile % len(part)].reshape(-1) for part in parts])
        given.write(staged.tobytes(), 0)
        given.sync(TO_DEVICE)
        runs.append(kernel(OPCODE, code, INSTRUCTIONS.nbytes, given, result))
    while runs:
        collect()
    return outputs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiles", type=int, default=10)
    parser.add_argument("--in-flight", type=int, default=1)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    parts = [generator.integers(-64, 64, (options.tiles, SIDE, SIDE), np.int8) for _ in range(3)]
    outputs = attend("attention.xclbin", options.tiles, options.in_flight, parts)
    print("sum of all outputs:", sum(int(output.sum(dtype=int)) for output in outputs))


if __name__ == "__main__":
    main()

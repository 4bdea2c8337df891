"""The int8 weights of one encoder layer: random, or read from an .npz file.

They are in units of 1/32, as all arrays of the kernels. There are no biases: the products of a
layer run without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.errors import RequestError, nearest
from harness.kernel import Int8
from harness.models.whisper import Encoder

ONE = 32
"""1.0 in the units of every int8 array."""
GAINS = {"query": 1.5, "key": 1.5, "output": 4.0}
"""Factors on the random weights of some products. Attention over unrelated frames averages to
nearly zero unless its logits differ enough, and such small values would round to zero in the
partial sums of `output`."""


def weight_shapes(encoder: Encoder) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a layer's arrays: (inputs, outputs) of products, (d_model,) of norms."""
    width, ffn = encoder.d_model, encoder.ffn
    square = dict.fromkeys(("query", "key", "value", "output"), (width, width))
    norms = [f"{norm}_norm_{name}" for norm in ("attention", "ffn") for name in ("gamma", "beta")]
    return {
        **square,
        "ffn_1": (width, ffn),
        "ffn_2": (ffn, width),
        **dict.fromkeys(norms, (width,)),
    }


def make_weights(encoder: Encoder, seed: int) -> dict[str, Int8]:
    """Return random arrays of `weight_shapes`; the same seed gives the same arrays.

    The weights of a product are normal, with a standard deviation of GAINS / sqrt(inputs): its
    outputs are then about as large as its inputs, neither zero nor saturated. gamma is about 1 and
    beta about 0.
    """
    random = np.random.default_rng(seed)

    def make(name: str, shape: tuple[int, ...]) -> Int8:
        mean = ONE if name.endswith("gamma") else 0
        deviation = ONE / 8 if len(shape) == 1 else ONE * GAINS.get(name, 1.0) / shape[0] ** 0.5
        return np.clip(np.rint(random.normal(mean, deviation, shape)), -128, 127).astype(np.int8)

    return {name: make(name, shape) for name, shape in weight_shapes(encoder).items()}


def load_weights(path: Path, encoder: Encoder) -> dict[str, Int8]:
    """Read the arrays of `weight_shapes` from an .npz file.

    RequestError if it is not an .npz, or an array is unknown, missing, or has a wrong shape or
    dtype.
    """
    try:
        with path.open("rb") as archive, np.load(archive, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise _error(path, "no such file; give an .npz of int8 arrays") from error
    # numpy, zipfile and zlib raise many kinds of errors, and document few of them.
    except Exception as error:
        kind = type(error).__name__
        fault = f"cannot be read as an .npz of int8 arrays ({kind}); write one with numpy.savez"
        raise _error(path, fault) from error
    _check(path, arrays, weight_shapes(encoder))
    return arrays


def _check(path: Path, arrays: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name in arrays:
        if name not in shapes:
            raise _error(path, f"unknown array {name}; {nearest(name, shapes)}")
    for name, shape in shapes.items():
        if name not in arrays:
            raise _error(path, f"array {name} is missing; give int8{list(shape)}")
        array = arrays[name]
        # numpy returns the bytes of a member of the archive that is not an .npy file.
        if not isinstance(array, np.ndarray):
            raise _error(path, f"{name} is not an array; give int8{list(shape)}")
        if array.shape != shape or array.dtype != np.int8:
            raise _error(
                path, f"array {name} is {array.dtype}{list(array.shape)}; give int8{list(shape)}"
            )


def _error(path: Path, fault: str) -> RequestError:
    return RequestError(f"workload.weights={path}: {fault}")

"""A layer's weights: made from a seed, and read from files of every wrong kind."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from harness.errors import RequestError
from harness.models.weights import load_weights, make_weights, weight_shapes
from harness.models.whisper import ENCODERS, Encoder

SMALL = Encoder("small", layers=1, heads=2, d_model=8, ffn=12, frames=4)
WEIGHTS = make_weights(SMALL, seed=0)


def error_of(path):
    with pytest.raises(RequestError) as caught:
        load_weights(path, SMALL)
    text = str(caught.value)
    start = f"workload.weights={path}: "
    assert text.startswith(start)
    assert "\n" not in text
    return text.removeprefix(start)


def saved(folder, **arrays):
    np.savez(
        folder / "weights.npz",
        **{name: array for name, array in arrays.items() if array is not None},
    )
    return folder / "weights.npz"


def test_shapes_are_those_of_the_published_model():
    shapes = weight_shapes(ENCODERS["whisper_tiny"])
    assert {name for name, shape in shapes.items() if shape == (384, 384)} == {
        "query",
        "key",
        "value",
        "output",
    }
    assert (shapes["ffn_1"], shapes["ffn_2"]) == ((384, 1536), (1536, 384))
    norms = {
        f"{norm}_{name}" for norm in ("attention_norm", "ffn_norm") for name in ("gamma", "beta")
    }
    assert {name for name, shape in shapes.items() if shape == (384,)} == norms
    assert len(shapes) == 10


def test_made_weights_have_the_shapes_and_depend_on_the_seed_alone():
    assert {name: array.shape for name, array in WEIGHTS.items()} == weight_shapes(SMALL)
    assert {array.dtype for array in WEIGHTS.values()} == {np.dtype(np.int8)}
    again, other = make_weights(SMALL, seed=0), make_weights(SMALL, seed=1)
    assert all(np.array_equal(again[name], array) for name, array in WEIGHTS.items())
    assert all(not np.array_equal(other[name], array) for name, array in WEIGHTS.items())


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_weights_come_back_from_a_file(tmp_path, save):
    save(tmp_path / "weights.npz", **WEIGHTS)
    found = load_weights(tmp_path / "weights.npz", SMALL)
    assert found.keys() == WEIGHTS.keys()
    assert all(np.array_equal(found[name], array) for name, array in WEIGHTS.items())


def test_a_missing_file(tmp_path):
    assert error_of(tmp_path / "weights.npz") == "no such file; give an .npz of int8 arrays"


def test_files_of_other_kinds(tmp_path):
    whole = saved(tmp_path, **WEIGHTS).read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(WEIGHTS["ffn_1"].tobytes())] ^= 1
    locked = bytearray(whole)
    locked[whole.index(b"PK\x01\x02") + 8] |= 1  # the flag of an encrypted member
    texts = {
        "empty": b"",
        "text": b"query: 1\n",
        "cut": whole[: len(whole) // 2],
        "flipped": bytes(flipped),
        "locked": bytes(locked),
        "zip start": b"PK\x03\x04",
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
        assert error_of(tmp_path / name).startswith("cannot be read as an .npz of int8 arrays (")
    assert error_of(tmp_path).startswith("cannot be read as an .npz of int8 arrays (")


def test_one_array_of_a_file_of_its_own(tmp_path):
    np.save(tmp_path / "query.npy", WEIGHTS["query"])
    assert error_of(tmp_path / "query.npy").startswith("cannot be read as an .npz of int8 arrays (")


def test_objects_are_not_loaded(tmp_path):
    path = saved(tmp_path, **{**WEIGHTS, "query": np.array([{}], dtype=object)})
    assert error_of(path).startswith("cannot be read as an .npz of int8 arrays (ValueError)")


def test_what_is_no_array_in_an_archive(tmp_path):
    path = saved(tmp_path, **{**WEIGHTS, "query": None})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("query", "text")
    assert error_of(path) == "query is not an array; give int8[8, 8]"


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"query": None}, "array query is missing; give int8[8, 8]"),
        ({"ffn_2": None}, "array ffn_2 is missing; give int8[12, 8]"),
        (
            {"query": WEIGHTS["query"].astype(np.float32)},
            "array query is float32[8, 8]; give int8[8, 8]",
        ),
        ({"query": WEIGHTS["query"].view(np.uint8)}, "array query is uint8[8, 8]; give int8[8, 8]"),
        ({"ffn_1": WEIGHTS["ffn_1"].T}, "array ffn_1 is int8[12, 8]; give int8[8, 12]"),
        ({"ffn_norm_beta": np.int8(1)}, "array ffn_norm_beta is int8[]; give int8[8]"),
    ],
)
def test_arrays_that_are_not_as_wanted(tmp_path, changed, text):
    assert error_of(saved(tmp_path, **{**WEIGHTS, **changed})) == text


def test_an_unknown_array(tmp_path):
    text = error_of(saved(tmp_path, **{**WEIGHTS, "ffn_3": WEIGHTS["ffn_1"]}))
    assert text.startswith("unknown array ffn_3; did you mean ffn_")
    assert "attention_norm_beta, attention_norm_gamma, ffn_1, ffn_2" in text

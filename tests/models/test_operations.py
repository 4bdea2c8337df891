"""Whisper's encoders as calls: counts against indices, sizes against published ones, hand times."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RequestError
from harness.kernel import Buffer, Direction, KernelSpec, Part, kernel_names, load_kernel
from harness.kernel.folders import Place
from harness.measure.audio_accounting import GUIDE_TILES_PER_WINDOW, WINDOW_S
from harness.models.operations import Operation, operations
from harness.models.tiling import Tiling, Unit, load_tiling, tile_of
from harness.models.whisper import ENCODERS, Encoder, encoder_of

BASE = ENCODERS["whisper_base"]
FITS = Encoder("fits", layers=1, heads=2, d_model=8, ffn=16, frames=4, mels=8)
FITTING = {"m": 4, "k": 24, "n": 8, "q": 4, "s": 4, "d": 4, "w": 8, "v": 32}
"""Tiles that every size of that encoder is a multiple of, or no larger than."""
LINEAR = ("query", "key", "value", "output", "ffn 1", "ffn 2")


def kernel(name, shapes, out, ops):
    parts = tuple(Part(f"part{number}", shape) for number, shape in enumerate(shapes))
    return KernelSpec(
        name,
        (Buffer("in", parts), Buffer("out", (Part("out", out),), Direction.OUT)),
        lambda *arrays: arrays[0],
        ops,
    )


def tiling_of(m, k, n, q, s, d, w, v):
    return Tiling(
        matmul=kernel("matmul", [(m, k), (k, n)], (m, n), 2 * m * k * n),
        attention=kernel("attention", [(q, d), (s, d), (s, d)], (q, d), 4 * q * s * d),
        layernorm=kernel("layernorm", [(w,)] * 3, (w,), w),
        gelu=kernel("gelu", [(v,)], (v,), v),
    )


def named(found: tuple[Operation, ...], *names: str) -> list[Operation]:
    return [each for each in found if each.name in names]


def enumerated(extents, tile, times=1):
    """Tiles that any index falls into, and indices: (calls, work), looked at one by one."""
    indices = list(product(range(times), *map(range, extents)))
    tiles = {
        (index[0], *(i // size for i, size in zip(index[1:], tile, strict=True)))
        for index in indices
    }
    return len(tiles), len(indices)


def by_enumeration(e: Encoder, m, k, n, q, s, d, w, v):
    """(name, kernel, calls, work) of every operation, from the layers of the published model."""
    rows, width, values = e.frames, e.d_model, e.frames * e.d_model

    def linear(name, extents):
        return (name, "matmul", *enumerated(extents, (m, k, n)))

    def norm(name):
        return (name, "layernorm", *enumerated((width,), (w,), times=rows))

    def gelu(name, count):
        return (name, "gelu", *enumerated((count,), (v,)))

    def added(name):
        return (name, None, 0, values)

    calls, work = enumerated((rows, rows, width // e.heads), (q, s, d), times=e.heads)
    yield linear("conv 1", (2 * rows, 3 * e.mels, width))
    yield gelu("conv 1 gelu", 2 * values)
    yield linear("conv 2", (rows, 3 * width, width))
    yield gelu("conv 2 gelu", values)
    yield added("positions")
    for _ in range(e.layers):
        yield norm("attention norm")
        yield from (linear(name, (rows, width, width)) for name in ("query", "key", "value"))
        yield ("attention", "attention", calls, 2 * work)
        yield linear("output", (rows, width, width))
        yield added("attention residual")
        yield norm("ffn norm")
        yield linear("ffn 1", (rows, width, e.ffn))
        yield gelu("ffn gelu", rows * e.ffn)
        yield linear("ffn 2", (rows, e.ffn, width))
        yield added("ffn residual")
    yield norm("last norm")


small = st.integers(1, 5)
encoders = st.builds(
    lambda layers, heads, head, ffn, frames, mels: Encoder(
        "made up", layers, heads, heads * head, ffn, frames, mels
    ),
    *(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), small, small, st.integers(1, 3)),
)


@settings(max_examples=60)
@given(encoders, st.tuples(*[st.integers(1, 7)] * 8))
def test_calls_and_work_are_those_of_enumerated_tiles(encoder, sizes):
    found = operations(encoder, tiling_of(*sizes))
    assert [(each.name, each.kernel, each.calls, each.work) for each in found] == [
        *by_enumeration(encoder, *sizes)
    ]


@settings(max_examples=60)
@given(encoders, st.tuples(*[st.integers(1, 7)] * 8))
def test_tiles_hold_all_work_and_bytes_are_those_of_whole_tiles(encoder, sizes):
    m, k, n, q, s, d, w, v = sizes
    tile_work = {"matmul": m * k * n, "attention": 2 * q * s * d, "layernorm": w, "gelu": v}
    tile_bytes = {
        "matmul": m * k + k * n + m * n,
        "attention": 2 * q * d + 2 * s * d,
        "layernorm": 4 * w,
        "gelu": 2 * v,
    }
    for each in operations(encoder, tiling_of(*sizes)):
        if each.kernel is None:
            assert (each.calls, each.bytes_moved, each.additions) == (0, 0, each.work)
            continue
        assert each.tile_work == each.calls * tile_work[each.kernel] >= each.work
        assert each.bytes_moved == each.calls * tile_bytes[each.kernel]
        assert each.unit is (Unit.mac if each.kernel in ("matmul", "attention") else Unit.value)


def test_tiles_that_fit_need_no_padding_and_no_word():
    found = operations(FITS, tiling_of(**FITTING))
    assert all(
        each.tile_work == each.work
        for each in named(found, "conv 1", "conv 2", "attention", "last norm")
    )
    assert not any(each.notes for each in found)
    biases = {each.name: each.additions for each in found if each.kernel == "matmul"}
    assert biases == {
        **{"conv 1": 64, "conv 2": 32, "query": 32, "key": 0, "value": 32},
        **{"output": 32, "ffn 1": 64, "ffn 2": 32},
    }


@pytest.mark.parametrize(
    ("size", "value", "name", "note"),
    [
        ("k", 5, "query", "8 in 2 of 5: each call rounds and saturates its partial sums"),
        ("s", 3, "attention", "4 in 2 of 3: each call applies softmax to its own keys"),
        ("s", 5, "attention", "4 in 1 of 5: each call applies softmax to its own keys and padding"),
        ("d", 2, "attention", "4 in 2 of 2: each call applies softmax to the logits of its own"),
        ("w", 4, "last norm", "8 in 2 of 4: each call takes the mean"),
        ("w", 9, "last norm", "8 in 1 of 9: each call takes the mean"),
    ],
)
def test_calls_that_do_not_give_the_result_say_why(size, value, name, note):
    sizes = {**FITTING, size: value}
    (found,) = named(operations(FITS, tiling_of(**sizes)), name)
    (said,) = found.notes
    assert said.startswith(note)


@pytest.mark.parametrize("size", ["m", "n", "q", "d", "v"])
def test_padding_of_other_sizes_changes_no_result(size):
    sizes = {**FITTING, size: 50}
    assert not any(each.notes for each in operations(FITS, tiling_of(**sizes)))


def test_the_host_adds_partial_sums():
    encoder = Encoder("cut", layers=1, heads=1, d_model=6, ffn=10, frames=3, mels=1)
    (found,) = named(
        operations(encoder, tiling_of(m=2, k=4, n=5, q=3, s=3, d=6, w=6, v=7)), "ffn 2"
    )
    assert found.additions == 3 * 6 * (2 + 1)  # 10 in 4, 4, 2: two additions; the bias


@pytest.mark.parametrize(
    ("name", "layers", "heads", "head_width", "parameters"),
    [
        ("whisper_tiny", 4, 6, 64, 37_760_640),
        ("whisper_base", 6, 8, 64, 72_593_920),
        ("whisper_small", 12, 12, 64, 241_734_912),
    ],
)
def test_sizes_are_the_published_ones(name, layers, heads, head_width, parameters):
    """Parameters of Hugging Face's checkpoints; decoders have the same sizes and 51,865 tokens."""
    encoder = ENCODERS[name]
    width, ffn = encoder.d_model, encoder.ffn
    attention, hidden, norm = 4 * width**2 + 3 * width, 2 * width * ffn + width + ffn, 2 * width
    stem = 3 * encoder.mels * width + width + 3 * width**2 + width + encoder.frames * width
    encoding = stem + encoder.layers * (attention + hidden + 2 * norm) + norm
    decoding = (51_865 + 448) * width + encoder.layers * (2 * attention + hidden + 3 * norm) + norm
    assert encoding + decoding == parameters
    assert (encoder.layers, encoder.heads, encoder.head_width, encoder.mels) == (
        layers,
        heads,
        head_width,
        80,
    )
    assert (encoder.audio_s, encoder.frames) == (WINDOW_S, 1500)


@pytest.mark.parametrize(
    ("model", "matmul", "calls", "linear", "macs", "tile_macs"),
    [
        ("whisper_tiny", "matmul", 2_829_024, 2_598_912, 18_468_864_000, 18_835_439_616),
        ("whisper_tiny", "matmul_64", 45_192, 41_472, 18_468_864_000, 19_094_568_960),
        ("whisper_base", "matmul", 7_309_440, 6_930_432, 43_683_840_000, 44_434_980_864),
        ("whisper_base", "matmul_64", 116_704, 110_592, 43_683_840_000, 45_088_768_000),
        ("whisper_small", "matmul", 31_972_032, 31_186_944, 172_081_152_000, 174_443_986_944),
        ("whisper_small", "matmul_64", 510_288, 497_664, 172_081_152_000, 177_255_481_344),
    ],
)
def test_totals_of_whisper(model, matmul, calls, linear, macs, tile_macs):
    found = operations(ENCODERS[model], load_tiling(matmul=matmul))
    products = [each for each in found if each.unit is Unit.mac]
    assert sum(each.calls for each in found if each.kernel == matmul) == calls
    assert sum(each.calls for each in named(found, *LINEAR)) == linear
    assert (sum(each.work for each in products), sum(each.tile_work for each in products)) == (
        macs,
        tile_macs,
    )


def test_base_by_hand():
    """The products' tiles are 16 x 16 x 16, and there are 6 layers.

    94 rows of tiles; 32 x 32 to a projection and 32 x 128 to half a hidden layer.
    """
    found = operations(BASE, load_tiling())
    assert (
        sum(each.work for each in named(found, *LINEAR))
        == 6 * 1500 * (4 * 512**2 + 2 * 512 * 2048)
        == 28_311_552_000
    )
    assert (
        sum(each.calls for each in named(found, *LINEAR))
        == 6 * 94 * (4 * 32 * 32 + 2 * 32 * 128)
        == 6_930_432
    )
    assert sum(each.calls for each in named(found, "attention")) == 6 * 8 * 24 * 24 == 27_648
    assert sum(each.work for each in named(found, "attention")) == 6 * 8 * 2 * 1500**2 * 64
    assert sum(each.calls for each in found if each.kernel == "layernorm") == (2 * 6 + 1) * 1500 * 2
    assert sum(each.calls for each in found if each.kernel == "gelu") == 3000 + 1500 + 6 * 6000
    assert [each.layer for each in named(found, "attention")] == [*range(6)]
    assert GUIDE_TILES_PER_WINDOW == 140.625


def test_tiles_follow_from_the_shapes_of_the_kernels():
    assert tile_of("matmul", load_kernel("matmul_64")) == {"m": 64, "k": 64, "n": 64}
    assert tile_of("attention", load_kernel("attention")) == {"q": 64, "s": 64, "d": 64}
    assert tile_of("layernorm", load_kernel("layernorm")) == {"w": 256}
    assert tile_of("gelu", load_kernel("gelu")) == {"v": 512}
    oblong = tiling_of(m=1, k=2, n=3, q=4, s=5, d=6, w=7, v=8)
    assert [oblong.tile(role) for role in ("matmul", "attention")] == [
        {"m": 1, "k": 2, "n": 3},
        {"q": 4, "s": 5, "d": 6},
    ]
    assert list(oblong.tile("attention")) == ["q", "s", "d"]


def test_a_kernel_of_another_role_has_no_tile():
    fitting = {
        role: [name for name in kernel_names() if tile_of(role, load_kernel(name))]
        for role in ROLES_OF
    }
    assert fitting == ROLES_OF
    assert tile_of("matmul", kernel("add", [(8, 8), (8, 8)], (8, 8), 8 * 8)) is None
    assert tile_of("matmul", kernel("odd", [(8, 4), (8, 4)], (8, 4), 10_000)) is None


ROLES_OF = {
    "matmul": ["matmul", "matmul_64"],
    "attention": ["attention"],
    "layernorm": ["layernorm"],
    "gelu": ["gelu"],
}


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (
            lambda: encoder_of("whisper_bas"),
            "model=whisper_bas: no such encoder; did you mean whisper_base? Allowed: ",
        ),
        (
            lambda: load_tiling(matmul="matmul_65"),
            "matmul=matmul_65: no kernel that computes a matrix product; did you mean matmul_64",
        ),
        (
            lambda: load_tiling(matmul="gelu"),
            "matmul=gelu: no kernel that computes a matrix product; allowed: matmul, m",
        ),
        (
            lambda: replace(load_tiling(), gelu=load_kernel("matmul")),
            "gelu=matmul: computes no tile of GELU",
        ),
        (
            lambda: replace(BASE, heads=7),
            "encoder.heads=7: not allowed; give a divisor of d_model=512",
        ),
        (lambda: replace(BASE, layers=0), "encoder.layers=0: out of range; allowed: 1 or more"),
    ],
)
def test_wrong_requests_are_refused(ask, said):
    with pytest.raises(RequestError) as raised:
        ask()
    assert str(raised.value).startswith(said)


def test_a_kernel_that_cannot_be_loaded_tells_why(tmp_path, monkeypatch):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "spec.py").write_text("1 / 0\n")
    only = (Place(tmp_path / "conf", tmp_path),)
    monkeypatch.setattr("harness.kernel.find.places", lambda: only)
    assert kernel_names() == ("broken",)
    with pytest.raises(RequestError, match="ZeroDivisionError"):
        load_tiling(matmul="broken")
    with pytest.raises(
        RequestError,
        match=r"^matmul=other: no kernel that computes a matrix product; allowed: none$",
    ):
        load_tiling(matmul="other")

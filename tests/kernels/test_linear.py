"""linear against exact integers, bit for bit: shapes, epilogues, bad input, saved files."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guarded import guarded
from ipex_quant import _C
from kernel_reference import available_isas, dequantize_reference, quantize_reference, random_u8

ops = torch.ops.ipex_quant


def random_s8(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed + 1000)
    return torch.randint(-128, 128, shape, dtype=torch.int8, generator=generator)


def random_scales(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed + 2000)
    return torch.rand(n, generator=generator) * 0.01 + 1e-4


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c, rounded to float once: in float64 the product of two floats is exact."""
    return (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(np.float32)


def reference(x, w, w_scale, bias, x_scale, zero_point):
    """The float32 result before the epilogue."""
    acc = (x.numpy().astype(np.int64) - zero_point) @ w.numpy().astype(np.int64).T
    scale = (np.float64(x_scale) * w_scale.numpy().astype(np.float64)).astype(np.float32)
    b = np.zeros(w.shape[0], np.float32) if bias is None else bias.numpy()
    return fma(acc.astype(np.float32), scale, b)


def check(m, n, k, *, zero_point=3, seed=0, x=None, w=None):
    x = random_u8(m, k, seed=seed) if x is None else x
    w = random_s8(n, k, seed=seed) if w is None else w
    s, b = random_scales(n, seed), torch.randn(n, generator=torch.Generator().manual_seed(seed))
    expected = reference(x, w, s, b, 0.02, zero_point)
    repeat = f"check({m}, {n}, {k}, zero_point={zero_point}, seed={seed})"
    y = ops.linear(x, ops.linear_prepack(w, s, b, 0.02, zero_point, ""), [])
    np.testing.assert_array_equal(y.numpy(), expected, err_msg=repeat)
    q = ops.linear(x, ops.linear_prepack(w, s, b, 0.02, zero_point, "quantize(0.07,120)"), [])
    np.testing.assert_array_equal(
        q.numpy(), quantize_reference(expected, 0.07, 120), err_msg=repeat
    )


@pytest.mark.parametrize("k", [1, 3, 4, 5, 8, 63, 64, 67])
def test_tile_edges(isa, k):
    for m, n in itertools.product(
        [1, 2, 3, 5, 6, 7, 12, 13], [1, 8, 15, 16, 17, 32, 48, 64, 65, 80]
    ):
        check(m, n, k, seed=m * n)


@pytest.mark.parametrize("m", [1, 24, 25, 100])
def test_blocks(isa, m):
    check(m, 200, 130, seed=m)


@pytest.mark.parametrize("n", [128, 200, 2300])
@pytest.mark.parametrize("epilogue", ["", "add_f32", "add_f32|gelu|quantize(0.05,20)"])
def test_one_row_is_as_one_of_many(isa, n, epilogue):
    for k in (1, 7, 36):
        check(1, n, k)
        x = random_u8(3, k)
        packed = ops.linear_prepack(random_s8(n, k), random_scales(n), None, 0.02, 3, epilogue)
        others = [torch.randn(3, n)] if epilogue else []
        rows = ops.linear(x, packed, others)
        for i in range(3):
            one = ops.linear(x[i : i + 1], packed, [t[i : i + 1] for t in others])
            assert torch.equal(one[0], rows[i])


@pytest.mark.parametrize("zero_point", [0, 128, 255])
@pytest.mark.parametrize("x_value", [0, 255])
@pytest.mark.parametrize("w_value", [-128, -127, 127])
def test_extreme_values(isa, zero_point, x_value, w_value):
    x = torch.full((7, 300), x_value, dtype=torch.uint8)
    w = torch.full((33, 300), w_value, dtype=torch.int8)
    check(7, 33, 300, zero_point=zero_point, x=x, w=w)


@settings(max_examples=40, deadline=None)
@given(m=st.integers(1, 40), n=st.integers(1, 150), k=st.integers(1, 150), z=st.integers(0, 255))
def test_all_isas_agree(m, n, k, z):
    x, w, s = random_u8(m, k), random_s8(n, k), random_scales(n)
    packed = ops.linear_prepack(w, s, None, 0.02, z, "gelu|quantize(0.05,20)")
    results = []
    try:
        for isa in available_isas():
            _C.set_isa_cap(isa)
            results.append(ops.linear(x, packed, []).numpy().tobytes())
    finally:
        _C.set_isa_cap("")
    assert len(set(results)) == 1


def test_threads(isa, same_for_all_threads):
    for m, n, k in ((1, 700, 600), (70, 130, 300), (500, 17, 64)):
        x = random_u8(m, k)
        packed = ops.linear_prepack(random_s8(n, k), random_scales(n), None, 0.02, 3, "")
        same_for_all_threads(lambda x=x, p=packed: ops.linear(x, p, []))


STEPS = {
    "relu": lambda y: np.maximum(y, np.float32(0)),
    "clamp(-0.5,inf)": lambda y: np.maximum(y, np.float32(-0.5)),
    "clamp(0,6)": lambda y: np.clip(y, np.float32(0), np.float32(6)),
    "mul(1.5)": lambda y: y * np.float32(1.5),
    "add(-0.25)": lambda y: y + np.float32(-0.25),
    "leaky_relu(0.125)": lambda y: np.where(y < 0, y * np.float32(0.125), y),
}
SMOOTH = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda y: torch.nn.functional.gelu(y, approximate="tanh"),
    "silu": torch.nn.functional.silu,
    "hardswish": torch.nn.functional.hardswish,
    "hardsigmoid": torch.nn.functional.hardsigmoid,
    "elu(0.75)": lambda y: torch.nn.functional.elu(y, 0.75),
    "mish": torch.nn.functional.mish,
}


@pytest.mark.parametrize("n", [64, 70])
@pytest.mark.parametrize("step", [*STEPS, *SMOOTH])
def test_epilogue_steps(isa, step, n):
    x, w, s = random_u8(9, 40), random_s8(n, 40), random_scales(n) * 0.1
    y = reference(x, w, s, None, 0.02, 3)
    got = ops.linear(x, ops.linear_prepack(w, s, None, 0.02, 3, step), []).numpy()
    if step in STEPS:
        np.testing.assert_array_equal(got, STEPS[step](y))
    else:
        want = SMOOTH[step](torch.from_numpy(y).double()).numpy()
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
    q = ops.linear(x, ops.linear_prepack(w, s, None, 0.02, 3, f"{step}|quantize(0.02,90)"), [])
    np.testing.assert_array_equal(q.numpy(), quantize_reference(got, 0.02, 90))


@pytest.mark.parametrize("n", [1, 64, 70])
@pytest.mark.parametrize("steps", ["", "gelu|"])
def test_a_table_is_looked_up_behind_quantize(isa, steps, n):
    x, w, s = random_u8(9, 40), random_s8(n, 40), random_scales(n) * 0.1
    table = torch.randperm(256, generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    quantized = f"{steps}quantize(0.02,90)"
    q = ops.linear(x, ops.linear_prepack(w, s, None, 0.02, 3, quantized), [])
    assert len(q.unique()) > 3
    packed = ops.linear_prepack(w, s, None, 0.02, 3, f"{quantized}|table({bytes(table).hex()})")
    assert torch.equal(ops.linear(x, packed, []), table[q.long()])


@pytest.mark.parametrize("n", [64, 70])
def test_steps_that_read_tensors(isa, n):
    x, w, s = random_u8(9, 40), random_s8(n, 40), random_scales(n)
    y = reference(x, w, s, None, 0.02, 3)
    q = random_u8(9, n, seed=5)
    real = torch.randn(9, n)
    dq = dequantize_reference(q.numpy(), 0.03, 100)
    cases = {
        "add_u8(0.03,100)": (q, y + dq),
        "mul_u8(0.03,100)": (q, y * dq),
        "add_f32": (real, y + real.numpy()),
        "mul_f32": (real, y * real.numpy()),
        "prelu": (real, np.where(y < 0, y * real.numpy(), y)),
        "masked_fill(-3)": (real > 0, np.where(real.numpy() > 0, np.float32(-3), y)),
        "where(-inf)": (real > 0, np.where(real.numpy() > 0, y, -np.float32(np.inf))),
        "where(2)": (q // 100, np.where(q.numpy() >= 100, y, np.float32(2))),
    }
    for step, (other, want) in cases.items():
        got = ops.linear(x, ops.linear_prepack(w, s, None, 0.02, 3, step), [other])
        np.testing.assert_array_equal(got.numpy(), want, err_msg=step)
        for tail, finish in (("", want), ("|relu", np.maximum(want, np.float32(0)))):
            packed = ops.linear_prepack(w, s, None, 0.02, 3, f"{step}{tail}|quantize(0.05,77)")
            got = ops.linear(x, packed, [other])
            np.testing.assert_array_equal(got.numpy(), quantize_reference(finish, 0.05, 77))
    # Two tensors, and shapes that broadcast in every way.
    packed = ops.linear_prepack(w, s, None, 0.02, 3, "add_f32|relu|mul_u8(0.03,100)")
    for first, second in ((real[0], q), (real[:, :1], q[:1]), (real, q[:, 3:4]), (real[0, 0], q)):
        got = ops.linear(x, packed, [first, second])
        want = np.maximum(y + first.numpy(), np.float32(0))
        want = want * dequantize_reference(second.numpy(), 0.03, 100)
        np.testing.assert_array_equal(got.numpy(), want)
        packed_mask = ops.linear_prepack(w, s, None, 0.02, 3, "add_f32|masked_fill(1)")
        got = ops.linear(x, packed_mask, [first, second > 90])
        want = np.where(second.numpy() > 90, np.float32(1), y + first.numpy())
        np.testing.assert_array_equal(got.numpy(), want)
    wide = torch.randn(n, 18).t()[::2]
    got = ops.linear(x, ops.linear_prepack(w, s, None, 0.02, 3, "add_f32"), [wide])
    np.testing.assert_array_equal(got.numpy(), y + wide.numpy())


def test_shapes_and_strides(isa):
    w, s = random_s8(20, 24), random_scales(20)
    packed = ops.linear_prepack(w, s, None, 0.02, 3, "")
    base = random_u8(6, 50, 48)
    for x in (base[0, 0, :24], base[..., :24], base[..., ::2], base.transpose(0, 1)[..., 8:32]):
        y = ops.linear(x, packed, [])
        assert y.shape == (*x.shape[:-1], 20)
        flat = reference(x.reshape(-1, 24), w, s, None, 0.02, 3)
        np.testing.assert_array_equal(y.reshape(-1, 20).numpy(), flat)
    for shape in ((0, 24), (3, 0, 24)):
        y = ops.linear(torch.empty(shape, dtype=torch.uint8), packed, [])
        assert y.shape == (*shape[:-1], 20)
        assert y.dtype == torch.float32


def test_one_scale_for_all_channels(isa):
    x, w = random_u8(5, 12), random_s8(7, 12)
    one = ops.linear(x, ops.linear_prepack(w, torch.tensor([0.01]), None, 0.02, 3, ""), [])
    all_ = ops.linear(x, ops.linear_prepack(w, torch.full((7,), 0.01), None, 0.02, 3, ""), [])
    assert torch.equal(one, all_)


def test_long_rows_that_cannot_overflow(isa):
    k = 70000
    x, w = random_u8(2, k), random_s8(3, k)
    s, zero = torch.full((3,), 1e-4), np.zeros(3, np.float32)
    acc = (x.numpy().astype(np.int64) - 128) @ w.numpy().astype(np.int64).T
    y = ops.linear(x, ops.linear_prepack(w, s, None, 1.0, 128, ""), [])
    np.testing.assert_array_equal(y.numpy(), fma(acc.astype(np.float32), s.numpy(), zero))
    with pytest.raises(RuntimeError, match="could leave int32"):
        ops.linear_prepack(torch.full((1, k), 127, dtype=torch.int8), s[:1], None, 1.0, 0, "")


PREPACK_ERRORS = {
    "dtype of weight": ({"weight": torch.zeros(4, 4)}, "weight must be a Char tensor"),
    "rank of weight": ({"weight": random_s8(4, 4, 1)}, "weight must have 2 dimensions"),
    "scale is zero": ({"scale": torch.zeros(4)}, "must be finite and positive"),
    "scale is nan": ({"scale": torch.full((4,), float("nan"))}, "must be finite and positive"),
    "scale count": ({"scale": torch.ones(3)}, "has 3 elements; expected 1 or"),
    "bias count": ({"bias": torch.zeros(3)}, "bias has shape"),
    "x scale": ({"x_scale": 0.0}, "scale must be finite and positive"),
    "x zero point": ({"x_zero_point": 256}, "zero point must be in 0..255"),
    "unknown step": ({"epilogue": "swish"}, "unknown epilogue step 'swish'"),
    "step arguments": ({"epilogue": "clamp(1)"}, "has 1 arguments but clamp takes 2"),
    "step number": ({"epilogue": "mul(x)"}, "'x' is not a number"),
    "step bracket": ({"epilogue": "mul(1"}, "lacks a closing parenthesis"),
    "quantize last": ({"epilogue": "quantize(0.1,0)|relu"}, "quantize must be the last step"),
    "table first": ({"epilogue": f"table({'00' * 256})"}, "table must stand behind quantize"),
    "two tables": (
        {"epilogue": "quantize(0.1,0)" + f"|table({'00' * 256})" * 2},
        "quantize must be the last step but for one table",
    ),
    "short table": (
        {"epilogue": "quantize(0.1,0)|table(00)"},
        "'table' takes 512 hexadecimal digits in lower case, got 2",
    ),
    "digits of a table": (
        {"epilogue": f"quantize(0.1,0)|table({'0G' * 256})"},
        "got 512 characters, one of them 'G'",
    ),
    "quantize scale": ({"epilogue": "quantize(0,0)"}, "must be finite and positive"),
    "step zero point": ({"epilogue": "add_u8(0.1,300)"}, "must be an integer from 0 to 255"),
    "too long": ({"epilogue": "|".join(["relu"] * 9)}, "more than 8 steps"),
    "empty step": ({"epilogue": "relu||relu"}, "unknown epilogue step ''"),
}


@pytest.mark.parametrize("name", list(PREPACK_ERRORS))
def test_prepack_errors(name):
    change, message = PREPACK_ERRORS[name]
    arguments = {
        "weight": random_s8(4, 4),
        "scale": torch.ones(4),
        "bias": None,
        "x_scale": 0.1,
        "x_zero_point": 0,
        "epilogue": "",
    }
    with pytest.raises(RuntimeError, match=message.replace("(", r"\(")):
        ops.linear_prepack(*(arguments | change).values())


def test_call_errors():
    packed = ops.linear_prepack(random_s8(4, 8), torch.ones(4), None, 0.1, 0, "add_u8(0.1,0)")
    x = random_u8(2, 8)
    other = random_u8(2, 4)
    with pytest.raises(RuntimeError, match="x must be a Byte tensor"):
        ops.linear(x.float(), packed, [other])
    with pytest.raises(RuntimeError, match="the weight takes 8 features"):
        ops.linear(x[:, :7], packed, [other])
    with pytest.raises(RuntimeError, match="reads 1 tensors, but others has 0"):
        ops.linear(x, packed, [])
    with pytest.raises(RuntimeError, match="must be a Byte tensor"):
        ops.linear(x, packed, [other.float()])
    with pytest.raises(RuntimeError, match="does not broadcast"):
        ops.linear(x, packed, [random_u8(3, 4)])


class Pair(torch.nn.Module):
    """Two layers that read one weight."""

    def __init__(self, weight, scale, second):
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("second", second)
        self.register_buffer("scale", scale)

    def forward(self, x):
        p = torch.ops.ipex_quant.linear_prepack(self.weight, self.scale, None, 0.02, 3, "")
        q = torch.ops.ipex_quant.linear_prepack(self.second, self.scale, None, 0.05, 9, "relu")
        return torch.ops.ipex_quant.linear(x, p, []) + torch.ops.ipex_quant.linear(x, q, [])


def frozen_pair(weight, second):
    module = Pair(weight, random_scales(weight.size(0)), second).eval()
    frozen = torch.jit.freeze(torch.jit.trace(module, random_u8(2, weight.size(1))))
    torch._C._jit_pass_constant_propagation(frozen.graph)
    return frozen


def test_saved_weight_is_stored_once():
    weight = random_s8(256, 512)
    x = random_u8(3, 512)
    sizes = []
    for second in (weight.clone(), random_s8(256, 512, seed=9)):
        frozen = frozen_pair(weight, second)
        assert "linear_prepack" not in str(frozen.graph)
        file = io.BytesIO()
        torch.jit.save(frozen, file)
        sizes.append(len(file.getvalue()))
        file.seek(0)
        loaded = torch.jit.load(file)
        assert torch.equal(loaded(x), frozen(x))
        again = io.BytesIO()
        torch.jit.save(loaded, again)
        assert abs(len(again.getvalue()) - sizes[-1]) < 4096
    assert sizes[0] < 1.2 * weight.numel()
    assert sizes[1] > 1.9 * weight.numel()


@pytest.mark.parametrize("k", [1, 4, 6, 64, 65])
def test_reads_nothing_behind_its_input(isa, k):
    for m, n in ((1, 16), (7, 70)):
        packed = ops.linear_prepack(
            random_s8(n, k), random_scales(n), None, 0.02, 3, "add_u8(0.1,5)|quantize(0.1,0)"
        )
        x, other = random_u8(m, k), random_u8(m, n)
        got = ops.linear(guarded(x), packed, [guarded(other)])
        assert torch.equal(got, ops.linear(x, packed, [other]))


BAD_STATES = {
    "newer version": (0, 2, "saved with state version 2 but this ipex_quant reads version 1"),
    "weight dtype": (1, torch.zeros(4, 8), "weight must be a Char tensor"),
    "scale": (2, torch.full((4,), float("inf")), "must be finite and positive"),
    "bias": (3, torch.zeros(9), "bias has shape"),
    "x scale": (4, -1.0, "scale must be finite and positive"),
    "x zero point": (5, -1, "zero point must be in 0..255"),
    "epilogue": (6, "rm -rf", "unknown epilogue step"),
}


@pytest.mark.parametrize("name", list(BAD_STATES))
def test_a_damaged_state_is_refused(name):
    packed = ops.linear_prepack(random_s8(4, 8), torch.ones(4), torch.zeros(4), 0.1, 0, "relu")
    state = list(packed._get_method("__getstate__")())
    x = random_u8(2, 8)
    expected = ops.linear(x, packed, [])
    packed._get_method("__setstate__")(tuple(state))
    assert torch.equal(ops.linear(x, packed, []), expected)
    entry, value, message = BAD_STATES[name]
    state[entry] = value
    with pytest.raises(RuntimeError, match=message):
        packed._get_method("__setstate__")(tuple(state))


@pytest.mark.parametrize("epilogue", ["quantize(1e-6,7)", "clamp(-1,3)|quantize(0.02,90)"])
def test_results_beyond_int32_saturate(isa, epilogue):
    x, w = random_u8(7, 40), random_s8(70, 40)
    s = torch.full((70,), 1e30)
    y = reference(x, w, s, None, 0.02, 3)
    q = ops.linear(x, ops.linear_prepack(w, s, None, 0.02, 3, epilogue), [])
    if epilogue.startswith("clamp"):
        want = quantize_reference(np.clip(y, np.float32(-1), np.float32(3)), 0.02, 90)
    else:
        want = quantize_reference(y, 1e-6, 7)
    np.testing.assert_array_equal(q.numpy(), want)

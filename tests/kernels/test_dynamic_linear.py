"""linear_dynamic against its definition, bit for bit: shapes, epilogues, bad input, files."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import torch

from ipex_quant import _C
from kernel_reference import available_isas, quantize_reference
from recurrent_model import fma, quantize_x

ops = torch.ops.ipex_quant
PER_ROW = [True, False]


def layer(n: int, k: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    w = torch.randint(-128, 128, (n, k), generator=g, dtype=torch.int8)
    return w, torch.rand(n, generator=g) * 0.01 + 1e-4, torch.randn(n, generator=g)


def values(m: int, k: int, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed + 7)
    rows = torch.rand(m, 1, generator=g) * 4 - 1
    return torch.randn(m, k, generator=g) * 10**rows + rows


def reference(x, w, scale, bias, per_row=True):
    """The float32 result before the epilogue (kernels/dynamic/dynamic_linear.h)."""
    flat = x.numpy() if per_row else x.numpy().reshape(1, -1)
    rows = quantize_x(flat, 0)[0]
    q = (rows.q - rows.zero_point).reshape(x.shape)
    acc = (q @ w.numpy().astype(np.int64).T).astype(np.float32)
    return fma(acc, rows.scale * scale.numpy(), bias.numpy())


def check(m: int, n: int, k: int, per_row: bool, seed: int = 0) -> None:
    w, s, b = layer(n, k, seed)
    x = values(m, k, seed)
    expected = reference(x, w, s, b, per_row)
    packed = ops.linear_dynamic_prepack(w, s, b, per_row, "")
    got = ops.linear_dynamic(x, packed, []).numpy()
    repeat = f"check({m}, {n}, {k}, {per_row}, seed={seed})"
    np.testing.assert_array_equal(got, expected, err_msg=repeat)


@pytest.mark.parametrize("per_row", PER_ROW)
@pytest.mark.parametrize("k", [1, 3, 4, 15, 16, 67])
def test_tile_edges(isa, k, per_row):
    for m, n in itertools.product([1, 2, 5, 6, 7, 13], [1, 8, 16, 17, 33, 48, 64, 65, 130]):
        check(m, n, k, per_row, seed=m * n)


@pytest.mark.parametrize("m", [23, 24, 100])
def test_blocks(isa, m):
    check(m, 200, 130, True, seed=m)


def test_a_row_does_not_depend_on_the_others(isa):
    w, s, b = layer(70, 50)
    x = values(90, 50)
    packed = ops.linear_dynamic_prepack(w, s, b, True, "")
    whole = ops.linear_dynamic(x, packed, [])
    for rows in (slice(0, 1), slice(3, 9), slice(20, 90)):
        assert torch.equal(ops.linear_dynamic(x[rows], packed, []), whole[rows])


@pytest.mark.parametrize("special", [0.0, 1e-38, 3e38, float("nan")])
def test_special_rows(isa, special):
    """Zeros, the smallest and the largest floats; a NaN counts as the lower bound."""
    w, s, b = layer(20, 18)
    x = values(3, 18)
    x[1] = special if special == special else x[1]
    x[1, 4] = special
    with np.errstate(over="ignore", invalid="ignore"):
        clean = x.clone()
        clean[1] = torch.where(torch.isnan(x[1]), x[1].nan_to_num(0.0).min().clamp(max=0.0), x[1])
        expected = reference(clean, w, s, b)
    got = ops.linear_dynamic(x, ops.linear_dynamic_prepack(w, s, b, True, ""), []).numpy()
    np.testing.assert_array_equal(got, expected)


def test_all_isas_and_threads_agree(same_for_all_threads):
    for m, n, k in ((1, 700, 600), (70, 130, 300), (500, 17, 64)):
        w, s, b = layer(n, k)
        x = values(m, k)
        packed = ops.linear_dynamic_prepack(w, s, b, True, "gelu")
        results = set()
        try:
            for isa in available_isas():
                _C.set_isa_cap(isa)
                results.add(ops.linear_dynamic(x, packed, []).numpy().tobytes())
        finally:
            _C.set_isa_cap("")
        assert len(results) == 1
        same_for_all_threads(lambda x=x, p=packed: ops.linear_dynamic(x, p, []))


def test_epilogue(isa):
    """The fused steps give the bits of the same steps run one after the other."""
    w, s, b = layer(40, 30)
    x, other = values(2 * 7, 30).reshape(2, 7, 30), torch.randn(7, 40)
    plain = ops.linear_dynamic(x, ops.linear_dynamic_prepack(w, s, b, True, ""), [])
    packed = ops.linear_dynamic_prepack(w, s, b, True, "add_f32|relu|quantize(0.05,3)")
    expected = quantize_reference((plain + other).relu().numpy(), 0.05, 3)
    np.testing.assert_array_equal(ops.linear_dynamic(x, packed, [other]).numpy(), expected)


def test_forms_of_input():
    w, s, b = layer(9, 6)
    packed = ops.linear_dynamic_prepack(w, s, None, True, "")
    x = values(8, 6)
    y = ops.linear_dynamic(x, packed, [])
    assert torch.equal(ops.linear_dynamic(x[3], packed, []), y[3])
    assert torch.equal(ops.linear_dynamic(x.reshape(2, 4, 6), packed, []).flatten(0, 1), y)
    assert torch.equal(ops.linear_dynamic(x.t().contiguous().t(), packed, []), y)
    assert ops.linear_dynamic(torch.zeros(0, 6), packed, []).shape == (0, 9)
    one = ops.linear_dynamic_prepack(w, s[:1], b, True, "")
    all_ = ops.linear_dynamic_prepack(w, s[:1].expand(9), b, True, "")
    assert torch.equal(ops.linear_dynamic(x, one, []), ops.linear_dynamic(x, all_, []))


def test_save_and_load():
    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.packed = ops.linear_dynamic_prepack(*layer(5, 4), False, "relu")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.ipex_quant.linear_dynamic(x, self.packed, [])

    x = values(3, 4)
    scripted = torch.jit.script(Holder())
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    assert torch.equal(torch.jit.load(file)(x), scripted(x))


def test_bad_input():
    w, s, b = layer(5, 4)
    prepack = ops.linear_dynamic_prepack
    for arguments, message in [
        ((w.float(), s, b, True, ""), "weight must be"),
        ((w[0], s, b, True, ""), "dimension"),
        ((w, s[:2], b, True, ""), "scale"),
        ((w, -s, b, True, ""), "scale"),
        ((w, s, b[:2], True, ""), "bias"),
        ((w, s, b, True, "nonsense"), "nonsense"),
        ((w[:, :0], s, b, True, ""), "1 to 65536 input features"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            prepack(*arguments)
    packed = prepack(w, s, b, True, "")
    with pytest.raises(RuntimeError, match="takes 4 features"):
        ops.linear_dynamic(torch.zeros(2, 5), packed, [])
    with pytest.raises(RuntimeError, match="x must be"):
        ops.linear_dynamic(torch.zeros(2, 4, dtype=torch.uint8), packed, [])
    with pytest.raises(RuntimeError, match="tensor"):
        ops.linear_dynamic(torch.zeros(2, 4), packed, [torch.zeros(5)])

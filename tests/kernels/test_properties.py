"""Random cases of int8 ops against exact integers, bit for bit on each ISA: 20 000 of them.

hypothesis draws shapes, strides, scales, zero points and epilogues. Every drawn case runs on all
ISAs of the machine, each with another number of threads, and all must give the expected bytes.
Inputs end where readable memory ends. Ops with float arithmetic inside: test_float_properties.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drawn import (
    cases,
    channel_parameters,
    data,
    epilogues,
    expect,
    qparams,
    scaled,
    seeds,
    trapped,
    weights,
)
from kernel_reference import dequantize_reference, quantize_reference

ops = torch.ops.ipex_quant

pytestmark = pytest.mark.slow

# Together 20 000.
CASES = {"linear": 4000, "conv": 5000, "matmul": 3000, "binary": 2500}
CASES |= {"pool": 2000, "quantize": 2000, "cat": 1500}


@cases(CASES["linear"])
@given(
    *(st.integers(1, 40), st.integers(1, 100), st.integers(1, 200)),
    *(qparams, epilogues(), seeds),
)
def test_linear(m, n, k, xq, epilogue, seed):
    x, w, (s, b) = data(seed, m, k), weights(seed + 1, n, k), channel_parameters(seed, n)
    acc = (x.numpy().astype(np.int64) - xq[1]) @ w.numpy().astype(np.int64).T
    other = data(seed + 2, m, n) if epilogue.residual else None
    expected = epilogue.apply(scaled(acc, xq[0], s, b, (1, -1)), other)
    packed = ops.linear_prepack(w, s, b, *xq, epilogue.text())
    expect(lambda: ops.linear(x, packed, [other] if other is not None else []), expected)


@st.composite
def convolutions(draw: st.DrawFn) -> dict:
    """Window, groups and sizes of a convolution whose output is not empty."""
    nd = draw(st.integers(1, 3))
    kind = draw(st.sampled_from(["dense", "groups", "depthwise", "transposed"]))
    groups = {"groups": draw(st.integers(2, 3)), "depthwise": draw(st.integers(2, 70))}.get(kind, 1)
    inputs = 1 if kind == "depthwise" else draw(st.integers(1, (40, 20, 12)[nd - 1]))
    outputs = draw(st.integers(1, 2)) if kind == "depthwise" else draw(st.integers(1, 24))
    kernel = draw(st.lists(st.integers(1, (5, 4, 3)[nd - 1]), min_size=nd, max_size=nd))
    stride = draw(st.lists(st.integers(1, 3), min_size=nd, max_size=nd))
    dilation = draw(st.lists(st.integers(1, 2), min_size=nd, max_size=nd))
    padding = [draw(st.integers(0, k // 2)) for k in kernel]
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [r + draw(st.integers(0, (20, 8, 4)[nd - 1])) for r in reach]
    transposed = kind == "transposed"
    shape = (groups * inputs, outputs) if transposed else (groups * outputs, inputs)
    return {
        "x": (draw(st.integers(1, 2)), groups * inputs, *size),
        "w": (*shape, *kernel),
        "arguments": (stride, padding, dilation, [0] * nd, groups, transposed),
        "channels_last": draw(st.booleans()),
        "outputs": groups * outputs,
    }


@cases(CASES["conv"])
@given(convolutions(), qparams, epilogues(), seeds)
def test_conv(c, xq, epilogue, seed):
    stride, padding, dilation, output_padding, groups, transposed = c["arguments"]
    nd = len(stride)
    x, w = data(seed, *c["x"]), weights(seed + 1, *c["w"])
    s, b = channel_parameters(seed, c["outputs"])
    values = x.double() - xq[1]
    if transposed:
        function = getattr(torch.nn.functional, f"conv_transpose{nd}d")
        acc = function(values, w.double(), None, stride, padding, output_padding, groups, dilation)
    else:
        function = getattr(torch.nn.functional, f"conv{nd}d")
        acc = function(values, w.double(), None, stride, padding, dilation, groups)
    other = data(seed + 2, *acc.shape) if epilogue.residual else None
    expected = epilogue.apply(scaled(acc.numpy(), xq[0], s, b, (1, -1, *[1] * nd)), other)
    packed = ops.conv_prepack(w, s, b, *c["arguments"], *xq, epilogue.text())
    if c["channels_last"] and nd == 2:
        x = trapped(seed, x.clone(memory_format=torch.channels_last))
    expect(lambda: ops.conv(x, packed, [other] if other is not None else []), expected)


@cases(CASES["matmul"])
@given(
    *(st.integers(1, 3), st.integers(1, 30), st.integers(1, 70), st.integers(1, 100)),
    *(qparams, qparams, epilogues(residual=False), st.booleans(), seeds),
)
def test_matmul(batch, m, n, k, aq, bq, epilogue, transposed, seed):
    a = data(seed, batch, m, k)
    b = data(seed + 1, batch, n, k).transpose(1, 2) if transposed else data(seed + 1, batch, k, n)
    exact = np.matmul(a.numpy().astype(np.int64) - aq[1], b.numpy().astype(np.int64) - bq[1])
    scale = np.float32(np.float64(np.float32(aq[0])) * np.float64(np.float32(bq[0])))
    expected = epilogue.apply(exact.astype(np.float32) * scale, None)
    packed = ops.matmul_prepack(*aq, *bq, epilogue.text())
    expect(lambda: ops.matmul(a, b, packed, []), expected)


@cases(CASES["binary"])
@given(
    st.sampled_from(["add", "sub", "mul"]),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    *(qparams, qparams, epilogues(residual=False), seeds),
)
def test_binary(op, shape, spread, aq, bq, epilogue, seed):
    other_shape = [1 if one else n for n, one in zip(shape, spread, strict=False)]
    a, b = data(seed, *shape), data(seed + 1, *other_shape)
    function = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[op]
    y = function(dequantize_reference(a.numpy(), *aq), dequantize_reference(b.numpy(), *bq))
    packed = ops.binary_prepack(op, *aq, *bq, epilogue.text())
    expect(lambda: ops.binary(a, b, packed, []), epilogue.apply(y, None))


@cases(CASES["pool"])
@given(
    *(st.integers(1, 2), st.integers(1, 70), st.integers(3, 9), st.integers(3, 9)),
    *(st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.booleans(), st.booleans()),
    *(st.sampled_from(["max", "average"]), qparams, qparams, seeds),
)
def test_pool(n, c, h, w, kernel, stride, padding, ceil_mode, channels_last, kind, xq, yq, seed):
    padding = min(padding, kernel // 2)
    x = data(seed, n, c, h, w)
    window = ([kernel] * 2, [stride] * 2, [padding] * 2)
    functional = torch.nn.functional
    if kind == "max":
        expected = functional.max_pool2d(x.double(), *window, 1, ceil_mode).to(torch.uint8).numpy()
    else:
        centred = x.double() - xq[1]
        total = functional.avg_pool2d(centred, *window, ceil_mode, True, divisor_override=1)
        count = functional.avg_pool2d(
            torch.ones_like(centred), *window, ceil_mode, False, divisor_override=1
        )
        factor = np.float32(xq[0]) / count.numpy().astype(np.float32)
        expected = quantize_reference(total.numpy().astype(np.float32) * factor, *yq)
    if channels_last:
        x = trapped(seed, x.clone(memory_format=torch.channels_last))

    def run() -> torch.Tensor:
        if kind == "max":
            return ops.max_pool(x, *window, [1, 1], ceil_mode)
        return ops.avg_pool(x, *window, ceil_mode, False, None, *xq, *yq)

    expect(run, expected)


@cases(CASES["quantize"])
@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), qparams, qparams, seeds)
def test_quantize(shape, xq, yq, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator) * 10.0 ** (seed % 5 - 1)
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e-40, -0.0])
    x.view(-1)[:5] = special[: x.numel()][: x.view(-1)[:5].numel()]
    q = quantize_reference(x.numpy(), *xq)
    back = dequantize_reference(q, *xq)
    expect(lambda: ops.quantize(x, *xq), q)
    if x.dim() == 4:
        expect(lambda: ops.quantize_channels_last(x, *xq), q)
    x, bytes_ = trapped(seed, x), trapped(seed, torch.from_numpy(q))
    expect(lambda: ops.dequantize(bytes_, *xq), back)
    expect(lambda: ops.requantize(bytes_, *xq, *yq), quantize_reference(back, *yq))


@cases(CASES["cat"])
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.lists(st.integers(1, 8), min_size=2, max_size=3),
    *(st.lists(qparams, min_size=4, max_size=4), qparams, st.integers(0, 2), seeds),
)
def test_cat(widths, shape, xqs, yq, dim, seed):
    dim = min(dim, len(shape) - 1)
    tensors, parts = [], []
    for i, width in enumerate(widths):
        tensors.append(data(seed + i, *shape[:dim], width, *shape[dim + 1 :]))
        parts.append(dequantize_reference(tensors[-1].numpy(), *xqs[i]))
    expected = quantize_reference(np.concatenate(parts, dim), *yq)
    scales_, zeros = (list(v) for v in zip(*xqs[: len(widths)], strict=True))
    expect(lambda: ops.cat(tensors, scales_, zeros, dim, *yq), expected)


def test_there_are_20000() -> None:
    assert sum(CASES.values()) >= 20_000

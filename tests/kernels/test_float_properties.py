"""Random cases of the ops that compute in float between bytes: the same bits on each ISA.

Embeddings, norms, dynamic linears and recurrent layers have float arithmetic of their own; each
case is compared with its definition in numpy as exactly as that allows, its bits between all ISAs.
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
    epilogues,
    expect,
    same_bits,
    scales,
    seeds,
    trapped,
    weights,
)
from drawn import zero_points as zeros
from kernel_reference import dequantize_reference, quantize_reference
from recurrent_model import check_against_model, random_input, random_module, random_states
from test_dynamic_linear import reference as dynamic_reference
from test_dynamic_linear import values
from test_embedding import MODES, bags_reference
from test_norm import layer_norm_reference, softmax_float64

ops = torch.ops.ipex_quant

pytestmark = pytest.mark.slow


@cases(600)
@given(
    *(st.integers(1, 60), st.integers(1, 150), st.lists(st.integers(0, 7), max_size=3)),
    *(st.booleans(), st.none() | st.tuples(scales, zeros), seeds),
)
def test_embedding(rows, dim, shape, per_row, out, seed):
    weight = weights(seed, rows, dim)
    scale = channel_parameters(seed, rows if per_row else 1)[0]
    indices = torch.randint(0, rows, shape, generator=torch.Generator().manual_seed(seed))
    indices = trapped(seed, indices)
    expected = (weight.float() * scale.reshape(-1, 1))[indices].numpy()
    text = f"quantize({out[0]:.9g},{out[1]})" if out else ""
    packed = ops.embedding_prepack(weight, scale, text)
    expected = quantize_reference(expected, *out) if out else expected
    expect(lambda: ops.embedding(indices, packed), expected)


@cases(600)
@given(
    *(
        st.integers(1, 40),
        st.integers(1, 140),
        st.lists(st.integers(0, 12), min_size=1, max_size=5),
    ),
    *(st.sampled_from(sorted(MODES)), st.booleans(), st.booleans(), st.booleans(), seeds),
)
def test_embedding_bag(rows, dim, lengths, mode, per_row, weighted, padded, seed):
    generator = torch.Generator().manual_seed(seed)
    weight, scale = weights(seed, rows, dim), channel_parameters(seed, rows if per_row else 1)[0]
    bounds = [0, *np.cumsum(lengths).tolist()]
    indices = trapped(seed, torch.randint(0, rows, (bounds[-1],), generator=generator))
    per_sample = (
        torch.randn(bounds[-1], generator=generator) if weighted and mode == "sum" else None
    )
    padding = 0 if padded else -1
    packed = ops.embedding_prepack(weight, scale, "")
    arguments = (torch.tensor(bounds[:-1]), packed, MODES[mode], per_sample, False, padding)
    (got,) = same_bits(lambda: [ops.embedding_bag(indices, *arguments)])
    expected = bags_reference(
        weight, scale, indices.numpy(), bounds, mode, per_sample=per_sample, padding=padding
    )
    largest = 128 * float(scale.max()) * max(1, *lengths)
    if per_sample is not None and per_sample.numel():
        largest *= max(1.0, float(per_sample.abs().max()))
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * largest)


@cases(600)
@given(st.integers(1, 9), st.integers(1, 700), st.integers(-3, 3), scales, zeros, seeds)
def test_norms(rows, cols, size, scale, zero, seed):
    generator = torch.Generator().manual_seed(seed)
    x = trapped(seed, torch.randn(rows, cols, generator=generator) * 10.0**size)
    weight, bias, factor = (trapped(seed, torch.randn(cols, generator=generator)) for _ in range(3))
    arguments = (x, weight, bias, 1e-5, factor, scale, zero)
    y, q = same_bits(lambda: ops.layer_norm(*arguments))
    wanted = layer_norm_reference(x.numpy(), weight.numpy(), bias.numpy(), 1e-5)
    np.testing.assert_allclose(y, wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(q, quantize_reference(y * factor.numpy(), scale, zero))
    (codes,) = same_bits(lambda: [ops.softmax(x, scale, zero)])
    back = dequantize_reference(codes, scale, zero)
    inside = (codes > 0) & (codes < 255)
    error = np.abs(back - softmax_float64(x.numpy()))
    assert (error[inside] <= scale * 0.5 + 1e-6).all()


@cases(800)
@given(
    *(st.integers(1, 20), st.integers(1, 90), st.integers(1, 150), st.booleans()),
    *(epilogues(residual=False), seeds),
)
def test_linear_dynamic(m, n, k, per_row, epilogue, seed):
    x, w = trapped(seed, values(m, k, seed)), weights(seed, n, k)
    s, b = channel_parameters(seed, n)
    expected = epilogue.apply(dynamic_reference(x, w, s, b, per_row), None)
    packed = ops.linear_dynamic_prepack(w, s, b, per_row, epilogue.text())
    expect(lambda: ops.linear_dynamic(x, packed, []), expected)


@cases(400)
@given(
    st.sampled_from(["lstm", "gru"]),
    *(st.integers(1, 40), st.integers(1, 40), st.integers(1, 2), st.booleans(), st.booleans()),
    *(st.integers(1, 4), st.integers(1, 7), st.none() | st.tuples(scales, zeros), seeds),
)
def test_recurrent(cell, features, units, layers, both_ways, biases, time, batch, xq, seed):
    static = {"x_scale": xq[0] / 4, "x_zero_point": xq[1]} if xq else {}
    m = random_module(
        cell, features, units, layers, bidirectional=both_ways, biases=biases, seed=seed, **static
    )
    x = trapped(seed, random_input(m, time, batch, seed))
    states = [trapped(seed, state) for state in random_states(m, batch, seed)]
    check_against_model(m, x, *states)
    same_bits(lambda: m.run(x, *states))

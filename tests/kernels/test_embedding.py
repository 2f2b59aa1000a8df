"""embedding and embedding_bag of an int8 table against numpy, and against torch in float."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kernel_reference import quantize_reference

ops = torch.ops.ipex_quant

MODES = {"sum": 0, "mean": 1, "max": 2}


def make_table(rows, dim, per_row=True):
    weight = torch.randint(-127, 128, (rows, dim), dtype=torch.int8)
    scale = torch.rand(rows if per_row else 1) * 0.02 + 0.001
    return weight, scale


def dequantized(weight, scale):
    return weight.float() * scale.reshape(-1, 1)


@pytest.mark.parametrize("dim", [1, 7, 8, 15, 16, 33, 64, 100, 300])
@pytest.mark.parametrize("per_row", [False, True])
def test_embedding(vector_isa, dim, per_row, same_for_all_threads):
    weight, scale = make_table(50, dim, per_row)
    for indices in (
        torch.randint(0, 50, (4, 9)),
        torch.tensor(49),
        torch.tensor([0, 49, 0], dtype=torch.int32),
        torch.randint(0, 50, (6, 4))[:, ::2],
        torch.zeros(0, 3, dtype=torch.int64),
    ):
        expected = dequantized(weight, scale)[indices.long()]
        packed = ops.embedding_prepack(weight, scale, "")
        got = same_for_all_threads(lambda i=indices, p=packed: ops.embedding(i, p))
        assert torch.equal(got, expected)
        q = ops.embedding(indices, ops.embedding_prepack(weight, scale, "quantize(0.01,120)"))
        np.testing.assert_array_equal(q, quantize_reference(expected.numpy(), 0.01, 120))


def test_a_table_that_moves_to_huge_pages_keeps_its_values():
    """Packing moves the pages of a large table, and the bytes around them stay, too."""
    whole = torch.randint(-127, 128, (100_001 * 64,), dtype=torch.int8)
    copy, scale = whole.clone(), torch.rand(100_000) + 0.1
    weight = whole[7 : 7 + 100_000 * 64].view(100_000, 64)
    packed = ops.embedding_prepack(weight, scale, "")
    assert torch.equal(whole, copy)
    indices = torch.randint(0, 100_000, (500,))
    assert torch.equal(ops.embedding(indices, packed), dequantized(weight, scale)[indices])


def bags_reference(weight, scale, indices, bounds, mode, per_sample=None, padding=-1):
    """Sums in float64: the kernel rounds once per row."""
    rows = dequantized(weight, scale).double().numpy()
    result = np.zeros((len(bounds) - 1, weight.size(1)))
    for bag in range(len(bounds) - 1):
        taken = [i for i in range(bounds[bag], bounds[bag + 1]) if indices[i] != padding]
        if not taken:
            continue
        values = rows[indices[taken]]
        if per_sample is not None:
            values = values * per_sample.double().numpy()[taken][:, None]
        reduce = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode]
        result[bag] = reduce(values, axis=0)
    return result


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("dim", [1, 15, 16, 64, 65, 130])
@pytest.mark.parametrize("per_row", [False, True])
def test_bags(vector_isa, mode, dim, per_row, same_for_all_threads):
    weight, scale = make_table(40, dim, per_row)
    packed = ops.embedding_prepack(weight, scale, "")
    indices = torch.randint(0, 40, (60,))
    offsets = torch.tensor([0, 7, 7, 8, 30, 60])  # an empty bag within, one at the end
    for padding in (-1, int(indices[7])):
        got = same_for_all_threads(
            lambda p=padding: ops.embedding_bag(
                indices, offsets, packed, MODES[mode], None, False, p
            )
        )
        expected = bags_reference(
            weight, scale, indices.numpy(), [*offsets.tolist(), 60], mode, padding=padding
        )
        np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6)
        theirs = F.embedding_bag(
            indices,
            dequantized(weight, scale),
            offsets,
            mode=mode,
            padding_idx=None if padding < 0 else padding,
        )
        torch.testing.assert_close(got, theirs, rtol=1e-5, atol=1e-6)


def test_bags_forms(vector_isa):
    weight, scale = make_table(40, 48)
    table = dequantized(weight, scale)
    packed = ops.embedding_prepack(weight, scale, "")
    indices = torch.randint(0, 40, (5, 6))
    got = ops.embedding_bag(indices, None, packed, 1, None, False, -1)
    torch.testing.assert_close(got, F.embedding_bag(indices, table, mode="mean"))

    factors = torch.randn(5, 6)
    got = ops.embedding_bag(indices, None, packed, 0, factors, False, -1)
    theirs = F.embedding_bag(indices, table, mode="sum", per_sample_weights=factors)
    torch.testing.assert_close(got, theirs)

    flat, offsets = indices.flatten().int(), torch.tensor([0, 4, 20, 28], dtype=torch.int32)
    got = ops.embedding_bag(flat, offsets, packed, 0, None, True, -1)
    theirs = F.embedding_bag(flat, table, offsets, mode="sum", include_last_offset=True)
    torch.testing.assert_close(got, theirs)
    assert got.shape == (3, 48)

    none = ops.embedding_bag(flat[:0], offsets[:0], packed, 0, None, False, -1)
    assert none.shape == (0, 48)
    empty = ops.embedding_bag(indices[:, :0], None, packed, 2, None, False, -1)
    assert torch.equal(empty, torch.zeros(5, 48))


def test_bags_quantized_is_the_unfused_chain(vector_isa):
    weight, scale = make_table(40, 48)
    indices = torch.randint(0, 40, (5, 6))
    y = ops.embedding_bag(
        indices, None, ops.embedding_prepack(weight, scale, ""), 0, None, False, -1
    )
    q = ops.embedding_bag(
        indices,
        None,
        ops.embedding_prepack(weight, scale, "relu|quantize(0.05,20)"),
        0,
        None,
        False,
        -1,
    )
    assert torch.equal(q, ops.quantize(y.relu(), 0.05, 20))


def test_same_bits_on_every_isa():
    from ipex_quant import _C
    from kernel_reference import available_isas

    weight, scale = make_table(200, 77)
    packed = ops.embedding_prepack(weight, scale, "")
    indices, factors = torch.randint(0, 200, (9, 40)), torch.randn(9, 40)
    results = {}
    for name in available_isas():
        _C.set_isa_cap(name)
        results[name] = ops.embedding_bag(indices, None, packed, 0, factors, False, 3)
    _C.set_isa_cap("")
    for name, result in results.items():
        assert torch.equal(result, results["reference"]), name


def test_save_and_load():
    weight, scale = make_table(20, 12)

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.packed = ops.embedding_prepack(weight, scale, "quantize(0.01,3)")

        def forward(self, indices):
            return torch.ops.ipex_quant.embedding(indices, self.packed)

    indices = torch.randint(0, 20, (7,))
    traced = torch.jit.trace(Module(), (indices,))
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    buffer.seek(0)
    assert torch.equal(torch.jit.load(buffer)(indices), traced(indices))


WEIGHT, SCALE = torch.zeros(10, 4, dtype=torch.int8), torch.ones(10)


def bag(indices, offsets=None, mode=0, weights=None, last=False, padding=-1):
    packed = ops.embedding_prepack(WEIGHT, SCALE, "")
    return ops.embedding_bag(indices, offsets, packed, mode, weights, last, padding)


def lookup(*indices):
    packed = ops.embedding_prepack(WEIGHT, SCALE, "")
    return ops.embedding(torch.tensor(indices), packed)


FIVE = torch.arange(5)
BAD_CALLS = {
    "index 10 at position 1 is out of range for a table of 10 rows": lambda: lookup(0, 10),
    "index -1 at position 0 is out of range": lambda: lookup(-1),
    "indices must be int32 or int64, got Float": lambda: lookup(1.0),
    "index 99 at position 2": lambda: bag(torch.tensor([[0, 1, 99]])),
    "indices must have 2 dimensions": lambda: bag(FIVE),
    "indices must have 1 dimension": lambda: bag(FIVE[None], FIVE),
    "offsets must start with 0, got 1": lambda: bag(FIVE, torch.tensor([1, 2])),
    "offsets must not decrease": lambda: bag(FIVE, torch.tensor([0, 3, 2])),
    "or exceed the number of indices, 5": lambda: bag(FIVE, torch.tensor([0, 6]), last=True),
    "offsets must not be empty": lambda: bag(FIVE, FIVE[:0], last=True),
    "offsets must be a 1-dimensional": lambda: bag(FIVE, torch.zeros(1)),
    "mode must be 0": lambda: bag(FIVE[None], mode=3),
    "need mode 0": lambda: bag(FIVE[None], mode=1, weights=torch.ones(1, 5)),
    "must have the shape of indices": lambda: bag(FIVE[None], weights=torch.ones(5)),
    "padding_idx 10 is out of range": lambda: bag(FIVE[None], padding=10),
    "weight must be a Char tensor": lambda: ops.embedding_prepack(WEIGHT.float(), SCALE, ""),
    "weight must have shape": lambda: ops.embedding_prepack(WEIGHT[0], SCALE, ""),
    "weight_scale must have 1 or 10": lambda: ops.embedding_prepack(WEIGHT, SCALE[:3], ""),
    "scale 0 must be finite and positive": lambda: ops.embedding_prepack(WEIGHT, SCALE * 0, ""),
    "reads a tensor": lambda: ops.embedding_prepack(WEIGHT, SCALE, "add_f32"),
}


@pytest.mark.parametrize("message", list(BAD_CALLS))
def test_errors(message):
    with pytest.raises((RuntimeError, IndexError), match=message):
        BAD_CALLS[message]()

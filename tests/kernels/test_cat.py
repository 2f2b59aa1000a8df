"""cat of uint8 tensors against torch.cat of the same numbers."""

from __future__ import annotations

import pytest
import torch

from kernel_reference import random_u8 as u8

ops = torch.ops.ipex_quant

OUT = (0.05, 117)
OTHER = (0.031, 20)


def expected(tensors, qparams, dim):
    """Requantize each tensor on its own, then torch.cat."""
    return torch.cat(
        [ops.requantize(t, *p, *OUT) for t, p in zip(tensors, qparams, strict=True)], dim
    )


def run(tensors, qparams, dim):
    scales, zero_points = zip(*qparams, strict=True)
    return ops.cat(tensors, list(scales), list(zero_points), dim, *OUT)


def slice_of_channels(tensor):
    """The same numbers between other channels, as a chunk of a channels-last tensor has them."""
    wide = torch.cat([tensor[:, :1], tensor, tensor[:, :1]], 1)
    return wide.to(memory_format=torch.channels_last)[:, 1:-1]


@pytest.mark.parametrize("dim", [0, 1, 2, 3, -1])
@pytest.mark.parametrize("qparams", [[OUT, OUT, OUT], [OUT, OTHER, (1.0, 0)]])
def test_cat(isa, dim, qparams, same_for_all_threads):
    tensors = []
    for i, size in enumerate((3, 1, 70)):
        shape = [2, 5, 4, 6]
        shape[dim] = size
        tensors.append(u8(*shape, seed=i))
    wanted = expected(tensors, qparams, dim)
    for views in (
        tensors,
        [t.to(memory_format=torch.channels_last) for t in tensors],
        [tensors[0], tensors[1].to(memory_format=torch.channels_last), tensors[2]],
        [t.transpose(0, 3).contiguous().transpose(0, 3) for t in tensors],
        [slice_of_channels(t) for t in tensors],
    ):
        got = same_for_all_threads(lambda views=views: run(views, qparams, dim))
        assert torch.equal(got, wanted)


def test_keeps_channels_last(vector_isa):
    tensors = [u8(2, c, 4, 6).to(memory_format=torch.channels_last) for c in (8, 24)]
    for views in (tensors, [slice_of_channels(t) for t in tensors]):
        got = run(views, [OUT, OTHER], 1)
        assert got.is_contiguous(memory_format=torch.channels_last)
    assert run([t.contiguous() for t in tensors], [OUT, OTHER], 1).is_contiguous()


def test_empty(vector_isa):
    some, none = u8(2, 3), u8(2, 3)[:0]
    assert torch.equal(run([none, some], [OUT, OUT], 0), some)
    assert run([none, none], [OUT, OUT], 0).shape == (0, 3)
    legacy = torch.zeros(0, dtype=torch.uint8)
    assert torch.equal(run([legacy, some], [OTHER, OUT], 1), some)


BAD_CALLS = {
    "at least one tensor": lambda: ops.cat([], [], [], 0, *OUT),
    "one scale and zero point for each of 1": lambda: ops.cat([u8(2)], [], [], 0, *OUT),
    "cannot be joined along dimension 0": lambda: run([u8(2, 3), u8(2, 4)], [OUT, OUT], 0),
    "every tensor must be a Byte": lambda: run([u8(2), torch.zeros(2)], [OUT, OUT], 0),
    "out of range": lambda: run([u8(2)], [OUT], 1),
    "scale must be finite": lambda: run([u8(2)], [(0.0, 1)], 0),
}


@pytest.mark.parametrize("message", list(BAD_CALLS))
def test_errors(message):
    with pytest.raises((RuntimeError, IndexError), match=message):
        BAD_CALLS[message]()

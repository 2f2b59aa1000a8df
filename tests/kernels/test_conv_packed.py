"""What a packed convolution refuses, and how it is saved."""

from __future__ import annotations

import io

import pytest
import torch

from test_conv import CASES, Case, square

ops = torch.ops.ipex_quant

PREPACK_ERRORS = {
    "weight dtype": ({"weight": torch.zeros(4, 4, 3, 3)}, "weight must be a Char tensor"),
    "weight rank": (
        {"weight": torch.zeros(4, 4, dtype=torch.int8)},
        "weight must have 3 to 5 dimensions",
    ),
    "empty kernel": ({"weight": torch.zeros(4, 4, 0, 3, dtype=torch.int8)}, "must not be empty"),
    "stride": ({"stride": [0, 1]}, "stride entry 0 must be at least 1"),
    "stride count": ({"stride": [1]}, "stride has 1 entries"),
    "padding": ({"padding": [-1, 0]}, "padding entry -1 must be at least 0"),
    "padding count": ({"padding": [1, 1, 1]}, "padding has 3 entries"),
    "dilation": ({"dilation": [0, 1]}, "dilation entry 0 must be at least 1"),
    "output padding": ({"output_padding": [1, 0]}, "must be 0 unless transposed"),
    "large output padding": (
        {"output_padding": [1, 0], "transposed": True},
        "must be smaller than stride or dilation",
    ),
    "groups": ({"groups": 3}, "must be positive and divide the 4 channels"),
    "scale": ({"scale": torch.zeros(4)}, "must be finite and positive"),
    "bias": ({"bias": torch.zeros(5)}, "bias has shape"),
    "zero point": ({"x_zero_point": 300}, "zero point must be in 0..255"),
    "epilogue": ({"epilogue": "relu("}, "lacks a closing parenthesis"),
}


@pytest.mark.parametrize("name", list(PREPACK_ERRORS))
def test_prepack_errors(name):
    change, message = PREPACK_ERRORS[name]
    arguments = {
        "weight": torch.ones(4, 4, 3, 3, dtype=torch.int8),
        "scale": torch.ones(4),
        "bias": None,
        "stride": [1, 1],
        "padding": [1, 1],
        "dilation": [1, 1],
        "output_padding": [0, 0],
        "groups": 1,
        "transposed": False,
        "x_scale": 0.1,
        "x_zero_point": 0,
        "epilogue": "",
    }
    with pytest.raises(RuntimeError, match=message):
        ops.conv_prepack(*(arguments | change).values())


def test_call_errors():
    case = CASES["3x3"]
    x, w, s, b = case.tensors()
    packed = case.prepack(w, s, b, 0.1, 0, "")
    with pytest.raises(RuntimeError, match="x must be a Byte tensor"):
        ops.conv(x.float(), packed, [])
    with pytest.raises(RuntimeError, match="x must have 4 dimensions"):
        ops.conv(x[0], packed, [])
    with pytest.raises(RuntimeError, match="x has 31 channels but the weight takes 32"):
        ops.conv(x[:, :31], packed, [])
    with pytest.raises(RuntimeError, match="reads 0 tensors, but others has 1"):
        ops.conv(x, packed, [x])
    small = CASES["kernel_as_large_as_image"]
    x, w, s, b = small.tensors()
    with pytest.raises(RuntimeError, match="is too small for a kernel"):
        ops.conv(x[:, :, 1:], small.prepack(w, s, b, 0.1, 0, ""), [])


BAD_STATES = {
    "newer version": (0, 7, "saved with state version 7 but this ipex_quant reads version 1"),
    "weight dtype": (1, torch.zeros(4, 8, 1, 1), "weight must be a Char tensor"),
    "scale": (2, torch.zeros(48), "must be finite and positive"),
    "stride": (4, [0, 1], "stride entry 0"),
    "padding": (5, [1], "padding has 1 entries"),
    "groups": (8, 0, "groups 0 must be positive"),
    "zero point": (11, 256, "zero point must be in 0..255"),
    "epilogue": (12, "relu6", "unknown epilogue step"),
}


@pytest.mark.parametrize("name", list(BAD_STATES))
def test_a_damaged_state_is_refused(name):
    case = CASES["3x3"]
    _, w, s, b = case.tensors()
    packed = case.prepack(w, s, b, 0.1, 0, "")
    state = list(packed._get_method("__getstate__")())
    entry, value, message = BAD_STATES[name]
    state[entry] = value
    with pytest.raises(RuntimeError, match=message):
        packed._get_method("__setstate__")(tuple(state))


class Shared(torch.nn.Module):
    """Two convolutions of one weight, which a file must hold once."""

    def __init__(self, case: Case):
        super().__init__()
        _, w, s, _ = case.tensors()
        self.case = case
        self.register_buffer("first", w)
        self.register_buffer("second", w.clone())
        self.register_buffer("scale", s)

    def forward(self, x):
        p = self.case.prepack(self.first, self.scale, None, 0.02, 3, "")
        q = self.case.prepack(self.second, self.scale, None, 0.05, 9, "relu")
        return torch.ops.ipex_quant.conv(x, p, []) + torch.ops.ipex_quant.conv(x, q, [])


def test_saved_weight_is_stored_once():
    case = square(128, 128, 3, 5)
    x = case.tensors()[0]
    frozen = torch.jit.freeze(torch.jit.trace(Shared(case).eval(), x))
    torch._C._jit_pass_constant_propagation(frozen.graph)
    assert "conv_prepack" not in str(frozen.graph)
    file = io.BytesIO()
    torch.jit.save(frozen, file)
    assert len(file.getvalue()) < 1.2 * 128 * 128 * 9
    file.seek(0)
    assert torch.equal(torch.jit.load(file)(x), frozen(x))

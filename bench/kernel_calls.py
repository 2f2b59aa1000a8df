"""The operators that `python -m bench.kernels` times, ours and torch's, each called n times."""

from __future__ import annotations

import torch

X_SCALE, X_ZERO_POINT = 0.02, 3
OUT_SCALE = 3.0


class OurLinear(torch.nn.Module):
    """ops.linear, n times."""

    def __init__(self, packed: torch.ScriptObject) -> None:
        super().__init__()
        self.packed = packed

    def forward(self, x: torch.Tensor, n: int) -> torch.Tensor:
        y = x
        for _ in range(n):
            y = torch.ops.ipex_quant.linear(x, self.packed, [])
        return y


class OurConv(torch.nn.Module):
    """ops.conv, n times."""

    def __init__(self, packed: torch.ScriptObject) -> None:
        super().__init__()
        self.packed = packed

    def forward(self, x: torch.Tensor, n: int) -> torch.Tensor:
        y = x
        for _ in range(n):
            y = torch.ops.ipex_quant.conv(x, self.packed, [])
        return y


class OurMatmul(torch.nn.Module):
    """ops.matmul, n times."""

    def __init__(self, packed: torch.ScriptObject, right: torch.Tensor) -> None:
        super().__init__()
        self.packed, self.right = packed, right

    def forward(self, x: torch.Tensor, n: int) -> torch.Tensor:
        y = x
        for _ in range(n):
            y = torch.ops.ipex_quant.matmul(x, self.right, self.packed, [])
        return y


class TheirMatmul(torch.nn.Module):
    """torch's matmul in float32, n times."""

    def __init__(self, right: torch.Tensor) -> None:
        super().__init__()
        self.right = right

    def forward(self, x: torch.Tensor, n: int) -> torch.Tensor:
        y = x
        for _ in range(n):
            y = torch.matmul(x, self.right)
        return y


class OurAttention(torch.nn.Module):
    """ops.attention, n times."""

    def __init__(self, packed: torch.ScriptObject, k: torch.Tensor, v: torch.Tensor) -> None:
        super().__init__()
        self.packed, self.k, self.v = packed, k, v

    def forward(self, x: torch.Tensor, n: int) -> torch.Tensor:
        y = x
        for _ in range(n):
            y = torch.ops.ipex_quant.attention(x, self.k, self.v, self.packed, [], [])
        return y


class TheirAttention(torch.nn.Module):
    """torch's attention in float32, n times."""

    def __init__(self, k: torch.Tensor, v: torch.Tensor) -> None:
        super().__init__()
        self.k, self.v = k, v

    def forward(self, x: torch.Tensor, n: int) -> torch.Tensor:
        y = x
        for _ in range(n):
            y = torch.nn.functional.scaled_dot_product_attention(x, self.k, self.v)
        return y


class TheirLinear(torch.nn.Module):
    """onednn's linear, n times."""

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.scale, self.bias = weight, scale, bias
        self.zero = torch.zeros(len(scale), dtype=torch.int32)
        self.x_scale, self.x_zero_point, self.out_scale = X_SCALE, X_ZERO_POINT, OUT_SCALE

    def forward(self, x: torch.Tensor, n: int) -> torch.Tensor:
        y = x
        for _ in range(n):
            y = torch.ops.onednn.qlinear_pointwise(
                x, self.x_scale, self.x_zero_point, self.weight, self.scale, self.zero, self.bias,
                self.out_scale, 100, torch.uint8, "none", [], "",
            )  # fmt: skip
        return y


class TheirConv(torch.nn.Module):
    """onednn's convolution with relu, n times."""

    def __init__(
        self,
        weight: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor,
        window: tuple[list[int], list[int], list[int]],
        groups: int,
    ) -> None:
        super().__init__()
        self.weight, self.scale, self.bias = weight, scale, bias
        self.zero = torch.zeros(len(scale), dtype=torch.int32)
        self.stride, self.padding, self.dilation = window
        self.groups = groups
        self.x_scale, self.x_zero_point, self.out_scale = X_SCALE, X_ZERO_POINT, OUT_SCALE

    def forward(self, x: torch.Tensor, n: int) -> torch.Tensor:
        y = x
        for _ in range(n):
            y = torch.ops.onednn.qconv2d_pointwise(
                x, self.x_scale, self.x_zero_point, self.weight, self.scale, self.zero, self.bias,
                self.stride, self.padding, self.dilation, self.groups,
                self.out_scale, 0, torch.uint8, "relu", [], "",
            )  # fmt: skip
        return y

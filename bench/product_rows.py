"""Rows of `python -m bench.kernels` for linear layers and the products of attention."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F

from bench.calls import Call
from bench.kernel_row import (
    OUT_SCALE,
    X_SCALE,
    X_ZERO_POINT,
    Row,
    dequantized,
    quantized_weight,
    random_s8,
    random_u8,
)

ops = torch.ops.ipex_quant
onednn = torch.ops.onednn

LINEAR = [
    # BERT-base, MiniLM, ViT; a square; few rows
    *((128, 768, 768), (128, 3072, 768), (128, 768, 3072), (32, 384, 384), (32, 1536, 384)),
    *((32, 384, 1536), (197, 2304, 768), (1024, 1024, 1024), (16, 4096, 1024)),
    *((8, 4096, 1024), (4, 4096, 1024), (2, 4096, 1024)),
    *((1, 1000, 2048), (1, 1024, 1024), (1, 4096, 1024)),
]


def linear_rows() -> Iterator[Row]:
    for m, n, k in LINEAR:
        x, w, s, b = random_u8(m, k), random_s8(n, k), torch.rand(n) * 0.01, torch.randn(n)
        packed = ops.linear_prepack(w, s, b, X_SCALE, X_ZERO_POINT, f"quantize({OUT_SCALE},100)")
        theirs = {"x": x, "w": onednn.qlinear_prepack(w, [m, k]), "s": s, "b": b}
        theirs["z"] = torch.zeros(n, dtype=torch.int32)
        yield Row(
            *("linear", f"{m}x{n}x{k}", m * n * k),
            Call("torch.ops.ipex_quant.linear(x, packed, [])", {"x": x, "packed": packed}),
            Call(
                f"torch.ops.onednn.qlinear_pointwise(x, {X_SCALE}, {X_ZERO_POINT}, w, s, z, b,"
                f" {OUT_SCALE}, 100, torch.uint8, 'none', [], '')",
                theirs,
            ),
            weight_bytes=n * k,
        )


LINEAR_DYNAMIC = [(128, 3072, 768), (16, 4096, 1024), (1, 4096, 1024)]
LINEAR_TOLERANCE = 0.015  # measured: 0.008, against float32


def linear_dynamic_rows() -> Iterator[Row]:
    """torch's operator takes one scale for all rows of x, ours one for each."""
    for m, n, k in LINEAR_DYNAMIC:
        x, w, s, b = torch.randn(m, k), random_s8(n, k), torch.rand(n) * 0.01, torch.randn(n)
        packed = ops.linear_dynamic_prepack(w, s, b, True, "")
        theirs = torch.ops.quantized.linear_prepack(quantized_weight(w, s), b)
        yield Row(
            *("linear_dynamic", f"{m}x{n}x{k}", m * n * k),
            Call("torch.ops.ipex_quant.linear_dynamic(x, packed, [])", {"x": x, "packed": packed}),
            Call("torch.ops.quantized.linear_dynamic(x, packed)", {"x": x, "packed": theirs}),
            weight_bytes=n * k,
            tolerance=LINEAR_TOLERANCE,
            expected=partial(F.linear, x, w * s[:, None], b),
        )


# heads, rows, columns, depth, whether the right operand is transposed: BERT-base and ViT attention
MATMUL = [
    *((12, 128, 128, 64, True), (12, 384, 384, 64, True), (12, 197, 197, 64, True)),
    *((12, 128, 64, 128, False), (12, 384, 64, 384, False), (12, 197, 64, 197, False)),
]


def matmul_rows() -> Iterator[Row]:
    """The competitor multiplies the same numbers in float32: torch has no product of bytes."""
    for heads, m, n, k, transposed in MATMUL:
        left = random_u8(heads, m, k)
        right = random_u8(heads, n, k).transpose(1, 2) if transposed else random_u8(heads, k, n)
        packed = ops.matmul_prepack(X_SCALE, X_ZERO_POINT, X_SCALE, 131, "")
        floats = {
            "left": dequantized(left, X_SCALE, X_ZERO_POINT),
            "right": dequantized(right, X_SCALE, 131),
        }
        yield Row(
            *("matmul", f"{heads}x{m}x{n}x{k}{' transposed' if transposed else ''}"),
            heads * m * n * k,
            Call(
                "torch.ops.ipex_quant.matmul(left, right, packed, [])",
                {"left": left, "right": right, "packed": packed},
            ),
            Call("torch.matmul(left, right)", floats),
            tolerance=1e-5,
        )


# heads, tokens: BERT-base and ViT
ATTENTION = [(12, 128), (12, 384), (12, 197)]
ATTENTION_TOLERANCE = 0.005  # a step of one probability; measured: 0.004


def rounded_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention whose probabilities have 8 bits, as ours."""
    p = torch.softmax(q @ k.mT * q.shape[-1] ** -0.5, -1)
    return (p * 255).round() / 255 @ v


def attention_rows() -> Iterator[Row]:
    """The competitor is torch's own in float32, as above."""
    for heads, tokens in ATTENTION:
        size = 64
        q, k, v = (random_u8(tokens, heads, size).transpose(0, 1) for _ in range(3))
        p_scale, v_scale = 1 / 255, 0.02
        packed = ops.attention_prepack(
            *(X_SCALE, 128, X_SCALE, 131, p_scale, 0, v_scale, 126, f"mul({size**-0.5})", "")
        )
        floats = {
            "q": dequantized(q, X_SCALE, 128),
            "k": dequantized(k, X_SCALE, 131),
            "v": dequantized(v, v_scale, 126),
        }
        yield Row(
            *("attention", f"{heads}x{tokens}x{tokens}x{size}"),
            2 * heads * tokens * tokens * size,
            Call(
                "torch.ops.ipex_quant.attention(q, k, v, packed, [], [])",
                {"q": q, "k": k.transpose(1, 2), "v": v, "packed": packed},
            ),
            Call("torch.nn.functional.scaled_dot_product_attention(q, k, v)", floats),
            tolerance=ATTENTION_TOLERANCE,
            expected=partial(rounded_attention, *floats.values()),
        )

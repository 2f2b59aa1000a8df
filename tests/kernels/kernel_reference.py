"""What the kernel tests share: the numerics of the contract in numpy, and the ISAs of this CPU."""

from __future__ import annotations

import numpy as np
import torch

from ipex_quant import _C


def quantize_reference(x: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """clamp(round_half_even(x / scale) + zero_point, 0, 255) in float32; a NaN gives 0."""
    inverse = np.float32(1) / np.float32(scale)
    with np.errstate(over="ignore", invalid="ignore"):
        t = x.astype(np.float32) * inverse
        t = np.where(np.isnan(t), np.float32(-zero_point), t)
        t = np.clip(t, np.float32(-zero_point), np.float32(255 - zero_point))
    return (np.rint(t).astype(np.int32) + zero_point).astype(np.uint8)


def dequantize_reference(q: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """(q - zero_point) * scale in float32."""
    return (q.astype(np.int32) - zero_point).astype(np.float32) * np.float32(scale)


def random_u8(*shape: int, seed: int = 0) -> torch.Tensor:
    """Reproducible bytes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def available_isas() -> list[str]:
    """Names of the ISAs that this CPU can run, weakest first."""
    names = []
    for name in _C.isa_names():
        try:
            _C.set_isa_cap(name)
        except ValueError:
            continue
        names.append(name)
    _C.set_isa_cap("")
    return names

"""What a compiled module is made of: int8 operators, bfloat16 beside them, or torch's alone."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch


def choose(mode: str, float_dtype: torch.dtype, fusions: Sequence[Any]) -> str:
    """The target of the compiler for the arguments of `jit.quantize`.

    Raises:
        ValueError: an unknown mode or dtype, or arguments that exclude each other.
    """
    if mode not in ("int8", "portable"):
        raise ValueError(f"mode must be 'int8' or 'portable', got {mode!r}")
    if float_dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(
            f"float_dtype must be torch.float32 or torch.bfloat16, got {float_dtype!r}"
        )
    if mode == "portable":
        if float_dtype is not torch.float32:
            raise ValueError("mode='portable' keeps float32: give no float_dtype")
        if fusions:
            raise ValueError("mode='portable' fuses nothing: give no fusions")
        return "PORTABLE"
    if float_dtype is torch.float32:
        return "INT8"
    if not has_bfloat16():
        warnings.warn(
            "this CPU has no bfloat16 arithmetic (avx512_bf16 or amx_bf16): what stays float is "
            "float32",
            stacklevel=5,
        )
        return "INT8"
    return "BFLOAT16"


def has_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16; docs/recipe.md has what they gained."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextlib.contextmanager
def without_autocast() -> Iterator[None]:
    """Run without torch.autocast: its casts would be in a trace, and in constants that are folded.

    Also as a decorator, which begins anew in each call and so in each thread.
    """
    with torch.autocast("cpu", enabled=False):
        yield

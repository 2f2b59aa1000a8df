"""Changes a saved state somewhere: another number, dtype, shape, length or letter."""

from __future__ import annotations

import random
from typing import Any

import torch

INTS = (-(1 << 63), -(1 << 31), -2, -1, 0, 1, 2, 3, 7, 127, 255, 256, 1 << 20, 1 << 31, 1 << 62)
FLOATS = (0.0, -0.0, -1.0, 1e-46, 1e-40, 2.9e-39, 5e-324, 1e30, 3.5e38, 1e300, 0.5, 1.0)
FLOATS += (float("nan"), float("inf"), -float("inf"))
WORDS = (
    "relu",
    "gelu",
    "add_u8",
    "mul_f32",
    "prelu",
    "quantize",
    "clamp",
    "elu",
    "(",
    ")",
    "|",
    ",",
    "-1",
)
WORDS += ("0", "255", "256", "1e-46", "nan", "inf", "1e39", "0.1", " ", "\0", "é", "x" * 300)
DTYPES = (torch.float32, torch.int8, torch.uint8, torch.float64, torch.int64, torch.bool)


def mutated(state: tuple, rng: random.Random) -> tuple:
    """A copy of a state with one to three fields changed."""
    fields = list(state)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place = rng.randrange(len(fields))
        fields[place] = change(fields[place], rng)
    return tuple(fields)


def change(value: Any, rng: random.Random) -> Any:
    """Something like ``value``, but not it."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((*INTS, value - 1, value + 1))
    if isinstance(value, float):
        return rng.choice((*FLOATS, value * 2, -value))
    if isinstance(value, str):
        return change_text(value, rng)
    if isinstance(value, torch.Tensor):
        return change_tensor(value, rng)
    if isinstance(value, list):
        return change_list(value, rng)
    return rng.choice((None, torch.zeros(3)))  # an optional tensor that was None


def change_text(text: str, rng: random.Random) -> str:
    """A step more, a letter less, another order."""
    at = rng.randrange(len(text) + 1)
    kind = rng.randrange(5)
    if kind == 0:
        return text[:at] + rng.choice(WORDS) + text[at:]
    if kind == 1:
        return text[:at] + text[at + 1 :]
    if kind == 2:
        return text + "|" + text
    if kind == 3:
        steps = text.split("|")
        rng.shuffle(steps)
        return "|".join(steps)
    return "|".join(rng.choice(WORDS) for _ in range(rng.randrange(12)))


def change_tensor(tensor: torch.Tensor, rng: random.Random) -> torch.Tensor:
    """Another shape, dtype or layout, or one other element."""
    kind = rng.randrange(10)
    if kind == 0:
        return tensor.to(rng.choice(DTYPES))
    if kind == 1:
        return tensor.transpose(0, -1) if tensor.dim() else tensor.reshape(1)
    if kind == 2:
        return tensor.reshape(-1)
    if kind == 3:
        return tensor[: rng.randrange(3)] if tensor.dim() else tensor
    if kind == 4:
        return tensor.unsqueeze(rng.randrange(tensor.dim() + 1))
    if kind == 5:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    if kind == 6 and tensor.numel():  # one element in memory, as many as before in the shape
        return tensor.reshape(-1)[0].expand(tensor.shape)
    if kind == 7:
        return torch.cat([tensor, tensor], rng.randrange(max(tensor.dim(), 1)))
    if kind == 8:
        return tensor[..., :0] if tensor.dim() else tensor.reshape(1)[:0]
    flat = tensor.clone().reshape(-1)
    if flat.numel():
        values = FLOATS if tensor.is_floating_point() else (-128, -1, 0, 127)
        flat[rng.randrange(flat.numel())] = torch.tensor(rng.choice(values)).to(flat.dtype)
    return flat.reshape(tensor.shape)


def change_list(values: list, rng: random.Random) -> list:
    """An entry less or more, in another order, or changed."""
    values = list(values)
    kind = rng.randrange(5)
    if kind == 0 and values:
        values.pop(rng.randrange(len(values)))
    elif kind == 1 and values:
        values.append(values[rng.randrange(len(values))])
    elif kind == 2:
        rng.shuffle(values)
    elif kind == 3:
        values = values[:0]
    elif values:
        place = rng.randrange(len(values))
        values[place] = change(values[place], rng)
    return values

"""Reads and checks what autotune is given: budget, sizes, operators to keep, calibration inputs."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ipex_quant import ops

#: Arguments of one call of the model.
Item = tuple[tuple, dict[str, Any]]


@dataclass(frozen=True)
class Budget:
    """What a search may take; ValueError for a limit that is no number or allows nothing."""

    trials: int
    seconds: float
    """From now; 0 for no limit."""
    begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if not isinstance(self.trials, int) or self.trials < 1:
            raise ValueError(
                f"max_trials must be a whole number of at least 1, got {self.trials!r}"
            )
        if not isinstance(self.seconds, (int, float)) or not 0 <= self.seconds < math.inf:
            raise ValueError(f"tuning_time must be seconds, 0 for no limit, got {self.seconds!r}")

    def left(self) -> float:
        """Seconds that are left; infinity without a limit."""
        end = self.begun + self.seconds if self.seconds > 0 else math.inf
        return end - time.monotonic()


def check_sizes(sizes: Sequence[int] | None) -> list[int]:
    """The calibration sizes to try; ValueError for none."""
    sizes = [100] if sizes is None else list(sizes)
    if not sizes or not all(isinstance(s, int) and s > 0 for s in sizes):
        raise ValueError(f"sampling_sizes must be numbers of inputs above 0, got {sizes!r}")
    return sizes


def with_types(mapping: Any, types: dict[str, Any] | None) -> Any:
    """The mapping with the operators of op_type_dict float."""
    for name, settings in (types or {}).items():
        dtypes = {
            dtype
            for part in (settings.values() if isinstance(settings, dict) else [None])
            for dtype in (part or {}).get("dtype", ["?"])
        }
        if dtypes != {"fp32"}:
            raise ValueError(
                f"op_type_dict[{name!r}] can only keep the operator float, as "
                f'{{"activation": {{"dtype": ["fp32"]}}}}, got {settings!r}'
            )
        mapping.set_object_type(name.lower(), None)
    return mapping


def inputs(model: nn.Module, data: Any, most: int) -> list[Item]:
    """Arguments of the first calls, with at least ``most`` samples where there are so many."""
    if isinstance(data, (torch.Tensor, dict, str)) or not isinstance(data, Iterable):
        raise TypeError(
            "calib_dataloader must be an iterable of inputs, such as a list or a DataLoader, got "
            f"{type(data).__name__}"
        )
    found: list[Item] = []
    samples = 0
    for batch in data:
        found.append(_arguments(model, batch))
        samples += _samples(found[-1])
        if samples >= most:
            break
    if not found:
        raise ValueError("calib_dataloader is empty; give at least one batch of inputs")
    return found


def _samples(item: Item) -> int:
    return next((t.shape[0] for t in ops.tensors_in(item) if t.dim() > 0), 1)


def first(batches: list[Any], size: int) -> list[Any]:
    """Batches with ``size`` samples together."""
    chosen, samples = [], 0
    for item in batches:
        if samples >= size:
            break
        chosen.append(item)
        samples += _samples(item)
    return chosen


def _arguments(model: nn.Module, batch: Any) -> Item:
    signature = inspect.signature(model.forward)
    if isinstance(batch, torch.Tensor):
        return (batch,), {}
    if isinstance(batch, dict):
        return ((), dict(batch)) if _binds(signature, (), batch) else ((batch,), {})
    if isinstance(batch, (list, tuple)):
        if not _binds(signature, tuple(batch), {}) and len(batch) == 2:
            return _arguments(model, batch[0])  # an input and its label
        return tuple(batch), {}
    raise TypeError(
        "a batch of calib_dataloader must be a tensor, or a tuple, list or dict of arguments, got "
        f"{type(batch).__name__}; give calib_func for others"
    )


def _binds(signature: inspect.Signature, args: tuple, kwargs: dict[str, Any]) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True

"""Measures on kept inputs what quantizing the operands of one operator does to its output."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ipex_quant import ops
from ipex_quant.calibration import Site, operand_values

#: A tensor -> what is left of it after quantization.
Rounding = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class Variant:
    """One way to quantize the operands of a site, and the error it was seen to give."""

    roundings: dict[str, Rounding]
    noise: float = 0.0
    rows: int = 0
    error_sum: torch.Tensor | None = None
    error_square: torch.Tensor | None = None

    def fresh(self) -> Variant:
        """The same roundings, nothing measured yet."""
        return Variant(self.roundings)

    def bias_correction(self) -> torch.Tensor | None:
        """Mean error per output channel, less of it where it may be chance; None when it is small.

        The share ``1 - variance of the mean / mean**2`` is kept (positive-part James-Stein).
        """
        if self.error_sum is None or self.error_square is None or self.rows < 2:
            return None
        mean = self.error_sum / self.rows
        variance = (self.error_square / self.rows - mean.square()).clamp_min(0) / self.rows
        kept = mean * (1 - variance / mean.square().clamp_min(1e-38)).clamp_min(0)
        saved = float((kept * (2 * mean - kept)).sum()) * self.rows
        return kept if saved > 0.002 * self.noise else None

    def noise_after(self, correction: torch.Tensor | None) -> float:
        """Noise left after the correction was added to the bias."""
        if correction is None or self.error_sum is None:
            return self.noise
        mean = self.error_sum / self.rows
        return self.noise - float((correction * (2 * mean - correction)).sum()) * self.rows


@dataclass
class Probe:
    """The variants of one site and the power of its float output."""

    site: Site
    variants: dict[str, Variant] = field(default_factory=dict)
    signal: float = 0.0

    def sqnr(self, noise: float) -> float:
        """Signal to noise in dB."""
        if self.signal <= 0:
            return math.inf
        return 10 * math.log10(self.signal / max(noise, self.signal * 1e-15))

    def event(self, op: str, args: list[Any]) -> None:
        """One call of the site's operator: run it with each variant's operands."""
        args = _fewer_items(self.site.family, list(args))
        family = self.site.family
        reference = _first(ops.call(op, args))
        if not isinstance(reference, torch.Tensor) or reference.numel() == 0:
            return
        self.signal += float(reference.square().sum(dtype=torch.float64))
        for variant in self.variants.values():
            got = _first(_call_rounded(op, family, args, variant.roundings))
            error = reference - got
            variant.noise += float(error.square().sum(dtype=torch.float64))
            columns = ops.output_channels(family, args, error)
            if columns is None:
                continue
            total = columns.sum(0, dtype=torch.float64)
            square = columns.square().sum(0, dtype=torch.float64)
            if variant.error_sum is None or variant.error_square is None:
                variant.error_sum, variant.error_square = total, square
            else:
                variant.error_sum += total
                variant.error_square += square
            variant.rows += columns.shape[0]


def _first(result: Any) -> Any:
    return result[0] if isinstance(result, tuple) else result


def _call_rounded(op: str, family: str, args: list[Any], roundings: dict[str, Rounding]) -> Any:
    inner = roundings.get(ops.PROBABILITIES)
    outer = {name: r for name, r in roundings.items() if name != ops.PROBABILITIES}
    args = _rounded(family, args, outer)
    if inner is None:
        return ops.call(op, args)
    return ops.attend(inner(ops.attention_probabilities(args)), args[2])


def _rounded(family: str, args: list[Any], roundings: dict[str, Rounding]) -> list[Any]:
    changed = list(args)
    where = {name: value for name, value in operand_values(family, args)}
    for name, rounding in roundings.items():
        value = where[name]
        for i, argument in enumerate(args):
            if argument is value:
                changed[i] = rounding(value)
                break
            if isinstance(argument, (list, tuple)) and any(value is v for v in argument):
                changed[i] = [rounding(v) if v is value else v for v in changed[i]]
                break
    return changed


#: Multiplications that give a stable estimate at one call; more only cost time.
_ENOUGH = 1 << 26


def _fewer_items(family: str, args: list[Any]) -> list[Any]:
    """The call on a part of its items when the whole is large."""
    if family == "linear":
        rows = args[0].reshape(-1, args[0].shape[-1])
        args[0] = _sample(rows, rows.shape[0] * args[1].numel())
    elif family == "conv" and args[0].dim() == args[1].dim():
        spatial = args[0].shape[2:].numel()
        args[0] = _sample(args[0], args[0].shape[0] * spatial * args[1].numel())
    elif family == "matmul" and args[0].dim() == args[1].dim() > 2:
        a, b = args[0], args[1]
        if a.shape[:-2] == b.shape[:-2]:
            work = a.numel() * b.shape[-1]
            args[:2] = [_sample(x.flatten(0, -3), work) for x in (a, b)]
    elif family == "sdpa" and args[0].dim() == 4:
        items, work = args[0].shape[0], 2 * args[0].numel() * args[1].shape[2]
        args[:3] = [_sample(x, work) for x in args[:3]]
        if args[3] is not None and args[3].dim() == 4 and args[3].shape[0] == items:
            args[3] = _sample(args[3], work)
    return args


def _sample(items: torch.Tensor, work: int) -> torch.Tensor:
    """Some of the items, always the same; at random, for the first token of a text is special."""
    count = max(1, items.shape[0] * _ENOUGH // max(work, 1))
    if count >= items.shape[0]:
        return items
    order = torch.randperm(items.shape[0], generator=torch.Generator().manual_seed(0))
    return items[order[:count]]

"""Evens out the channels between two layers, where one 8-bit scale would serve them badly.

``B(relu(A x)) = (B F)(relu(F^-1 A x))`` for a diagonal F > 0: channels of A that are small beside
the largest grow, and B takes it back. The factors are powers of two, so the float model computes
the same bits, and they are used only where the expected int8 error of B falls by 3 dB.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ipex_quant.flow import CONVS, Flow, Read, plain, watch, weight_form

#: Functions with f(c x) = c f(x) for c > 0, that may stand between the layers.
_HOMOGENEOUS = ("aten::relu", "aten::relu_", "aten::leaky_relu", "aten::leaky_relu_")
#: Largest factor; channels that are smaller than that hardly count.
_MOST = 64.0
#: The error must fall below this share.
_WORTHWHILE = 0.5


def equalize_layers(model: nn.Module, example: tuple[tuple, dict[str, Any]]) -> int:
    """Even out all pairs of layers where it pays, in the given model; gives their number."""
    if not any(type(m) in CONVS for m in model.modules()):
        return 0
    flow = watch(model, example)
    done = 0
    for first in list(flow.calls):
        second = _next_layer(flow, first)
        if second is not None:
            factors = _factors(flow.calls[second][0].inputs[0], second)
            if factors is not None:
                _move(first, second, factors)
                done += 1
    return done


def _usable(flow: Flow, layer: nn.Module | None) -> bool:
    return (
        (type(layer) in CONVS or type(layer) is nn.Linear)
        and plain(layer)
        and len(flow.calls[layer]) == 1
        and len(flow.calls[layer][0].inputs) == 1
        and getattr(layer, "padding_mode", "zeros") == "zeros"
        and flow.own_weight(layer)
    )


def _next_layer(flow: Flow, first: nn.Module) -> nn.Module | None:
    """The one layer that reads what a layer made, through at most one homogeneous function."""
    if not _usable(flow, first):
        return None
    reads = flow.reads_of(flow.calls[first][0].output)
    if reads and reads[0].op in _HOMOGENEOUS:
        in_place = reads[0].op.endswith("_")
        if not in_place and len(reads) != 1:
            return None
        reads = reads[1:] if in_place else flow.reads_of(reads[0].results[0])
    second = _only_module(reads)
    if second is None or not _usable(flow, second):
        return None
    same = (type(first) is nn.Linear) == (type(second) is nn.Linear)
    return second if same and first.weight.dim() == second.weight.dim() else None


def _only_module(reads: list[Read] | None) -> nn.Module | None:
    modules = {read.module for read in reads or ()}
    return modules.pop() if len(modules) == 1 else None


def _factors(x: torch.Tensor, layer: nn.Module) -> torch.Tensor | None:
    """The factor of each channel of ``x``, the layer's input, or None when it does not pay."""
    if x.dim() != layer.weight.dim() and type(layer) is not nn.Linear:
        return None
    columns = (x if type(layer) is nn.Linear else x.movedim(1, -1)).flatten(0, -2).double()
    largest = columns.abs().amax(0)
    if not bool(torch.isfinite(largest).all()) or float(largest.max()) == 0:
        return None
    share = (largest / largest.max()).clamp_min(1 / _MOST)
    square = columns.square().mean(0)
    best, least = None, _error(layer, largest, square, torch.ones_like(share)) * _WORTHWHILE
    for exponent in (0.25, 0.5, 0.75, 1.0):
        factors = torch.exp2(torch.round(torch.log2(share) * exponent))
        error = _error(layer, largest, square, factors)
        if error < least:
            best, least = factors, error
    return best


def _error(
    layer: nn.Module, largest: torch.Tensor, square: torch.Tensor, factors: torch.Tensor
) -> float:
    """Expected squared error of the layer's output: rounding of its input and of its weight."""
    form = weight_form(layer)
    rows = form.to_rows(layer.weight.detach().double())
    rows = rows * form.per_row(factors, rows)
    step = float((largest / factors).max()) / 255
    of_input = step**2 * float(rows.square().sum())
    steps = rows.flatten(1).abs().amax(1) / 127
    met = form.per_row(square / factors.square(), rows).expand_as(rows).flatten(1).sum(1)
    return of_input + float((steps.square() * met).sum())


def _move(first: nn.Module, second: nn.Module, factors: torch.Tensor) -> None:
    factors = factors.to(first.weight.dtype)
    with torch.no_grad():
        form = weight_form(first)
        rows = form.to_rows(first.weight)
        rows = rows / factors.reshape(-1, *[1] * (rows.dim() - 1))
        first.weight = nn.Parameter(form.from_rows(rows).contiguous(), requires_grad=False)
        if first.bias is not None:
            first.bias = nn.Parameter(first.bias / factors, requires_grad=False)
        form = weight_form(second)
        rows = form.to_rows(second.weight)
        rows = rows * form.per_row(factors, rows)
        second.weight = nn.Parameter(form.from_rows(rows).contiguous(), requires_grad=False)

"""Folds batch normalization into the convolution or linear before it, where a run proves it right.

Proof instead of symbolic tracing: a pair is folded only if, in a run on the example, the norm was
the one reader of what the layer wrote.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from ipex_quant.flow import NORMS, Call, Flow, plain, watch, weight_form


def fold_batch_norms(model: nn.Module, example: tuple[tuple, dict[str, Any]]) -> int:
    """Fold what can be folded, in the given model; gives the number of folded norms."""
    if not any(type(m) in NORMS for m in model.modules()):
        return 0
    flow = watch(model, example)
    folded = 0
    for layer, calls in list(flow.calls.items()):
        norm = _norm_of(flow, layer, calls)
        if norm is not None:
            _fold(layer, norm)
            _replace(model, norm)
            folded += 1
    return folded


def _norm_of(flow: Flow, layer: nn.Module, calls: list[Call]) -> nn.Module | None:
    """The batch norm that may be folded into a layer, or None."""
    if type(layer) in NORMS or len(calls) != 1 or not plain(layer):
        return None
    output = calls[0].output
    reads = flow.reads_of(output)
    norm = reads[0].module if reads is not None and len(reads) == 1 else None
    if norm is None or type(norm) not in NORMS or len(flow.calls[norm]) != 1 or not plain(norm):
        return None
    # A linear's channels are last, a norm's are dimension 1: the same only for [batch, channels].
    dims = 2 if type(layer) is nn.Linear else layer.weight.dim()
    if output.dim() != dims or norm.running_mean is None:
        return None
    # A weight that something else reads, too, must stay as it is.
    return norm if flow.own_weight(layer) else None


def _fold(layer: nn.Module, norm: nn.Module) -> None:
    weight = layer.weight.detach().double()
    gain = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double() * gain
    if norm.affine:
        gain = gain * norm.weight.detach().double()
        shift = shift * norm.weight.detach().double() + norm.bias.detach().double()
    form = weight_form(layer)
    rows = form.to_rows(weight)
    rows = rows * gain.reshape(-1, *[1] * (rows.dim() - 1))
    if layer.bias is not None:
        shift = shift + layer.bias.detach().double() * gain
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter(form.from_rows(rows).to(dtype).contiguous(), requires_grad=False)
    layer.bias = nn.Parameter(shift.to(dtype), requires_grad=False)


def _replace(model: nn.Module, norm: nn.Module) -> None:
    for parent in model.modules():
        for name, child in parent._modules.items():
            if child is norm:
                parent._modules[name] = nn.Identity().eval()

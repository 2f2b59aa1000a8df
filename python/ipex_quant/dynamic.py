"""Dynamic quantization of a module: exchanges linear and recurrent layers for int8 ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from ipex_quant import _backend, jit, observers, prepared
from ipex_quant import dynamic_modules as int8
from ipex_quant.qconfig import QConfigMapping, SiteQuery, choose
from ipex_quant.report import Report, Row


class _Weights(NamedTuple):
    """The parameters of a layer: int8 weights, their scales, and float biases."""

    weights: list[torch.Tensor]
    scales: list[torch.Tensor]
    biases: list[torch.Tensor]


def _quantized(
    weights: list[torch.Tensor],
    biases: list[torch.Tensor],
    qconfig: Any,
    split: Sequence[int] = (),
) -> _Weights:
    """Int8 weights; those at the positions of split become two int8 parts."""
    weights = [w.detach() for w in weights]
    scales = [observers.weight_scales(qconfig.weight(), w) for w in weights]
    for i in split:
        weights[i] = _backend.split_input_weight(weights[i], scales[i])
    codes = [
        torch.ops.ipex_quant.quantize_weight(w, s, 0) for w, s in zip(weights, scales, strict=True)
    ]
    return _Weights(codes, scales, [b.detach() for b in biases])


def _linear(module: nn.Linear, qconfig: Any) -> nn.Module:
    w = _quantized([module.weight], [] if module.bias is None else [module.bias], qconfig)
    per_row = getattr(qconfig.activation(), "granularity", "row") == "row"
    packed = torch.ops.ipex_quant.linear_dynamic_prepack(
        w.weights[0], w.scales[0], w.biases[0] if w.biases else None, per_row, ""
    )
    return int8.DynamicLinear(packed, module.in_features, module.out_features)


def _layers(module: nn.RNNBase, qconfig: Any, split: Sequence[int] = ()) -> _Weights:
    flat = [p for group in module.all_weights for p in group]
    weights, biases = [p for p in flat if p.dim() == 2], [p for p in flat if p.dim() == 1]
    return _quantized(weights, biases, qconfig, split)


def _split(module: nn.RNNBase | nn.RNNCellBase, directions: int) -> range:
    """Where the weights of an lstm or gru stand that become two int8 parts: w_ih of layer 0."""
    splits = _backend.splits_input_weight(module.input_size, module.hidden_size)
    return range(0, 2 * directions if splits else 0, 2)


def _gated(prepack: str, kind: type[nn.Module]) -> Callable[[Any, Any], nn.Module]:
    def make(module: nn.RNNBase, qconfig: Any) -> nn.Module:
        split = _split(module, 2 if module.bidirectional else 1)
        w = _layers(module, qconfig, split)
        packed = getattr(torch.ops.ipex_quant, prepack)(
            *w, module.num_layers, module.bidirectional, module.batch_first, module.bias, 0.0, 0, ""
        )
        return kind(packed, module, _backend.SMALL_COPY if split else 0.0)

    return make


def _rnn(module: nn.RNN, qconfig: Any) -> nn.Module:
    packed = torch.ops.ipex_quant.rnn_prepack(
        *_layers(module, qconfig),
        module.num_layers,
        module.bidirectional,
        module.batch_first,
        module.nonlinearity,
    )
    return int8.DynamicRNN(packed, module)


def _cell(module: nn.RNNCellBase, qconfig: Any, split: Sequence[int] = ()) -> _Weights:
    biases = [module.bias_ih, module.bias_hh] if module.bias else []
    return _quantized([module.weight_ih, module.weight_hh], biases, qconfig, split)


def _gated_cell(prepack: str, kind: type[nn.Module]) -> Callable[[Any, Any], nn.Module]:
    def make(module: nn.RNNCellBase, qconfig: Any) -> nn.Module:
        split = _split(module, 1)
        w = _cell(module, qconfig, split)
        packed = getattr(torch.ops.ipex_quant, prepack)(
            *w, 1, False, False, module.bias, 0.0, 0, ""
        )
        return kind(packed, module, _backend.SMALL_COPY if split else 0.0)

    return make


def _rnn_cell(module: nn.RNNCell, qconfig: Any) -> nn.Module:
    packed = torch.ops.ipex_quant.rnn_prepack(
        *_cell(module, qconfig), 1, False, False, module.nonlinearity
    )
    return int8.DynamicRNNCell(packed, module)


class _Kind(NamedTuple):
    """One kind of layer: its family in the op table, the operator, and what makes the int8 one."""

    family: str
    kernel: str
    make: Callable[[Any, Any], nn.Module]


#: Every layer that can be exchanged. A subclass may compute something else, so it is not.
ROWS: dict[type[nn.Module], _Kind] = {
    nn.Linear: _Kind("linear", "linear_dynamic", _linear),
    nn.LSTM: _Kind("lstm", "lstm", _gated("lstm_prepack", int8.DynamicLSTM)),
    nn.GRU: _Kind("gru", "gru", _gated("gru_prepack", int8.DynamicGRU)),
    nn.RNN: _Kind("rnn", "rnn", _rnn),
    nn.LSTMCell: _Kind("lstm_cell", "lstm", _gated_cell("lstm_prepack", int8.DynamicLSTMCell)),
    nn.GRUCell: _Kind("gru_cell", "gru", _gated_cell("gru_prepack", int8.DynamicGRUCell)),
    nn.RNNCell: _Kind("rnn_cell", "rnn", _rnn_cell),
}


#: What the report says of recurrent layers, whatever the granularity of the observer.
_OF_ROWS = "its input and hidden state take a scale per row at run time"


def _query(types: dict[str, type[nn.Module]], path: str) -> SiteQuery:
    family = ROWS[types[path]].family
    return SiteQuery(path, family, f"aten::{family}", 0, prepared.enclosing(types, path))


def queries(model: nn.Module) -> list[SiteQuery]:
    """What a mapping is asked about for the layers of a model."""
    types = {path: type(m) for path, m in model.named_modules(remove_duplicate=False)}
    return [_query(types, path) for path, kind in types.items() if kind in ROWS]


def check_weights(model: nn.Module, mapping: QConfigMapping) -> None:
    """Raise ValueError unless the observers of all weights give as many scales as needed."""
    for query in queries(model):
        qconfig, rule = choose(mapping, query)
        for weight in model.get_submodule(query.path).parameters(recurse=False):
            if qconfig is not None and weight.dim() == 2:
                where = f"weight observer of {query.path!r} ({rule})"
                observers.check_weight_observer(qconfig.weight, weight.detach(), where)


def exchange(
    model: nn.Module, mapping: QConfigMapping, floats: dict[str, str]
) -> tuple[nn.Module, Report]:
    """The model with its layers exchanged, in place, and what became of each.

    Args:
        model: in eval mode; changed. When it is a layer itself, the result is another module.
        mapping: dynamic rules; None keeps a layer float.
        floats: module paths to keep float, and why.
    """
    types = {path: type(m) for path, m in model.named_modules(remove_duplicate=False)}
    rows: list[Row] = []
    made: dict[nn.Module, nn.Module] = {}

    def exchanged(module: nn.Module, path: str) -> nn.Module:
        if module in made:  # shared by several parents: packed once
            return made[module]
        made[module] = module
        if type(module) in ROWS:
            _, kernel, make = ROWS[type(module)]
            query = _query(types, path)
            family = query.family
            qconfig, rule = choose(mapping, query)
            reason = floats.get(path) or _refusal(module, qconfig, rule)
            if not reason:
                made[module] = make(module, qconfig).eval()
                note = "" if type(module) is nn.Linear else _OF_ROWS
                rows.append(Row(path, family, 0, "int8", f"ipex_quant::{kernel}", note))
                return made[module]
        else:
            reason = _reason_for_float(module)
        if reason:
            rows.append(Row(path, type(module).__name__, 0, "float", "", reason))
        if not jit.is_script_module(module):
            _exchange_children(module, path)
        return module

    def _exchange_children(module: nn.Module, path: str) -> None:
        for name, child in module._modules.items():
            if child is not None:
                module._modules[name] = exchanged(child, f"{path}.{name}" if path else name)

    result = exchanged(model, "")
    new = {after for before, after in made.items() if before is not after}
    for module in result.modules():
        if any(part in new for part in module.modules()):
            _leave_fast_path(module)
    return result, Report(rows)


def _refusal(module: nn.Module, qconfig: Any, rule: str) -> str:
    """Why a layer stays float; empty when it is exchanged."""
    if qconfig is None:
        return f"kept float by {rule}"
    if getattr(module, "proj_size", 0):
        return "it has projections (proj_size), which the int8 kernel does not take"
    if module._forward_hooks or module._forward_pre_hooks:
        return "it has hooks, which an exchanged module would lose"
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.dtype != torch.float32:
            return f"its {name} is {parameter.dtype}, not torch.float32"
        if not bool(torch.isfinite(parameter).all()):
            return f"its {name} holds NaN or infinite values"
    return ""


def _reason_for_float(module: nn.Module) -> str:
    """Why a module of another type stays float, when it has weights of its own."""
    if all(p.dim() < 2 for p in module.parameters(recurse=False)):
        return ""
    if jit.is_script_module(module):
        return "it is TorchScript already; quantize the trace of the model with jit.quantize"
    for kind in ROWS:
        if isinstance(module, kind):
            return f"it is a subclass of nn.{kind.__name__} that may compute something else"
    if isinstance(module, nn.MultiheadAttention):
        return "its projections are parameters, not modules; jit.quantize takes them"
    return "dynamic quantization covers linear and recurrent layers"


def _leave_fast_path(module: nn.Module) -> None:
    """Make torch's transformer layers call their parts: the fused float path reads the weights."""
    if isinstance(module, nn.TransformerEncoderLayer):
        module.activation_relu_or_gelu = 0
    if isinstance(module, nn.TransformerEncoder):
        module.use_nested_tensor = False

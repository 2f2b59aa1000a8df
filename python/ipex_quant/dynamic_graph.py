"""Dynamic quantization of a traced graph: its summary needs the weights alone, no calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from ipex_quant import observers, ops, state
from ipex_quant.calibration import split_key
from ipex_quant.qconfig import QConfigMapping, SiteQuery, choose

#: Operators that quantize their input at run time, and where their weights stand.
_WEIGHTS = {
    "aten::linear": ("weight", 1),
    "aten::lstm": ("weights", 2),
    "aten::gru": ("weights", 2),
}
#: The same for packed sequences, whose family says so.
_PACKED_WEIGHTS = ("weights", 3)


def summarize(
    graph: Any,
    sites: list[str],
    mapping: QConfigMapping,
    types_of: Callable[[str], tuple[Any, ...]],
    opaque: list[str],
) -> dict[str, Any]:
    """The summary (see `ipex_quant.state`) of a normalized graph for a dynamic mapping."""
    nodes = {node.s("iq_site"): node for node in nodes_of(graph) if node.hasAttribute("iq_site")}
    entries = [_entry(key, nodes.get(key), mapping, types_of) for key in sites]
    return state.summary(entries, opaque)


def nodes_of(block: Any) -> Iterator[Any]:
    """All nodes of a graph, nested blocks included, in program order."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from nodes_of(inner)


def _entry(
    key: str,
    node: Any,
    mapping: QConfigMapping,
    types_of: Callable[[str], tuple[Any, ...]],
) -> dict[str, Any]:
    path, family, number = split_key(key)
    op = family if node is None else node.kind()
    query = SiteQuery(path, family, op, number, types_of(path))
    qconfig, rule = choose(mapping, query)
    entry: dict[str, Any] = {
        "site": key,
        "op": ops.base_name(op),
        "decision": "float",
        "reason": "",
        "operands": {},
        "bias_correction": None,
        **state.notes(family),
    }
    if qconfig is None:
        return {**entry, "reason": f"kept float by {rule}"}
    if op not in _WEIGHTS:
        return {**entry, "reason": "dynamic quantization covers linear and recurrent layers"}
    weights = _weights(node)
    if not weights:
        return {**entry, "reason": "its weight is not a constant"}
    if any(w.dtype != torch.float32 or not bool(torch.isfinite(w).all()) for w in weights):
        return {**entry, "reason": "a weight is not float32, or holds NaN or infinite values"}
    observer = qconfig.activation()
    operands = {"input": _input(observer)}
    name = _place(node)[0]
    for number, weight in enumerate(weights):
        operand = name if name == "weight" else f"{name}.{_position(node, number)}"
        operands[operand] = _weight(qconfig.weight(), weight)
    return {**entry, "decision": "int8", "operands": operands}


def _place(node: Any) -> tuple[str, int]:
    """Name of the weight operand and its position among the inputs."""
    packed = node.s("iq_site").rsplit("/", 2)[1].endswith("_packed")
    return _PACKED_WEIGHTS if packed else _WEIGHTS[node.kind()]


def _weights(node: Any) -> list[torch.Tensor]:
    """The constant matrices of a layer, or none."""
    value = node.inputsAt(_place(node)[1])
    return [p for p in _constants(value) if isinstance(p, torch.Tensor) and p.dim() == 2]


def _constants(value: Any) -> list[Any]:
    if value.node().kind() == "prim::ListConstruct":
        return [item.toIValue() for item in value.node().inputs()]
    constant = value.toIValue()
    return constant if isinstance(constant, list) else [constant]


def _position(node: Any, number: int) -> int:
    """Position of the number-th matrix in the list of parameters."""
    params = _constants(node.inputsAt(_place(node)[1]))
    return [i for i, p in enumerate(params) if p.dim() == 2][number]


def _input(observer: Any) -> dict[str, Any]:
    return {
        "kind": "activation",
        **state.observer_fields(observer),
        "dtype": "uint8",
        "scale": None,
        "zero_point": None,
        "mode": "dynamic",
        "channel_factor": None,
    }


def _weight(observer: Any, weight: torch.Tensor) -> dict[str, Any]:
    scales = observers.weight_scales(observer, weight.detach())
    return {
        "kind": "weight",
        **state.observer_fields(observer),
        "dtype": "int8",
        "axis": 0,
        "scale": scales.float().tolist(),
    }

"""Folds factors per input channel into the constants of what makes the input, where that can be.

Where a layer norm, a linear layer or a multiplication by a constant makes a value, and all that
read it divide it by the same factors, its own constants take the division: no operator is left of
it. Elsewhere the compiler puts a multiplication in front of the readers.
"""

from __future__ import annotations

from typing import Any

import torch

#: Readers of a value that look at its shape alone.
_SHAPE_QUERIES = ("aten::size", "aten::dim", "prim::shape", "aten::sym_size")
#: Where each producer has the constants whose last dimension is that of the value's channels.
_CONSTANTS = {"aten::layer_norm": (2, 3), "aten::mul": (1,), "aten::linear": (1, 2)}


def fold_factors(graph: Any, summary: dict[str, Any]) -> dict[str, Any]:
    """The summary without the factors that were folded into the graph's constants, in place."""
    entries = {entry["site"]: entry for entry in summary["sites"]}
    values: dict[str, Any] = {}
    for node in graph.nodes():
        factor = _factor(entries, node)
        if factor is not None:
            value = node.inputsAt(0)
            values.setdefault(value.debugName(), value)
    for value in values.values():
        readers = _readers(value)
        factors = [_factor(entries, node) for node in readers]
        same = factors and factors[0] is not None and all(f == factors[0] for f in factors)
        if same and _can_fold(entries, value, readers, len(factors[0] or ())):
            _fold(graph, entries, value, readers, torch.tensor(factors[0]))
    return {**summary, "sites": [entries[entry["site"]] for entry in summary["sites"]]}


def _readers(value: Any) -> list[Any]:
    return [use.user for use in value.uses() if use.user.kind() not in _SHAPE_QUERIES]


def _entry(entries: dict[str, Any], node: Any) -> dict[str, Any] | None:
    key = node.s("iq_site") if node.hasAttribute("iq_site") else None
    entry = None if key is None else entries.get(key)
    return entry if entry is not None and entry["decision"] == "int8" else None


def _factor(entries: dict[str, Any], node: Any) -> list[float] | None:
    """What a linear layer divides its input by."""
    entry = _entry(entries, node) if node.kind() == "aten::linear" else None
    if entry is None:
        return None
    found: list[float] | None = entry["operands"].get("input", {}).get("channel_factor")
    return found


def _constant(node: Any, index: int) -> Any:
    source = node.inputsAt(index).node()
    return node.inputsAt(index).toIValue() if source.kind() == "prim::Constant" else ...


def _can_fold(entries: dict[str, Any], value: Any, readers: list[Any], channels: int) -> bool:
    producer = value.node()
    if producer.kind() not in _CONSTANTS or producer.outputsSize() != 1:
        return False
    if any(not isinstance(_constant(node, 1), torch.Tensor) for node in readers):
        return False
    constants = [_constant(producer, i) for i in _CONSTANTS[producer.kind()]]
    if producer.kind() == "aten::layer_norm" and constants[0] is None:
        return False  # it has nothing to hold the factor
    for constant in constants:
        if constant is None:
            continue
        rows = constant.shape[0] if producer.kind() == "aten::linear" else None
        if not isinstance(constant, torch.Tensor) or constant.dim() == 0:
            return False
        if (rows if rows is not None else constant.shape[-1]) != channels:
            return False
        if producer.kind() != "aten::linear" and constant.dim() != 1:
            return False
    entry = _entry(entries, producer) if producer.kind() == "aten::linear" else None
    # One scale for all rows cannot follow rows that are divided differently.
    return entry is None or len(entry["operands"]["weight"]["scale"]) == channels


def _fold(
    graph: Any, entries: dict[str, Any], value: Any, readers: list[Any], factor: torch.Tensor
) -> None:
    producer = value.node()
    for index in _CONSTANTS[producer.kind()]:
        constant = _constant(producer, index)
        if constant is not None:
            shape = (
                (-1, *[1] * (constant.dim() - 1)) if producer.kind() == "aten::linear" else (-1,)
            )
            _replace(graph, producer, index, constant / factor.reshape(shape))
    entry = _entry(entries, producer) if producer.kind() == "aten::linear" else None
    if entry is not None:
        entries[entry["site"]] = _divided(entry, factor)
    for node in readers:
        _replace(graph, node, 1, _constant(node, 1) * factor)
        entry = _entry(entries, node)
        assert entry is not None  # of _factor
        operands = dict(entry["operands"])
        operands["input"] = {**operands["input"], "channel_factor": None}
        entries[entry["site"]] = {**entry, "operands": operands}


def _divided(entry: dict[str, Any], factor: torch.Tensor) -> dict[str, Any]:
    """The entry of a linear layer whose rows were divided: the same codes with other scales."""
    weight, correction = entry["operands"]["weight"], entry["bias_correction"]
    scale = (torch.tensor(weight["scale"]) / factor).tolist()
    operands = {**entry["operands"], "weight": {**weight, "scale": scale}}
    if correction is not None:
        correction = (torch.tensor(correction) / factor).tolist()
    return {**entry, "operands": operands, "bias_correction": correction}


def _replace(graph: Any, node: Any, index: int, constant: torch.Tensor) -> None:
    graph.setInsertPoint(node)
    node.replaceInput(index, graph.insertConstant(constant.contiguous()))

"""The summary of a traced graph that is quantized already: it has qparams of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ipex_quant import ops, state
from ipex_quant.calibration import split_key
from ipex_quant.dynamic_graph import nodes_of
from ipex_quant.qconfig import QConfigMapping, SiteQuery, choose

_DEQUANTIZED = ("ipex_quant::dequantize", "ipex_quant::dequantize_weight")


def is_quantized(graph: Any) -> bool:
    """Whether a normalized graph has quantization of its own."""
    return any(node.kind() in _DEQUANTIZED for node in nodes_of(graph))


def is_compiled(graph: Any) -> bool:
    """Whether a normalized graph has int8 operators of ours: the compiler made it."""
    ours = {k for k in (node.kind() for node in nodes_of(graph)) if k.startswith("ipex_quant::")}
    return bool(ours - {*_DEQUANTIZED, "ipex_quant::quantize"})


def hint(graph: Any) -> str:
    """What keeps the fake quantization of a graph from being read, for a message."""
    for node in nodes_of(graph):
        if "fake_quant" in node.kind() and node.hasAttribute("iq_reason"):
            return f"; the trace has {node.kind()}, but {node.s('iq_reason')}"
    return ""


def summarize(
    graph: Any,
    sites: list[str],
    mapping: QConfigMapping | None,
    types_of: Callable[[str], tuple[Any, ...]],
) -> dict[str, Any]:
    """The summary (see `ipex_quant.state`) of a normalized graph with quantization of its own.

    Raises:
        ValueError: the mapping keeps a site float that the graph quantizes.
    """
    kinds: dict[str, str] = {}
    quantized = set()
    for node in nodes_of(graph):
        if node.hasAttribute("iq_site"):
            kinds[node.s("iq_site")] = node.kind()
            if _reads_quantized(node):
                quantized.add(node.s("iq_site"))
    entries: list[dict[str, Any]] = []
    for key in sites:
        path, family, number = split_key(key)
        op = kinds.get(key, family)
        if key in quantized and mapping is not None:
            query = SiteQuery(path, family, op, number, types_of(path))
            qconfig, rule = choose(mapping, query)
            if qconfig is None:
                raise ValueError(
                    f"{rule} keeps {key!r} float, but the traced graph quantizes it; trace the "
                    "float model to choose per operator"
                )
        stays = family in ops.ANCHORS and key not in quantized
        entries.append(
            {
                "site": key,
                "op": ops.base_name(op),
                "decision": "float" if stays else "int8",
                "reason": "the traced graph does not quantize it" if stays else "",
                "operands": {},
                "bias_correction": None,
            }
        )
    return state.summary(entries, [])


def _reads_quantized(node: Any) -> bool:
    makers = [value.node() for value in node.inputs()]
    lists = [m for m in makers if m.kind() == "prim::ListConstruct"]
    makers += [value.node() for one in lists for value in one.inputs()]
    return any(maker.kind() in _DEQUANTIZED for maker in makers)

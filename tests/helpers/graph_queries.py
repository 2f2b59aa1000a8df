"""Questions about the graph of a quantized module that the coverage tests ask."""

from __future__ import annotations

from collections.abc import Iterator

import torch

# Ops that move or describe data, or work on ids, masks and shapes: no arithmetic on activations.
NO_ARITHMETIC = {
    *("aten::size", "aten::Int", "aten::view", "aten::reshape", "aten::flatten", "aten::permute"),
    *("aten::transpose", "aten::contiguous", "aten::slice", "aten::select", "aten::chunk"),
    *("aten::unsqueeze", "aten::squeeze", "aten::expand", "aten::cat", "aten::unflatten"),
    *("aten::constant_pad_nd", "aten::pad", "aten::len", "aten::__getitem__", "aten::numel"),
}


def nodes(module: torch.jit.ScriptModule) -> Iterator[torch._C.Node]:
    """Every node of the inlined graph, nested blocks included, in order."""

    def walk(block: torch._C.Block | torch._C.Graph) -> Iterator[torch._C.Node]:
        for node in block.nodes():
            yield node
            for inner in node.blocks():
                yield from walk(inner)

    return walk(module.inlined_graph)


def kinds(module: torch.jit.ScriptModule) -> list[str]:
    """Qualified names of all nodes in order."""
    return [node.kind() for node in nodes(module)]


def float_ops_between(module: torch.jit.ScriptModule) -> list[str]:
    """Float operators after the first quantize and before the last int8 operator."""
    names = kinds(module)
    ours = [i for i, name in enumerate(names) if name.startswith("ipex_quant::")]
    inside = names[ours[0] : ours[-1] + 1]
    bad = [n for n in inside if n.startswith("aten::") and n not in NO_ARITHMETIC]
    # A second quantize means that the data was float in between.
    quantizes = sum(name.startswith("ipex_quant::quantize") for name in inside)
    return bad + ["ipex_quant::quantize"] * (quantizes - 1)

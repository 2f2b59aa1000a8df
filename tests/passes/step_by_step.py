"""Compares two states of a graph op by op, each op given equal inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

_MADE_ELSEWHERE = ("prim::Constant", "prim::ListConstruct", "prim::Param")


@dataclass
class Step:
    """One value that both graphs make, from equal inputs."""

    name: str
    kind: str
    """The op that makes it in the later graph."""
    before: torch.Tensor
    after: torch.Tensor

    @property
    def is_codes(self) -> bool:
        """Whether it is int8 data."""
        return self.after.dtype == torch.uint8

    def largest_difference(self) -> float:
        """In steps of the uint8 scale, or relative to the largest value."""
        before, after = self.before.double(), self.after.double()
        difference = (after - before).abs().max().item()
        return difference if self.is_codes else difference / max(before.abs().max().item(), 1e-30)


def name_values(graph: torch._C.Graph) -> None:
    """Give each tensor of a graph a name, by which it is found again after a pass."""
    for number, value in enumerate(list(_tensors(graph))):
        value.setDebugName(f"value_{number}")


def steps(before: torch._C.Graph, after: torch._C.Graph, inputs: Sequence[Any]) -> list[Step]:
    """The values that `after` makes and `before` has under the same name.

    `before` runs cut into pieces: it makes each of these values from those that `after` made.
    """
    names = _names(before)
    shared = [(n, kind) for n, kind in _names(after).items() if n in names]
    found = _run(_with_outputs(after, [n for n, _ in shared]), inputs, len(shared))
    pieces = _run(_cut(before, [n for n, _ in shared]), [*inputs, *found], len(shared))
    return [
        Step(name, kind, b, a)
        for (name, kind), b, a in zip(shared, pieces, found, strict=True)
        if isinstance(a, torch.Tensor)
    ]


def _tensors(graph: torch._C.Graph) -> Iterator[torch._C.Value]:
    for node in graph.nodes():
        if node.kind() not in _MADE_ELSEWHERE:
            for value in node.outputs():
                if value.type().kind() == "TensorType":
                    yield value


def _names(graph: torch._C.Graph) -> dict[str, str]:
    return {value.debugName(): value.node().kind() for value in _tensors(graph)}


def _with_outputs(graph: torch._C.Graph, names: Sequence[str]) -> torch._C.Graph:
    graph = graph.copy()
    values = {value.debugName(): value for value in _tensors(graph)}
    for name in names:
        graph.registerOutput(values[name])
    return graph


def _cut(graph: torch._C.Graph, names: Sequence[str]) -> torch._C.Graph:
    """Readers of the named values read new inputs instead; the values are outputs."""
    graph = graph.copy()
    values = {value.debugName(): value for value in _tensors(graph)}
    for name in names:
        values[name].replaceAllUsesWith(graph.addInput())
    for name in names:
        graph.registerOutput(values[name])
    return graph


def _run(graph: torch._C.Graph, inputs: Sequence[Any], count: int) -> list[Any]:
    graph.makeMultiOutputIntoTuple()
    function = torch._C._create_function_from_graph("forward", graph)
    with torch.no_grad(), torch.jit.optimized_execution(False):
        outputs = function(*inputs)
    return list(outputs[-count:])

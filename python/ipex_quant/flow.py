"""Watches one run of a model: which operator read which memory, and in which module."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ipex_quant import ops, prepared

CONVS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass
class Call:
    """One call of a watched module."""

    inputs: tuple
    output: Any


@dataclass
class Read:
    """One operator that read some memory."""

    module: nn.Module | None
    """The watched module that was running."""
    op: str
    results: list[torch.Tensor]


@dataclass
class Flow:
    """What one run did."""

    reads: dict[int, list[Read]] = field(default_factory=lambda: defaultdict(list))
    """By storage, in order."""
    calls: dict[nn.Module, list[Call]] = field(default_factory=lambda: defaultdict(list))
    results: set[int] = field(default_factory=set)
    """Storages that the model returned."""
    alive: list[Any] = field(default_factory=list)
    """Everything computed, so that no storage is given out twice."""

    def reads_of(self, tensor: torch.Tensor) -> list[Read] | None:
        """All reads of the tensor's memory; None when the model returns it, too."""
        key = storage(tensor)
        return None if key in self.results else self.reads[key]

    def own_weight(self, layer: nn.Module) -> bool:
        """Whether no other module reads the layer's weight."""
        return {read.module for read in self.reads[storage(layer.weight)]} == {layer}


def storage(tensor: torch.Tensor) -> int:
    """Identity of the memory behind a tensor, while it is alive."""
    return tensor.untyped_storage()._cdata


def plain(module: nn.Module) -> bool:
    """Whether nothing is hooked to a module and its parameters are its own."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or hasattr(module, "parametrizations")
        or "forward" in module.__dict__
    )


def weight_form(layer: nn.Module) -> ops.WeightForm:
    """Layout of the weight of a convolution or linear module."""
    transposed = bool(getattr(layer, "transposed", False))
    return ops.WeightForm(transposed, int(getattr(layer, "groups", 1)))


class _Watcher(TorchDispatchMode):
    def __init__(self, flow: Flow, running: list[nn.Module]) -> None:
        super().__init__()
        self._flow, self._running = flow, running

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        sources = {storage(t) for t in ops.tensors_in([args, kwargs])}
        result = func(*args, **kwargs)
        self._flow.alive.append(result)
        module = self._running[-1] if self._running else None
        read = Read(module, func._schema.name, ops.tensors_in(result))
        for source in sources:
            self._flow.reads[source].append(read)
        return result


def watch(model: nn.Module, example: tuple[tuple, dict[str, Any]]) -> Flow:
    """Run the model on a copy of the example; its convolutions, linears and norms are watched."""
    flow = Flow()
    running: list[nn.Module] = []

    def enter(module: nn.Module, args: Any) -> None:
        running.append(module)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        flow.calls[module].append(Call(args, output))
        if running and running[-1] is module:
            running.pop()

    handles = []
    args, kwargs = ops.map_tensors(list(example), lambda t: t.detach().clone())
    try:
        for module in model.modules():
            if type(module) in (*CONVS, nn.Linear, *NORMS):
                handles.append(module.register_forward_pre_hook(enter))
                handles.append(module.register_forward_hook(leave, always_call=True))
        with (
            prepared.kept_buffers(model),
            prepared.plain_attention(),
            torch.no_grad(),
            _Watcher(flow, running),
        ):
            result = model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    flow.results = {storage(t) for t in ops.tensors_in(result)}
    return flow

"""A small reference of the eager side: hooks give the module path, the recorder gives the calls."""

from __future__ import annotations

from collections import Counter

import torch
from torch import nn

from ipex_quant import _C

Call = tuple[str, list]


def module_paths(model: nn.Module) -> dict[int, str]:
    """Path of each module as torch.jit.trace names it: the last one in depth-first order."""
    paths = {id(model): ""}

    def visit(module: nn.Module, path: str) -> None:
        for name, child in module.named_children():
            paths[id(child)] = f"{path}.{name}" if path else name
            visit(child, paths[id(child)])

    visit(model, "")
    return paths


def eager_sites(model: nn.Module, *inputs: object) -> list[Call]:
    """(site, arguments) of each counted call of one forward."""
    paths = module_paths(model)
    stack: list[str] = []
    counts: Counter[tuple[str, str]] = Counter()
    calls: list[Call] = []

    def record(family: str, op: str, args: list, site: str | None) -> None:
        assert site is None
        path = stack[-1]
        # a later in-place operator may write to an argument
        kept = [arg.clone() if isinstance(arg, torch.Tensor) else arg for arg in args]
        calls.append((f"{path}/{family}/{counts[path, family]}", kept))
        counts[path, family] += 1

    def enter(module: nn.Module, inputs: tuple) -> None:
        stack.append(paths[id(module)])

    def leave(module: nn.Module, inputs: tuple, output: object) -> None:
        stack.pop()

    handles = []
    for module in model.modules():
        if not isinstance(module, torch.jit.ScriptModule):
            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave))
    _C.recorder_start(record)
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        _C.recorder_stop()
        for handle in handles:
            handle.remove()
    return calls

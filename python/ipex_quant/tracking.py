"""Which submodule of a model runs: the path of it, as torch.jit.trace names it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn

from ipex_quant import jit


def module_paths(root: nn.Module) -> dict[nn.Module, str]:
    """Path of each submodule as torch.jit.trace names it: a shared one has its last name."""
    paths: dict[nn.Module, str] = {}

    def visit(module: nn.Module, prefix: str) -> None:
        for name, child in module.named_children():
            paths[child] = prefix + name
            if not jit.is_script_module(child):
                visit(child, paths[child] + ".")

    visit(root, "")
    return paths


class PathTracker:
    """Knows which module is running, by hooks that are there only inside `tracking`."""

    def __init__(self, root: nn.Module) -> None:
        self._root = root
        self._stack: list[str] = []

    @property
    def path(self) -> str:
        """Path of the running module; that of the root is empty."""
        return self._stack[-1] if self._stack else ""

    @contextlib.contextmanager
    def tracking(self) -> Iterator[None]:
        """Follow the calls of all submodules; scripted ones are left alone, they have no sites."""
        self._stack.clear()
        handles = []
        try:
            for module, path in module_paths(self._root).items():
                if not jit.is_script_module(module):
                    handles += self._hook(module, path)
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, module: nn.Module, path: str) -> list[Any]:
        def enter(_module: nn.Module, _args: Any) -> None:
            self._stack.append(path)

        def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
            # A user's pre-hook that fails ends the call before `enter`.
            if self._stack and self._stack[-1] is path:
                self._stack.pop()

        # The tracer opens a module's scope inside of the user's hooks, so these are the innermost.
        return [
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(leave, prepend=True, always_call=True),
        ]

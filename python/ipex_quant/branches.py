"""Lets models take the branches that they take in a trace, while they are calibrated."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

_state = threading.local()
_lock = threading.Lock()
_users = 0
_plain_is_tracing = torch.jit.is_tracing
_plain_script = torch.jit.script


def _is_active() -> bool:
    return getattr(_state, "depth", 0) > 0


def _is_tracing_here() -> bool:
    return _is_active() or _plain_is_tracing()


def _script_here(function: Callable) -> Callable:
    """What script_if_tracing scripts takes sizes as the tensors that they are in a trace."""
    scripted = _plain_script(function)
    if not _is_active():
        return scripted
    wanted = {a.name for a in scripted.schema.arguments if isinstance(a.type, torch.TensorType)}
    names = [a.name for a in scripted.schema.arguments]

    def fitted(name: str, value: Any) -> Any:
        is_number = isinstance(value, (int, float)) and name in wanted
        return torch.tensor(value) if is_number else value

    def call(*args: Any, **kwargs: Any) -> Any:
        positional = [fitted(name, value) for name, value in zip(names, args, strict=False)]
        return scripted(*positional, **{k: fitted(k, v) for k, v in kwargs.items()})

    return call


_PATCHES = (
    (torch.jit, "is_tracing", _is_tracing_here),
    (torch.jit._trace, "is_tracing", _is_tracing_here),
    (torch.jit._trace, "script", _script_here),
)
"""What models ask, and what the functions of script_if_tracing ask and call."""


@contextlib.contextmanager
def as_traced() -> Iterator[None]:
    """Inside of the block ``torch.jit.is_tracing`` is true for the calling thread.

    transformers 5 leaves the mask of a batch without padding out, but not in a trace, which must
    serve other batches too; and the functions of ``torch.jit.script_if_tracing`` are scripted
    there. The last of several users puts torch's functions back.
    """
    global _users, _plain_is_tracing, _plain_script
    with _lock:
        if _users == 0:
            _plain_is_tracing, _plain_script = torch.jit.is_tracing, torch.jit._trace.script
            for module, name, ours in _PATCHES:
                setattr(module, name, ours)
        _users += 1
    _state.depth = getattr(_state, "depth", 0) + 1
    try:
        yield
    finally:
        _state.depth -= 1
        with _lock:
            _users -= 1
            if _users == 0:
                for module, name, ours in _PATCHES:
                    if getattr(module, name) is ours:
                        setattr(module, name, _plain(name))


def _plain(name: str) -> Callable:
    return _plain_script if name == "script" else _plain_is_tracing

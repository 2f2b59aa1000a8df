"""The only importer of the compiled part: loads it, checks its torch version, adapts its types."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch


def check_torch(built: str, running: str) -> None:
    """Raise ImportError unless both torch versions agree in major and minor number."""
    if built.split("+")[0].split(".")[:2] != running.split("+")[0].split(".")[:2]:
        raise ImportError(
            f"ipex_quant was built for torch {built}, but torch {running} is installed; install "
            f"torch {built} or build ipex_quant again with `pip install --no-build-isolation .`"
        )


try:
    from ipex_quant import _C
except ImportError as error:
    raise ImportError(
        f"the compiled part of ipex_quant cannot be loaded with torch {torch.__version__}: "
        f"{error}; it only works with the torch it was built for, so install that one or build "
        "ipex_quant again with `pip install --no-build-isolation .`"
    ) from error

check_torch(_C.built_for_torch(), torch.__version__)

#: Called before each counted operator: family, qualified name, arguments, site text or None.
Callback = Callable[[str, str, list, "str | None"], None]


@dataclass(frozen=True)
class OperandRow:
    """One operand of a row of the op table."""

    name: str
    index: int
    kind: str
    axis: int


@cache
def op_table() -> dict[str, tuple[OperandRow, ...]]:
    """Operands of each family of operators, from the table that the C++ passes use."""
    return {
        row["family"]: tuple(
            OperandRow(o["name"], o["index"], o["kind"], o.get("axis", 0)) for o in row["operands"]
        )
        for row in _C.op_table()
    }


@contextlib.contextmanager
def recording(callback: Callback) -> Iterator[None]:
    """Call ``callback`` before every counted operator of this thread.

    An error of the callback does not stop the operator; it is raised when the block ends.
    """
    _C.recorder_start(callback)
    try:
        yield
    finally:
        _C.recorder_stop()


def traced_calls() -> Any:
    """Of a running trace: ``note`` each call before it runs, then ask for the ``sites``."""
    return _C.TracedCalls()


def normalize(module: Any, opaque: list[str], preserved: list[str]) -> tuple[Any, list[str]]:
    """Inlined, frozen and normalised copy of a ``torch._C.ScriptModule``, and its site keys."""
    normalized, sites = _C.normalize(module, opaque, preserved)
    return normalized, list(sites)


def instrument(module: Any) -> Any:
    """Copy of a normalized module that marks each site before it runs."""
    return _C.instrument(module)


def check_summary(summary: bytes, source: str) -> None:
    """Raise QuantizationError unless a JSON text is a valid summary; ``source`` names it."""
    _C.check_summary(summary, source)


def check_same_sites(of_model: list[str], of_summary: list[str], model: str, source: str) -> None:
    """Raise QuantizationError unless two lists of sites are the same."""
    _C.check_same_sites(of_model, of_summary, model, source)


def quantize(
    traced: Any, summary: bytes, fusions: list[Any], preserved: list[str], target: str
) -> Any:
    """Frozen and bound module made from a traced one; its report rides in it."""
    made_for = getattr(_C.Target, target)
    return _C.quantize(traced, summary, _CALIBRATION, fusions, preserved, made_for)


def compile_by_summary(
    normalized: Any,
    sites: list[str],
    summary: bytes,
    fusions: list[Any],
    preserved: list[str],
    target: str,
) -> Any:
    """The same from a normalized module with these sites."""
    made_for = getattr(_C.Target, target)
    return _C.compile_by_summary(
        normalized, sites, summary, _CALIBRATION, fusions, preserved, made_for
    )


#: How errors name a summary that is neither in a file nor in a trace.
_CALIBRATION = "the calibration"


def make_steady(module: Any) -> None:
    """Make the execution plans of a ``torch._C.ScriptModule`` now, without profiling."""
    _C.make_steady(module)


def operator(name: str) -> Callable[..., Any]:
    """An operator of ours for calls in eager mode: torch.ops takes 10 us more for a packed object.

    The callable takes every argument of the schema: tensors, lists of them, packed objects, None.
    """
    return _C.Operator(name)


def splits_input_weight(input_size: int, units: int) -> bool:
    """Whether an lstm or gru with a run-time input scale keeps 15 bits of its first weights."""
    return _C.splits_input_weight(input_size, units)


def split_input_weight(weight: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Two parts of a weight ``[n, k]``, still float, as ``[n, 2 k]``: for ``[x, SMALL_COPY x]``."""
    return _C.split_input_weight(weight, scales)


#: What the copy of the input that meets the second part of a split weight is multiplied with.
SMALL_COPY: float = _C.small_copy


#: The statement that a guard checks, and the function that gives the reason when it fails.
NamedGuard = tuple[str, Callable[[Any], str]]


def parse_fusion_ir(name: str, side: str, text: str) -> Any:
    """The graph of an IR text."""
    return _C.parse_fusion_ir(name, side, text)


def function_graph(
    name: str,
    normalized: Any,
    inputs: list[str],
    numbers: list[tuple[int, float]],
    all_occur: bool,
) -> Any:
    """The graph of a traced and normalized function; constants equal to a number become inputs."""
    return _C.function_graph(name, normalized, inputs, numbers, all_occur)


def rewrite_fusion(
    name: str, pattern: Any, replacement: Any, on_int8: bool, guards: list[NamedGuard]
) -> Any:
    """The C++ form of a rewrite of the user, checked."""
    return _C.rewrite_fusion(name, pattern, replacement, on_int8, guards)


def post_op_fusion(name: str, pattern: Any, steps: str, guards: list[NamedGuard]) -> Any:
    """The C++ form of a user's chain of epilogue steps, checked."""
    return _C.post_op_fusion(name, pattern, steps, guards)


def elementwise_fusion(name: str, pattern: Any, guards: list[NamedGuard]) -> Any:
    """The C++ form of a user's function of each element, checked."""
    return _C.elementwise_fusion(name, pattern, guards)


def isa() -> str:
    """Name of the instruction set that the kernels use on this machine."""
    return _C.isa()


def release_memory() -> None:
    """Give memory that the int8 operators keep for their next call back to the system.

    Tensors that are alive keep theirs. The next call takes memory anew, which makes it slower.
    """
    _C.release_memory()


def version() -> str:
    """Version of the compiled library."""
    return _C.version()

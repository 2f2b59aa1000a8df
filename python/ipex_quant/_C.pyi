# Types of the compiled module (python/csrc), for type checkers and readers.
from collections.abc import Callable
from typing import Any

def version() -> str: ...
def built_for_torch() -> str: ...
def isa() -> str: ...
def cpu_isa() -> str: ...
def isa_names() -> list[str]: ...
def set_isa_cap(name: str) -> None: ...
def memory_statistics() -> tuple[int, int]: ...
def release_memory() -> None: ...
def op_table() -> list[dict[str, Any]]: ...
def recorder_start(callback: Callable[[str, str, list[Any], str | None], None]) -> None: ...
def recorder_stop() -> None: ...
def normalize(
    module: Any, opaque: list[str] = ..., preserved_attrs: list[str] = ...
) -> tuple[Any, list[str]]: ...
def instrument(module: Any) -> Any: ...
def run_pass(name: str, graph: Any, opaque: list[str] = ...) -> bool: ...
def pass_names() -> list[str]: ...
def pass_table() -> list[tuple[str, str, str]]: ...
def parse_ir(text: str, constants: list[Any] = ...) -> Any: ...
def canonical(graph: Any) -> str: ...
def list_sites(graph: Any) -> list[str]: ...
def original_ops(module: Any) -> list[tuple[str, str, int]]: ...
def list_fusions() -> list[tuple[str, str, str, str]]: ...
def parse_fusion_ir(name: str, side: str, text: str) -> Any: ...
def function_graph(
    name: str,
    normalized: Any,
    inputs: list[str],
    numbers: list[tuple[int, float]],
    all_occur: bool,
) -> Any: ...
def rewrite_fusion(
    name: str,
    pattern: Any,
    rewrite: Any,
    on_int8: bool,
    guards: list[tuple[str, Callable[[PatternMatch], str]]] = ...,
) -> Fusion: ...
def post_op_fusion(
    name: str,
    pattern: Any,
    steps: str,
    guards: list[tuple[str, Callable[[PatternMatch], str]]] = ...,
) -> Fusion: ...
def elementwise_fusion(
    name: str, pattern: Any, guards: list[tuple[str, Callable[[PatternMatch], str]]] = ...
) -> Fusion: ...
def splits_input_weight(input_size: int, units: int) -> bool: ...
def split_input_weight(weight: Any, scales: Any) -> Any: ...

small_copy: float

def make_steady(module: Any) -> None: ...
def compile(
    module: Any,
    sites: list[SiteParams],
    fusions: list[Fusion] = ...,
    preserved_attrs: list[str] = ...,
    target: Target = ...,
) -> tuple[Any, str]: ...
def check_summary(summary: bytes, source: str) -> None: ...
def check_same_sites(
    of_model: list[str], of_summary: list[str], model: str, source: str
) -> None: ...
def quantize(
    traced: Any,
    summary: bytes,
    source: str,
    fusions: list[Fusion],
    preserved_attrs: list[str],
    target: Target,
) -> Any: ...
def compile_by_summary(
    normalized: Any,
    sites: list[str],
    summary: bytes,
    source: str,
    fusions: list[Fusion],
    preserved_attrs: list[str],
    target: Target,
) -> Any: ...
def run_compile_pass(
    name: str, graph: Any, sites: list[SiteParams], fusions: list[Fusion] = ...
) -> bool: ...

class OperandParams:
    name: str
    kind: str
    scale: float
    zero_point: int
    scales: Any
    axis: int
    mode: str
    channel_factor: Any
    def __init__(
        self,
        name: str,
        kind: str = ...,
        scale: float = ...,
        zero_point: int = ...,
        scales: Any = ...,
        axis: int = ...,
        mode: str = ...,
        channel_factor: Any = ...,
    ) -> None: ...

class SiteParams:
    site: str
    int8: bool
    reason: str
    operands: list[OperandParams]
    bias_correction: Any
    def __init__(
        self,
        site: str,
        int8: bool = ...,
        reason: str = ...,
        operands: list[OperandParams] = ...,
        bias_correction: Any = ...,
    ) -> None: ...

class PatternMatch:
    ops: list[str]
    sites: list[str]
    def constant(self, name: str) -> Any: ...

class Fusion:
    name: str
    pattern: Any

class Target:
    INT8: Target
    BFLOAT16: Target
    PORTABLE: Target

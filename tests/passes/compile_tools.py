"""Helpers of the tests of insertion, propagation, fusion and binding."""

from __future__ import annotations

import json
import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ipex_quant import _C


def qparams(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of a range that is widened to hold 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max(high - low, 1e-6) / 255
    return scale, round(-low / scale)


def site(name: str, **operands: tuple[float, int]) -> _C.SiteParams:
    """An int8 site; operands are (scale, zero point) by name, "_" in a name means "."."""
    params = [
        _C.OperandParams(operand.replace("_", "."), scale=scale, zero_point=zero_point)
        for operand, (scale, zero_point) in operands.items()
    ]
    return _C.SiteParams(name, int8=True, operands=params)


def rewrite(name: str, pattern: str, put: str, *, on_int8: bool = False, guards: Any = ()) -> Any:
    """A rewrite of the user from IR texts."""
    return _C.rewrite_fusion(
        name,
        _C.parse_fusion_ir(name, "pattern", pattern),
        _C.parse_fusion_ir(name, "rewrite", put),
        on_int8,
        list(guards),
    )


class _Ranges:
    """Minimum and maximum of each activation of each site."""

    def __init__(self) -> None:
        self.table = {row["family"]: row["operands"] for row in _C.op_table()}
        self.ranges: dict[str, dict[str, list[float]]] = {}

    def see(self, family: str, _op: str, args: list, name: str | None) -> None:
        if name is None:
            return
        seen = self.ranges.setdefault(name, {})
        for operand in self.table[family]:
            if operand["kind"] in ("weight", "weight_list"):
                continue
            value = args[operand["index"]]
            if isinstance(value, (list, tuple)):
                for i, element in enumerate(value):
                    self.widen(seen, f"{operand['name']}.{i}", element)
            else:
                self.widen(seen, operand["name"], value)

    @staticmethod
    def widen(seen: dict[str, list[float]], operand: str, value: object) -> None:
        if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
            bounds = seen.setdefault(operand, [0.0, 0.0])
            bounds[0] = min(bounds[0], float(value.min()))
            bounds[1] = max(bounds[1], float(value.max()))


def calibrate(
    normalized: torch._C.ScriptModule,
    names: Sequence[str],
    inputs: Sequence[torch.Tensor],
    keep_float: Mapping[str, str] | None = None,
) -> list[_C.SiteParams]:
    """Minimum-maximum qparams of each site; `keep_float` maps sites to reasons."""
    ranges = _Ranges()
    instrumented = torch.jit._recursive.wrap_cpp_module(_C.instrument(normalized))
    _C.recorder_start(ranges.see)
    with torch.no_grad(), torch.jit.optimized_execution(False):
        instrumented(*inputs)
    _C.recorder_stop()
    keep_float = keep_float or {}
    sites = []
    for name in names:
        if name in keep_float:
            sites.append(_C.SiteParams(name, int8=False, reason=keep_float[name]))
            continue
        seen = ranges.ranges.get(name, {})
        sites.append(site(name, **{k.replace(".", "_"): qparams(*v) for k, v in seen.items()}))
    return sites


class Compiled:
    """A float model, its compiled module and what can be asked about it."""

    def __init__(
        self,
        model: torch.nn.Module,
        *inputs: torch.Tensor,
        keep_float: Mapping[str, str] | None = None,
        fusions: Sequence[Any] = (),
    ) -> None:
        self.model = model.eval()
        self.inputs = inputs
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            traced = torch.jit.trace(self.model, inputs, check_trace=False)
        self.normalized, names = _C.normalize(traced._c)
        self.sites = calibrate(self.normalized, names, inputs, keep_float)
        module, self.report_text = _C.compile(self.normalized, self.sites, list(fusions))
        self.module = torch.jit._recursive.wrap_cpp_module(module)

    @property
    def kinds(self) -> list[str]:
        """Qualified names of the compute nodes in order."""
        nodes = (n.kind() for n in self.module.graph.nodes())
        return [kind for kind in nodes if not kind.startswith("prim::")]

    @property
    def report(self) -> list[dict]:
        """Rows of the report."""
        return json.loads(self.report_text)["ops"]

    def epilogues(self) -> list[str]:
        """Epilogues of the kernels by their first op in the model."""
        return [row["epilogue"] for row in self.report if row["became"] == "int8"]

    def error(self, *inputs: torch.Tensor) -> float:
        """Relative error of the int8 outputs."""
        inputs = inputs or self.inputs
        with torch.no_grad():
            wanted, got = self.model(*inputs), self.module(*inputs)
        if isinstance(wanted, torch.Tensor):
            wanted, got = (wanted,), (got,)
        pairs = zip(wanted, got, strict=True)
        return max(((w - g).norm() / w.norm()).item() for w, g in pairs)

    def fake_quantized(self) -> Any:
        """The float model as it is with quantize/dequantize pairs, before any pair is moved."""
        graph = self.normalized._get_method("forward").graph.copy()
        _C.run_compile_pass("insert-quant-dequant", graph, self.sites)
        function = torch._C._create_function_from_graph("forward", graph)

        def run(*inputs: torch.Tensor) -> Any:
            with torch.no_grad(), torch.jit.optimized_execution(False):
                return function(self.module, *inputs)

        return run


def ir(graph: torch._C.Graph) -> str:
    """Exact text of a graph, with constants and lists written where they are used.

    Values are numbered in order, a tensor constant is written as its shape, a packed object as its
    class. Attributes are left out.
    """
    names: dict[str, str] = {}

    def name(value: torch._C.Value) -> str:
        return names.setdefault(value.debugName(), f"%{len(names)}")

    def operand(value: torch._C.Value) -> str:
        node = value.node()
        if node.kind() == "prim::Constant":
            return _literal(value.toIValue())
        if node.kind() == "prim::ListConstruct":
            return f"[{', '.join(operand(v) for v in node.inputs())}]"
        return name(value)

    def lines(block: Any, indent: str) -> list[str]:
        text = []
        for node in block.nodes():
            if node.kind() in ("prim::Constant", "prim::ListConstruct"):
                continue
            inputs = ", ".join(operand(v) for v in node.inputs())
            outputs = ", ".join(name(v) for v in node.outputs())
            text.append(f"{indent}{outputs} = {node.kind()}({inputs})")
            for inner in node.blocks():
                text += lines(inner, indent + "    ")
                results = ", ".join(operand(v) for v in inner.outputs())
                text.append(f"{indent}    -> ({results})")
        return text

    head = ", ".join(name(v) for v in graph.inputs())
    body = lines(graph, "  ")
    results = ", ".join(operand(v) for v in graph.outputs())
    return "\n".join([f"graph({head}):", *body, f"  return ({results})"])


def _literal(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"<{'x'.join(map(str, value.shape))}>"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, torch.ScriptObject):
        return f"<{value._type().name()}>"
    return repr(value)


class Golden:
    """Runs one pass on IR text and compares all that can be compared."""

    def __init__(
        self,
        name: str,
        sites: Sequence[_C.SiteParams] = (),
        fusions: Sequence[_C.Fusion] = (),
    ) -> None:
        self.name = name
        self.sites = list(sites)
        self.fusions = list(fusions)

    def _run(self, graph: torch._C.Graph) -> bool:
        return _C.run_compile_pass(self.name, graph, self.sites, self.fusions)

    def check(
        self,
        before: str,
        after: str | None,
        *,
        constants: Sequence[torch.Tensor] = (),
        inputs: Sequence[object] = (),
        tolerance: float | None = None,
    ) -> torch._C.Graph:
        """Exact IR (`after=None`: unchanged), idempotence, equal outputs up to `tolerance`.

        The same is checked with the graph's body inside a nested block.
        """
        graph = self._check(before, after, constants, inputs, tolerance)
        nested = _C.parse_ir(in_block(before), list(constants))
        assert self._run(nested) == (after is not None)
        assert _block_body(ir(nested), len(list(graph.inputs()))) == ir(graph).split("\n")[1:-1]
        return graph

    def _check(
        self,
        before: str,
        after: str | None,
        constants: Sequence[torch.Tensor],
        inputs: Sequence[object],
        tolerance: float | None,
    ) -> torch._C.Graph:
        graph = _C.parse_ir(before, list(constants))
        unchanged = ir(graph)
        wanted = _outputs(graph, inputs) if inputs else None
        changed = self._run(graph)
        got = ir(graph)
        assert got == (unchanged if after is None else after.strip("\n")), f"got\n{got}"
        assert changed == (after is not None), f"got\n{got}"
        assert not self._run(graph), "the pass is not idempotent"
        assert ir(graph) == got
        if wanted is not None:
            tolerance = tolerance or 0.0
            result = _outputs(graph, inputs)
            rtol = 1e-5 if tolerance else 0.0
            torch.testing.assert_close(result, wanted, rtol=rtol, atol=tolerance, equal_nan=True)
        return graph


def _outputs(graph: torch._C.Graph, inputs: Sequence[object]) -> Any:
    function = torch._C._create_function_from_graph("forward", graph.copy())
    with torch.no_grad(), torch.jit.optimized_execution(False):
        return function(*inputs)


def _block_body(text: str, inputs: int) -> list[str]:
    """Lines of the first block of in_block(), numbered as outside of a block."""
    lines = text.split("\n")
    start = next(i for i, line in enumerate(lines) if "prim::If" in line)
    end = next(i for i, line in enumerate(lines) if line.lstrip().startswith("->"))

    def renumber(match: re.Match[str]) -> str:
        number = int(match.group(1))
        return f"%{number - 2 if number > inputs else number}"

    return [re.sub(r"%(\d+)", renumber, line[4:]) for line in lines[start + 1 : end]]


def in_block(text: str) -> str:
    """The same graph with its body inside the first block of an `if`; the other gives the input."""
    head, body, result = re.match(
        r"\s*graph\((.*?)\):\n(.*)\n\s*return \((.*?)\)", text, re.S
    ).groups()
    first = head.split(":")[0].split(",")[0].strip()
    body = textwrap.indent(body, "    ")
    return (
        f"graph({head}, %condition : bool):\n"
        "  %result : Tensor = prim::If(%condition)\n"
        f"    block0():\n{body}\n      -> ({result})\n"
        f"    block1():\n      -> ({first})\n"
        "  return (%result)\n"
    )

"""Fixtures of the pass tests: run one pass on IR text and compare all that can be compared."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Sequence

import pytest
import torch

from ipex_quant import _C

CheckPass = Callable[..., None]


def nested(text: str) -> str:
    """The same graph with its body inside the first block of an `if`, beside another block."""
    head, body = re.match(r"\s*graph\((.*?)\):\n(.*)", text, re.S).groups()
    body, result = re.match(r"(.*?)\n\s*return \((.*?)\)", body, re.S).groups()
    body = textwrap.indent(body.strip("\n"), "    ")
    first = head.split(":")[0].strip()
    return (
        f"graph({head}, %condition : bool):\n"
        "  %result : Tensor = prim::If(%condition)\n"
        f"    block0():\n{body}\n      -> ({result})\n"
        f"    block1():\n      %other : Tensor = aten::neg({first})\n      -> (%other)\n"
        "  return (%result)\n"
    )


def outputs(graph: torch._C.Graph, inputs: Sequence[object]) -> torch.Tensor:
    """Run a graph as it stands, without torch's own optimizations."""
    with torch.no_grad(), torch.jit.optimized_execution(False):
        return torch._C._create_function_from_graph("forward", graph.copy())(*inputs)


def _check(
    name: str,
    before: str,
    after: str | None,
    constants: Sequence[torch.Tensor],
    expected_constants: Sequence[torch.Tensor] | None,
    inputs: Sequence[object],
) -> None:
    graph = _C.parse_ir(before, list(constants))
    wanted = graph.copy()
    if after is not None:
        wanted = _C.parse_ir(
            after, list(constants if expected_constants is None else expected_constants)
        )
    float_outputs = outputs(
        graph, [x.clone() if isinstance(x, torch.Tensor) else x for x in inputs]
    )
    assert _C.run_pass(name, graph) == (after is not None), _C.canonical(graph)
    assert _C.canonical(graph) == _C.canonical(wanted)
    assert not _C.run_pass(name, graph), "the pass is not idempotent"
    assert _C.canonical(graph) == _C.canonical(wanted)
    torch.testing.assert_close(outputs(graph, inputs), float_outputs, rtol=1e-5, atol=1e-5)


@pytest.fixture
def reload() -> Callable[[torch.jit.ScriptModule], torch.jit.ScriptModule]:
    """A function that saves a module and loads it again."""

    def round_trip(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
        buffer = io.BytesIO()
        torch.jit.save(module, buffer)
        buffer.seek(0)
        return torch.jit.load(buffer)

    return round_trip


@pytest.fixture
def check_pass() -> CheckPass:
    """Check a pass on IR text, flat and inside a nested block.

    The call `check_pass(name, before, after, constants=(), expected_constants=None, inputs=())`
    asserts exact IR after the pass (`after=None`: it changes nothing), that a second run changes
    nothing, and equal outputs. `constants` are the values of the tensor constants of the text.
    """

    def check(
        name: str,
        before: str,
        after: str | None,
        *,
        constants: Sequence[torch.Tensor] = (),
        expected_constants: Sequence[torch.Tensor] | None = None,
        inputs: Sequence[object] = (),
    ) -> None:
        _check(name, before, after, constants, expected_constants, inputs)
        inner = None if after is None else nested(after)
        _check(name, nested(before), inner, constants, expected_constants, [*inputs, True])

    return check

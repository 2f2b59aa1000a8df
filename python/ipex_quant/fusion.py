"""Fusions of the user: what to find in a model's graph, and what it becomes.

A fusion holds for one compilation (``jit.quantize(..., fusions=[...])``) or, registered, for all
later ones of the process. Nothing is registered by importing.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from ipex_quant import _backend, jit
from ipex_quant.registry import Fusion, Registration, register, registered, unregister

__all__ = [
    "Fusion",
    "Registration",
    "elementwise",
    "post_op",
    "register",
    "registered",
    "rewrite",
    "unregister",
]

#: A guard gets a match; it returns True or None when it holds, else False or the reason.
Guard = Callable[[Any], "bool | str | None"]


def rewrite(
    name: str,
    pattern: str | Callable,
    replacement: str | Callable,
    *,
    example_inputs: Sequence[Any] | None = None,
    guards: Sequence[Guard] = (),
    on: str = "float",
) -> Fusion:
    """A fusion that puts other operators in the place of a pattern.

    Pattern and replacement are TorchScript IR, or Python functions that are traced with the example
    inputs. They have the same inputs and outputs in the same order; the replacement may call any
    registered operator, also one of the user's.

    Args:
        name: unique; stands in reports and messages.
        pattern: what to find. Inputs stand for any value, constants for themselves.
        replacement: what to put.
        example_inputs: for functions: a tensor, or a number, per argument. A number stands for any
            number, as for scales and zero points; the pattern must not use it otherwise.
        guards: functions named by a statement that must hold, such as ``weight_is_constant``. Each
            gets the match: ``match.constant("w")`` is the constant of an input or inner value, or
            None, ``match.ops`` and ``match.sites`` list the matched operators and their sites.
        on: "float": the normalized graph before quantization. "int8": the graph with its
            ``ipex_quant::quantize(x, scale, zero_point)`` and ``dequantize`` nodes.

    Raises:
        TypeError: an argument has the wrong type, or a function comes without example inputs.
        ValueError: a text does not parse, the sides do not fit, an operator is not registered, or
            the replacement holds the pattern again; the message quotes the pattern.
    """
    if on not in ("float", "int8"):
        raise ValueError(f"on must be 'float' or 'int8', got {on!r}")
    with _as_value_error():
        native = _backend.rewrite_fusion(
            name,
            _graph(name, "pattern", pattern, example_inputs),
            _graph(name, "rewrite", replacement, example_inputs),
            on == "int8",
            _named(guards),
        )
    return Fusion(name, "rewrite", native)


def post_op(
    name: str,
    pattern: str | Callable,
    steps: str,
    *,
    example_inputs: Sequence[torch.Tensor] | None = None,
    guards: Sequence[Guard] = (),
) -> Fusion:
    """A fusion that writes a pattern as epilogue steps of the int8 kernel that makes its input.

    Args:
        name: unique; stands in reports and messages.
        pattern: a function of the kernel's float result, and perhaps of one tensor that broadcasts
            to it.
        steps: what it is, such as ``"mul(0.5)|tanh"``; the tensor is read by ``add_f32`` or
            ``mul_f32``. See docs/fusions.md for all steps.
        example_inputs: tensors to trace a function with.
        guards: as for `rewrite`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the steps do not exist, do not fit the pattern, or give other numbers.
    """
    with _as_value_error():
        graph = _graph(name, "pattern", pattern, example_inputs)
        native = _backend.post_op_fusion(name, graph, steps, _named(guards))
    fusion = Fusion(name, "post_op", native)
    _check_steps(fusion, steps)
    return fusion


def elementwise(name: str, function: str | Callable, *, guards: Sequence[Guard] = ()) -> Fusion:
    """A fusion that turns a function of each element into a table of 256 bytes.

    Behind a convolution, linear, matmul or sum of two tensors the table is a part of the kernel's
    epilogue, so that the function costs about what relu does. The kernel's result is quantized with
    the range that calibration saw at the function's input, and looked up. The function stays float,
    with the reason in the report, where its input is not int8, its result is read in float, or
    calibration has no range for its input.

    Args:
        name: unique; stands in reports and messages.
        function: a Python function or module of one float tensor, or IR text.
        guards: as for `rewrite`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: it is no function of each element by itself.
    """
    with _as_value_error():
        graph = _graph(name, "pattern", function, [torch.linspace(-3, 3, 24).reshape(2, 3, 4)])
        native = _backend.elementwise_fusion(name, graph, _named(guards))
    fusion = Fusion(name, "elementwise", native)
    _check_elementwise(fusion)
    return fusion


@contextlib.contextmanager
def _as_value_error() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def _named(guards: Sequence[Guard]) -> list[tuple[str, Callable[[Any], str]]]:
    named = []
    for guard in guards:
        if not callable(guard):
            raise TypeError(f"a guard must be a function, got {type(guard).__name__}")
        statement = getattr(guard, "__name__", type(guard).__name__)
        named.append((statement, _reason_of(guard)))
    return named


def _reason_of(guard: Guard) -> Callable[[Any], str]:
    def refuse(match: Any) -> str:
        said = guard(match)
        if said is None or said is True:
            return ""
        return "does not hold" if said is False else str(said)

    return refuse


def _graph(name: str, side: str, source: Any, example_inputs: Any) -> Any:
    if isinstance(source, str):
        return _backend.parse_fusion_ir(name, side, source)
    if not callable(source):
        raise TypeError(
            f"the {side} of fusion {name!r} must be IR text or a function, got "
            f"{type(source).__name__}"
        )
    if example_inputs is None:
        raise TypeError(
            f"the {side} of fusion {name!r} is a function; give example_inputs to trace it with"
        )
    if isinstance(source, nn.Module) and source.training:
        raise ValueError(f"fusion {name!r}: its module is in training mode; call .eval() first")
    inputs = list(example_inputs)
    numbers = [(i, v) for i, v in enumerate(inputs) if not isinstance(v, torch.Tensor)]
    for i, value in numbers:
        _check_number(name, i, value)
    traced = jit.trace_function(source, inputs)
    normalized, _ = _backend.normalize(traced._c, [], [])
    return _backend.function_graph(
        name, normalized, _parameter_names(source, len(inputs)), numbers, side == "pattern"
    )


def _check_number(name: str, position: int, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(
            f"fusion {name!r}: example input {position} must be a tensor or a number, got "
            f"{type(value).__name__}"
        )
    if value in (-1, 0, 1, 2):
        raise ValueError(
            f"fusion {name!r}: example input {position} is {value}, which stands for any number "
            "and must be told from the constants of the function; give an unusual one"
        )


def _parameter_names(function: Callable, count: int) -> list[str]:
    target = function.forward if isinstance(function, nn.Module) else function
    try:
        names = [p.name for p in inspect.signature(target).parameters.values()]
    except (TypeError, ValueError):  # a builtin function has no signature
        names = []
    return names if len(names) == count else [f"x{i}" for i in range(count)]


def _check_elementwise(fusion: Fusion) -> None:
    function = jit.function_of(fusion.native.pattern)
    x = torch.linspace(-8, 8, 256).reshape(16, 16)
    with torch.no_grad():
        y = function(x)
        same_kind = isinstance(y, torch.Tensor) and y.dtype == x.dtype and y.shape == x.shape
        if not same_kind:
            raise ValueError(_complain(fusion, f"gives {_show(y)} for {_show(x)}"))
        order = torch.randperm(256, generator=torch.Generator().manual_seed(0))[:240]
        mixed = function(x.flatten()[order].reshape(8, 30)).flatten()
    if not torch.allclose(mixed, y.flatten()[order], rtol=1e-4, atol=1e-5, equal_nan=True):
        raise ValueError(_complain(fusion, "gives an element that depends on other elements"))


def _complain(fusion: Fusion, what: str) -> str:
    return (
        f"fusion {fusion.name!r}: its function {what}; expected a float32 result of the same "
        f"shape, each element a function of one element of the input\nits pattern is\n"
        f"{fusion.pattern}"
    )


def _show(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {list(value.shape)}"
    return type(value).__name__


def _check_steps(fusion: Fusion, steps: str) -> None:
    """Compare the pattern with its steps in the epilogue of a sum with zeros."""
    scale, zero = 16 / 255, 128
    codes = torch.arange(256, dtype=torch.uint8).reshape(4, 64)
    x = torch.ops.ipex_quant.dequantize(codes, scale, zero)
    others = [torch.linspace(-2, 2, 256).reshape(4, 64)]
    others = others if "_f32" in steps else []
    packed = torch.ops.ipex_quant.binary_prepack("add", scale, zero, scale, zero, steps)
    got = torch.ops.ipex_quant.binary(codes, torch.full_like(codes, zero), packed, others)
    with torch.no_grad():
        want = jit.function_of(fusion.native.pattern)(x, *others)
    wrong = ~torch.isclose(got, want, rtol=1e-3, atol=1e-4, equal_nan=True)
    if wrong.any():
        at = int(wrong.flatten().nonzero()[0])
        raise ValueError(
            f"fusion {fusion.name!r}: its pattern gives {want.flatten()[at]:g} for "
            f"{x.flatten()[at]:g}, its steps {steps!r} give {got.flatten()[at]:g}\nits pattern is\n"
            f"{fusion.pattern}"
        )

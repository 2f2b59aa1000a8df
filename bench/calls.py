"""Expressions in TorchScript, as a model evaluates them, that the benchmarks check and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import ipex_quant  # noqa: F401  (registers the operators)


def _type_of(value: Any) -> str:
    """The TorchScript type of an input."""
    if isinstance(value, list):
        return f"List[{_type_of(value[0])}]"
    return "Tensor" if isinstance(value, torch.Tensor) else value._type().qualified_name()


@dataclass
class Call:
    """An expression of `inputs`: tensors, packed objects and lists of them, by name."""

    expression: str
    inputs: dict[str, Any]

    @property
    def operator(self) -> str:
        """The name of the operator that the expression calls."""
        name = self.expression.split("(")[0]
        return name.removeprefix("torch.").removeprefix("ops.").removeprefix("nn.functional.")

    def repeated(self) -> Callable[[int], torch.Tensor]:
        """A function that evaluates the expression n times; a call from Python costs 10 us more."""
        parameters = "".join(f"{name}: {_type_of(x)}, " for name, x in self.inputs.items())
        unit = torch.jit.CompilationUnit(
            f"def run({parameters}n: int) -> Tensor:\n"
            f"    result = torch.empty(0)\n"
            f"    for _ in range(n):\n"
            f"        result = {self.expression}\n"
            f"    return result\n"
        )

        def run(n: int) -> torch.Tensor:
            # The optimizer would unroll the loop and drop the calls that repeat one another.
            with torch.jit.optimized_execution(False):
                return unit.run(*self.inputs.values(), n)

        return run


def check(name: str, got: torch.Tensor, expected: torch.Tensor, tolerance: float = 0.0) -> None:
    """Stop the program if a result is not what is expected.

    Bytes may differ by one step, because ours are exact and theirs may not be; floats by
    `tolerance` of the largest magnitude that is expected.
    """
    form, wanted = (got.dtype, got.shape), (expected.dtype, expected.shape)
    if form != wanted:
        raise SystemExit(f"{name}: result is {form}, expected {wanted}")
    if bool((expected == expected.flatten()[0]).all()):
        raise SystemExit(f"{name}: all results are the same; choose inputs that tell more")
    if got.dtype == torch.uint8:
        worst, limit = int((got.int() - expected.int()).abs().max()), 1.0
    else:
        worst = float((got - expected).abs().max() / expected.abs().max())
        limit = tolerance
    if not worst <= limit:  # a NaN differs, too
        unit = "steps" if got.dtype == torch.uint8 else "of the largest"
        raise SystemExit(f"{name}: results differ by {worst:.3g} {unit}, expected {limit:.3g}")

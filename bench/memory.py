"""Speed of the operators that only read and write, as a part of copying as many bytes.

    python -m bench.memory [--csv file]

An operator that reads r and writes w bytes stands beside a copy of (r + w) / 2 bytes into memory
that is there already: it moves as many bytes through a set of the same size. Both are called from
TorchScript, as by a model, in short stretches that alternate; the best stretch of each counts. A
row is checked before it is timed.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from bench.timing import as_written, best_times
from ipex_quant import _C

ops = torch.ops.ipex_quant
COLUMNS = ["date", "isa", "op", "case", "bytes", "us", "gigabytes_per_s", "percent_of_copy"]
SIZES = [1 << 18, 1 << 21, 1 << 24]
HERE, THERE = (0.02, 3), (0.03, 7)
"""Scale and zero point of what is read and of what is written."""


@dataclass
class Row:
    """One case: an expression of `inputs` in TorchScript gives what `expected()` computes."""

    op: str
    case: str
    call: str
    inputs: dict[str, torch.Tensor | torch.ScriptObject]
    expected: Callable[[], torch.Tensor]


def dequantized(q: torch.Tensor) -> torch.Tensor:
    scale, zero_point = HERE
    return (q.int() - zero_point).float() * torch.tensor(scale)


def quantized(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    inverse = 1 / torch.tensor(scale)
    return (torch.round(x * inverse) + zero_point).clamp(0, 255).to(torch.uint8)


def value_rows(n: int) -> Iterator[Row]:
    """Operators on n values."""
    x, q = torch.randn(n) * 2, torch.randint(0, 256, (n,), dtype=torch.uint8)
    other, table = q.flip(0), torch.randperm(256).to(torch.uint8)
    packed = ops.binary_prepack("add", *HERE, *HERE, "quantize({},{})".format(*THERE))
    case = f"{n >> 10} Ki values"
    yield Row(
        *("quantize", case, "quantize(x, {}, {})".format(*HERE)),
        *({"x": x}, lambda: quantized(x, *HERE)),
    )
    yield Row(
        *("dequantize", case, "dequantize(q, {}, {})".format(*HERE)),
        *({"q": q}, lambda: dequantized(q)),
    )
    yield Row(
        *("requantize", case, "requantize(q, {}, {}, {}, {})".format(*HERE, *THERE)),
        *({"q": q}, lambda: quantized(dequantized(q), *THERE)),
    )
    yield Row("lut", case, "lut(q, table)", {"q": q, "table": table}, lambda: table[q.int()])
    yield Row(
        *("add", case, "binary(q, other, packed, [])"),
        {"q": q, "other": other, "packed": packed},
        lambda: quantized(dequantized(q) + dequantized(other), *THERE),
    )


def image_rows() -> Iterator[Row]:
    """Operators on images, of the sizes that ResNet-50 has at batch 4."""
    x = torch.randn(4, 3, 224, 224) * 2
    yield Row(
        *("quantize_channels_last", "4x3x224x224"),
        *("quantize_channels_last(x, {}, {})".format(*HERE), {"x": x}),
        lambda: quantized(x, *HERE),
    )
    wide = torch.randint(0, 256, (4, 64, 112, 112), dtype=torch.uint8)
    wide = wide.contiguous(memory_format=torch.channels_last)
    yield Row(
        *("max_pool 3x3/2", "4x64x112x112"),
        *("max_pool(q, [3, 3], [2, 2], [1, 1], [1, 1], False)", {"q": wide}),
        lambda: torch.max_pool2d(wide.float(), 3, 2, 1).to(torch.uint8),
    )
    deep = torch.randint(0, 256, (4, 2048, 7, 7), dtype=torch.uint8)
    deep = deep.contiguous(memory_format=torch.channels_last)
    yield Row(
        *("adaptive_avg_pool", "4x2048x7x7"),
        "adaptive_avg_pool(q, [1, 1], {}, {}, {}, {})".format(*HERE, *THERE),
        {"q": deep},
        lambda: quantized(dequantized(deep).mean((2, 3), keepdim=True), *THERE),
    )


def rows() -> Iterator[Row]:
    for n in SIZES:
        yield from value_rows(n)
    yield from image_rows()


def repeated(
    call: str, inputs: dict[str, torch.Tensor | torch.ScriptObject]
) -> Callable[[int], torch.Tensor]:
    """A function that evaluates the expression n times, as a model would: in TorchScript."""

    def type_of(value: torch.Tensor | torch.ScriptObject) -> str:
        return "Tensor" if isinstance(value, torch.Tensor) else value._type().qualified_name()

    parameters = "".join(f"{name}: {type_of(value)}, " for name, value in inputs.items())
    unit = torch.jit.CompilationUnit(
        f"def run({parameters}n: int) -> Tensor:\n"
        f"    y = torch.empty(0)\n"
        f"    for _ in range(n):\n"
        f"        y = {call}\n"
        f"    return y\n"
    )
    return as_written(unit.run, *inputs.values())


def measure(row: Row, seconds: float) -> list[str]:
    """The row's columns from `op` on, after a check to one step of quantization."""
    run = repeated(f"torch.ops.ipex_quant.{row.call}", row.inputs)
    got, expected = run(1), row.expected()
    worst = float((got.float() - expected.float()).abs().max())
    if worst > 1:
        raise SystemExit(f"{row.op} {row.case}: results differ by {worst}")
    read = [value for value in row.inputs.values() if isinstance(value, torch.Tensor)]
    moved = sum(tensor.nbytes for tensor in [*read, got])
    source = torch.randint(0, 256, (moved // 2,), dtype=torch.uint8)
    target = torch.zeros_like(source)
    copy = repeated("target.copy_(source)", {"target": target, "source": source})
    ours, theirs = best_times(run, copy, seconds=seconds)
    return [
        *(row.op, row.case, str(moved), f"{ours * 1e6:.1f}", f"{moved / ours * 1e-9:.1f}"),
        f"{100 * theirs / ours:.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="per row")
    parser.add_argument("--csv", type=pathlib.Path, help="write the rows here, too")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    written = []
    with torch.inference_mode():
        for row in rows():
            values = measure(row, arguments.seconds)
            written.append([datetime.date.today().isoformat(), _C.isa(), *values])
            op, case, _, us, rate, percent = values
            print(
                f"{op:24} {case:18} {us:>9} us {rate:>6} GB/s {percent:>4} % of a copy", flush=True
            )
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *written])


if __name__ == "__main__":
    main()

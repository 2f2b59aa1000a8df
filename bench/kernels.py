"""Speed of the int8 kernels, as a part of the machine's peak and beside torch's onednn operators.

    python -m bench.kernels [--op linear conv depthwise matmul attention] [--threads 1] [--csv file]

The operators run inside TorchScript, as they do in a model: a call from Python costs 10 us more.
The competitor of matmul and attention is torch's own in float32: it has none of int8 tensors.
A row of a few rows times many weights is bound by reading these: it stands beside a plain reading
of as many bytes, from the cache that holds them. A row is checked before it is timed. Times are
taken in short stretches that alternate between the two competitors; the best stretch of each
counts, because other programs only ever make one longer.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import datetime
import pathlib
import sys
from collections.abc import Callable, Iterator

import torch

from bench.kernel_calls import (
    OUT_SCALE,
    X_SCALE,
    X_ZERO_POINT,
    OurAttention,
    OurConv,
    OurLinear,
    OurMatmul,
    TheirAttention,
    TheirConv,
    TheirLinear,
    TheirMatmul,
)
from bench.limits import describe, peak, read_rate
from bench.timing import as_written, best_times
from ipex_quant import _C

ops = torch.ops.ipex_quant
onednn = torch.ops.onednn

COLUMNS = [
    *("date", "isa", "threads", "op", "case", "macs", "us", "gmacs", "percent_of_peak"),
    *("onednn_us", "speedup", "percent_of_read"),
]


@dataclasses.dataclass
class Row:
    """One case: `ours(n)` and `theirs(n)` compute the same uint8 result n times."""

    op: str
    case: str
    macs: int
    ours: Callable[[int], torch.Tensor]
    theirs: Callable[[int], torch.Tensor]
    weight_bytes: int = 0


def repeated(module: torch.nn.Module, x: torch.Tensor) -> Callable[[int], torch.Tensor]:
    """`module` as a function of the number of calls."""
    return as_written(torch.jit.script(module.eval()), x)


def random_u8(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def random_s8(*shape: int) -> torch.Tensor:
    return torch.randint(-127, 128, shape, dtype=torch.int8)


LINEAR = [
    # BERT-base, MiniLM, ViT; a square; one row
    *((128, 768, 768), (128, 3072, 768), (128, 768, 3072), (32, 384, 384), (32, 1536, 384)),
    *((32, 384, 1536), (197, 2304, 768), (1024, 1024, 1024), (16, 4096, 1024)),
    *((1, 1000, 2048), (1, 1024, 1024), (1, 4096, 1024)),
]


def linear_rows() -> Iterator[Row]:
    for m, n, k in LINEAR:
        x, w, s, b = random_u8(m, k), random_s8(n, k), torch.rand(n) * 0.01, torch.randn(n)
        packed = ops.linear_prepack(w, s, b, X_SCALE, X_ZERO_POINT, f"quantize({OUT_SCALE},100)")
        their_weight = onednn.qlinear_prepack(w, [m, k])
        yield Row(
            "linear",
            f"{m}x{n}x{k}",
            m * n * k,
            repeated(OurLinear(packed), x),
            repeated(TheirLinear(their_weight, s, b), x),
            n * k,
        )


# name, channels in, channels out, size, kernel, stride, padding, groups
CONV = [
    # ResNet-50
    ("first 7x7/2 3-64 224", 3, 64, 224, 7, 2, 3, 1),
    ("1x1 64-64 56", 64, 64, 56, 1, 1, 0, 1),
    ("3x3 64-64 56", 64, 64, 56, 3, 1, 1, 1),
    ("1x1 64-256 56", 64, 256, 56, 1, 1, 0, 1),
    ("1x1 256-64 56", 256, 64, 56, 1, 1, 0, 1),
    ("1x1 256-128 56", 256, 128, 56, 1, 1, 0, 1),
    ("3x3/2 128-128 56", 128, 128, 56, 3, 2, 1, 1),
    ("1x1 128-512 28", 128, 512, 28, 1, 1, 0, 1),
    ("1x1/2 256-512 56", 256, 512, 56, 1, 2, 0, 1),
    ("1x1 512-128 28", 512, 128, 28, 1, 1, 0, 1),
    ("3x3 128-128 28", 128, 128, 28, 3, 1, 1, 1),
    ("3x3/2 256-256 28", 256, 256, 28, 3, 2, 1, 1),
    ("1x1 256-1024 14", 256, 1024, 14, 1, 1, 0, 1),
    ("1x1 1024-256 14", 1024, 256, 14, 1, 1, 0, 1),
    ("3x3 256-256 14", 256, 256, 14, 3, 1, 1, 1),
    ("3x3/2 512-512 14", 512, 512, 14, 3, 2, 1, 1),
    ("1x1 512-2048 7", 512, 2048, 7, 1, 1, 0, 1),
    ("1x1 2048-512 7", 2048, 512, 7, 1, 1, 0, 1),
    ("3x3 512-512 7", 512, 512, 7, 3, 1, 1, 1),
    # EfficientNet-Lite0, a ViT's patches, ResNeXt
    ("first 3x3/2 3-32 224", 3, 32, 224, 3, 2, 1, 1),
    ("1x1 32-16 112", 32, 16, 112, 1, 1, 0, 1),
    ("1x1 16-96 112", 16, 96, 112, 1, 1, 0, 1),
    ("1x1 24-144 56", 24, 144, 56, 1, 1, 0, 1),
    ("1x1 144-24 56", 144, 24, 56, 1, 1, 0, 1),
    ("1x1 40-240 28", 40, 240, 28, 1, 1, 0, 1),
    ("1x1 1152-192 7", 1152, 192, 7, 1, 1, 0, 1),
    ("patches 16x16 3-192 224", 3, 192, 224, 16, 16, 0, 1),
    ("3x3 groups 32 128-128 56", 128, 128, 56, 3, 1, 1, 32),
    # the last layers of super-resolution and of a decoder
    ("3x3 64-3 224", 64, 3, 224, 3, 1, 1, 1),
    ("3x3 32-1 112", 32, 1, 112, 3, 1, 1, 1),
]

DEPTHWISE = [
    ("3x3 32 112", 32, 32, 112, 3, 1, 1, 32),
    ("3x3/2 96 112", 96, 96, 112, 3, 2, 1, 96),
    ("3x3 144 56", 144, 144, 56, 3, 1, 1, 144),
    ("5x5/2 144 56", 144, 144, 56, 5, 2, 2, 144),
    ("5x5 240 28", 240, 240, 28, 5, 1, 2, 240),
    ("3x3 480 14", 480, 480, 14, 3, 1, 1, 480),
    ("5x5 672 14", 672, 672, 14, 5, 1, 2, 672),
    ("5x5 1152 7", 1152, 1152, 7, 5, 1, 2, 1152),
    ("3x3 1152 7", 1152, 1152, 7, 3, 1, 1, 1152),
]


def conv_rows(op: str, cases: list[tuple]) -> Iterator[Row]:
    for name, cin, cout, size, kernel, stride, padding, groups in cases:
        x = random_u8(1, cin, size, size).contiguous(memory_format=torch.channels_last)
        w = random_s8(cout, cin // groups, kernel, kernel)
        s, b = torch.rand(cout) * 0.01, torch.randn(cout)
        window = ([stride] * 2, [padding] * 2, [1, 1])
        epilogue = f"relu|quantize({OUT_SCALE},0)"
        packed = ops.conv_prepack(
            *(w, s, b, *window, [0, 0], groups, False, X_SCALE, X_ZERO_POINT, epilogue)
        )
        their_weight = onednn.qconv_prepack(
            *(w, s, X_SCALE, X_ZERO_POINT, *window, groups, list(x.shape))
        )
        out = (size + 2 * padding - kernel) // stride + 1
        yield Row(
            op,
            name,
            out * out * w.numel(),
            repeated(OurConv(packed), x),
            repeated(TheirConv(their_weight, s, b, window, groups), x),
        )


# heads, rows, columns, depth, whether the right operand is transposed: BERT-base and ViT attention
MATMUL = [
    *((12, 128, 128, 64, True), (12, 384, 384, 64, True), (12, 197, 197, 64, True)),
    *((12, 128, 64, 128, False), (12, 384, 64, 384, False), (12, 197, 64, 197, False)),
]


def matmul_rows() -> Iterator[Row]:
    for heads, m, n, k, transposed in MATMUL:
        left = random_u8(heads, m, k)
        right = random_u8(heads, n, k).transpose(1, 2) if transposed else random_u8(heads, k, n)
        packed = ops.matmul_prepack(X_SCALE, X_ZERO_POINT, X_SCALE, 131, "")
        yield Row(
            "matmul",
            f"{heads}x{m}x{n}x{k}{' transposed' if transposed else ''}",
            heads * m * n * k,
            repeated(OurMatmul(packed, right), left),
            repeated(
                TheirMatmul((right.float() - 131) * X_SCALE),
                (left.float() - X_ZERO_POINT) * X_SCALE,
            ),
        )


# heads, tokens: BERT-base and ViT
ATTENTION = [(12, 128), (12, 384), (12, 197)]


def attention_rows() -> Iterator[Row]:
    for heads, tokens in ATTENTION:
        size = 64
        q, k, v = (random_u8(tokens, heads, size).transpose(0, 1) for _ in range(3))
        p_scale, v_scale = 1 / 255, 0.02
        packed = ops.attention_prepack(
            *(X_SCALE, 128, X_SCALE, 131, p_scale, 0, v_scale, 126, f"mul({size**-0.5})", "")
        )
        floats = (
            (x.float() - z) * s
            for x, z, s in ((q, 128, X_SCALE), (k, 131, X_SCALE), (v, 126, v_scale))
        )
        wide_q, wide_k, wide_v = floats
        yield Row(
            "attention",
            f"{heads}x{tokens}x{tokens}x{size}",
            2 * heads * tokens * tokens * size,
            repeated(OurAttention(packed, k.transpose(1, 2), v), q),
            repeated(TheirAttention(wide_k, wide_v), wide_q),
        )


ROWS: dict[str, Callable[[], Iterator[Row]]] = {
    "linear": linear_rows,
    "conv": lambda: conv_rows("conv", CONV),
    "depthwise": lambda: conv_rows("depthwise", DEPTHWISE),
    "matmul": matmul_rows,
    "attention": attention_rows,
}


def check(row: Row) -> None:
    """Both results agree up to the rounding of one step: ours is exact, theirs may not be."""
    ours, theirs = row.ours(1).int(), row.theirs(1).int()
    worst = int((ours - theirs).abs().max())
    if worst > 1:
        raise SystemExit(f"{row.op} {row.case}: results differ by {worst} steps")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--op", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="per row")
    parser.add_argument("--csv", type=pathlib.Path, help="write the rows here, too")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    print(describe(), file=sys.stderr)
    limit = peak() * arguments.threads
    written = []
    for op in arguments.op:
        for row in ROWS[op]():
            check(row)
            before = read_rate(row.weight_bytes)
            ours, theirs = best_times(row.ours, row.theirs, seconds=arguments.seconds)
            reading = row.weight_bytes * 1e-9 / max(before, read_rate(row.weight_bytes))
            bound_by_reading = reading > row.macs * 1e-9 / limit
            percent_of_read = f"{100 * reading / ours:.1f}" if bound_by_reading else ""
            values = [
                *(datetime.date.today().isoformat(), _C.isa(), arguments.threads, op, row.case),
                *(row.macs, f"{ours * 1e6:.1f}", f"{row.macs / ours * 1e-9:.1f}"),
                *(f"{row.macs / ours * 1e-7 / limit:.1f}", f"{theirs * 1e6:.1f}"),
                *(
                    f"{theirs / ours:.2f}",
                    f"{100 * reading / ours:.1f}" if bound_by_reading else "",
                ),
            ]
            written.append(values)
            share = f"{values[8]:>5} % of the peak"
            if bound_by_reading:
                share = f"{percent_of_read:>5} % of reading "
            print(
                f"{op:10} {row.case:26} {values[6]:>9} us {values[7]:>7} GMAC/s {share} "
                f"| torch {values[9]:>9} us, {values[10]:>5} times ours",
                flush=True,
            )
    if arguments.csv:
        with open(arguments.csv, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *written])


if __name__ == "__main__":
    main()

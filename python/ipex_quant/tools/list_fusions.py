"""Write docs/fusions.md: `python -m ipex_quant.tools.list_fusions > docs/fusions.md`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import click

from ipex_quant import _C

HEAD = """\
# Fusions

Written by `python -m ipex_quant.tools.list_fusions` from the tables of the passes; do not edit.
[adding-a-fusion](adding-a-fusion.md) adds one, yours or a built-in one.

"""
KERNELS = """\
## Ops with an int8 kernel

Each becomes the operator on the right when its operands are int8. What stands behind it in the
model joins its epilogue, as far as the last column says; the result is float where nothing is
quantized.

"""
POST_OPS = """\
## Post-ops

Float steps in the epilogue, at most 8 with 4 tensors. `_u8` steps read an int8 tensor, `_f32`
steps a float one; both broadcast to the result. Written-out forms of silu, hardswish, mish and
gelu count as these.

"""
TABLES = """\
## Tables

A function of one element between int8 tensors is a table of 256 bytes, `ipex_quant::lut`. Chains
of them are one table. Behind a kernel that ends in a table it is a part of the epilogue.

"""
MOVES = """\
## Ops that hand int8 data on

Pairs of quantize and dequantize move across them and cancel.

"""
NORMS = """\
## Other

* softmax over the last dimension, and quantize: `ipex_quant::softmax`
* rms_norm, written out too, whose result is only quantized: `ipex_quant::rms_norm_quantize`
* group_norm or instance_norm, functions of one number (silu, gelu, relu), and quantize:
  `ipex_quant::group_norm`
* layer_norm and quantize: `ipex_quant::layer_norm_quantize`, or `ipex_quant::layer_norm` where
  the float result is read, too; a product with a constant per channel between them joins
* several linears of one input whose results are quantized (query, key and value): one product and
  a split
* batch_norm behind a convolution or linear goes into its weight; zero padding in front of a
  convolution becomes the convolution's own
* a linear between a reshape to rows and one back reads its input as it is; what is behind it joins
* sums and products behind a permute of a linear's result (ConvNeXt) join the linear, and the
  permute goes behind them
* scaled_dot_product_attention, baddbmm and addmm are taken apart first
"""


def _table(rows: Sequence[tuple[str, ...]], head: tuple[str, ...]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    cells = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines]
    return "".join(f"| {line} |\n" for line in cells)


def _name(op: str) -> str:
    return op.removeprefix("aten::")


def text() -> str:
    """The whole page."""
    rows = {part: list(group) for part, group in groupby(_C.list_fusions(), key=lambda row: row[0])}
    kernels = [
        (", ".join(_name(op) for _, op, _, _ in group), becomes, ends_in)
        for (becomes, ends_in), group in (
            (key, list(group)) for key, group in groupby(rows["kernel"], key=lambda row: row[2:])
        )
    ]
    post_ops = [(_name(op), f"`{steps}`") for _, op, steps, _ in rows["post-op"]]
    listed = {part: ", ".join(_name(op) for _, op, _, _ in rows[part]) for part in rows}
    return (
        HEAD
        + KERNELS
        + _table(kernels, ("ops", "operator", "its epilogue ends in"))
        + "\n"
        + POST_OPS
        + _table(post_ops, ("op", "steps"))
        + "\n"
        + TABLES
        + _wrapped(listed["table"])
        + "\n"
        + MOVES
        + _wrapped(listed["moves"])
        + "\n"
        + NORMS
    )


def _wrapped(names: str) -> str:
    lines = [""]
    for word in names.split(" "):
        if len(lines[-1]) + len(word) > 100:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return "\n".join(lines) + "\n"


@click.command()
def main() -> None:
    """Print docs/fusions.md."""
    click.echo(text(), nl=False)


if __name__ == "__main__":
    main()

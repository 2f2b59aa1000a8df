"""Speed of the int8 kernels, as a part of the machine's peak and beside torch's own operators.

    python -m bench.kernels [--op linear conv lstm ...] [--threads 1] [--csv file]

The operators run inside TorchScript, as they do in a model. The competitor is onednn's operator or
torch's quantized one; matmul, attention and transposed convolutions, of which torch has none that
would do, stand beside torch's own in float32. The column `torch_op` names it.
A row of a few rows times many weights is bound by reading these: it stands beside a plain reading
of as many bytes, from the cache that holds them. Of a sequence these are the hidden weights, which
each step reads again; the product of all inputs takes time beside that. A row is checked before it
is timed. Times are taken in short stretches that alternate between the two competitors; the best
stretch of each counts, because other programs only ever make one longer.
The file opens with what the machine can do at most, in rows of the op `limit`. Where there is no
limit, as for the reference kernels, a share is empty.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import pathlib
import sys
from collections.abc import Callable, Iterator
from functools import partial

import torch

from bench.conv_rows import CONV, DEPTHWISE, conv_rows, transposed_rows
from bench.kernel_row import Row
from bench.limits import INT8_PEAK, Limit, describe, measure_limits, read_rate
from bench.product_rows import attention_rows, linear_dynamic_rows, linear_rows, matmul_rows
from bench.recurrent_rows import cell_rows, sequence_rows
from bench.timing import best_times
from ipex_quant import _C

COLUMNS = [
    *("date", "isa", "threads", "op", "case", "macs", "us", "gmacs", "percent_of_peak"),
    *("torch_us", "speedup", "percent_of_read", "torch_op", "gigabytes_per_s"),
]


def all_conv_rows() -> Iterator[Row]:
    yield from conv_rows("conv", CONV)
    yield from transposed_rows()


ROWS: dict[str, Callable[[], Iterator[Row]]] = {
    "linear": linear_rows,
    "linear_dynamic": linear_dynamic_rows,
    "conv": all_conv_rows,
    "depthwise": partial(conv_rows, "depthwise", DEPTHWISE),
    "matmul": matmul_rows,
    "attention": attention_rows,
    "lstm": partial(sequence_rows, "lstm"),
    "gru": partial(sequence_rows, "gru"),
    "lstm_cell": partial(cell_rows, "lstm"),
    "gru_cell": partial(cell_rows, "gru"),
}


def seconds_at(rate: float, amount: float) -> float:
    """The least time for so many multiply-adds or bytes; 0 where the rate is not known."""
    return amount * 1e-9 / rate if rate else 0.0


def measure(row: Row, peak: float, seconds: float) -> dict[str, str]:
    """The columns of a row from `op` on, after its check; `peak` in 1e9 multiply-adds/s."""
    row.check()
    size = row.weight_bytes
    before = read_rate(size) if size else 0.0
    ours, theirs = best_times(row.ours.repeated(), row.theirs.repeated(), seconds=seconds)
    moved = size * row.reads
    reading = seconds_at(max(before, read_rate(size)) if size else 0.0, moved)
    multiplying = seconds_at(peak, row.macs)
    values = {
        **{"op": row.op, "case": row.case, "macs": str(row.macs), "us": f"{ours * 1e6:.1f}"},
        **{"gmacs": f"{row.macs / ours * 1e-9:.1f}", "torch_us": f"{theirs * 1e6:.1f}"},
        **{"speedup": f"{theirs / ours:.2f}", "torch_op": row.theirs.operator},
    }
    if multiplying:
        values["percent_of_peak"] = f"{100 * multiplying / ours:.1f}"
    if reading > multiplying:
        values["percent_of_read"] = f"{100 * reading / ours:.1f}"
        values["gigabytes_per_s"] = f"{moved / ours * 1e-9:.1f}"
    return values


def line(values: dict[str, str]) -> str:
    """What the terminal shows of a row."""
    share = ""
    if "percent_of_read" in values:
        share = f"{values['percent_of_read']:>5} % of reading"
    elif "percent_of_peak" in values:
        share = f"{values['percent_of_peak']:>5} % of the peak"
    return (
        f"{values['op']:14} {values['case']:27} {values['us']:>9} us {values['gmacs']:>7} GMAC/s "
        f"{share:19} | torch {values['torch_us']:>9} us, {values['speedup']:>5} times ours"
    )


def limit_row(limit: Limit) -> dict[str, str]:
    """A limit as a row of the file."""
    column = "gmacs" if limit.unit == "GMAC/s" else "gigabytes_per_s"
    return {"op": "limit", "case": limit.name, column: f"{limit.rate:.1f}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--op", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="per row")
    parser.add_argument("--csv", type=pathlib.Path, help="write the rows here, too")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    limits = measure_limits()
    print(describe(limits), file=sys.stderr)
    peak = arguments.threads * next(limit.rate for limit in limits if limit.name == INT8_PEAK)
    written = [limit_row(limit) for limit in limits if limit.rate]
    with torch.inference_mode():
        for op in arguments.op:
            for row in ROWS[op]():
                written.append(measure(row, peak, arguments.seconds))
                print(line(written[-1]), flush=True)
    if arguments.csv:
        both = {"date": datetime.date.today().isoformat(), "isa": _C.isa()}
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for values in written:
                threads = 1 if values["op"] == "limit" else arguments.threads
                writer.writerow({**both, "threads": threads, **values})


if __name__ == "__main__":
    main()

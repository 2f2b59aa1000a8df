"""Speed of the operators that only read and write, as a part of copying as many bytes.

    python -m bench.memory [--op quantize add ...] [--csv file]

An operator that reads r and writes w bytes stands beside a copy of (r + w) / 2 bytes into memory
that is there already: it moves as many bytes through a set of the same size. The rows of a table
count that are read, not the table. Both are called from TorchScript, as by a model, in short
stretches that alternate; the best stretch of each counts. A row is checked before it is timed.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import pathlib

import torch

from bench.calls import Call
from bench.memory_rows import Row, rows
from bench.timing import best_times
from ipex_quant import _C

COLUMNS = ["date", "isa", "op", "case", "bytes", "us", "gigabytes_per_s", "percent_of_copy"]


def measure(row: Row, seconds: float) -> list[str]:
    """The row's columns from `op` on, after its check."""
    moved = row.check()
    source = torch.randint(0, 256, (moved // 2,), dtype=torch.uint8)
    copy = Call("target.copy_(source)", {"target": torch.zeros_like(source), "source": source})
    ours, theirs = best_times(row.call.repeated(), copy.repeated(), seconds=seconds)
    return [
        *(row.op, row.case, str(moved), f"{ours * 1e6:.1f}", f"{moved / ours * 1e-9:.1f}"),
        f"{100 * theirs / ours:.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--op", nargs="+", help="these operators alone")
    parser.add_argument("--seconds", type=float, default=0.5, help="per row")
    parser.add_argument("--csv", type=pathlib.Path, help="write the rows here, too")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    written = []
    with torch.inference_mode():
        for row in rows():
            if arguments.op and row.op not in arguments.op:
                continue
            values = measure(row, arguments.seconds)
            written.append([datetime.date.today().isoformat(), _C.isa(), *values])
            op, case, _, us, rate, percent = values
            print(
                f"{op:24} {case:26} {us:>9} us {rate:>6} GB/s {percent:>4} % of a copy", flush=True
            )
    if unknown := set(arguments.op or []) - {values[2] for values in written}:
        parser.error(f"no row of {', '.join(sorted(unknown))}")
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *written])


if __name__ == "__main__":
    main()

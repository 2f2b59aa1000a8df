"""Every op of the kernel tables has a row in the benchmarks, and every row's result is right."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench import calls, kernels, memory_rows
from ipex_quant import _C

ROOT = Path(__file__).resolve().parents[2]

# Op of a table (the first column of IQ_KERNEL, or the name of the table's own macro) -> the ops of
# `python -m bench.kernels` or `python -m bench.memory` whose rows time it.
BENCHED = {
    "AveragePixel": ["avg_pool 3x3/2", "adaptive_avg_pool"],
    "Binary": ["add", "mul"],
    "ChannelNorm": ["group_norm"],
    "ColumnSums": ["group_norm"],
    "CopyRows": ["cat"],
    "DEPTHWISE": ["depthwise"],
    "Dequantize": ["dequantize"],
    "DynamicFinish": ["linear_dynamic"],
    "Embedding": ["embedding"],
    "EmbeddingBag": ["embedding_bag"],
    "GEMM": ["linear", "conv"],
    "LayerNorm": ["layer_norm_quantize", "rms_norm_quantize"],
    "MaxPixel": ["max_pool 3x3/2"],
    "PackColumns": ["matmul", "attention"],
    "Quantize": ["quantize"],
    "QuantizePlanes": ["quantize_channels_last"],
    "RECURRENT": ["lstm", "gru", "lstm_cell", "gru_cell"],
    "RowSums": ["matmul"],
    "Softmax": ["softmax", "attention"],
}


@pytest.fixture(autouse=True)
def as_the_programs() -> Iterator[None]:
    """One thread and no gradients."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(before)


def ops_of_tables() -> set[str]:
    """The ops of all kernel tables."""
    found = set()
    for path in (ROOT / "kernels").glob("*/table.inc"):
        rows = re.findall(r"^IQ_(\w+)\((\w+)", path.read_text(encoding="utf8"), re.MULTILINE)
        assert rows, path
        found |= {first if macro == "KERNEL" else macro for macro, first in rows}
    return found


def test_every_op_of_the_tables_has_a_row() -> None:
    names = ops_of_tables()
    missing, gone = sorted(names - set(BENCHED)), sorted(set(BENCHED) - names)
    assert not missing, f"{missing}: add a row to bench/*_rows.py, and its op to BENCHED"
    assert not gone, f"{gone}: no table has this op; take it out of BENCHED"
    rows = set(kernels.ROWS) | {row.op for row in memory_rows.rows(sizes=[1 << 10])}
    assert not {op for ops in BENCHED.values() for op in ops} - rows


@pytest.mark.slow  # both: some 15 s
@pytest.mark.parametrize("op", kernels.ROWS)
def test_rows_of_kernels_are_right(op: str) -> None:
    for row in kernels.ROWS[op]():
        assert row.op == op
        row.check()


@pytest.mark.slow
def test_rows_of_memory_are_right() -> None:
    for row in memory_rows.rows():
        row.check()


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def test_shares_of_the_reference_are_empty(tmp_path: Path) -> None:
    """There is no limit to compare with."""
    file = tmp_path / "rows.csv"
    command = ["bench.kernels", "--op", "lstm_cell", "--seconds=0", f"--csv={file}"]
    paths = [str(ROOT / "python"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    result = subprocess.run(
        [sys.executable, "-m", *command],
        env={**os.environ, "IPEX_QUANT_ISA": "reference", "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    rows = rows_of(file)
    assert rows and {row["op"] for row in rows} == {"lstm_cell"}
    for row in rows:
        assert row["isa"] == "reference" and float(row["us"]) > 0
        assert row["torch_op"] == "quantized.quantized_lstm_cell_dynamic"
        assert row["percent_of_peak"] == row["percent_of_read"] == ""


@pytest.mark.skipif(_C.isa() == "reference", reason="the reference has no limits")
def test_limits_are_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows.csv"
    monkeypatch.setattr(
        sys, "argv", ["kernels", "--op", "gru_cell", "--seconds=0", f"--csv={file}"]
    )
    kernels.main()
    rows = rows_of(file)
    limits = {row["case"]: row for row in rows if row["op"] == "limit"}
    assert float(limits["int8 peak"]["gmacs"]) > 0
    assert float(limits["float32 peak"]["gmacs"]) > 0
    for name in limits.keys() - {"int8 peak", "float32 peak"}:
        assert name.startswith("reads from") and float(limits[name]["gigabytes_per_s"]) > 0
    assert all(row["percent_of_peak"] for row in rows if row["op"] != "limit")


BYTES, FLOATS = torch.tensor([1, 2, 9], dtype=torch.uint8), torch.tensor([0.0, 1.0, -4.0])


@pytest.mark.parametrize(
    ("got", "expected", "message"),
    [
        (BYTES + 1, BYTES, None),
        (BYTES + 2, BYTES, "differ by 2 steps, expected 1"),
        (FLOATS + 0.03, FLOATS, None),
        (FLOATS + 0.05, FLOATS, "differ by 0.0125 of the largest, expected 0.01"),
        (FLOATS * torch.nan, FLOATS, "differ by nan"),
        (FLOATS, BYTES, "result is .*float32.*, expected .*uint8"),
        (BYTES[:2], BYTES, "result is .*2.*, expected .*3"),
        (BYTES * 0, BYTES * 0, "all results are the same"),
    ],
)
def test_check(got: torch.Tensor, expected: torch.Tensor, message: str | None) -> None:
    if message is None:
        calls.check("row", got, expected, tolerance=0.01)
        return
    with pytest.raises(SystemExit, match=message):
        calls.check("row", got, expected, tolerance=0.01)

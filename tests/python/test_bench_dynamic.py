"""`python -m bench.dynamic` runs, and our error is no larger than torch's; times are not read."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_rows(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    done = subprocess.run(
        [sys.executable, "-m", "bench.dynamic", "--seconds", "0", "--csv", str(file)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    assert [(row["model"], row["way"]) for row in rows] == [
        (model, way) for model in ("lstm_b1", "gru_b1", "mlp_b1") for way in ("eager", "trace")
    ]
    for row in rows:
        assert 0 < float(row["our_error"]) <= float(row["torch_error"]) < 0.05

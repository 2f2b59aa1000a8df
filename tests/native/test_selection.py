"""What the kernel tables choose on CPUs that this machine is not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "native" / "selection.cpp"


def test_the_first_row_that_a_cpu_covers_is_chosen(tmp_path: Path) -> None:
    """Every table, under every set of features; the program holds stubs in place of the kernels."""
    choices = sorted(ROOT.glob("kernels/*/select.cpp"))
    command = [os.environ.get("CXX", "c++"), "-std=c++17", "-Wall", "-Wextra", "-Werror"]
    command += [f"-I{ROOT}", "-DIPEX_QUANT_X86=1", str(PROGRAM), *map(str, choices)]
    built = tmp_path / "selection"
    subprocess.run([*command, "-o", str(built)], check=True)
    done = subprocess.run([str(built)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_table_is_left_out() -> None:
    text = PROGRAM.read_text(encoding="utf8")
    tables = [str(path.relative_to(ROOT)) for path in ROOT.glob("kernels/*/table.inc")]
    assert tables
    for table in tables:
        assert f'#include "{table}"' in text, table

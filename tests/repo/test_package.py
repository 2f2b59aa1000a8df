"""The wheel holds all that Python and C++ users need; the version is one and the same."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ipex_quant
from ipex_quant import _C

ROOT = Path(__file__).resolve().parents[2]


def test_version_is_that_of_cmake() -> None:
    """CMakeLists.txt names the version; package and library give it back."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf8")
    match = re.search(r"VERSION (\d+\.\d+\.\d+)", text)
    assert match
    assert ipex_quant.__version__ == _C.version() == match.group(1)


def test_cmake_prefix_path_leads_to_the_config() -> None:
    """find_package(ipex_quant) finds its file below this path."""
    config = Path(ipex_quant.cmake_prefix_path) / "ipex_quant" / "ipex_quantConfig.cmake"
    assert config.exists()


@pytest.mark.slow
def test_wheel_is_complete(tmp_path: Path) -> None:
    """`pip wheel .` gives libraries, headers, CMake package and every Python module."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "-w", str(tmp_path), str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        str(p.relative_to(ROOT / "python")) for p in (ROOT / "python/ipex_quant").rglob("*.py")
    }
    assert sources <= names
    for name in (
        "ipex_quant/py.typed",
        "ipex_quant/lib/libipex_quant_runtime.so",
        "ipex_quant/lib/libipex_quant_passes.so",
        "ipex_quant/include/ipex_quant/runtime.h",
        "ipex_quant/include/ipex_quant/steady.h",
        "ipex_quant/share/cmake/ipex_quant/ipex_quantConfig.cmake",
    ):
        assert name in names
    assert any(re.fullmatch(r"ipex_quant/_C\..*\.so", name) for name in names)

"""Looks into the built kernels: each object uses its own instruction set and leaks nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ISA_FILE = re.compile(r"_(avx2|avx2vnni|avx512|avx512vnni|avx512vbmi|avx512amx)\.cpp\.o$")


def objects() -> list[Path]:
    """Kernel objects of the newest build in the tree."""
    builds = sorted(
        ROOT.glob("build/*-torch-*/kernels/CMakeFiles/iq_kernels.dir"),
        key=lambda p: p.stat().st_mtime,
    )
    return sorted(builds[-1].rglob("*.o")) if builds else []


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("objdump") is None, reason="needs binutils"),
    pytest.mark.skipif(not objects(), reason="the tree holds no build: `make build` makes one"),
]


def run(*command: str) -> str:
    """Output of a command that must succeed."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_baseline_objects_run_on_every_cpu() -> None:
    """No file without an ISA in its name uses a register wider than 128 bits."""
    for path in objects():
        if not ISA_FILE.search(path.name):
            wide = re.search(r"%[yz]mm\d+", run("objdump", "-d", "--no-show-raw-insn", str(path)))
            assert wide is None, f"{path.name} uses {wide and wide.group()}"


@pytest.mark.parametrize(
    ("isa", "instruction"),
    [("avx2vnni", "vpdpbusd"), ("avx512vnni", "vpdpbusd"), ("avx512amx", "tdpbusd")],
)
def test_objects_multiply_with_their_instruction(isa: str, instruction: str) -> None:
    """The dot product instruction is there, not an emulation of it."""
    found = [path for path in objects() if path.name.startswith(f"gemm_{isa}")]
    assert found
    for path in found:
        assert instruction in run("objdump", "-d", str(path)), path.name


def functions(path: Path) -> dict[str, list[tuple[int, str]]]:
    """Addresses and instructions of each function of an object."""
    found: dict[str, list[tuple[int, str]]] = {}
    for line in run("objdump", "-dC", "--no-show-raw-insn", str(path)).splitlines():
        if head := re.match(r"[0-9a-f]+ <(.*)>:", line):
            body = found.setdefault(head.group(1), [])
        elif "\t" in line:
            address, instruction = line.split("\t", 1)
            body.append((int(address.strip(" :"), 16), instruction))
    return found


def inner_loop(body: list[tuple[int, str]], instruction: str) -> list[str]:
    """The shortest loop that holds the instruction; all of a function that has none."""
    best = [text for _, text in body]
    for end, jump in body:
        target = re.match(r"j\w+ +([0-9a-f]+)", jump)
        if target is None or int(target.group(1), 16) > end:
            continue
        loop = [text for at, text in body if int(target.group(1), 16) <= at <= end]
        if len(loop) < len(best) and any(text.startswith(instruction) for text in loop):
            best = loop
    return best


def test_tiles_keep_their_sums_in_registers() -> None:
    """No store to the stack stands in the loop over the products of a tile: GCC 12 likes to put one
    behind each of them, and the tile then takes twice the time."""
    found = [path for path in objects() if path.name == "gemm_avx512vnni.cpp.o"]
    assert found
    tiles = {name: body for name, body in functions(found[0]).items() if "gemm_tile<" in name}
    assert len(tiles) >= 6
    for name, body in tiles.items():
        loop = inner_loop(body, "vpdpbusd")
        assert len(loop) < len(body), name
        stores = [line for line in loop if re.match(r"vmov\w+ +%zmm\d+,.*\(%r[sb]p", line)]
        assert not stores, f"{name}: {stores[0]}"


def test_isa_objects_export_no_inline_functions() -> None:
    """A weak symbol compiled for AVX-512 could be linked into code that runs everywhere."""
    for path in objects():
        if ISA_FILE.search(path.name):
            symbols = run("nm", "-C", "--defined-only", str(path)).splitlines()
            weak = [line for line in symbols if re.search(r" [WVu] ", line)]
            assert not weak, f"{path.name}: {weak[:3]}"

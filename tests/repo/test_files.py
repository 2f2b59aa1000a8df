"""Every source file opens with a sentence about itself, is short, and holds no leftovers."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("kernels", "runtime", "passes", "include", "python", "bench", "examples", "tests")
LONGEST = 400

# Longer than LONGEST, and why that reads better than two files.
LONG_FILES: dict[str, str] = {}


def files() -> list[Path]:
    """Source files of the project, build folders left out."""
    found = [ROOT / "setup.py", ROOT / "Makefile", ROOT / "CMakeLists.txt"]
    for folder in FOLDERS:
        found += [
            path
            for path in (ROOT / folder).rglob("*")
            if path.suffix in {".h", ".cpp", ".py", ".inc", ".cmake"}
            or path.name == "CMakeLists.txt"
        ]
    installed = ROOT / "python" / "ipex_quant"
    return sorted(
        path
        for path in found
        if not {"build", "__pycache__"} & set(path.relative_to(ROOT).parts)
        and not any((installed / name) in path.parents for name in ("lib", "include", "share"))
    )


def opening(path: Path) -> str:
    """The first sentence about a file: of its docstring, or of its first comment."""
    text = path.read_text(encoding="utf8")
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
    lines = []
    for line in text.splitlines():
        match = re.match(r"(?:///?|#)\s?(.*)", line)
        body = match.group(1).strip() if match else ""
        if body.startswith("\\file"):
            body = body.removeprefix("\\file").strip()
            if not body:
                continue
        if not body:
            break
        lines.append(body)
    return " ".join(lines)


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_source_file(path: Path) -> None:
    """One sentence first, at most LONGEST lines, numbered notes, no path of one machine."""
    text = path.read_text(encoding="utf8")
    name = str(path.relative_to(ROOT))
    assert re.search(r"\w.*[.:]", opening(path)), f"{name} opens without a sentence about itself"
    count = text.count("\n")
    assert count <= LONGEST or name in LONG_FILES, f"{name} has {count} lines; split it"
    todo = re.findall(r"\bTO" + r"DO\b(?!\(#\d+\))", text)
    assert not todo, f"{name}: write the issue as in TO" + "DO(#12)"
    machine = re.findall(r"/(?:work|opt|root)/\w+", text)
    assert not machine, f"{name} names a path of one machine: {machine[0]}"


def test_long_files_are_long() -> None:
    """An exception that is no longer needed goes away."""
    for name in LONG_FILES:
        assert (ROOT / name).read_text(encoding="utf8").count("\n") > LONGEST, name


@pytest.mark.parametrize("folder", ["kernels", "runtime", "passes", "python/csrc"])
def test_cmake_lists_every_source(folder: str) -> None:
    """Sources are listed by name, sorted within each list, and none is left out."""
    text = (ROOT / folder / "CMakeLists.txt").read_text(encoding="utf8")
    listed = re.findall(r"^\s+([\w/]+\.cpp)$", text, re.MULTILINE)
    there = [str(p.relative_to(ROOT / folder)) for p in (ROOT / folder).rglob("*.cpp")]
    assert sorted(listed) == sorted(there)
    for block in re.findall(r"((?:^\s+[\w/]+\.cpp\n)+)", text, re.MULTILINE):
        names = [n for n in block.split() if n != "register_ops.cpp"]  # first, for its reason
        assert names == sorted(names), f"{folder}/CMakeLists.txt: not sorted"

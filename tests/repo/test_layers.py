"""Reads every include and import: an arrow between the layers may only point down."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CXX_LAYERS = ("kernels", "runtime", "passes", "python/csrc")  # lowest first
PUBLIC_HEADERS = {
    "compile.h": "passes",
    "export.h": "kernels",
    "runtime.h": "runtime",
    "steady.h": "runtime",
}
SUFFIXES = {".h", ".cpp", ".inc"}
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)
ISA_SUFFIX = re.compile(r"_(reference|avx\w*)\.cpp$")
ISA_HEADERS = {"immintrin.h", "cstdint", "cstddef", "cstring", "cmath"}


def sources(layer: str) -> list[Path]:
    """C++ files of a layer."""
    return sorted(p for p in (ROOT / layer).rglob("*") if p.suffix in SUFFIXES)


def includes(path: Path) -> list[str]:
    """What a file includes, as written."""
    return INCLUDE.findall(path.read_text(encoding="utf8"))


def layer_of(include: str) -> str | None:
    """The layer of a header of ours, None for a header of someone else."""
    if include.startswith("ipex_quant/"):
        return PUBLIC_HEADERS[include.removeprefix("ipex_quant/")]
    for layer in CXX_LAYERS:
        if include.startswith(f"{layer}/"):
            return layer
    return None


def is_torch(include: str) -> bool:
    """True for a header of libtorch."""
    return include.startswith(("torch/", "ATen/", "c10/"))


@pytest.mark.parametrize("layer", CXX_LAYERS)
def test_includes_point_down(layer: str) -> None:
    """A file includes its own layer and those below."""
    bad = [
        f"{path.relative_to(ROOT)} includes {include}"
        for path in sources(layer)
        for include in includes(path)
        if (other := layer_of(include)) and CXX_LAYERS.index(other) > CXX_LAYERS.index(layer)
    ]
    assert not bad, "\n".join(bad)


def test_own_headers_are_included_by_their_full_path() -> None:
    """`#include "gemm.h"` would escape the check above."""
    bad = [
        f"{path.relative_to(ROOT)} includes {include}"
        for layer in CXX_LAYERS
        for path in sources(layer)
        for include in includes(path)
        if layer_of(include) is None and (path.parent / include).exists()
    ]
    assert not bad, "\n".join(bad)


def test_kernels_know_no_torch() -> None:
    """The kernels are plain C++17."""
    bad = [
        f"{path.relative_to(ROOT)} includes {include}"
        for path in sources("kernels")
        for include in includes(path)
        if is_torch(include) or include.startswith(("pybind11/", "Python.h"))
    ]
    assert not bad, "\n".join(bad)


def test_isa_files_use_no_library_templates() -> None:
    """A template compiled with an ISA's flags could be linked into code for every CPU."""
    bad = [
        f"{path.relative_to(ROOT)} includes <{include}>"
        for path in sources("kernels")
        if ISA_SUFFIX.search(path.name)
        for include in includes(path)
        if layer_of(include) is None and include not in ISA_HEADERS
    ]
    assert not bad, "\n".join(bad)


def test_only_passes_and_the_binding_know_torchscript() -> None:
    """A serving program links the runtime, which must not need the compiler's headers."""
    bad = [
        f"{path.relative_to(ROOT)} includes {include}"
        for layer in ("kernels", "runtime")
        for path in sources(layer)
        for include in includes(path)
        if include.startswith("torch/csrc/jit")
    ]
    assert not bad, "\n".join(bad)


def test_public_headers_need_nothing_but_the_public_folder() -> None:
    """include/ is installed without the sources beside it."""
    for path in sources("include"):
        ours = [i for i in includes(path) if layer_of(i)]
        assert all(i.startswith("ipex_quant/") for i in ours), path


def python_modules() -> dict[str, Path]:
    """Dotted name -> file, of the Python package."""
    package = ROOT / "python" / "ipex_quant"
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imports(name: str, path: Path) -> Iterator[str]:
    """Dotted names that a module imports when it is imported."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.parse(path.read_text(encoding="utf8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = (
                ".".join([*up, node.module] if node.module else up) if node.level else node.module
            )
            for alias in node.names:
                yield f"{base}.{alias.name}"


def test_python_package_imports_nothing_beside_it() -> None:
    """Tests, examples and benchmarks use the package, never the other way round."""
    bad = [
        f"{name} imports {target}"
        for name, path in python_modules().items()
        for target in imports(name, path)
        if target.split(".")[0] in {"tests", "examples", "bench", "workloads", "models"}
    ]
    assert not bad, "\n".join(bad)


def test_python_modules_have_no_cycle() -> None:
    """Imports between the modules of the package can be put in one order."""
    modules = python_modules()
    edges: dict[str, set[str]] = {}
    for name, path in modules.items():
        found = set()
        for target in imports(name, path):
            if target in modules:
                found.add(target)
            elif target.rpartition(".")[0] in modules:
                found.add(target.rpartition(".")[0])
        edges[name] = found - {name, "ipex_quant"}
    done: set[str] = set()
    while len(done) < len(edges):
        ready = {name for name, needs in edges.items() if name not in done and needs <= done}
        assert ready, f"a cycle among {sorted(set(edges) - done)}"
        done |= ready

"""Builds the C++ libraries with CMake into the folder of the Python package.

Everything else about the package stands in pyproject.toml; its version in CMakeLists.txt.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def version() -> str:
    """The project version, read from CMakeLists.txt."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf8")
    match = re.search(r"project\(ipex_quant VERSION ([\d.]+)", text)
    if match is None:
        raise SystemExit("CMakeLists.txt: no line 'project(ipex_quant VERSION x.y.z'")
    return match.group(1)


def tool(name: str) -> str | None:
    """Path of a build tool: the one installed beside this Python first, then PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


class CMakeBuild(build_ext):
    """Configures, builds and installs the CMake project into the package folder."""

    def run(self) -> None:
        """Build into the source tree for an editable install, else into the build folder."""
        try:
            import torch
        except ImportError as error:
            raise SystemExit(
                "building ipex_quant needs torch: run `pip install torch==2.13.0` first, then "
                "`pip install --no-build-isolation .`"
            ) from error
        cmake = tool("cmake")
        if cmake is None:
            raise SystemExit("building ipex_quant needs cmake >= 3.20: run `pip install cmake`")

        in_place = self.inplace or getattr(self, "editable_mode", False)
        base = ROOT / "python" if in_place else Path(self.build_lib).resolve()
        package = base / "ipex_quant"
        # One build folder per Python and torch: CMake caches what it found of either.
        key = hashlib.sha256(f"{torch.__file__} {torch.__version__}".encode()).hexdigest()[:8]
        build = ROOT / "build" / f"{sys.implementation.cache_tag}-torch-{key}"

        configure = [
            cmake,
            f"-S{ROOT}",
            f"-B{build}",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DPython3_EXECUTABLE={sys.executable}",
            f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}",
        ]
        ninja = tool("ninja")
        if ninja is not None:
            configure += ["-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
        if shutil.which("ccache") is not None:
            configure.append("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
        else:
            configure.append("-DIPEX_QUANT_PCH=ON")
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or str(os.cpu_count() or 1)
        subprocess.run(configure, check=True)
        subprocess.run([cmake, "--build", str(build), "--parallel", jobs], check=True)
        subprocess.run([cmake, "--install", str(build), "--prefix", str(package)], check=True)

    def get_source_files(self) -> list[str]:
        """No sources by name: the source distribution takes them from MANIFEST.in."""
        return []


setup(
    version=version(),
    ext_modules=[Extension("ipex_quant._C", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)

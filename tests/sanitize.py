"""Builds kernels and runtime with AddressSanitizer and UBSan and runs the kernel tests on them.

Run it with `make sanitize`. The sanitized runtime takes the place of the installed one, so that
the same tests cover every operator and every instruction set: on a CPU with AVX-512 VNNI the build
emulates AVX-VNNI and AMX. Of the drawn cases it has time for a part.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "sanitize"
TESTS = "tests/kernels"
DRAWN_ONE_OF = 16  # cases of a test that draws them; see tests/kernels/drawn.py


def tool(name: str) -> str:
    """A build tool, installed beside this Python or on the PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def configured(folder: Path, sanitizers: str, *options: str) -> list[str]:
    """The command that configures a sanitized build in a folder."""
    return [
        tool("cmake"),
        f"-S{ROOT}",
        f"-B{folder}",
        "-GNinja",
        f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}",
        "-DCMAKE_BUILD_TYPE=Release",
        f"-DIPEX_QUANT_SANITIZE={sanitizers}",
        "-DIPEX_QUANT_PYTHON=OFF",
        f"-DPython3_EXECUTABLE={sys.executable}",
        f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}",
        *options,
    ]


def build() -> Path:
    """Build the sanitized runtime, and programs on its kernels; returns the folder of all."""
    options = ("-DIPEX_QUANT_EMULATE=ON", "-DIPEX_QUANT_NATIVE_TESTS=ON")
    subprocess.run(configured(BUILD, "address,undefined", *options), check=True)
    targets = ("ipex_quant_runtime", "guard_words", "kernel_features")
    subprocess.run([tool("cmake"), "--build", str(BUILD), "--target", *targets], check=True)
    return BUILD


def library(name: str) -> str:
    """Path of a library of the compiler."""
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def check_guard_words(program: Path) -> None:
    """A write beside a block ends the program, one inside does not."""
    for byte, found in {0: "", 99: "", 100: "behind", 163: "behind", -1: "in front of"}.items():
        done = subprocess.run([program, str(byte)], capture_output=True, text=True, check=False)
        if (done.returncode != 0) != bool(found) or found not in done.stderr:
            raise SystemExit(
                f"byte {byte} of a block of 100 was written: {done.stderr or 'unseen'}"
            )


def main() -> None:
    """Build, then run programs and tests; exits with pytest's code."""
    folder = build()
    checked = dict(
        os.environ,
        # Python and torch keep memory until the process ends.
        ASAN_OPTIONS="detect_leaks=0",
        UBSAN_OPTIONS="print_stacktrace=1",
    )
    programs = folder / "tests" / "native"
    check_guard_words(programs / "guard_words")
    subprocess.run([programs / "kernel_features"], env=checked, check=True)
    environment = dict(
        checked,
        # The Python program is not sanitized, so the checkers must be there before it starts.
        LD_PRELOAD=":".join(library(n) for n in ("libasan.so", "libubsan.so", "libstdc++.so")),
        LD_LIBRARY_PATH=str(folder / "runtime"),
        IPEX_QUANT_TESTS_DRAW_ONE_OF=str(DRAWN_ONE_OF),
    )
    check = "import ipex_quant; print('runtime/libipex' in open('/proc/self/maps').read())"
    done = subprocess.run(
        [sys.executable, "-c", check], env=environment, capture_output=True, text=True, check=True
    )
    if done.stdout.strip() != "True":
        raise SystemExit("the sanitized library was not loaded; the tests would prove nothing")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", TESTS]
    command.append("--capture=sys")  # the checkers write to the process's own stderr
    raise SystemExit(subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()

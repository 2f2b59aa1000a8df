"""Fuzzes the two readers of saved text with libFuzzer, guided by coverage: epilogues and summaries.

Run it with `make fuzz`, or `python tests/fuzz.py SECONDS`; it needs clang with libFuzzer. Seeds are
in tests/native/corpus. What is found grows in build/fuzz, and an input that crashes stays there.
The states of packed objects are mutated by tests/kernels/test_mutated_states.py instead.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "fuzz"
NATIVE = ROOT / "tests" / "native"
#: Fuzzer, the sources that it covers, and its options.
FUZZERS = {
    "epilogue": (["runtime/epilogue_text.cpp"], ["-max_len=400"]),
    "summary": (
        ["passes/summary/summary.cpp"],
        ["-max_len=4000", f"-dict={NATIVE / 'corpus' / 'json.dict'}"],
    ),
}


def compiler() -> str:
    """A clang++ of any version."""
    for name in ("clang++", *(f"clang++-{version}" for version in range(22, 11, -1))):
        if shutil.which(name):
            return name
    raise SystemExit("fuzzing needs clang with libFuzzer: install clang and libclang-rt-dev")


def include_folders() -> list[str]:
    """Options for the headers of the project, torch and the JSON library."""
    headers = Path(torch.__file__).parent / "include"
    outside = [headers, headers / "torch" / "csrc" / "api" / "include"]
    json = importlib.util.find_spec("nlohmann_json")
    if json is not None and json.origin is not None:
        outside.append(Path(json.origin).parent / "include")
    return [f"-I{ROOT}", f"-I{ROOT / 'include'}", *(f"-isystem{folder}" for folder in outside)]


def build(name: str) -> Path:
    """Compile one fuzzer with AddressSanitizer and UBSan; returns the program."""
    sources, _ = FUZZERS[name]
    program = BUILD / f"fuzz_{name}"
    libraries = Path(torch.__file__).parent / "lib"
    command = [compiler(), "-std=c++17", "-O1", "-g", "-fsanitize=fuzzer,address,undefined"]
    command += ["-fno-sanitize-recover=all", "-fno-sanitize=vptr,function", *include_folders()]
    command += [str(NATIVE / f"fuzz_{name}.cpp"), *(str(ROOT / source) for source in sources)]
    command += [f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-ltorch_cpu", "-lc10"]
    subprocess.run([*command, "-o", str(program)], check=True)
    return program


def run(name: str, seconds: int) -> None:
    """Fuzz for so many seconds from the corpus; exits when an input crashes the reader."""
    program = build(name)
    found = BUILD / f"corpus_{name}"
    found.mkdir(exist_ok=True)
    command = [str(program), f"-max_total_time={seconds}", "-print_final_stats=1", "-timeout=10"]
    command += [f"-artifact_prefix={BUILD}/{name}-", *FUZZERS[name][1]]
    command += [str(found), str(NATIVE / "corpus" / name)]
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit(f"fuzz_{name} found a crash; the input is in {BUILD}")


def main() -> None:
    """Run all fuzzers one after the other."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in FUZZERS:
        run(name, seconds)


if __name__ == "__main__":
    main()

"""Builds the C++ programs against the installed package and runs them on models from Python."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

import ipex_quant

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "cpp-example"
FORBIDDEN = ("libpython", "libtorch_python", "libipex_quant_passes")


@dataclass
class Served:
    """What the C++ program printed."""

    version: str
    isa: str
    first_ms: float
    steady_ms: float
    identical: bool


@dataclass
class AtOnce:
    """What the C++ program printed of many threads that called one module."""

    calls: int
    wrong: int
    resident_mb_before: float
    resident_mb_after: float

    @property
    def growth(self) -> float:
        """How much of its memory the process gained."""
        return self.resident_mb_after / self.resident_mb_before - 1


def build(folder: Path = BUILD, source: str = "cpp", target: str = "serve") -> Path:
    """Configure and build a program of examples/; returns its path."""
    beside = Path(sys.executable).parent / "cmake"
    cmake = str(beside) if beside.exists() else "cmake"
    prefixes = f"{ipex_quant.cmake_prefix_path};{torch.utils.cmake_prefix_path}"
    configure = [cmake, f"-S{HERE / source}", f"-B{folder}", f"-DCMAKE_PREFIX_PATH={prefixes}"]
    _run([*configure, "-DCMAKE_BUILD_TYPE=Release"])
    _run([cmake, "--build", str(folder)])
    return folder / target


def linked(program: Path) -> list[str]:
    """Names of all shared libraries that the program loads, directly or not."""
    lines = _run(["ldd", str(program)]).splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def serve(program: Path, model: Path, example: Path, runs: int = 20) -> Served:
    """Run a saved model on a saved (inputs, expected) pair.

    Raises:
        RuntimeError: the program could not load one of them; the message is the program's.
    """
    got = output_of(program, str(model), str(example), str(runs))
    return Served(
        version=got["version"],
        isa=got["isa"],
        first_ms=float(got["first_ms"]),
        steady_ms=float(got["steady_ms"]),
        identical=got["identical"] == "yes",
    )


def serve_at_once(
    program: Path, model: Path, example: Path, threads: int, seconds: float
) -> AtOnce:
    """Let many threads call a saved model at once for some seconds."""
    got = output_of(program, str(model), str(example), "1", str(threads), str(seconds))
    return AtOnce(
        calls=int(got["calls"]),
        wrong=int(got["wrong"]),
        resident_mb_before=float(got["resident_mb_before"]),
        resident_mb_after=float(got["resident_mb_after"]),
    )


def output_of(program: Path, *arguments: str) -> dict[str, str]:
    """What a program printed: a name and a value on each line.

    Raises:
        RuntimeError: it could not do its work; the message is the program's.
    """
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{program.name} exited with {done.returncode}: {done.stderr.strip()}")
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Quantize a ResNet-50, save it, and run it from C++."""
    from models.resnet import resnet50, settle

    torch.manual_seed(0)
    torch.set_num_threads(1)
    x = torch.randn(1, 3, 224, 224)
    model = settle(resnet50(), torch.randn(4, 3, 224, 224))
    prepared = ipex_quant.prepare(model, ipex_quant.default_static_qconfig, example_inputs=(x,))
    with torch.no_grad():
        prepared(x)
        quantized = ipex_quant.jit.quantize(torch.jit.trace(prepared, x))
        expected = quantized(x)
    program = build()
    saved, example = BUILD / "resnet50_int8.pt", BUILD / "resnet50_example.pt"
    quantized.save(str(saved))
    torch.save(((x,), expected), example)

    bad = [name for name in linked(program) if name.startswith(FORBIDDEN)]
    if bad:
        raise SystemExit(f"{program} links {', '.join(bad)}; it must not")
    result = serve(program, saved, example)
    print(f"ResNet-50 int8 in C++ on {result.isa}: first call {result.first_ms:.2f} ms, then")
    print(f"{result.steady_ms:.2f} ms; bit-identical to Python: {result.identical}")
    if not result.identical:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

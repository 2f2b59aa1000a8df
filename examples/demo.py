"""Quantizes every example workload and compares it with float: accuracy, time, size, coverage.

Float is torch's own frozen TorchScript. Both run on one thread, one call after the other in turn,
so that a busy machine slows both; the table shows medians.
"""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import os
import platform
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

import cpp_app
import ipex_quant
import workloads

OUT = Path(__file__).resolve().parents[1] / "build" / "demo"


@dataclass
class Row:
    """Everything measured on one workload."""

    name: str
    title: str
    metric: str
    float_metric: float
    int8_metric: float
    float_ms: float
    int8_ms: float
    float_mb: float
    int8_mb: float
    int8_ops: int
    passed_ops: int
    float_ops: int
    cpp_first_ms: float
    cpp_steady_ms: float
    cpp_identical: bool
    seconds: float


def train(name: str) -> None:
    """Train one workload's model into the cache, on one thread."""
    torch.set_num_threads(1)
    workloads.load(name)


def train_all(names: list[str]) -> None:
    """Train what needs training, one process per core: seconds, not minutes."""
    todo = [name for name in workloads.TRAINED if name in names]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), context) as pool:
        for _ in pool.map(train, todo):
            pass


def quantize(workload: workloads.Workload) -> torch.jit.ScriptModule:
    """The whole use of the library: prepare, calibrate, trace, quantize."""
    qconfig = ipex_quant.default_static_qconfig_mapping
    prepared = ipex_quant.prepare(workload.model, qconfig, example_inputs=workload.example_inputs)
    with torch.no_grad():
        for inputs in workload.calibration():
            prepared(*inputs)
        traced = torch.jit.trace(prepared, workload.example_inputs, check_trace=False)
    return ipex_quant.jit.quantize(traced)


def freeze(workload: workloads.Workload) -> torch.jit.ScriptModule:
    """The float model as torch's own TorchScript runs it."""
    with torch.no_grad():
        traced = torch.jit.trace(workload.model, workload.example_inputs, check_trace=False)
        return torch.jit.freeze(traced.eval())


def side_by_side(a, b, inputs, seconds: float = 3.0) -> tuple[float, float]:
    """Median milliseconds of two functions called in turn, on one thread."""
    times: tuple[list[float], list[float]] = ([], [])
    torch.set_num_threads(1)
    with torch.inference_mode():
        for fn in (a, b):
            for _ in range(3):
                fn(*inputs)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times[0]) < 5:
            for fn, own in zip((a, b), times, strict=True):
                start = time.perf_counter()
                fn(*inputs)
                own.append(1e3 * (time.perf_counter() - start))
    torch.set_num_threads(os.cpu_count() or 1)
    return tuple(sorted(own)[len(own) // 2] for own in times)


def measure(name: str, program: Path) -> Row:
    """Quantize, evaluate, time, save and serve one workload."""
    start = time.perf_counter()
    workload = workloads.load(name)
    # On more threads torch rounds the sums of calibration otherwise; that may change one view.
    torch.set_num_threads(1)
    int8, frozen = quantize(workload), freeze(workload)
    int8_path, float_path = OUT / f"{name}_int8.pt", OUT / f"{name}_float.pt"
    int8.save(str(int8_path))
    with torch.no_grad():
        torch.jit.trace(workload.model, workload.example_inputs, check_trace=False).save(
            str(float_path)
        )
        expected = int8(*workload.example_inputs)
    example_path = OUT / f"{name}_example.pt"
    torch.save((workload.example_inputs, expected), example_path)
    served = cpp_app.serve(program, int8_path, example_path)
    float_ms, int8_ms = side_by_side(frozen, int8, workload.example_inputs)
    became = [op["became"] for op in ipex_quant.report(int8).to_dict()["ops"]]
    return Row(
        name=name,
        title=workload.title,
        metric=workload.primary,
        float_metric=workload.metric(frozen)[workload.primary],
        int8_metric=workload.metric(int8)[workload.primary],
        float_ms=float_ms,
        int8_ms=int8_ms,
        float_mb=float_path.stat().st_size / 1e6,
        int8_mb=int8_path.stat().st_size / 1e6,
        int8_ops=became.count("int8"),
        passed_ops=became.count("pass_through"),
        float_ops=became.count("float"),
        cpp_first_ms=served.first_ms,
        cpp_steady_ms=served.steady_ms,
        cpp_identical=served.identical,
        seconds=time.perf_counter() - start,
    )


def show(console: Console, rows: list[Row]) -> None:
    """Print one line per workload."""
    table = Table(
        title=f"one thread of {cpu_name()}, {ipex_quant.isa()}, torch {torch.__version__}"
    )
    table.add_column("workload")
    for column in ("metric", "float", "int8", "float ms", "int8 ms", "speedup", "float MB"):
        table.add_column(column, justify="right")
    for column in ("int8 MB", "ops int8/passed/float", "C++ ms first/steady", "C++ bits"):
        table.add_column(column, justify="right")
    for r in rows:
        table.add_row(
            r.title,
            r.metric,
            f"{r.float_metric:.3f}",
            f"{r.int8_metric:.3f}",
            f"{r.float_ms:.2f}",
            f"{r.int8_ms:.2f}",
            f"{r.float_ms / r.int8_ms:.1f}x",
            f"{r.float_mb:.1f}",
            f"{r.int8_mb:.1f}",
            f"{r.int8_ops}/{r.passed_ops}/{r.float_ops}",
            f"{r.cpp_first_ms:.2f}/{r.cpp_steady_ms:.2f}",
            "same" if r.cpp_identical else "DIFFERENT",
        )
    console.print(table)


def cpu_name() -> str:
    """The model name of the CPU, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(workloads.NAMES))
def main(names: tuple[str, ...]) -> None:
    """Run the workloads named NAMES, or all of them."""
    # torch 2.13 says of each torch.jit function that it is deprecated.
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=DeprecationWarning)
    console = Console(width=None if Console().is_terminal else 180)
    chosen = list(names or workloads.NAMES)
    OUT.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with console.status("building the C++ program and training the small models"):
        program = cpp_app.build()
        train_all(chosen)
    rows = []
    for name in chosen:
        with console.status(name):
            rows.append(measure(name, program))
        row = rows[-1]
        console.print(f"{name}: {row.float_metric:.3f} -> {row.int8_metric:.3f}", highlight=False)
    show(console, rows)
    results = OUT / "results.json"
    record = {"cpu": cpu_name(), "isa": ipex_quant.isa(), "torch": torch.__version__}
    record |= {"threads": 1, "rows": [asdict(row) for row in rows]}
    results.write_text(json.dumps(record, indent=1) + "\n", encoding="utf8")
    total = time.perf_counter() - start
    console.print(f"{total:.0f} s; also in {results}; quantized models in {OUT}", highlight=False)


if __name__ == "__main__":
    main()

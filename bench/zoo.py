"""The model zoo: `python -m bench.zoo [MODEL...] [--small] [--write]`.

Quantizes each model of `bench/zoo_list.py` with the default recipe and random inputs, and prints
what became of its operators, the distance of its output from float, and the time of a call beside
torch's frozen float module, on one thread, in turns. With `--write` the rows go to
`bench/results/zoo.csv` and the page `docs/models.md` is made from that file.
"""

from __future__ import annotations

import csv
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

import ipex_quant
from bench.zoo_list import MODELS, Inputs

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "zoo.csv"
PAGE = ROOT / "docs" / "models.md"
COLUMNS = ["model", "int8", "passed", "float", "error", "float_ms", "int8_ms", "speed_up"]
BATCHES = 2
_HEAD = """\
# Models

Written by `python -m bench.zoo --write`; do not edit. One thread, batch 1 (or what the model
needs), random weights and inputs, the default recipe. *int8*, *passed* and *float* count the
operators of the model as [the report](debugging.md) does; *error* is the relative L2 distance of
the output from float, and *faster* is against torch's frozen float module, called in turns. The
definitions are in `examples/models/`; the transformers are those of the `transformers` package,
with eager and with fused (sdpa) attention.

| model | int8 | passed | float | error | float ms | int8 ms | faster |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


def call(module: Any, inputs: Inputs) -> Any:
    """One call, by keywords where the inputs have names."""
    return module(**inputs) if isinstance(inputs, dict) else module(*inputs)


def tensors(output: Any) -> list[torch.Tensor]:
    """The tensors of a nested output."""
    if isinstance(output, torch.Tensor):
        return [output]
    members = output.values() if isinstance(output, dict) else output
    return [tensor for member in members for tensor in tensors(member)]


def relative_error(got: Any, expected: Any) -> float:
    """Relative L2 distance of the output; the largest of several outputs."""
    return max(
        float((a.double() - b.double()).norm() / b.double().norm())
        for a, b in zip(tensors(got), tensors(expected), strict=True)
    )


def trace(model: torch.nn.Module, inputs: Inputs) -> torch.jit.ScriptModule:
    """A trace whose outputs may be tuples or dicts."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options: dict[str, Any] = {"check_trace": False, "strict": False}
        if isinstance(inputs, dict):
            return torch.jit.trace(model, example_kwarg_inputs=inputs, **options)
        return torch.jit.trace(model, inputs, **options)


def quantize(model: torch.nn.Module, data: list[Inputs]) -> torch.jit.ScriptModule:
    """The model with the default recipe, traced with the first of its calibration inputs."""
    name = "example_kwarg_inputs" if isinstance(data[0], dict) else "example_inputs"
    prepared = ipex_quant.prepare(model, ipex_quant.default_static_qconfig, **{name: data[0]})
    with torch.no_grad():
        for inputs in data:
            call(prepared, inputs)
    return ipex_quant.jit.quantize(trace(prepared, data[0]))


def freeze(traced: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """torch's own optimised float module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.optimize_for_inference(torch.jit.freeze(traced.eval()))


def in_turns(calls: list[Callable[[], Any]], seconds: float) -> list[float]:
    """Median milliseconds of each, called one after the other for so long."""
    for _ in range(3):
        for run in calls:
            run()
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for run, own in zip(calls, times, strict=True):
            begin = time.perf_counter()
            run()
            own.append(1e3 * (time.perf_counter() - begin))
    return [median(own) for own in times]


def measure(name: str, small: bool, seconds: float) -> dict[str, str]:
    """One row of the table."""
    torch.manual_seed(0)
    entry = MODELS[name]
    model = entry.make(small).eval()
    data = [entry.draw(small, 0) for _ in range(BATCHES)]
    quantized = quantize(model, data)
    inputs = entry.draw(small, 0)
    with torch.no_grad():
        error = relative_error(call(quantized, inputs), call(model, inputs))
        float_module = freeze(trace(model, inputs))
        float_ms, int8_ms = in_turns(
            [lambda: call(float_module, inputs), lambda: call(quantized, inputs)], seconds
        )
    counts = ipex_quant.report(quantized).counts()
    return {
        "model": name,
        "int8": str(counts["int8"]),
        "passed": str(counts["pass_through"]),
        "float": str(counts["float"]),
        "error": f"{error:.4f}",
        "float_ms": f"{float_ms:.3g}",
        "int8_ms": f"{int8_ms:.3g}",
        "speed_up": f"{float_ms / int8_ms:.2f}",
    }


def read_rows() -> dict[str, dict[str, str]]:
    """The rows that were written, by model."""
    if not RESULTS.exists():
        return {}
    with RESULTS.open(encoding="utf8", newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


def write_rows(rows: dict[str, dict[str, str]]) -> None:
    """Write the rows in the order of the list, without models that are gone."""
    with RESULTS.open("w", encoding="utf8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in MODELS if name in rows)


def page(rows: dict[str, dict[str, str]]) -> str:
    """docs/models.md."""
    lines = [_HEAD]
    for name in MODELS:
        if name in rows:
            row = rows[name]
            lines.append(
                "| "
                + " | ".join(row[column] for column in COLUMNS[:-1])
                + f" | {row['speed_up']}x |"
            )
    return "\n".join(lines) + "\n"


@click.command()
@click.argument("models", nargs=-1, type=click.Choice(list(MODELS)))
@click.option("--small", is_flag=True, help="the sizes of the tests")
@click.option("--seconds", default=2.0, help="how long each model is timed")
@click.option("--write", is_flag=True, help="keep the rows, and make docs/models.md from all kept")
def main(models: tuple[str, ...], small: bool, seconds: float, write: bool) -> None:
    """Measure MODELS, or all of them."""
    torch.set_num_threads(1)
    if write and small:
        raise click.UsageError("--write keeps full sizes only, leave out --small")
    console = Console(width=None if Console().is_terminal else 120)
    table = Table(*COLUMNS)
    rows = read_rows()
    for name in models or MODELS:
        with console.status(name):
            row = measure(name, small, seconds)
        rows[name] = row
        table.add_row(*row.values())
        if write:
            write_rows(rows)
            PAGE.write_text(page(rows), encoding="utf8")
    console.print(table)


if __name__ == "__main__":
    main()

"""Dynamic int8 beside torch's: `python -m bench.dynamic [MODEL...] [--csv FILE]`.

Two ways each: modules as they are returned, and traces. All of a way are timed in one process, a
stretch each in turn. Weights are random: errors are against float on
the same inputs.
"""

from __future__ import annotations

import csv
import datetime
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import ipex_quant
from bench.model_list import Inputs, create
from bench.timing import best_times

MODELS = ("lstm_b1", "gru_b1", "mlp_b1")
COLUMNS = [
    *("date", "isa", "engine", "model", "way", "float_us", "torch_us", "ours_us"),
    *("torch_times_ours", "torch_error", "our_error"),
]
Modules = dict[str, Callable[..., torch.Tensor]]


def torch_dynamic(model: nn.Module) -> nn.Module:
    """torch's quantize_dynamic of all that it takes."""
    kinds = {nn.Linear, nn.LSTM, nn.GRU}
    return torch.ao.quantization.quantize_dynamic(model, kinds, dtype=torch.qint8)


def frozen(model: nn.Module, inputs: Inputs) -> Callable[..., torch.Tensor]:
    """The model's trace, frozen."""
    return torch.jit.freeze(torch.jit.trace(model, inputs))


def modules_of(model: nn.Module, inputs: Inputs) -> dict[str, Modules]:
    """Per way, the competitors: float, torch's int8 and ours."""
    qconfig = ipex_quant.default_dynamic_qconfig
    theirs = torch_dynamic(model)
    return {
        "eager": {
            "float": model,
            "torch": theirs,
            "ours": ipex_quant.convert(ipex_quant.prepare(model, qconfig)),
        },
        "trace": {
            "float": frozen(model, inputs),
            "torch": frozen(theirs, inputs),
            "ours": ipex_quant.jit.quantize(torch.jit.trace(model, inputs), qconfig),
        },
    }


def repeated(module: Callable[..., torch.Tensor], inputs: Inputs) -> Callable[[int], torch.Tensor]:
    """A function that calls the module n times."""

    def run(n: int) -> torch.Tensor:
        for _ in range(n):
            y = module(*inputs)
        return y

    return run


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative L2 distance."""
    return float((got - expected).norm() / expected.norm())


def measure(name: str, seconds: float) -> list[list[str]]:
    """The rows of one model, from `model` on."""
    model, inputs, _ = create(name)
    rows = []
    for way, modules in modules_of(model, inputs).items():
        expected = model(*inputs)
        errors = [relative_error(modules[k](*inputs), expected) for k in ("torch", "ours")]
        runs = [repeated(module, inputs) for module in modules.values()]
        for run in runs:
            run(3)  # torch optimizes a trace in its first calls
        # Apart: float weights would leave none of the others' in the cache.
        times = best_times(runs[0], seconds=seconds / 3) + best_times(*runs[1:], seconds=seconds)
        ratio = times[1] / times[2] if math.isfinite(times[2]) else math.nan
        shown = [f"{1e6 * t:.1f}" for t in times] + [f"{ratio:.2f}"]
        rows.append([name, way, *shown, *(f"{e:.5f}" for e in errors)])
    return rows


def show(console: Console, rows: list[list[str]]) -> None:
    """Print the rows as a table."""
    table = Table(title=f"dynamic int8, one thread, {ipex_quant.isa()}")
    for column in COLUMNS[3:]:
        table.add_column(column.replace("_", " "), justify="left" if column in "way" else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


@click.command()
@click.argument("models", nargs=-1, type=click.Choice(MODELS))
@click.option("--seconds", default=3.0, help="per model and way")
@click.option("--engine", default="x86", help="torch's, as torch.backends.quantized.engine")
@click.option("--csv", "path", type=click.Path(path_type=Path), help="write the rows here, too")
def main(models: tuple[str, ...], seconds: float, engine: str, path: Path | None) -> None:
    """Compare MODELS, or all of them."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # of torch.jit and torch.ao
    warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
    torch.set_num_threads(1)
    torch.backends.quantized.engine = engine
    with torch.inference_mode():
        rows = [row for model in models or MODELS for row in measure(model, seconds)]
    show(Console(width=None if Console().is_terminal else 120), rows)
    if path:
        start = [datetime.date.today().isoformat(), ipex_quant.isa(), engine]
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *(start + row for row in rows)])


if __name__ == "__main__":
    main()

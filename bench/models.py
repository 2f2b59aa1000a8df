"""Whole models beside the peers: `python -m bench.models [MODEL...] [--threads 1] [--csv FILE]`.

Each competitor runs in a process and environment of its own and waits while the others are timed,
a short round each in turn; a ratio is the median over the rounds of the ratio inside one round,
so that a machine that is slow for a while slows both sides of it. `make peers` installs ONNX
Runtime and OpenVINO beside the project; without them only torch's own ways are compared. Weights
are random: the error is against float on the same inputs.
"""

from __future__ import annotations

import csv
import datetime
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import click
import numpy as np
from rich.console import Console
from rich.table import Table

import ipex_quant
from bench.build_model import COMPETITORS, file_of
from bench.limits import peak
from bench.model_list import MODELS

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "build" / "bench"
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
COLUMNS = [
    *("date", "isa", "threads", "model", "competitor", "ms", "times_ours", "gmacs"),
    *("percent_of_peak", "first_ms", "peak_mb", "relative_error"),
]


@dataclass
class Runner:
    """A process that runs one competitor's file."""

    name: str
    process: subprocess.Popen
    first_ms: float
    peak_mb: float
    rounds: list[float] = field(default_factory=list)

    def time(self, seconds: float) -> None:
        """One more round."""
        assert self.process.stdin and self.process.stdout  # pipes, see start()
        print(seconds, file=self.process.stdin, flush=True)
        self.rounds.append(json.loads(self.process.stdout.readline())["ms"])


def python_of(competitor: str) -> str:
    """The Python that has the competitor installed."""
    here = competitor in ("ours", "torch_float", "torch_fx", "torch_dynamic")
    return sys.executable if here else os.environ.get("IPEX_QUANT_PEERS") or str(PEERS_PYTHON)


def build(competitor: str, model: str) -> str | None:
    """Write the competitor's file unless it is there; returns why it cannot."""
    if competitor != "ours" and file_of(competitor, model, FILES).exists():
        return None
    if not Path(python_of(competitor)).exists():
        return "not installed; run `make peers`"
    command = [python_of(competitor), "-m", "bench.build_model", competitor, model, str(FILES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no message"])[-1]
    return None


def start(competitor: str, model: str, threads: int) -> Runner:
    """Start the process and wait until it made its first calls."""
    command = [python_of(competitor), "-m", "bench.run_model", competitor, model, str(FILES)]
    process = subprocess.Popen(
        [*command, str(threads)],
        cwd=ROOT,
        env=dict(os.environ, OMP_NUM_THREADS=str(threads)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    said = process.stdout.readline()
    if not said:
        raise SystemExit(f"{competitor} cannot run {model}; its error is above")
    values = json.loads(said)
    return Runner(competitor, process, values["first_ms"], values["peak_mb"])


def relative_error(competitor: str, model: str) -> float:
    """Relative L2 distance of the competitor's output from float."""
    got, expected = (
        np.load(file_of(name, model, FILES).with_suffix(".npy")).astype(np.float64)
        for name in (competitor, "torch_float")
    )
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def measure(
    console: Console, model: str, threads: int, rounds: int, seconds: float, only: list[str]
) -> list[list[str]]:
    """The rows of one model."""
    runners = []
    for competitor in only:
        with console.status(f"{model}: building {competitor}"):
            reason = build(competitor, model)
        if reason:
            console.print(f"{model}: no {competitor}: {reason}", highlight=False, markup=False)
        else:
            runners.append(start(competitor, model, threads))
    peaks = []
    with console.status(f"{model}: {rounds} rounds"):
        for _ in range(rounds):
            peaks.append(peak())
            for runner in runners:
                runner.time(seconds)
    limit, ours = median(peaks) * threads, runners[0].rounds
    rows = []
    for runner in runners:
        assert runner.process.stdin
        runner.process.stdin.close()
        runner.process.wait()
        ms = median(runner.rounds)
        gmacs = MODELS[model].macs / ms * 1e-6
        ratio = median(a / b for a, b in zip(runner.rounds, ours, strict=True))
        rows.append(
            [
                *(datetime.date.today().isoformat(), ipex_quant.isa(), str(threads), model),
                *(runner.name, f"{ms:.3f}", f"{ratio:.2f}", f"{gmacs:.1f}"),
                f"{100 * gmacs / limit:.1f}" if limit else "",
                *(f"{runner.first_ms:.1f}", f"{runner.peak_mb:.0f}"),
                f"{relative_error(runner.name, model):.4f}",
            ]
        )
    return rows


def show(console: Console, rows: list[list[str]]) -> None:
    """Print a model's rows as a table."""
    table = Table(title=f"{rows[0][3]}, threads: {rows[0][2]}")
    table.add_column("competitor")
    for column in ("ms", "times ours", "GMAC/s", "% of peak", "first ms", "peak MB", "error"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row[4:])
    console.print(table)


@click.command()
@click.argument("models", nargs=-1, type=click.Choice(list(MODELS)))
@click.option("--threads", type=int, multiple=True, default=(1, 2), help="may be repeated")
@click.option("--rounds", default=7, help="how often each competitor has its turn")
@click.option("--seconds", default=0.5, help="length of a turn")
@click.option("--only", multiple=True, type=click.Choice(list(COMPETITORS)), help="may be repeated")
@click.option("--csv", "path", type=click.Path(path_type=Path), help="write the rows here, too")
def main(
    models: tuple[str, ...],
    threads: tuple[int, ...],
    rounds: int,
    seconds: float,
    only: tuple[str, ...],
    path: Path | None,
) -> None:
    """Compare MODELS, or all of them."""
    console = Console(width=None if Console().is_terminal else 120)
    others = [name for name in only or COMPETITORS if name not in ("ours", "torch_float")]
    written = []
    for model in models or MODELS:
        for count in threads:
            chosen = ["ours", "torch_float", *others]
            rows = measure(console, model, count, rounds, seconds, chosen)
            show(console, rows)
            written += rows
    if path:
        with path.open("w", newline="", encoding="utf8") as file:
            csv.writer(file).writerows([COLUMNS, *written])


if __name__ == "__main__":
    main()

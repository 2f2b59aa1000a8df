"""Tunes every example workload to a loss of 0.1 %, and says what that cost in time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import click
import torch

import ipex_quant
import workloads
from ipex_quant.observers import MinMaxObserver, PerChannelMinMaxObserver
from ipex_quant.quantization import autotune

#: Loss of the primary metric that is allowed, relative to float.
CRITERION = 0.001


@dataclass
class Row:
    """What autotune did to one workload."""

    title: str
    metric: str
    baseline: float
    first: float
    """With int8 everywhere."""
    tuned: float
    met: bool
    floats: int
    """Sites that became float, of all that int8 could take."""
    sites: int
    slower: float
    """A call of the chosen module beside one with int8 everywhere."""
    trials: int
    seconds: float
    """Of one core: calibration, trials and evaluations."""


#: Ranges that cover every value: what has to be tuned most.
MINMAX = ipex_quant.QConfig(
    activation=MinMaxObserver.with_args(), weight=PerChannelMinMaxObserver.with_args()
)
QCONFIGS = {"default": ipex_quant.default_static_qconfig, "minmax": MINMAX}


def tune(workload: workloads.Workload, qconfig: ipex_quant.QConfig) -> Row:
    """One search that starts from a QConfig."""

    def evaluate(model: torch.nn.Module) -> float:
        with torch.no_grad():
            return workload.metric(model)[workload.primary]

    data = list(workload.calibration())
    start = time.process_time()
    ready = autotune(
        workload.model,
        data,
        eval_func=evaluate,
        accuracy_criterion={"relative": CRITERION},
        sampling_sizes=[sum(len(inputs[0]) for inputs in data)],
        qconfig=qconfig,
        progress=False,
    )
    seconds = time.process_time() - start
    found = ready.autotune_trials
    quantized = ipex_quant.convert(ready)
    sites = sum(row.became == "int8" for row in ipex_quant.report(quantized))
    first, chosen = found.trials[0], found.chosen
    return Row(
        workload.title,
        workload.primary,
        found.baseline,
        first.accuracy,
        evaluate(quantized),
        found.met,
        len(chosen.floats),
        sites + len(chosen.floats),
        chosen.milliseconds / first.milliseconds,
        len(found.trials),
        seconds,
    )


@click.command(help=__doc__)
@click.option("--only", type=click.Choice(workloads.NAMES), multiple=True, help="These alone.")
@click.option("--qconfig", type=click.Choice(tuple(QCONFIGS)), default="default")
def main(only: tuple[str, ...], qconfig: str) -> None:
    """Print the table of docs/autotune.md."""
    torch.set_num_threads(1)
    print("| model | metric | float | int8 | tuned | float ops | time | trials | CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in only or workloads.NAMES:
        row = tune(workloads.load(name), QCONFIGS[qconfig])
        print(
            f"| {row.title} | {row.metric} | {row.baseline:.4f} | {row.first:.4f} | "
            f"{row.tuned:.4f}{'' if row.met else ' (missed)'} | {row.floats} of {row.sites} | "
            f"{row.slower:.2f} | {row.trials} | {row.seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

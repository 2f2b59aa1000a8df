"""Int8 with the default recipes loses no more than measured here on every workload."""

from __future__ import annotations

import pytest
import torch

import ipex_quant
import workloads

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

#: Largest loss of the primary metric (absolute), beside the loss that was measured. 0.5 % of float
#: is 0.0045 of effnet_lite0, one of whose 200 views is 0.005; float has two classes 0.02 apart in
#: one of them and 0.03 and 0.05 in two others, so two thirds of all noise changes one of the three.
#: One digit of the others is 0.001 to 0.002.
LARGEST_LOSS = {
    "effnet_lite0": 0.010,  # -0.005, on two threads 0.000; without one photograph 0.000 to 0.010
    "mnist_resnet": 0.005,  # 0.000
    "minilm": 0.003,  # -0.001
    "vit_digits": 0.005,  # 0.000
    "resemblyzer_lstm": 0.003,  # -0.001
    "digits_lstm": 0.005,  # 0.000
    "digits_gru": 0.005,  # 0.000
    "dlrm_ml100k": 0.002,  # 0.000
}
#: Nothing in these is dynamic but the last layer.
CONVOLUTIONAL = ("effnet_lite0", "mnist_resnet")
#: The metric is a mean in float32.
ROUNDING = 1e-6


@pytest.mark.parametrize("name", workloads.NAMES)
def test_metric_is_that_of_float(name: str, quantize_workload) -> None:
    """The primary metric keeps within the largest loss."""
    q = quantize_workload(name)
    key = q.workload.primary
    expected = q.workload.metric(q.workload.model)[key]
    got = q.workload.metric(q.module)[key]
    least = expected - LARGEST_LOSS[name] - ROUNDING
    assert got >= least, f"{name}: {key} {got:.4f}, float {expected:.4f}"


def test_efficientnet_chooses_the_classes_of_float(quantize_workload) -> None:
    """Also where float is wrong; 2 of the 200 views differ, each between two almost equal ones."""
    q = quantize_workload("effnet_lite0")
    choices: dict[object, list[torch.Tensor]] = {q.workload.model: [], q.module: []}
    for model, chosen in choices.items():

        def call(x: torch.Tensor, model=model, chosen=chosen) -> torch.Tensor:
            y = model(x)
            chosen.append(y.argmax(1))
            return y

        q.workload.metric(call)
    expected, got = (torch.cat(chosen) for chosen in choices.values())
    assert (expected == got).float().mean().item() >= 0.97


#: Of the metric of float; the largest loss measured is 0.02 % (dlrm_ml100k).
DYNAMIC_LOSS = 0.005


@pytest.mark.parametrize("name", [n for n in workloads.NAMES if n not in CONVOLUTIONAL])
@pytest.mark.usefixtures("one_thread")
def test_dynamic_metric_is_that_of_float(name: str) -> None:
    """Linear and recurrent layers whose inputs are quantized at run time, without calibration."""
    workload = workloads.load(name)
    with torch.no_grad():
        traced = torch.jit.trace(workload.model, workload.example_inputs, check_trace=False)
        quantized = ipex_quant.jit.quantize(traced, ipex_quant.default_dynamic_qconfig)
        expected = workload.metric(workload.model)[workload.primary]
        got = workload.metric(quantized)[workload.primary]
    assert got >= expected * (1 - DYNAMIC_LOSS), f"{name}: {got:.4f}, float {expected:.4f}"

"""Rows of `python -m bench.kernels` for LSTM and GRU: sequences of batch 1, and single cells."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from bench.calls import Call
from bench.kernel_row import Row, quantized_weight

ops = torch.ops.ipex_quant
quantized = torch.ops.quantized

# features, units, steps
SEQUENCES = [(256, 256, 100), (512, 512, 50)]
CELLS = [(512, 512), (1024, 1024)]
CLASSES = {"lstm": nn.LSTM, "gru": nn.GRU}
TOLERANCE = 0.02
"""Against float32: x and h have 8 bits, with a scale for each step. Measured: 0.014."""


def quantized_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """An int8 weight and the scale of each row."""
    scale = weight.abs().amax(1) / 127
    return (weight / scale[:, None]).round().to(torch.int8), scale


class Layer:
    """One layer with random weights, packed by us and by torch."""

    def __init__(self, cell: str, features: int, units: int) -> None:
        self.float = CLASSES[cell](features, units)
        parameters = self.float.all_weights[0]
        self.biases = [p.detach() for p in parameters[2:]]
        weights = [quantized_rows(p.detach()) for p in parameters[:2]]
        for parameter, (weight, scale) in zip(parameters, weights, strict=False):
            parameter.data = weight * scale[:, None]
        self.input_bytes, self.hidden_bytes = (w.numel() for w, _ in weights)
        prepack = ops.lstm_prepack if cell == "lstm" else ops.gru_prepack
        self.ours = prepack(
            *([w for w, _ in weights], [s for _, s in weights], self.biases),
            *(1, False, False, True, 0.0, 0, ""),
        )
        self.theirs = [
            quantized.linear_prepack(quantized_weight(*pair), b)
            for pair, b in zip(weights, self.biases, strict=True)
        ]


def sequence_rows(cell: str) -> Iterator[Row]:
    """The hidden product of a step waits for the one before: each step reads its weights."""
    for features, units, steps in SEQUENCES:
        layer = Layer(cell, features, units)
        x, h = torch.randn(steps, 1, features), torch.zeros(1, 1, units)
        params = quantized.make_quantized_cell_params_dynamic(*layer.theirs, *layer.biases)
        theirs, states = {"x": x, "h": h, "params": [params]}, "None"
        expression = "torch.quantized_gru(x, h, params, True, 1, 0.0, False, False, False)[0]"
        if cell == "lstm":
            states = "None, None"
            expression = (
                "torch.quantized_lstm(x, [h, h], params, True, 1, 0.0, False, False, False,"
                " dtype=torch.qint8, use_dynamic=True)[0]"
            )
        yield Row(
            *(cell, f"{features}-{units}, {steps} steps"),
            steps * (layer.input_bytes + layer.hidden_bytes),
            Call(
                f"torch.ops.ipex_quant.{cell}(x, {states}, packed)[0]",
                {"x": x, "packed": layer.ours},
            ),
            Call(expression, theirs),
            weight_bytes=layer.hidden_bytes,
            reads=steps,
            tolerance=TOLERANCE,
            expected=lambda layer=layer, x=x: layer.float(x)[0],
        )


def cell_rows(cell: str) -> Iterator[Row]:
    """One step with its states, as a loop over nn.LSTMCell or nn.GRUCell calls it."""
    for features, units in CELLS:
        layer = Layer(cell, features, units)
        x, h, c = torch.randn(1, features), torch.randn(1, units).tanh(), torch.randn(1, units)
        ih, hh = layer.theirs
        b, d = layer.biases
        theirs = {"x": x, "h": h, "ih": ih, "hh": hh, "b": b, "d": d}
        ours = {"x": x[None], "h": h[None], "packed": layer.ours}
        states, given = "h", h[None]
        expression = "torch.ops.quantized.quantized_gru_cell_dynamic(x, h, ih, hh, b, d)[None]"
        if cell == "lstm":
            theirs, ours = {**theirs, "c": c}, {**ours, "c": c[None]}
            states, given = "h, c", (h[None], c[None])
            expression = (
                "torch.ops.quantized.quantized_lstm_cell_dynamic(x, [h, c], ih, hh, b, d)[0][None]"
            )
        macs = layer.input_bytes + layer.hidden_bytes
        yield Row(
            *(f"{cell}_cell", f"{features}-{units}", macs),
            Call(f"torch.ops.ipex_quant.{cell}(x, {states}, packed)[0]", ours),
            Call(expression, theirs),
            weight_bytes=macs,
            tolerance=TOLERANCE,
            expected=lambda layer=layer, x=x[None], states=given: layer.float(x, states)[0],
        )

"""Numpy model of the recurrent operators' definition, and ways to build packed modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

ops = torch.ops.ipex_quant
F32 = np.float32
SMALLEST = F32(2.0**-100)
GATES = {"lstm": 4, "gru": 3}


@dataclass
class Module:
    """Everything that lstm_prepack or gru_prepack takes."""

    cell: str
    weights: list[torch.Tensor]
    scales: list[torch.Tensor]
    biases: list[torch.Tensor]
    layers: int
    bidirectional: bool
    batch_first: bool = False
    x_scale: float = 0.0
    x_zero_point: int = 0
    epilogue: str = ""

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def units(self) -> int:
        return self.weights[1].shape[1]

    def pack(self, **changes: Any) -> Any:
        """The packed object; keyword arguments replace fields for this call."""
        m = Module(**{**self.__dict__, **changes})
        prepack = ops.lstm_prepack if m.cell == "lstm" else ops.gru_prepack
        return prepack(
            m.weights, m.scales, m.biases, m.layers, m.bidirectional, m.batch_first,
            bool(m.biases), m.x_scale, m.x_zero_point, m.epilogue,
        )  # fmt: skip

    def lower(self, layers: int) -> Module:
        """The module of the first layers."""
        n = 2 * self.directions * layers
        return Module(
            self.cell, self.weights[:n], self.scales[:n], self.biases[:n], layers,
            self.bidirectional, False, self.x_scale, self.x_zero_point,
        )  # fmt: skip

    def run(
        self, x: torch.Tensor, h0: torch.Tensor | None, c0: torch.Tensor | None, **changes: Any
    ) -> tuple:
        """(y, hn, cn) of an LSTM or (y, hn) of a GRU, which ignores c0; no state is a zero one."""
        packed = self.pack(**changes)
        return ops.lstm(x, h0, c0, packed) if self.cell == "lstm" else ops.gru(x, h0, packed)


def random_module(
    cell: str, features: int, units: int, layers: int = 1, *, bidirectional: bool = False,
    biases: bool = True, seed: int = 0, **fields: Any,
) -> Module:  # fmt: skip
    """A module with full-range weights; pre-activations are of the order of 1."""
    g = torch.Generator().manual_seed(seed)
    rows = GATES[cell] * units
    weights, scales, bias = [], [], []
    for layer in range(layers):
        for _ in range(2 if bidirectional else 1):
            below = features if layer == 0 else units * (2 if bidirectional else 1)
            for k in (below, units):
                w = torch.randint(-128, 128, (rows, k), generator=g, dtype=torch.int8)
                w[0, 0], w[-1, -1] = -128, 127
                weights.append(w)
                spread = 0.5 + torch.rand(rows, generator=g)
                scales.append(spread / (70 * k**0.5))
                bias.append(torch.randn(rows, generator=g) * 0.3)
    return Module(cell, weights, scales, bias if biases else [], layers, bidirectional, **fields)


def quantize_float_module(module: torch.nn.LSTM | torch.nn.GRU, **fields: Any) -> Module:
    """Per-channel int8 weights of a float module."""
    cell = "lstm" if isinstance(module, torch.nn.LSTM) else "gru"
    weights, scales, biases = [], [], []
    for group in module.all_weights:
        for p in group:
            if p.dim() == 2:
                scale = p.detach().abs().amax(1) / 127
                weights.append((p.detach() / scale[:, None]).round().to(torch.int8))
                scales.append(scale)
            else:
                biases.append(p.detach())
    return Module(
        cell, weights, scales, biases, module.num_layers, module.bidirectional,
        module.batch_first, **fields,
    )  # fmt: skip


def random_states(m: Module, batch: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    shape = (m.layers * m.directions, batch, m.units)
    return torch.rand(shape, generator=g) * 2 - 1, torch.randn(shape, generator=g)


def random_input(m: Module, time: int, batch: int, seed: int = 2) -> torch.Tensor:
    """[time, batch, features] of the dtype that the module takes, with all extremes in u8."""
    g = torch.Generator().manual_seed(seed)
    shape = (time, batch, m.weights[0].shape[1])
    if m.x_scale > 0:
        x = torch.randint(0, 256, shape, generator=g, dtype=torch.uint8)
        x.view(-1)[0], x.view(-1)[-1] = 0, 255
        return x
    return torch.randn(shape, generator=g) + 0.3


@dataclass
class Rows:
    """Quantized rows: q integers [time, batch, k], scale and zero_point [time, batch, 1]."""

    q: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray


def quantize_h(h: np.ndarray) -> Rows:
    """EmitArgs in kernels/recurrent/kernels.h."""
    a = np.maximum(np.abs(h).max(-1, keepdims=True), SMALLEST)
    q = np.rint(np.clip(h * (F32(127) / a), F32(-127), F32(127))).astype(np.int64) + 128
    return Rows(q, a * (F32(1) / F32(127)), np.full(a.shape, 128))


def quantize_x(x: np.ndarray, units: int) -> list[Rows]:
    """QuantizeRowsArgs in kernels/recurrent/kernels.h: one plane, or two."""
    planes = 2 if 2 * x.shape[-1] <= units else 1
    levels = F32(255 if planes == 1 else 65535)
    lo = np.minimum(x.min(-1, keepdims=True), F32(0))
    hi = np.maximum(x.max(-1, keepdims=True), F32(0))
    a = np.maximum(hi - lo, SMALLEST)
    scale, inverse = a * (F32(1) / levels), levels / a
    z = np.rint(np.clip(-lo * inverse, F32(0), levels))
    q = (np.rint(np.clip(x * inverse, -z, levels - z)) + z).astype(np.int64)
    z = z.astype(np.int64)
    if planes == 1:
        return [Rows(q, scale, z)]
    return [Rows(q & 255, scale, z & 255), Rows(q >> 8, F32(256) * scale, z >> 8)]


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return (a.astype(np.float64) * b + c).astype(F32)


def product(rows: Rows, w: np.ndarray, scale: np.ndarray, start: np.ndarray) -> np.ndarray:
    acc = (rows.q - rows.zero_point) @ w.astype(np.int64).T
    return fma(acc.astype(F32), rows.scale * scale, start)


def sigmoid(v: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-v.astype(np.float64)))).astype(F32)


def tanh(v: np.ndarray) -> np.ndarray:
    return np.tanh(v.astype(np.float64)).astype(F32)


def last_layer(
    m: Module, inputs: list[Rows], y: np.ndarray, h0: np.ndarray, c0: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What y and cn of the module's last layer must be, given the layer's quantized input.

    The operator's own h of the step before (from y) feeds each step, so that integer parts are
    exact and only the float32 rounding of gates and cell state remains between model and operator.
    """
    time, directions, units = y.shape[0], m.directions, m.units
    expected, last_c = np.empty_like(y), []
    for d in range(directions):
        n = 2 * (directions * (m.layers - 1) + d)
        w_ih, w_hh = m.weights[n].numpy(), m.weights[n + 1].numpy()
        s_ih, s_hh = m.scales[n].numpy(), m.scales[n + 1].numpy()
        zeros = np.zeros(w_ih.shape[0], F32)
        b_ih = m.biases[n].numpy() if m.biases else zeros
        b_hh = m.biases[n + 1].numpy() if m.biases else zeros
        own = y[:, :, d * units : (d + 1) * units]
        gates = np.broadcast_to(b_ih + b_hh if m.cell == "lstm" else b_ih, (1, 1, len(zeros)))
        column = 0
        for rows in inputs:
            k = rows.q.shape[-1]
            gates = product(rows, w_ih[:, column : column + k], s_ih, gates)
            column += k if m.layers > 1 else 0  # planes of x share the columns
        state = m.directions * (m.layers - 1) + d
        h, c = h0[state], c0[state]
        for t in range(time) if d == 0 else reversed(range(time)):
            if m.cell == "lstm":
                p = product(quantize_h(h), w_hh, s_hh, gates[t])
                i, f, g, o = np.split(p, 4, -1)
                c = fma(sigmoid(f), c, sigmoid(i) * tanh(g))
                new = sigmoid(o) * tanh(c)
            else:
                p = product(quantize_h(h), w_hh, s_hh, b_hh)
                (pr, pz, pn), (xr, xz, xn) = np.split(p, 3, -1), np.split(gates[t], 3, -1)
                fresh = tanh(fma(sigmoid(xr + pr), pn, xn))
                new = fma(sigmoid(xz + pz), h - fresh, fresh)
            expected[t, :, d * units : (d + 1) * units] = new
            h = own[t]
        last_c.append(c)
    return expected, np.stack(last_c)


def check_against_model(m: Module, x: torch.Tensor, h0: torch.Tensor, c0: torch.Tensor) -> None:
    """Check every layer of the module: one unit of an accumulator is 10 times the tolerance."""
    x_rows = (
        [Rows(x.numpy().astype(np.int64), F32(m.x_scale), np.int64(m.x_zero_point))]
        if m.x_scale > 0
        else quantize_x(x.numpy(), m.units)
    )
    inputs = x_rows
    for layers in range(1, m.layers + 1):
        part = m.lower(layers)
        n = part.directions * layers
        y, hn, *cn = (t.numpy() for t in part.run(x, h0[:n], c0[:n]))
        expected, c = last_layer(part, inputs, y, h0[:n].numpy(), c0[:n].numpy())
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6, err_msg=f"layer {layers - 1}")
        for d in range(part.directions):
            own = y[..., d * m.units : (d + 1) * m.units]
            np.testing.assert_array_equal(hn[n - part.directions + d], own[-1 if d == 0 else 0])
        if cn:
            np.testing.assert_allclose(cn[0][n - part.directions :], c, rtol=1e-6, atol=3e-6)
        inputs = [quantize_h(half) for half in np.split(y, part.directions, -1)]

"""Int8 forms of nn.Linear, nn.LSTM, nn.GRU, nn.RNN and the cells, quantized at run time.

Each holds one packed object and calls one operator, so that it runs the same kernel in eager mode,
traced and scripted. Arguments, shapes and results are those of the float modules.
"""

from typing import overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ipex_quant import _backend

#: The annotations of a forward are for TorchScript, which has no string annotations; each overload
#: is one form of the input.
_overload = torch._jit_internal._overload_method

#: What a forward calls in eager mode and while it is traced; a script has torch.ops.
_linear, _lstm = _backend.operator("linear_dynamic"), _backend.operator("lstm")
_gru, _rnn = _backend.operator("gru"), _backend.operator("rnn")


def _with_small_copy(x: Tensor, input_size: int, small_copy: float) -> Tensor:
    """``[x, small_copy * x]`` for weights of few inputs, which are split; x where it is 0."""
    if small_copy == 0.0:
        return x
    if not torch.jit.is_tracing() and x.size(-1) != input_size:
        raise RuntimeError(
            f"x must have {input_size} features in its last dimension, got shape {x.shape}"
        )
    return torch.cat([x, x * small_copy], -1)


class DynamicLinear(nn.Module):
    """``y = x W^T + b`` on float32 ``[..., in_features]``; each row of x has its own scale."""

    def __init__(self, packed: torch.ScriptObject, in_features: int, out_features: int) -> None:
        super().__init__()
        self.packed = packed
        self.in_features = in_features
        self.out_features = out_features

    def forward(self, input: Tensor) -> Tensor:
        """float32 ``[..., in_features]`` to float32 ``[..., out_features]``."""
        if torch.jit.is_scripting():
            return torch.ops.ipex_quant.linear_dynamic(input, self.packed, [])
        else:
            return _linear(input, self.packed, [])

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


class _Recurrent(nn.Module):
    """What the recurrent modules share."""

    def __init__(
        self, packed: torch.ScriptObject, module: nn.RNNBase, small_copy: float = 0.0
    ) -> None:
        super().__init__()
        self.packed = packed
        self.small_copy = small_copy
        self.input_size = module.input_size
        self.hidden_size = module.hidden_size
        self.num_layers = module.num_layers
        self.batch_first = module.batch_first
        self.bidirectional = module.bidirectional
        self.states = module.num_layers * (2 if module.bidirectional else 1)

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        shown += [f"num_layers={self.num_layers}"] if self.num_layers != 1 else []
        shown += [
            f"{name}=True" for name in ("batch_first", "bidirectional") if getattr(self, name)
        ]
        return ", ".join(shown)


class DynamicLSTM(_Recurrent):
    """nn.LSTM in eval mode, without projections."""

    @overload
    @_overload
    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]: ...

    @overload
    @_overload
    def forward(
        self, input: PackedSequence, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[PackedSequence, tuple[Tensor, Tensor]]: ...

    def forward(self, input, hx=None):
        """See nn.LSTM."""
        sequences = input
        if isinstance(sequences, PackedSequence):
            data, batch_sizes, order, back = input
            if hx is None:
                zeros = torch.zeros(self.states, batch_sizes[0], self.hidden_size)
                hx = (zeros, zeros)
            elif order is not None:
                hx = (hx[0].index_select(1, order), hx[1].index_select(1, order))
            data = _with_small_copy(data, self.input_size, self.small_copy)
            y, h, c = torch.ops.ipex_quant.lstm_sequences(
                data, batch_sizes, hx[0], hx[1], self.packed
            )
            if back is not None:
                h, c = h.index_select(1, back), c.index_select(1, back)
            return PackedSequence(y, batch_sizes, order, back), (h, c)
        h0: Tensor | None = None
        c0: Tensor | None = None
        if hx is not None:
            h0, c0 = hx[0], hx[1]
        x = _with_small_copy(input, self.input_size, self.small_copy)
        if torch.jit.is_scripting():
            y, h, c = torch.ops.ipex_quant.lstm(x, h0, c0, self.packed)
        else:
            y, h, c = _lstm(x, h0, c0, self.packed)
        return y, (h, c)


class DynamicGRU(_Recurrent):
    """nn.GRU in eval mode."""

    @overload
    @_overload
    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]: ...

    @overload
    @_overload
    def forward(
        self, input: PackedSequence, hx: Tensor | None = None
    ) -> tuple[PackedSequence, Tensor]: ...

    def forward(self, input, hx=None):
        """See nn.GRU."""
        sequences = input
        if isinstance(sequences, PackedSequence):
            data, batch_sizes, order, back = input
            if hx is None:
                hx = torch.zeros(self.states, batch_sizes[0], self.hidden_size)
            elif order is not None:
                hx = hx.index_select(1, order)
            data = _with_small_copy(data, self.input_size, self.small_copy)
            y, h = torch.ops.ipex_quant.gru_sequences(data, batch_sizes, hx, self.packed)
            if back is not None:
                h = h.index_select(1, back)
            return PackedSequence(y, batch_sizes, order, back), h
        x = _with_small_copy(input, self.input_size, self.small_copy)
        if torch.jit.is_scripting():
            return torch.ops.ipex_quant.gru(x, hx, self.packed)
        else:
            return _gru(x, hx, self.packed)


class DynamicRNN(_Recurrent):
    """nn.RNN in eval mode, tanh or relu."""

    @overload
    @_overload
    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]: ...

    @overload
    @_overload
    def forward(
        self, input: PackedSequence, hx: Tensor | None = None
    ) -> tuple[PackedSequence, Tensor]: ...

    def forward(self, input, hx=None):
        """See nn.RNN."""
        sequences = input
        if isinstance(sequences, PackedSequence):
            data, batch_sizes, order, back = input
            if hx is None:
                hx = torch.zeros(self.states, batch_sizes[0], self.hidden_size)
            elif order is not None:
                hx = hx.index_select(1, order)
            y, h = torch.ops.ipex_quant.rnn_sequences(data, batch_sizes, hx, self.packed)
            if back is not None:
                h = h.index_select(1, back)
            return PackedSequence(y, batch_sizes, order, back), h
        if hx is None and input.dim() == 2:
            hx = torch.zeros(self.states, self.hidden_size)
        elif hx is None:
            rows = input.size(0) if self.batch_first else input.size(1)
            hx = torch.zeros(self.states, rows, self.hidden_size)
        if torch.jit.is_scripting():
            return torch.ops.ipex_quant.rnn(input, hx, self.packed)
        else:
            return _rnn(input, hx, self.packed)


class _Cell(nn.Module):
    """What the cells share: one step is a sequence of length 1."""

    def __init__(
        self, packed: torch.ScriptObject, module: nn.RNNCellBase, small_copy: float = 0.0
    ) -> None:
        super().__init__()
        self.packed = packed
        self.small_copy = small_copy
        self.input_size = module.input_size
        self.hidden_size = module.hidden_size

    def zeros(self, input: Tensor) -> Tensor:
        """The initial state of a call without one, ``[1, batch, hidden_size]``."""
        return torch.zeros([1, input.size(0), self.hidden_size])

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"{self.input_size}, {self.hidden_size}"


class DynamicLSTMCell(_Cell):
    """nn.LSTMCell."""

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """See nn.LSTMCell."""
        x = input if input.dim() == 2 else input.unsqueeze(0)
        if hx is None:
            zeros = self.zeros(x)
            h0, c0 = zeros, zeros
        else:
            h0, c0 = hx[0].view([1, x.size(0), -1]), hx[1].view([1, x.size(0), -1])
        x = _with_small_copy(x, self.input_size, self.small_copy)
        if torch.jit.is_scripting():
            _, h, c = torch.ops.ipex_quant.lstm(x.unsqueeze(0), h0, c0, self.packed)
        else:
            _, h, c = _lstm(x.unsqueeze(0), h0, c0, self.packed)
        h, c = h.squeeze(0), c.squeeze(0)
        return (h, c) if input.dim() == 2 else (h.squeeze(0), c.squeeze(0))


class DynamicGRUCell(_Cell):
    """nn.GRUCell."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """See nn.GRUCell."""
        x = input if input.dim() == 2 else input.unsqueeze(0)
        h0 = self.zeros(x) if hx is None else hx.view([1, x.size(0), -1])
        x = _with_small_copy(x, self.input_size, self.small_copy)
        if torch.jit.is_scripting():
            _, h = torch.ops.ipex_quant.gru(x.unsqueeze(0), h0, self.packed)
        else:
            _, h = _gru(x.unsqueeze(0), h0, self.packed)
        return h.squeeze(0) if input.dim() == 2 else h.squeeze(0).squeeze(0)


class DynamicRNNCell(_Cell):
    """nn.RNNCell, tanh or relu."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """See nn.RNNCell."""
        x = input if input.dim() == 2 else input.unsqueeze(0)
        h0 = self.zeros(x) if hx is None else hx.view([1, x.size(0), -1])
        if torch.jit.is_scripting():
            _, h = torch.ops.ipex_quant.rnn(x.unsqueeze(0), h0, self.packed)
        else:
            _, h = _rnn(x.unsqueeze(0), h0, self.packed)
        return h.squeeze(0) if input.dim() == 2 else h.squeeze(0).squeeze(0)

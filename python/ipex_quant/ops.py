"""What calibration knows about single operators: layouts of weights and channels, calling them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ipex_quant import observers

#: Families whose kernels decide what becomes int8; the others follow them.
ANCHORS = frozenset(
    (
        *("conv", "linear", "addmm", "matmul", "baddbmm", "einsum", "sdpa"),
        *("lstm", "gru", "lstm_packed", "gru_packed", "embedding", "embedding_bag"),
    )
)
#: Families of whole recurrent layers.
RECURRENT = frozenset(("lstm", "gru", "lstm_packed", "gru_packed"))
#: Families whose input may take the scale of each row at run time.
ROW_SCALED = RECURRENT | {"linear"}
#: Values of an input times kernel size, from which a calibration call reads windows.
MOST_WINDOW_VALUES = 1 << 23


def base_name(op: str) -> str:
    """``conv2d`` for ``aten::conv2d`` or ``aten::conv2d.padding``."""
    return op.rsplit("::", 1)[-1].split(".")[0]


def call(op: str, args: list[Any]) -> Any:
    """Run an aten operator; the overload is the one whose schema takes the arguments."""
    name = base_name(op)
    if name in RECURRENT:
        packed = isinstance(args[3], (list, tuple))  # the weights stand behind the batch sizes
        packet = getattr(torch.ops.aten, name)
        return packet.data(*args) if packed else packet.input(*args)
    if name == "baddbmm":  # its product alone is quantized, and a graph gives no more
        return torch.matmul(args[1], args[2])
    packet = getattr(torch.ops.aten, name)
    schema = getattr(packet, packet.overloads()[0])._schema
    names = [a.name for a in schema.arguments if a.kwarg_only]
    positional = len(schema.arguments) - len(names)
    return packet(*args[:positional], **dict(zip(names, args[positional:], strict=False)))


#: The operand of scaled_dot_product_attention that is made inside of it.
PROBABILITIES = "probabilities"


def attention_probabilities(args: list[Any]) -> torch.Tensor:
    """What scaled_dot_product_attention multiplies its value with."""
    query, key, _, mask, _, causal, scale, grouped = args
    if grouped:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if mask is not None:
        masked = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -torch.inf) if masked else scores + mask
    return torch.ops.aten._safe_softmax(scores, -1)


def attention_arguments(args: list[Any]) -> list[Any]:
    """Arguments of scaled_dot_product_attention that give these probabilities.

    The graph has it taken apart: ``args`` are query, key, value and probabilities.
    """
    query, key, value, probabilities = args
    mask = probabilities.log() - query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return [query, key, value, mask, 0.0, False, None, False]


def attend(probabilities: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The second product of scaled_dot_product_attention."""
    if value.dim() > 2 and value.shape[-3] != probabilities.shape[-3]:
        value = value.repeat_interleave(probabilities.shape[-3] // value.shape[-3], -3)
    return probabilities @ value


@dataclass(frozen=True)
class WeightForm:
    """How the weight of an operator is laid out."""

    transposed: bool = False
    groups: int = 1

    def axis(self) -> int:
        """Dimension of the output channels (of one group)."""
        return int(self.transposed)

    def to_rows(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight with all output channels on axis 0: ``[out, in / groups, ...]``."""
        if not self.transposed:
            return weight
        return weight.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1)

    def from_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """The inverse of `to_rows`."""
        if not self.transposed:
            return rows
        return rows.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1)

    def scales_from_rows(self, scales: torch.Tensor) -> torch.Tensor:
        """Scales per row as the operators take them: one for the same channel of all groups."""
        if not self.transposed or scales.numel() == 1:
            return scales
        return scales.unflatten(0, (self.groups, -1)).amax(0)

    def scales_to_rows(self, scales: torch.Tensor) -> torch.Tensor:
        """The inverse of `scales_from_rows`: one scale per row again."""
        return scales.repeat(self.groups) if self.transposed and scales.numel() > 1 else scales

    def per_row(self, channels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Values per input channel as they meet each weight, broadcastable to ``rows``."""
        groups = channels.unflatten(0, (self.groups, -1))
        spread = groups.repeat_interleave(rows.shape[0] // self.groups, dim=0)
        return spread.reshape(*spread.shape, *[1] * (rows.dim() - 2))


def weight_form(family: str, op: str, args: list[Any]) -> WeightForm:
    """Layout of the weight in a call of an operator."""
    if family == "addmm":  # its weight is [in, out], as that of a transposed operator
        return WeightForm(transposed=True)
    if family != "conv":
        return WeightForm()
    name = base_name(op)
    if name.startswith("conv_transpose"):
        return WeightForm(True, args[6])
    if name in ("convolution", "_convolution"):
        return WeightForm(bool(args[6]), args[8])
    return WeightForm(False, args[6])


def spatial_dims(weight: torch.Tensor) -> int:
    """Number of spatial dimensions of a convolution."""
    return weight.dim() - 2


def input_channels(family: str, args: list[Any], x: torch.Tensor) -> torch.Tensor | None:
    """The input of a weighted operator as ``[values, channels]``; None where it has no channels."""
    if family in ("linear", "addmm") or family in RECURRENT:
        return x.reshape(-1, x.shape[-1])
    if family == "conv":
        return x.movedim(-1 - spatial_dims(args[1]), -1).flatten(0, -2)
    return None


def input_windows(form: WeightForm, args: list[Any], x: torch.Tensor) -> torch.Tensor | None:
    """What a 2d convolution multiplies with its weights, ``[groups, windows, weights per output]``.

    Windows of the first items of ``x``, as many as fit into ``MOST_WINDOW_VALUES``. None for other
    convolutions, and for those with more than ``observers.SHORT_ROW`` weights per output.
    """
    weight, stride, padding, dilation = args[1], args[3], args[4], args[5]
    short = weight.dim() == 4 and weight[0].numel() <= observers.SHORT_ROW
    if form.transposed or not short or x.dim() != 4 or isinstance(padding, str):
        return None
    values = x[0].numel() * weight[0, 0].numel()
    stride, padding, dilation = ([*size] * (2 // len(size)) for size in (stride, padding, dilation))
    columns = torch.nn.functional.unfold(
        x[: max(MOST_WINDOW_VALUES // values, 1)].float(),
        weight.shape[2:],
        dilation=dilation,
        padding=padding,
        stride=stride,
    )
    return columns.unflatten(1, (form.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)


def output_channels(family: str, args: list[Any], y: torch.Tensor) -> torch.Tensor | None:
    """The output of an operator with a bias as ``[values, channels]``; None for the others."""
    if family in ("linear", "addmm"):
        return y.reshape(-1, y.shape[-1])
    if family == "conv":
        return y.movedim(-1 - spatial_dims(args[1]), -1).flatten(0, -2)
    return None


def map_tensors(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A copy of nested tuples, lists and dicts with ``function`` applied to every tensor."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(v, function) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(map_tensors(v, function) for v in value)
    if isinstance(value, dict):
        return {k: map_tensors(v, function) for k, v in value.items()}
    return value


def signature(args: Any) -> tuple[Any, ...]:
    """Ranks of the tensors and values of the numbers of a call: equal for two runs of one call.

    Not so whole numbers, which may be sizes.
    """
    return tuple(
        value.dim()
        if isinstance(value, torch.Tensor)
        else signature(value)
        if isinstance(value, (list, tuple))
        else value
        if isinstance(value, (float, str))
        else None
        for value in args
    )


def tensors_in(value: Any) -> list[torch.Tensor]:
    """All tensors in nested tuples, lists and dicts, in order."""
    found: list[torch.Tensor] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        found.append(tensor)
        return tensor

    map_tensors(value, note)
    return found


def quantize_dequantize(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    """What is left of float values after uint8 quantization; the arithmetic of docs/numerics.md."""
    inverse = (1.0 / torch.tensor(scale, dtype=torch.float32)).item()
    q = torch.clamp(x * inverse, -zero_point, 255 - zero_point).round_()
    return q.mul_(scale)


def quantize_dequantize_rows(rows: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """What is left of a weight ``[out, ...]`` after int8 quantization with scales per row."""
    shaped = scale.reshape(-1, *[1] * (rows.dim() - 1))
    return (rows * (1.0 / shaped)).round_().clamp_(-127, 127).mul_(shaped)


def quantize_dequantize_dynamic(x: torch.Tensor, *, per_tensor: bool = False) -> torch.Tensor:
    """What is left after uint8 quantization with one scale per row (last dimension), or for all."""
    dims = () if per_tensor else (-1,)
    low = x.amin(dims, keepdim=True).clamp_max(0)
    high = x.amax(dims, keepdim=True).clamp_min(0)
    scale = ((high - low) / 255).clamp_min(torch.finfo(torch.float32).tiny)
    zero = torch.round(-low / scale).clamp_(0, 255)
    return ((x / scale).round_().add_(zero).clamp_(0, 255).sub_(zero)).mul_(scale)

"""Observers of activations and weights, and the canonical qparams of anybody's observer.

An observer has ``forward(x)``, ``calculate_qparams()`` and ``with_args(...)``, like torch's, whose
observers work in place of these. Canonical: uint8 activations, int8 symmetric weights on axis 0.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import Any

import torch

from ipex_quant.histogram import Histogram, affine


class Partial:
    """A factory that remembers arguments; the result of ``Observer.with_args``."""

    def __init__(self, factory: Callable[..., Any], **settings: Any) -> None:
        self._factory = factory
        self._settings = settings

    def __call__(self, **settings: Any) -> Any:
        return self._factory(**{**self._settings, **settings})

    def with_args(self, **settings: Any) -> Partial:
        """A factory with more arguments fixed."""
        return Partial(self._factory, **{**self._settings, **settings})

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in self._settings.items())
        return f"{self._factory.__name__}.with_args({settings})"


class Observer(abc.ABC):
    """Base of our observers: settings, and the range of what ``forward`` was given.

    Args:
        dtype: torch.uint8 or torch.int8 (torch.quint8 and torch.qint8 mean the same).
        qscheme: one of torch's; affine for uint8, symmetric for int8 when not given.
    """

    per_channel = False

    def __init__(self, dtype: torch.dtype = torch.uint8, qscheme: Any = None) -> None:
        signed = dtype in (torch.int8, torch.qint8)
        kind = "channel" if self.per_channel else "tensor"
        self.dtype = dtype
        self.qscheme = qscheme or getattr(
            torch, f"per_{kind}_symmetric" if signed else f"per_{kind}_affine"
        )
        self.low = torch.tensor(math.inf)
        self.high = torch.tensor(-math.inf)

    @classmethod
    def with_args(cls, **settings: Any) -> Partial:
        """A factory of this observer with settings fixed, as a QConfig needs it."""
        return Partial(cls, **settings)

    @property
    def symmetric(self) -> bool:
        """Whether zero sits in the middle of the range."""
        return self.qscheme in (torch.per_tensor_symmetric, torch.per_channel_symmetric)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward(x)

    @abc.abstractmethod
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Take note of a float tensor; gives it back."""

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and zero point of shape ``[1]`` or ``[channels]``, in the observer's dtype."""
        if self.dtype in (torch.int8, torch.qint8) and self.symmetric:
            scale = torch.maximum(-self.low, self.high).clamp_min(0).reshape(-1) / 127
            return scale.float(), torch.zeros(scale.numel(), dtype=torch.int64)
        scale, zero = affine(self.low.reshape(-1), self.high.reshape(-1), self.symmetric)
        shift = 128 if self.dtype in (torch.int8, torch.qint8) else 0
        return scale.float(), zero.long() - shift


class MinMaxObserver(Observer):
    """The whole observed range."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low, high = torch.aminmax(x.detach())
        self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        return x


class MovingAverageMinMaxObserver(Observer):
    """An exponential average of the range of each tensor, as torch's: weight 0.01 for the new."""

    def __init__(self, averaging_constant: float = 0.01, **settings: Any) -> None:
        super().__init__(**settings)
        self.averaging_constant = averaging_constant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low, high = torch.aminmax(x.detach())
        if bool(torch.isinf(self.low)):
            self.low, self.high = low, high
        else:
            self.low = self.low + self.averaging_constant * (low - self.low)
            self.high = self.high + self.averaging_constant * (high - self.high)
        return x


class PerChannelMinMaxObserver(Observer):
    """The whole range of each channel along ``ch_axis``."""

    per_channel = True

    def __init__(
        self, ch_axis: int = 0, dtype: torch.dtype = torch.int8, qscheme: Any = None
    ) -> None:
        super().__init__(dtype, qscheme)
        self.ch_axis = ch_axis

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.detach()
        rows = x.movedim(self.ch_axis, 0).flatten(1) if x.dim() > 1 else x[:, None]
        low, high = torch.aminmax(rows, dim=1)
        self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        return x


class HistogramObserver(Observer):
    """The range that reproduces the observed values best.

    Args:
        method: "mse" (least squared error, what lies outside the range counted
            `ipex_quant.histogram.OUTSIDE` times), "percentile" or "minmax".
        percentile: share of the values inside the range of method "percentile".
    """

    def __init__(self, method: str = "mse", percentile: float = 0.9999, **settings: Any) -> None:
        super().__init__(**settings)
        if method not in ("mse", "percentile", "minmax"):
            raise ValueError(f"method must be 'mse', 'percentile' or 'minmax', got {method!r}")
        self.method = method
        self.percentile = percentile
        self.histogram = Histogram()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.histogram.update(x)
        return x

    def ranges(self) -> list[tuple[float, float]]:
        """Ranges worth trying, the one of the chosen method first."""
        full = (self.histogram.minimum, self.histogram.maximum)
        if self.method == "percentile":
            return [self.histogram.percentile(self.percentile)]
        if self.method == "minmax":
            return [full]
        return [self.histogram.least_error_range(self.symmetric), full]

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        low, high = self.ranges()[0]
        self.low, self.high = torch.tensor(low).double(), torch.tensor(high).double()
        return super().calculate_qparams()


#: Rows of at most so many weights gain from a fine search for their scale: 1.7 times less error
#: for the 27 of a first convolution, 2.5 times for the 9 of a depthwise one.
SHORT_ROW = 64


class WeightObserver(PerChannelMinMaxObserver):
    """Per output channel the scale with the least squared error of the weight.

    ``importance`` (mean square of the input that meets each weight, broadcastable to it) turns
    the error of the weight into that of the output, ``covariance`` (see `least_error_scale`) for
    short rows exactly; the recipe sets them from the calibration.
    """

    importance: torch.Tensor | None = None
    covariance: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        super().forward(x)
        rows = x.detach().movedim(self.ch_axis, 0).flatten(1).float()
        weight = None
        if self.importance is not None:
            weight = self.importance.expand_as(x).movedim(self.ch_axis, 0).flatten(1).float()
        self.scale = least_error_scale(rows, weight, self.covariance)
        return x

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.scale, torch.zeros(self.scale.numel(), dtype=torch.int64)


class DynamicObserver(Observer):
    """Stands for an activation that is quantized at run time; observes nothing.

    Args:
        granularity: "row", a scale for each row (last dimension), or "tensor", one for all of them.
            Recurrent layers always take "row": a scale for each time step of each sequence.
    """

    is_dynamic = True

    def __init__(self, granularity: str = "row", **settings: Any) -> None:
        super().__init__(**settings)
        if granularity not in ("row", "tensor"):
            raise ValueError(f"granularity must be 'row' or 'tensor', got {granularity!r}")
        self.granularity = granularity

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        raise ValueError("a dynamic activation has no qparams before run time")


def least_error_scale(
    rows: torch.Tensor,
    importance: torch.Tensor | None = None,
    covariance: torch.Tensor | None = None,
) -> torch.Tensor:
    """int8 scale of each row with the least (weighted) squared error, shape ``[rows]``.

    Tries the scale of the largest value and smaller ones, down to half of it; another one must
    win by more than 1 % to be taken, since clipping the largest weights is a bet. The few weights
    of a depthwise or first convolution fall closely on the steps of some scale, so for short rows
    (``SHORT_ROW``) many are tried, larger ones too.

    Args:
        rows: weights, ``[rows, weights]``.
        importance: mean square of the input that meets each weight, shape of ``rows``.
        covariance: of the inputs of a row, ``[groups, weights, weights]``, instead of importance;
            the groups have equally many rows.
    """

    def error_of(scale: torch.Tensor) -> torch.Tensor:
        error = torch.round(rows / scale).clamp_(-127, 127).mul_(scale).sub_(rows)
        if covariance is not None:
            grouped = error.unflatten(0, (covariance.shape[0], -1))
            return (grouped @ covariance * grouped).sum(-1).reshape(-1, 1)
        error.square_()
        return (error if importance is None else error.mul_(importance)).sum(1, keepdim=True)

    full = (rows.abs().amax(1, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)
    short = rows.shape[1] <= SHORT_ROW
    factors = torch.linspace(1.25, 0.5, 301) if short else torch.linspace(1, 0.5, 21)
    best, least = full, 0.99 * error_of(full)
    for factor in factors.tolist():
        error = error_of(full * factor)
        better = error < least
        best, least = torch.where(better, full * factor, best), torch.where(better, error, least)
    return best.flatten()


def is_free(observer: Any) -> bool:
    """Whether an observer asks for the least error, however that is reached."""
    return isinstance(observer, HistogramObserver) and observer.method == "mse"


def is_per_channel(observer: Any) -> bool:
    """Whether an observer gives one scale per channel."""
    return getattr(observer, "qscheme", None) in (
        torch.per_channel_affine,
        torch.per_channel_symmetric,
        torch.per_channel_affine_float_qparams,
    )


def name(observer: Any) -> str:
    """Readable name of anybody's observer."""
    return type(observer).__name__


def activation_qparams(observer: Any) -> tuple[float, int]:
    """Canonical (uint8) scale and zero point of an activation observer of any make.

    Raises:
        ValueError: the observer gives no finite scale above 0, or more than one.
    """
    scale, zero = (torch.as_tensor(v).reshape(-1) for v in observer.calculate_qparams())
    if scale.numel() != 1:
        raise ValueError(f"{name(observer)} gave {scale.numel()} scales; one is needed")
    shift = 128 if getattr(observer, "dtype", None) in (torch.int8, torch.qint8) else 0
    value, point = float(scale), int(zero) + shift
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name(observer)} gave scale {value}; it must be finite and above 0")
    return value, min(max(point, 0), 255)


def weight_scales(observer: Any, weight: torch.Tensor) -> torch.Tensor:
    """int8 scales of a weight with its output channels on axis 0, shape ``[1]`` or ``[out]``."""
    observer(weight)
    scale = torch.as_tensor(observer.calculate_qparams()[0]).reshape(-1).float()
    # A channel of zeros has no scale of its own; any scale represents it exactly.
    return torch.where(torch.isfinite(scale) & (scale > 0), scale, torch.ones_like(scale))


def check_weight_observer(factory: Callable[[], Any], rows: torch.Tensor, where: str) -> None:
    """Raise unless an observer gives a scale for each of the rows of a weight, or one for all.

    Raises:
        ValueError: it observes another axis or gives other scales; the text begins with ``where``.
    """
    observer = factory()
    axis = getattr(observer, "ch_axis", 0)
    if axis not in (0, -rows.dim()):
        raise ValueError(
            f"{where}: {name(observer)} observes ch_axis {axis}; it is given output channels on "
            "axis 0, whatever the layout of the operator's weight, so give ch_axis=0"
        )
    if isinstance(observer, Observer) or type(observer).__module__.startswith("torch.ao."):
        return  # they give as many
    count = weight_scales(observer, rows).numel()
    if count not in (1, rows.shape[0]):
        raise ValueError(
            f"{where}: {name(observer)} gave {count} scales for {rows.shape[0]} output channels; "
            "one for each, or one for all, is needed"
        )

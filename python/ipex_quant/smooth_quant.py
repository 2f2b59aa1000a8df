"""SmoothQuant: moves the size of activation channels into the weight that reads them.

``W x = (W F)(F^-1 x)`` with ``F_j = max|x_j|^alpha / max|W_j|^(1 - alpha)`` (Xiao et al. 2022,
arXiv 2211.10438): outlier channels of x then no longer set the 8-bit scale of all others. Linear
layers that read one value share F, so that it is divided once.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from ipex_quant import factors, observers, ops
from ipex_quant.measure import Probe
from ipex_quant.plan import Plan
from ipex_quant.qconfig import QConfigMapping

#: What alpha "auto" tries after no factor at all.
_ALPHAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
#: A noise that counts as equal (1 dB): a larger alpha leaves each channel less room for values that
#: calibration did not show, which cost up to four times the error on the encoder of the tests.
_ABOUT = 1.26
#: A channel that calibration never saw, or that no weight reads, keeps this share of the largest.
_LEAST = 1e-5


class SmoothQConfig(NamedTuple):
    """A QConfig of linear layers with SmoothQuant; other operators use its observers alone."""

    activation: Callable[[], Any]
    weight: Callable[[], Any]
    alpha: float | str = 0.5
    share_weight_observers: bool = True
    activation_channels: Callable[[], Any] | None = None
    weight_channels: Callable[[], Any] | None = None


def get_smooth_quant_qconfig(
    alpha: float | str = 0.5,
    act_observer: Callable[[], Any] | None = None,
    act_ic_observer: Callable[[], Any] | None = None,
    wei_observer: Callable[[], Any] | None = None,
    wei_ic_observer: Callable[[], Any] | None = None,
    share_weight_observers: bool = True,
) -> SmoothQConfig:
    """The QConfig behind `get_smooth_quant_qconfig_mapping`, for an alpha per layer.

    Args:
        alpha: share of the activation's range that moves into the weight, 0 to 1, or "auto": per
            layer the least (or no factor) with about the least error on the calibration inputs.
        act_observer: of the smoothed activation; a histogram with the least error when not given.
        act_ic_observer: of the activation's input channels, with ``ch_axis=-1``; it is given the
            largest values of the calibration, and its ``min_val`` and ``max_val`` are read.
        wei_observer: of the smoothed weight; the least error of the output when not given.
        wei_ic_observer: of the weight's input channels, with ``ch_axis=1``, likewise.
        share_weight_observers: one factor for all layers that read one value, so that the value is
            divided once; otherwise one for each layer.

    Raises:
        ValueError: alpha is neither in 0..1 nor "auto"; an observer of channels has no
            ``min_val`` and ``max_val``.
    """
    number = isinstance(alpha, numbers.Real) and not isinstance(alpha, bool) and 0 <= alpha <= 1
    if not number and not (isinstance(alpha, str) and alpha == "auto"):
        raise ValueError(f'alpha must be a number from 0 to 1 or "auto", got {alpha!r}')
    for name, factory in (
        ("act_ic_observer", act_ic_observer),
        ("wei_ic_observer", wei_ic_observer),
    ):
        if factory is not None and not all(hasattr(factory(), v) for v in ("min_val", "max_val")):
            raise ValueError(
                f"{name}: {type(factory()).__name__} has no min_val and max_val; give an observer "
                "such as torch's PerChannelMinMaxObserver"
            )
    return SmoothQConfig(
        act_observer or observers.HistogramObserver.with_args(),
        wei_observer or observers.WeightObserver.with_args(),
        alpha,
        share_weight_observers,
        act_ic_observer,
        wei_ic_observer,
    )


def get_smooth_quant_qconfig_mapping(
    alpha: float | str = 0.5,
    act_observer: Callable[[], Any] | None = None,
    act_ic_observer: Callable[[], Any] | None = None,
    wei_observer: Callable[[], Any] | None = None,
    wei_ic_observer: Callable[[], Any] | None = None,
    share_weight_observers: bool = True,
) -> QConfigMapping:
    """Static quantization with SmoothQuant in every linear layer; see `get_smooth_quant_qconfig`.

    For a layer's own alpha: ``mapping.set_module_name(path, get_smooth_quant_qconfig(0.8))``.
    """
    return QConfigMapping().set_global(
        get_smooth_quant_qconfig(
            alpha,
            act_observer,
            act_ic_observer,
            wei_observer,
            wei_ic_observer,
            share_weight_observers,
        )
    )


class SmoothGroup(factors.FactorGroup):
    """Linear layers that read one value, and the factors of each alpha tried for it."""

    def __init__(self, plans: list[Plan]) -> None:
        self.plans = plans
        self.qconfig: SmoothQConfig = plans[0].site.qconfig
        self.symmetric = False  # the observers below know it
        alpha = self.qconfig.alpha
        alphas = _ALPHAS if alpha == "auto" else (float(alpha),)
        largest = _clamped(self._activation_channels())
        weights = _clamped(torch.stack([self._weight_channels(plan) for plan in plans]).amax(0))
        self.factors = {f"alpha {a}": largest**a / weights ** (1 - a) for a in alphas}
        self._observers = {name: self.qconfig.activation() for name in self.factors}

    def _activation_channels(self) -> torch.Tensor:
        largest = self.plans[0].site.operands["input"].channel_max
        assert largest is not None  # of find_groups
        if self.qconfig.activation_channels is None:
            return largest
        observer = self.qconfig.activation_channels()
        observer(torch.stack([largest, -largest]))
        return _largest_of(observer, largest.numel(), "act_ic_observer")

    def _weight_channels(self, plan: Plan) -> torch.Tensor:
        rows = plan.site.form.to_rows(plan.site.operands["weight"].tensor)
        if self.qconfig.weight_channels is None:
            return rows.abs().amax(0)
        observer = self.qconfig.weight_channels()
        observer(rows)
        return _largest_of(observer, rows.shape[1], "wei_ic_observer")

    def observe(self, args: list[Any]) -> None:
        """Take the input of a call of the first layer."""
        site = self.plans[0].site
        columns = ops.input_channels(
            site.family, args, args[1 if site.family == "addmm" else 0].detach()
        )
        for name, factor in self.factors.items():
            self._observers[name](columns / factor)

    def qparams(self, name: str) -> tuple[float, int]:
        """Scale and zero point of the divided input."""
        return observers.activation_qparams(self._observers[name])

    def choose(self, probes: dict[str, Probe]) -> None:
        """Take the one alpha, or of "auto" the least that is about as good as the best."""
        best = next(iter(self.factors))
        if self.qconfig.alpha == "auto":
            noise = {name: self._noise(name, probes) for name in ("plan", *self.factors)}
            enough = _ABOUT * min(noise.values())
            best = next(name for name, value in noise.items() if value <= enough)
        if best != "plan":
            self.take(best, probes)

    def _noise(self, name: str, probes: dict[str, Probe]) -> float:
        found = [probes[plan.key] for plan in self.plans]
        return sum(p.variants[name].noise / max(p.signal, 1e-38) for p in found)


def _clamped(values: torch.Tensor) -> torch.Tensor:
    return values.clamp_min(float(values.max()) * _LEAST + torch.finfo(torch.float32).tiny)


def _largest_of(observer: Any, channels: int, name: str) -> torch.Tensor:
    largest = torch.maximum(observer.min_val.abs(), observer.max_val.abs()).reshape(-1)
    if largest.numel() != channels:
        raise ValueError(
            f"{name} gave {largest.numel()} channels for {channels} input channels; it must "
            "observe the last dimension of the activation, or dimension 1 of the weight"
        )
    return largest


def wants(plan: Plan) -> bool:
    """Whether a site takes part in SmoothQuant by its QConfig."""
    return plan.site.family in ("linear", "addmm") and hasattr(plan.site.qconfig, "alpha")


def find_groups(plans: dict[str, Plan]) -> list[SmoothGroup]:
    """The values that are smoothed, each with the layers that read it."""
    weights: dict[tuple | None, int] = {}
    for plan in plans.values():
        for _, operand in plan.weights():
            weights[operand.source] = weights.get(operand.source, 0) + 1
    readers: dict[Any, list[Plan]] = {}
    for plan in plans.values():
        if plan.reason or not wants(plan) or plan.modes.get("input") != "static":
            continue
        operands = plan.site.operands
        # A weight that several calls read is packed once, with one factor: none.
        if weights[operands["weight"].source] > 1 or operands["input"].channel_max is None:
            continue
        own = () if plan.site.qconfig.share_weight_observers else (plan.key,)
        key = (id(operands["input"].observer), id(plan.site.qconfig), *own)
        readers.setdefault(key, []).append(plan)
    return [SmoothGroup(found) for found in readers.values()]

"""The decision in the making for one site: qparams, what to measure, the summary's entry."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from ipex_quant import _backend, decisions, observers, ops, qconfig, state
from ipex_quant.calibration import Operand, Site
from ipex_quant.errors import QuantizationError
from ipex_quant.histogram import affine
from ipex_quant.measure import Probe, Variant

#: A site whose output is noisier than this stays float: at 8 dB a sixth of its power is noise.
LEAST_SQNR = 8.0
#: A linear layer, lstm or gru takes the scale of each row at run time when that is better by so
#: many dB ...
_ROW_GAIN = 3.0
#: ... and the fixed scale leaves less than this.
_ROWS_BELOW = {"linear": 30.0} | dict.fromkeys(ops.RECURRENT, 25.0)


class Plan:
    """The decision in the making for one site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.reason = _reason_for_float(site)
        self.ranges: dict[str, tuple[float, int]] = {}
        self.others: dict[str, dict[str, tuple[float, int]]] = {}
        """Per operand, other ranges worth measuring, by the name of their variant."""
        self.scales: dict[str, torch.Tensor] = {}
        self.modes: dict[str, str] = {}
        self.factor: torch.Tensor | None = None
        """What each input channel is divided by before it is quantized."""
        self.unfactored: dict[str, torch.Tensor] = {}
        """The scales that weights with a factor would have without it."""
        self.correction: torch.Tensor | None = None
        if not self.reason:
            for name, operand in self.activations():
                self._take_range(name, operand)

    @property
    def key(self) -> str:
        """The key of the site."""
        return self.site.key

    def activations(self) -> list[tuple[str, Operand]]:
        """The operands that calibration observed."""
        return self._of_kind("activation")

    def weights(self) -> list[tuple[str, Operand]]:
        """The operands that are constant weights."""
        return self._of_kind("weight")

    def _of_kind(self, kind: str) -> list[tuple[str, Operand]]:
        return [(n, o) for n, o in self.site.operands.items() if o.kind == kind]

    def _take_range(self, name: str, operand: Operand) -> None:
        if qconfig.is_dynamic(operand.observer):
            self.modes[name] = "dynamic"
            return
        self.modes[name] = "static"
        try:
            self.ranges[name] = observers.activation_qparams(operand.observer)
        except ValueError as error:
            raise QuantizationError(f"site {self.site.key!r}, operand {name!r}: {error}") from error
        others = _other_ranges(
            operand.observer, self.site.family in ("matmul", "einsum") or name == ops.PROBABILITIES
        )
        self.others[name] = {f"{name} {kind}": qparams for kind, qparams in others.items()}

    def wants_probe(self) -> bool:
        """Whether the error of the site's output can be measured."""
        family = self.site.family
        return not self.reason and family in ops.ANCHORS and not family.startswith("embedding")

    def probe(self) -> Probe:
        """The variants worth measuring: the plan, and each operand's other range or mode."""
        plan = {name: self._rounding(name) for name, _ in self.activations()}
        plan |= {name: self.weight_rounding(scale) for name, scale in self.scales.items()}
        variants = {"plan": Variant(plan)}
        for name, others in self.others.items():
            for variant, (scale, zero) in others.items():
                changed = partial(ops.quantize_dequantize, scale=scale, zero_point=zero)
                variants[variant] = Variant({**plan, name: changed})
        if self._may_take_rows():
            dynamic = {**plan, "input": ops.quantize_dequantize_dynamic}
            split = self._split_weights()
            if split:  # 16 bits for the input and 15 for these: nothing to measure beside the rest
                dynamic = {n: r for n, r in plan.items() if n != "input" and n not in split}
            variants["dynamic"] = Variant(dynamic)
        return Probe(self.site, variants)

    def _may_take_rows(self) -> bool:
        """Recurrent layers may; linear ones unless their QConfig says how to find a fixed scale."""
        if self.modes.get("input") != "static":
            return False
        observer = self.site.operands["input"].observer
        family = self.site.family
        return family in ops.RECURRENT or (family in ops.ROW_SCALED and observers.is_free(observer))

    def _split_weights(self) -> list[str]:
        """The first weights of an lstm or gru that become two int8 parts at a run-time scale."""
        if self.site.family not in ops.RECURRENT:
            return []
        tensors = {name: o.tensor for name, o in self.weights() if o.tensor is not None}
        size = tensors["weights.0"].shape[1]
        if not _backend.splits_input_weight(size, tensors["weights.1"].shape[1]):
            return []
        return [name for name, weight in tensors.items() if weight.shape[1] == size]

    def _rounding(self, name: str) -> Callable[[torch.Tensor], torch.Tensor]:
        if self.modes[name] == "dynamic":
            observer = self.site.operands[name].observer
            whole = getattr(observer, "granularity", "row") == "tensor"
            per_tensor = whole and self.site.family not in ops.RECURRENT
            return partial(ops.quantize_dequantize_dynamic, per_tensor=per_tensor)
        scale, zero = self.ranges[name]
        return partial(ops.quantize_dequantize, scale=scale, zero_point=zero)

    def weight_rounding(self, scale: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """Quantizes and dequantizes the site's weight with these scales."""
        form = self.site.form

        def rounding(weight: torch.Tensor) -> torch.Tensor:
            per_row = form.scales_to_rows(scale)
            return form.from_rows(ops.quantize_dequantize_rows(form.to_rows(weight), per_row))

        return rounding

    def gains_by_rows(self, probe: Probe) -> bool:
        """Whether a scale for each row of the input is clearly better than a fixed one."""
        dynamic = probe.variants.get("dynamic")
        if dynamic is None:
            return False
        static_db, dynamic_db = (
            probe.sqnr(probe.variants["plan"].noise),
            probe.sqnr(dynamic.noise),
        )
        return static_db < _ROWS_BELOW[self.site.family] and dynamic_db > static_db + _ROW_GAIN

    def take_rows(self, probe: Probe) -> None:
        """Give each row of the input a scale at run time."""
        self.modes["input"] = "dynamic"
        self.factor = None
        self.scales.update(self.unfactored)
        probe.variants["plan"] = probe.variants["dynamic"]
        for name in self._split_weights():  # the second part takes up rounding, not clipping
            self.scales[name] = _full_range(self.site.operands[name])

    def take_factor(
        self, factor: torch.Tensor, qparams: tuple[float, int], scales: torch.Tensor
    ) -> None:
        """Divide the input by a factor per channel; the scales are those of the weight with it."""
        self.factor = factor
        self.ranges["input"] = qparams
        self.unfactored = {"weight": self.scales["weight"]}
        self.scales["weight"] = scales

    def conclude(self, probe: Probe, *, bias_correction: bool) -> None:
        """Take bias correction and, if the output is too noisy, float from the probe."""
        variant = probe.variants["plan"]
        self.correction = variant.bias_correction() if bias_correction else None
        self.site.sqnr = sqnr = probe.sqnr(variant.noise_after(self.correction))
        if sqnr < LEAST_SQNR:
            self.reason = (
                f"int8 leaves {sqnr:.1f} dB signal to noise in the output, {LEAST_SQNR:.0f} dB is "
                "the least"
            )

    def entry(self) -> dict[str, Any]:
        """The site's entry in the summary."""
        operands = {}
        for name, operand in self.site.operands.items():
            if operand.kind == "activation":
                operands[name] = self._activation_entry(name, operand)
            elif operand.kind == "weight":
                operands[name] = self._weight_entry(name, operand)
            else:
                operands[name] = {"kind": "ignored"}
        used = not self.reason and self.correction is not None
        return {
            "site": self.site.key,
            "op": ops.base_name(self.site.op),
            "decision": "float" if self.reason else "int8",
            decisions.OF_RECIPE: "float" if self.reason else "int8",
            "reason": self.reason,
            "operands": operands,
            "bias_correction": _floats(self.correction) if used else None,
            **state.notes(self.site.family),
        }

    def _activation_entry(self, name: str, operand: Operand) -> dict[str, Any]:
        static = self.modes.get(name) == "static"
        scale, zero = self.ranges[name] if static else (None, None)
        return {
            "kind": "activation",
            **state.observer_fields(operand.observer),
            "dtype": "uint8",
            "scale": scale,
            "zero_point": zero,
            "mode": self.modes.get(name, "static"),
            "channel_factor": None if self.factor is None else _floats(self.factor),
        }

    def _weight_entry(self, name: str, operand: Operand) -> dict[str, Any]:
        scale = self.scales.get(name)
        return {
            "kind": "weight",
            **state.observer_fields(operand.observer),
            "dtype": "int8",
            "axis": operand.axis,
            "scale": None if scale is None else _floats(scale),
        }


def _full_range(operand: Operand) -> torch.Tensor:
    assert operand.tensor is not None
    observer = observers.PerChannelMinMaxObserver()
    return observers.weight_scales(observer, operand.tensor)


def _floats(values: torch.Tensor) -> list[float]:
    return values.float().tolist()


def _reason_for_float(site: Site) -> str:
    if site.qconfig is None:
        return f"kept float by {site.rule}"
    for name, operand in site.operands.items():
        if operand.problem:
            return f"operand {name!r}: {operand.problem}"
        if operand.kind == "ignored" and site.family in ops.ANCHORS:
            return f"operand {name!r} is not a float32 tensor"
        silent = operand.kind == "activation" and not qconfig.is_dynamic(operand.observer)
        if silent and operand.largest == 0.0:
            return f"operand {name!r} was zero throughout calibration"
    return ""


def _other_ranges(observer: Any, of_attention: bool) -> dict[str, tuple[float, int]]:
    """Ranges beside the observer's own that may give a better output, for observers of ours."""
    if not observers.is_free(observer):
        return {}
    (low, high), (least, most) = observer.ranges()
    ranges = {}
    if most - least > 1.05 * (high - low):
        ranges["full"] = (least, most)
    if of_attention:
        # Attention weights are small where attention is spread, and there all of them count.
        ranges["tight"] = (0.7 * low, 0.7 * high)
    found = {}
    for kind, bounds in ranges.items():
        edges = torch.tensor(bounds, dtype=torch.float64)
        scale, zero = affine(edges[0], edges[1], observer.symmetric)
        found[kind] = (float(scale.float()), int(zero))
    return found

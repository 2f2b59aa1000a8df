"""Calibration: takes every call of an operator that has a site and observes its operands.

The calls come from the recorder, of an eager model or of a graph; both ways end here. A site is
``path/family/n``: the n-th call of a family of operators directly inside one module.
"""

from __future__ import annotations

import random
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ipex_quant import _backend, observers, ops, qconfig
from ipex_quant.errors import QuantizationError

#: Calibration inputs kept for the recipe's measurements: the first ones and a sample of the rest.
_KEEP_FIRST = 2
_KEEP_BYTES = 64 << 20
_KEEP_MOST = 8


class Windows:
    """Moments of what a small convolution multiplies with its weights, per group."""

    count: int = 0
    total: torch.Tensor | float = 0.0
    square: torch.Tensor | float = 0.0

    def add(self, windows: torch.Tensor) -> None:
        """Take in ``[groups, windows, weights]``."""
        self.count += windows.shape[1]
        self.total += windows.sum(1, dtype=torch.float64)
        self.square += (windows.transpose(1, 2) @ windows).double()

    def covariance(self) -> torch.Tensor:
        """``[groups, weights, weights]``: what of an error no correction of the bias takes out."""
        mean = torch.as_tensor(self.total) / self.count
        return torch.as_tensor(self.square) / self.count - mean[:, :, None] * mean[:, None]


@dataclass
class Operand:
    """What is known of one operand of a site."""

    kind: str
    """"activation", "weight" or "ignored" (not float32, or a number)."""
    axis: int = 0
    observer: Any = None
    factory: Any = None
    source: tuple | None = None
    """Key of the constant tensor that a weight was in the first call."""
    tensor: torch.Tensor | None = None
    """That constant tensor."""
    problem: str = ""
    """Why it cannot be quantized."""
    seen: int = 0
    """Number of values it had in calibration."""
    rows: int = 0
    """Number of rows in the sums over channels."""
    channel_sum: torch.Tensor | None = None
    channel_square: torch.Tensor | None = None
    channel_max: torch.Tensor | None = None
    windows: Windows | None = None
    largest: float = 0.0

    def observe_with(self, factory: Callable[[], Any]) -> None:
        """Observe with another observer, from now on."""
        self.factory = factory
        if self.kind == "activation":
            self.observer, self.seen = factory(), 0

    def mean_square(self) -> torch.Tensor | None:
        """Mean square of each input channel over the calibration."""
        return None if self.channel_square is None else self.channel_square / max(self.rows, 1)


@dataclass
class Site:
    """One call of an operator in the model."""

    key: str
    family: str
    op: str
    qconfig: Any
    rule: str
    form: ops.WeightForm
    operands: dict[str, Operand] = field(default_factory=dict)
    calls: int = 0
    signature: tuple[Any, ...] = ()
    """Of its first call, see `ops.signature`."""
    sqnr: float | None = None
    """Signal to noise in dB of its output in int8, where the recipe measured it."""


def split_key(key: str) -> tuple[str, str, int]:
    """Module path, family and number of a site key."""
    path, family, number = key.rsplit("/", 2)
    return path, family, int(number)


class KeptInputs:
    """Copies of some calibration inputs: the first two and a random sample, at most 64 MB."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._seen = 0
        self._random = random.Random(0)

    def add(self, item: Any) -> None:
        """Offer one input (any nest of tuples, lists and dicts)."""
        self._seen += 1
        size = sum(t.numel() * t.element_size() for t in ops.tensors_in(item))
        room = min(max(_KEEP_FIRST, _KEEP_BYTES // max(size, 1)), _KEEP_MOST)
        if len(self.items) < room:
            self.items.append(_copy(item))
        elif len(self.items) > _KEEP_FIRST:
            slot = self._random.randrange(_KEEP_FIRST, self._seen)
            if slot < len(self.items):
                self.items[slot] = _copy(item)

    def copies(self) -> list[Any]:
        """Fresh copies, since a model may write into its inputs."""
        return [_copy(item) for item in self.items]


def _copy(item: Any) -> Any:
    return ops.map_tensors(item, lambda t: t.detach().clone())


class Calibrator:
    """The sites of one model and all that was observed at them.

    Args:
        mapping: chooses the observers of each site.
        types_of: types (or their names) of the module at a path and of those around it.
    """

    def __init__(
        self, mapping: qconfig.QConfigMapping, types_of: Callable[[str], tuple[Any, ...]]
    ) -> None:
        self.mapping = mapping
        self.types_of = types_of
        self.sites: dict[str, Site] = {}
        self.kept = KeptInputs()
        self.forwards = 0
        self._may_add = True
        self._observing = False
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._fed: dict[tuple, tuple[weakref.ref, Operand, Any]] = {}

    def begin(self, *, observe: bool, may_add: bool) -> None:
        """Start of one forward. Without ``may_add`` a call at no known site is an error."""
        self._observing = observe
        self._may_add = may_add
        self._numbers.clear()

    def end(self) -> None:
        """End of one forward, also of a failed one."""
        self._fed.clear()

    def has_silent_sites(self) -> bool:
        """Whether there are sites to calibrate that no call of an observed forward reached."""
        return any(s.qconfig is not None and s.calls == 0 for s in self.sites.values())

    def key(self, path: str, family: str) -> str:
        """The key of the next call of a family inside a module, in this forward."""
        number = self._numbers[path, family]
        self._numbers[path, family] += 1
        return f"{path}/{family}/{number}"

    def arrange(self, keys: list[str]) -> None:
        """Put the sites into the order of a graph; those that never ran there stay float."""
        for key in keys:
            if key not in self.sites:
                _, family, _ = split_key(key)
                rule = "the compiler: it is constant or dead in the graph"
                self.sites[key] = Site(key, family, family, None, rule, ops.WeightForm())
        self.sites = {key: self.sites.pop(key) for key in keys} | self.sites

    def event(self, key: str, family: str, op: str, args: list[Any]) -> None:
        """One call of an operator, before it runs."""
        site = self.sites.get(key)
        if site is None:
            site = self._new_site(key, family, op, args)
        elif site.family != family:
            raise QuantizationError(
                f"site {key!r} was a call of {site.op} in the first run and is one of {op} now; "
                "the model's control flow depends on its input, which a trace cannot follow"
            )
        if not self._observing or site.qconfig is None:
            return
        site.calls += 1
        for name, value in operand_values(family, args):
            operand = site.operands.get(name)
            if operand is None or not _is_float_tensor(value):
                continue
            if operand.kind == "activation":
                self._observe(site, operand, value, args)
            elif operand.kind == "weight":
                _check_constant(operand, value)
        if ops.PROBABILITIES in site.operands:
            inner = ops.attention_probabilities(args)
            self._observe(site, site.operands[ops.PROBABILITIES], inner, args)

    def queries(self) -> list[qconfig.SiteQuery]:
        """What the mapping was asked about."""
        return [self._query(site.key, site.family, site.op) for site in self.sites.values()]

    def check_weights(self) -> None:
        """Raise ValueError unless the observers of all weights give as many scales as needed."""
        for site in self.sites.values():
            for operand in site.operands.values():
                if operand.kind == "weight" and site.qconfig is not None:
                    where = f"weight observer of {split_key(site.key)[0]!r} ({site.rule})"
                    rows = site.form.to_rows(operand.tensor)
                    observers.check_weight_observer(operand.factory, rows, where)

    def _query(self, key: str, family: str, op: str) -> qconfig.SiteQuery:
        path, _, number = split_key(key)
        return qconfig.SiteQuery(path, family, op, number, self.types_of(path))

    def _new_site(self, key: str, family: str, op: str, args: list[Any]) -> Site:
        if not self._may_add:
            raise QuantizationError(
                f"this input made the model call {op} at {key!r}, which the example inputs did "
                "not; the model's control flow depends on its input, which a trace cannot follow"
            )
        chosen, rule = qconfig.choose(self.mapping, self._query(key, family, op))
        form = ops.weight_form(family, op, args)
        site = Site(key, family, op, chosen, rule, form, signature=ops.signature(args))
        rows = {row.name: row for row in _backend.op_table()[family]}
        for name, value in operand_values(family, args):
            row = rows[name.split(".")[0]]
            if not _is_float_tensor(value) or value.dim() == 0:
                site.operands[name] = Operand("ignored")
            elif row.kind in ("weight", "weight_list"):
                site.operands[name] = Operand("weight", form.axis())
                site.operands[name].source = _constant_key(value)
                site.operands[name].tensor = value.detach()
                site.operands[name].factory = None if chosen is None else chosen.weight
            else:
                site.operands[name] = Operand("activation")
                if chosen is not None:
                    site.operands[name].observe_with(chosen.activation)
        if family == "sdpa" and all(o.kind == "activation" for o in site.operands.values()):
            site.operands[ops.PROBABILITIES] = Operand("activation")
            if chosen is not None:
                site.operands[ops.PROBABILITIES].observe_with(chosen.activation)
        self.sites[key] = site
        return site

    def _observe(self, site: Site, operand: Operand, value: torch.Tensor, args: list) -> None:
        if value.numel() == 0:
            # What has weights needs a range: nothing reached it. The others run in float.
            if operand.seen == 0 and not operand.problem and site.family not in ops.ANCHORS:
                operand.problem = _EMPTY
            return
        if operand.problem == _EMPTY:
            operand.problem = ""
        low, high = (float(v) for v in torch.aminmax(value.detach()))
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            what = "NaN" if low != low or high != high else "infinite values"
            operand.problem = f"it held {what} in calibration"
            return
        operand.largest = max(operand.largest, abs(low), abs(high))
        operand.seen += 1
        if qconfig.is_dynamic(operand.observer):
            return
        self._feed(operand, value)
        if site.family in ops.ANCHORS:
            columns = ops.input_channels(site.family, args, value.detach())
            if columns is not None:
                _add_channels(operand, columns)
        if site.family == "conv":
            windows = ops.input_windows(site.form, args, value.detach())
            if windows is not None:
                operand.windows = operand.windows or Windows()
                operand.windows.add(windows)

    def _feed(self, operand: Operand, value: torch.Tensor) -> None:
        """Show a value to the operand's observer; operands that read one value share one."""
        key = (*_value_key(value), id(operand.factory))
        alive, other, observer = self._fed.get(key, (_nothing, operand, None))
        if alive() is None:  # its memory may hold another value by now
            operand.observer.forward(value.detach())
            self._fed[key] = (weakref.ref(value), operand, operand.observer)
        elif observer is not operand.observer:
            if operand.seen == other.seen == 1:
                operand.observer = observer
            else:
                operand.observer.forward(value.detach())


_EMPTY = "it was empty throughout calibration"


def _nothing() -> None:
    """A weak reference to nothing."""


def operand_values(family: str, args: list[Any]) -> list[tuple[str, Any]]:
    """The operands of a call by the op table: names and values, lists taken apart."""
    found: list[tuple[str, Any]] = []
    for row in _backend.op_table()[family]:
        value = args[row.index] if row.index < len(args) else None
        if row.kind in ("weight_list", "tensor_list"):
            members = enumerate(value or ())
            found += [
                (f"{row.name}.{i}", v)
                for i, v in members
                if row.kind == "tensor_list" or (isinstance(v, torch.Tensor) and v.dim() == 2)
            ]
        else:
            found.append((row.name, value))
    return found


def _is_float_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.float32


def _version(value: torch.Tensor) -> int:
    # Tensors of inference mode count no writes; a fresh number keeps them apart.
    return id(value) if value.is_inference() else value._version


def _constant_key(value: torch.Tensor) -> tuple:
    return (value.data_ptr(), tuple(value.shape), tuple(value.stride()))


def _value_key(value: torch.Tensor) -> tuple:
    """Equal for two tensors of one forward only when they hold the same values."""
    expected = 1
    for size, stride in sorted(zip(value.shape, value.stride(), strict=True), key=lambda p: p[1]):
        if size != 1 and stride != expected:
            return (value.data_ptr(), _version(value), tuple(value.shape), tuple(value.stride()))
        expected *= size
    return (value.data_ptr(), _version(value), value.numel())


def _check_constant(operand: Operand, value: torch.Tensor) -> None:
    if operand.source == _constant_key(value) or operand.tensor is None:
        return
    if operand.tensor.shape != value.shape or not torch.equal(operand.tensor, value):
        operand.problem = "it is computed from the input, not a constant"


def _add_channels(operand: Operand, columns: torch.Tensor) -> None:
    total = columns.sum(0, dtype=torch.float64)
    square = columns.square().sum(0, dtype=torch.float64)
    largest = columns.abs().amax(0)
    if operand.channel_sum is None or operand.channel_sum.shape != total.shape:
        operand.rows = 0
        operand.channel_sum, operand.channel_square = total, square
        operand.channel_max = largest
    else:
        operand.channel_sum += total
        operand.channel_square += square
        operand.channel_max = torch.maximum(operand.channel_max, largest)
    operand.rows += columns.shape[0]

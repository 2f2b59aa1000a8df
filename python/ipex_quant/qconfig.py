"""What to quantize and how to observe it: QConfig, QConfigMapping, and the choice per site."""

from __future__ import annotations

import difflib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from ipex_quant import observers, ops, torch_rules

#: dtypes an activation may have; both become uint8 with the same numbers.
_ACTIVATION_DTYPES = (torch.uint8, torch.int8, torch.quint8, torch.qint8)
_WEIGHT_DTYPES = (torch.int8, torch.qint8)
#: Observers of torch that give no scale.
_WITHOUT_SCALE = ("NoopObserver", "PlaceholderObserver", "RecordingObserver", "ReuseInputObserver")


class QConfig(NamedTuple):
    """The observers of one site: factories without arguments, as torch's observers' ``with_args``.

    ``torch.ao.quantization.QConfig`` works in its place.
    """

    activation: Callable[[], Any]
    weight: Callable[[], Any]


class QConfigMapping:
    """Chooses a QConfig per site, None keeps float; the methods are those of torch's class.

    The first rule that fits wins: module name with object type and order, module name (of the
    module or of the nearest one around it), regular expression on the module name, object type
    (function of the operator, or type of the nearest module around it), global.
    """

    of_torch = False
    """Whether it was torch's, which may be a stock one with rules for what a model has not."""

    def __init__(self) -> None:
        self.global_qconfig: Any = None
        self.object_type_qconfigs: OrderedDict[Any, Any] = OrderedDict()
        self.module_name_regex_qconfigs: OrderedDict[str, Any] = OrderedDict()
        self.module_name_qconfigs: OrderedDict[str, Any] = OrderedDict()
        self.module_name_object_type_order_qconfigs: OrderedDict[tuple, Any] = OrderedDict()

    def set_global(self, global_qconfig: Any) -> QConfigMapping:
        """Set the rule for every site that no other rule fits."""
        self.global_qconfig = global_qconfig
        return self

    def set_object_type(self, object_type: Any, qconfig: Any) -> QConfigMapping:
        """Set the rule for a module class, a function such as ``torch.add``, or an op's name."""
        self.object_type_qconfigs[object_type] = qconfig
        return self

    def set_module_name_regex(self, module_name_regex: str, qconfig: Any) -> QConfigMapping:
        """Set the rule for the modules whose path matches; earlier rules come first."""
        self.module_name_regex_qconfigs[module_name_regex] = qconfig
        return self

    def set_module_name(self, module_name: str, qconfig: Any) -> QConfigMapping:
        """Set the rule for the module at this path and all inside it."""
        self.module_name_qconfigs[module_name] = qconfig
        return self

    def set_module_name_object_type_order(
        self, module_name: str, object_type: Any, index: int, qconfig: Any
    ) -> QConfigMapping:
        """Set the rule for the ``index``-th call of ``object_type`` directly in one module."""
        self.module_name_object_type_order_qconfigs[(module_name, object_type, index)] = qconfig
        return self

    def __repr__(self) -> str:
        rules = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value)
        return f"QConfigMapping({rules})"


class _OfTorch(QConfigMapping):
    of_torch = True


def as_mapping(configure: Any) -> QConfigMapping:
    """A QConfig or mapping, ours or torch's, as our mapping; checks every QConfig in it.

    Raises:
        TypeError: it is neither.
        ValueError: an observer asks for what the kernels cannot do.
    """
    own = getattr(configure, "of_torch", None) is False
    mapping = QConfigMapping() if own else _OfTorch()
    if hasattr(configure, "global_qconfig"):
        mapping.global_qconfig = configure.global_qconfig
        for name in vars(mapping):
            if name != "global_qconfig":
                setattr(mapping, name, OrderedDict(getattr(configure, name, {})))
    elif hasattr(configure, "activation") and hasattr(configure, "weight"):
        mapping.global_qconfig = configure
    else:
        raise TypeError(
            f"qconfig must be a QConfig or a QConfigMapping, got {type(configure).__name__}"
        )
    _read_compute_dtype(mapping)
    torch_rules.adopt(mapping.object_type_qconfigs, observers.WeightObserver.with_args(), _is_int8)
    for where, qconfig in rules(mapping):
        if qconfig is not None:
            check(qconfig, where)
    for pattern in mapping.module_name_regex_qconfigs:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"set_module_name_regex({pattern!r}): {error}") from error
    return mapping


def check_names(mapping: QConfigMapping, paths: set[str]) -> None:
    """Raise unless the model has every module that a rule names.

    Raises:
        ValueError: a rule would never fit; the text names the nearest paths.
    """
    orders = [name for name, *_ in mapping.module_name_object_type_order_qconfigs]
    for name in [*mapping.module_name_qconfigs, *orders]:
        if name not in paths:
            near = difflib.get_close_matches(name, sorted(paths - {""}), 3) or sorted(paths)[:3]
            raise ValueError(
                f"qconfig names the module {name!r}, which the model does not have; did you mean "
                f"{' or '.join(repr(path) for path in near)}?"
            )


def _read_compute_dtype(mapping: QConfigMapping) -> None:
    """Take ``PlaceholderObserver.with_args(compute_dtype=torch.quint8)`` for a dynamic activation.

    That is how IPEX's tutorial writes it; torch 2.13 drops the argument when it makes the observer.
    """

    def read(qconfig: Any) -> Any:
        factory = getattr(qconfig, "activation", None)
        keywords = getattr(getattr(factory, "p", factory), "keywords", {})
        if keywords.get("compute_dtype") in _ACTIVATION_DTYPES:
            return QConfig(observers.DynamicObserver.with_args(), qconfig.weight)
        return qconfig

    mapping.global_qconfig = read(mapping.global_qconfig)
    for name, rules in vars(mapping).items():
        if name != "global_qconfig":
            rules.update({key: read(qconfig) for key, qconfig in rules.items()})


def rules(mapping: QConfigMapping) -> Iterator[tuple[str, Any]]:
    """Every rule of a mapping: what it fits, in words, and its QConfig."""
    yield "the global rule", mapping.global_qconfig
    for name, rules in vars(mapping).items():
        if name != "global_qconfig":
            for key, qconfig in rules.items():
                yield f"{name.removesuffix('_qconfigs')} {key!r}", qconfig


def check(qconfig: Any, where: str) -> None:
    """Raise unless both observers can be made and ask for what the kernels do."""
    for part in ("activation", "weight"):
        factory = getattr(qconfig, part, None)
        is_instance = not isinstance(factory, type) and hasattr(factory, "calculate_qparams")
        if not callable(factory) or is_instance:
            raise ValueError(
                f"qconfig of {where}: {part} must be an observer class or the result of its "
                f"with_args(...), got {factory!r}"
            )
    activation = qconfig.activation()
    if not is_dynamic(activation):
        _check_observer(activation, f"activation observer of {where}", _ACTIVATION_DTYPES)
        if observers.is_per_channel(activation):
            raise ValueError(
                f"activation observer of {where}: per-channel activations are not supported; "
                "use a per-tensor qscheme"
            )
    weight = qconfig.weight()
    _check_observer(weight, f"weight observer of {where}", _WEIGHT_DTYPES)
    scheme = getattr(weight, "qscheme", torch.per_channel_symmetric)
    if scheme not in (torch.per_tensor_symmetric, torch.per_channel_symmetric):
        raise ValueError(
            f"weight observer of {where}: qscheme must be torch.per_tensor_symmetric or "
            f"torch.per_channel_symmetric, got {scheme}"
        )


def _is_int8(observer: Any, part: str) -> bool:
    if part == "activation":
        return is_dynamic(observer) or getattr(observer, "dtype", None) in _ACTIVATION_DTYPES
    symmetric = (torch.per_tensor_symmetric, torch.per_channel_symmetric)
    scheme = getattr(observer, "qscheme", symmetric[0])
    return getattr(observer, "dtype", torch.int8) in _WEIGHT_DTYPES and scheme in symmetric


def _check_observer(observer: Any, what: str, dtypes: tuple[torch.dtype, ...]) -> None:
    if hasattr(observer, "fake_quant_enabled"):
        raise ValueError(
            f"{what}: {type(observer).__name__} is for training (QAT), which prepare does not do; "
            "give an observer, or give the trace of the trained model to ipex_quant.jit.quantize"
        )
    for method in ("forward", "calculate_qparams"):
        if not callable(getattr(observer, method, None)):
            raise ValueError(f"{what}: {type(observer).__name__} has no method {method}()")
    dtype = getattr(observer, "dtype", dtypes[0])
    if dtype not in dtypes:
        names = " or ".join(str(d) for d in dtypes[len(dtypes) // 2 :])
        raise ValueError(f"{what}: dtype must be {names}, got {dtype}")
    if torch_rules.is_of_torch(observer, _WITHOUT_SCALE):
        raise ValueError(
            f"{what}: {type(observer).__name__} gives no scale; give one that does, such as "
            "HistogramObserver or MinMaxObserver"
        )
    low, high = getattr(observer, "quant_min", None), getattr(observer, "quant_max", None)
    if low is not None and high is not None and not 1 <= high - low <= 255:
        raise ValueError(f"{what}: quant_min {low} .. quant_max {high} is not an 8-bit range")


def is_dynamic(observer: Any) -> bool:
    """Whether an activation observer stands for quantization at run time."""
    return bool(getattr(observer, "is_dynamic", False)) or (
        getattr(observer, "compute_dtype", None) in _ACTIVATION_DTYPES
    )


def wants_dynamic(mapping: QConfigMapping) -> bool:
    """Whether every rule of the mapping is dynamic (so that no calibration is needed)."""
    found = [q for _, q in rules(mapping) if q is not None]
    return bool(found) and all(is_dynamic(q.activation()) for q in found)


class SiteQuery(NamedTuple):
    """What a mapping is asked about: one call of an operator somewhere in a model."""

    path: str
    family: str
    op: str
    number: int
    types: tuple[Any, ...]
    """Type (or name of the type) of the module at ``path`` and of each one around it."""


def choose(mapping: QConfigMapping, site: SiteQuery) -> tuple[Any, str]:
    """The QConfig for a site, and the rule that chose it (for the reason when it is None)."""
    for (name, kind, index), qconfig in mapping.module_name_object_type_order_qconfigs.items():
        if name == site.path and index == site.number and names_op(kind, site, site.types[:1]):
            return qconfig, f"set_module_name_object_type_order({name!r}, {show(kind)}, {index})"
    for name in _paths(site.path):
        if name in mapping.module_name_qconfigs:
            return mapping.module_name_qconfigs[name], f"set_module_name({name!r})"
    for pattern, qconfig in mapping.module_name_regex_qconfigs.items():
        if re.match(pattern, site.path):
            return qconfig, f"set_module_name_regex({pattern!r})"
    for kind, qconfig in mapping.object_type_qconfigs.items():
        if names_op(kind, site, ()):
            return qconfig, f"set_object_type({show(kind)})"
    for module_type in site.types:
        for kind, qconfig in mapping.object_type_qconfigs.items():
            if _same_type(kind, module_type):
                return qconfig, f"set_object_type({show(kind)})"
    return mapping.global_qconfig, "set_global"


def _paths(path: str) -> list[str]:
    """The path and those of the modules around it, nearest first; the root is the empty path."""
    parts = path.split(".") if path else []
    return [".".join(parts[:n]) for n in range(len(parts), -1, -1)]


def names_op(kind: Any, site: SiteQuery, types: tuple[Any, ...]) -> bool:
    """Whether an object type is the operator of a site, or one of the module types."""
    if isinstance(kind, type):
        return any(_same_type(kind, t) for t in types)
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    name = name.rsplit("::", 1)[-1].strip("_")
    base = ops.base_name(site.op).strip("_")
    # operator.iadd and Tensor.__iadd__ are the in-place forms of add.
    return bool(name) and (name in (base, site.family) or name == f"i{base}")


def _same_type(kind: Any, module_type: Any) -> bool:
    if isinstance(module_type, str):  # a loaded trace keeps the names of the classes only
        return isinstance(kind, type) and kind.__name__ == module_type
    return kind is module_type


def show(kind: Any) -> str:
    """An object type for a message."""
    return kind if isinstance(kind, str) else getattr(kind, "__name__", repr(kind))


#: Error-minimising ranges for activations and weights: the default recipe.
default_static_qconfig = QConfig(
    activation=observers.HistogramObserver.with_args(),
    weight=observers.WeightObserver.with_args(),
)
default_dynamic_qconfig = QConfig(
    activation=observers.DynamicObserver.with_args(),
    weight=observers.WeightObserver.with_args(),
)
default_static_qconfig_mapping = QConfigMapping().set_global(default_static_qconfig)
default_dynamic_qconfig_mapping = QConfigMapping().set_global(default_dynamic_qconfig)

"""Reads the rules of torch's stock mappings, such as ``get_default_qconfig_mapping("x86")``.

An observer of torch's stands for the output of its operator, one of ours for the inputs; where
the range is observed that makes no difference, since the same values get it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

#: Modules of torch that have no weight for int8.
_WEIGHTLESS = frozenset(
    f"torch.nn.modules.{name}"
    for name in ("activation", "batchnorm", "dropout", "instancenorm", "normalization", "pooling")
)
#: Beginnings of the names of operators with a weight.
_WEIGHTED = ("addmm", "bilinear", "conv", "embedding", "gru", "linear", "lstm", "rnn")
#: They tell of the output alone: that it has the scale of the input, or a certain one.
_OF_OUTPUT = ("ReuseInputObserver", "FixedQParamsObserver")
#: What the stock mappings have rules for.
_STOCK = frozenset(
    (
        *("convtranspose1d", "convtranspose2d", "convtranspose3d", "layernorm", "prelu"),
        *("hardsigmoid", "sigmoid", "softmax", "tanh", "reshape"),
    )
)


class _Rule(NamedTuple):
    activation: Callable[[], Any]
    weight: Callable[[], Any]


def adopt(
    object_types: dict[Any, Any],
    weight: Callable[[], Any],
    is_int8: Callable[[Any, str], bool],
) -> None:
    """Make rules for operators without a weight ones of ours, in place.

    One whose activation is not int8 keeps its operator float. One for the output alone is dropped,
    so that the operator has the next rule that fits. A weight observer that is not int8 becomes
    ``weight``: it is never used. ``is_int8`` is asked of an observer, and which of the two it is.
    """
    for kind, qconfig in list(object_types.items()):
        activation: Any = getattr(qconfig, "activation", None)
        of_weight: Any = getattr(qconfig, "weight", None)
        if not has_no_weight(kind) or not callable(activation) or not callable(of_weight):
            continue
        observer = activation()
        if is_of_torch(observer, _OF_OUTPUT):
            del object_types[kind]
        elif not is_int8(observer, "activation"):
            object_types[kind] = None
        elif not is_int8(of_weight(), "weight"):
            object_types[kind] = _Rule(activation, weight)


def has_no_weight(kind: Any) -> bool:
    """Whether an object type is an operator without a weight for int8."""
    if isinstance(kind, type):
        return kind.__module__ in _WEIGHTLESS and kind is not nn.MultiheadAttention
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    return not name.rsplit("::", 1)[-1].strip("_").startswith(_WEIGHTED)


def is_of_torch(observer: Any, names: tuple[str, ...]) -> bool:
    """Whether an observer is one of torch's by its name."""
    kind = type(observer)
    return kind.__module__.startswith("torch.ao.") and kind.__name__ in names


def is_stock(kind: Any) -> bool:
    """Whether torch's stock mappings have a rule for an object type, whatever the model."""
    name: str = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    return name.replace("_", "").lower() in _STOCK

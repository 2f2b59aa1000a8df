"""Observers by name: how a summary names them, and what a person may write there instead.

A name alone stands for an observer with its default settings, ``{"name": ..., "bins": 1024}`` for
one with others. Ours have plain names, torch's begin with ``torch.``.
"""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch

from ipex_quant import observers, qconfig
from ipex_quant.errors import QuantizationError

#: What a summary says of an observer: a name, or an object with the name and settings.
Description = str | dict[str, Any]

_OURS = {
    kind.__name__: kind
    for kind in (
        observers.DynamicObserver,
        observers.HistogramObserver,
        observers.MinMaxObserver,
        observers.MovingAverageMinMaxObserver,
        observers.PerChannelMinMaxObserver,
        observers.WeightObserver,
    )
}
_TORCHS = (
    "HistogramObserver",
    "MinMaxObserver",
    "MovingAverageMinMaxObserver",
    "MovingAveragePerChannelMinMaxObserver",
    "PerChannelMinMaxObserver",
)
_SETTINGS = (
    *("dtype", "qscheme", "quant_min", "quant_max", "method", "percentile", "granularity"),
    *("averaging_constant", "ch_axis", "bins"),
)


def describe(observer: Any) -> Description:
    """What a summary says of an observer of any make."""
    kind = type(observer)
    name = kind.__name__
    if _OURS.get(name) is not kind:
        module = kind.__module__
        name = f"torch.{name}" if module.startswith("torch.ao.") else f"{module}.{name}"
    settings = {
        key: _text(getattr(observer, key))
        for key in _SETTINGS
        if getattr(observer, key, None) is not None
    }
    try:
        usual = [_quietly(kind)]
        usual.append(_quietly(kind, dtype=observer.dtype, qscheme=observer.qscheme))
    except (TypeError, AttributeError):  # somebody's own, which takes other arguments
        return name
    # The dtype and the qscheme set other defaults, such as the range of codes.
    others = {
        key
        for key, value in settings.items()
        if value != _text(getattr(usual[key not in ("dtype", "qscheme")], key, None))
    }
    if others & {"quant_min", "quant_max"}:  # torch takes both or none
        others |= {"quant_min", "quant_max"}
    settings = {key: value for key, value in settings.items() if key in others}
    return {"name": name, **settings} if settings else name


def show(description: Any) -> str:
    """An observer's description for a message."""
    return description if isinstance(description, str) else json.dumps(description)


class Resolver:
    """Makes the observers that a summary asks for.

    Args:
        own: QConfigs whose observers can be named, too, of any make.
    """

    def __init__(self, own: Iterable[Any]) -> None:
        self._made: dict[tuple[str, str], Callable[[], Any]] = {}
        for rule in own:
            for part in ("activation", "weight"):
                factory = getattr(rule, part)
                self._made.setdefault((part, _key(describe(factory()))), factory)

    def factory(self, description: Any, part: str, where: str) -> Callable[[], Any]:
        """A factory of the observer; the same one for the same description.

        Args:
            part: "activation" or "weight".
            where: begins the message of an error.

        Raises:
            QuantizationError: nobody's observer has the name; the settings are not its own, or ask
                for what no kernel does.
        """
        key = (part, _key(description))
        if key not in self._made:
            self._made[key] = self._make(description, part, where)
        return self._made[key]

    def _make(self, description: Any, part: str, where: str) -> Callable[[], Any]:
        given = {"name": description} if isinstance(description, str) else description
        if not isinstance(given, dict) or not isinstance(given.get("name"), str):
            raise QuantizationError(
                f'{where}: an observer must be a name, or an object with a "name" and settings, '
                f"got {description!r}"
            )
        kind = self._kind(given["name"], part, where)
        settings = {key: _value(value) for key, value in given.items() if key != "name"}
        if part == "weight" and kind is not observers.WeightObserver:
            per = "channel" if "PerChannel" in given["name"] else "tensor"
            settings.setdefault("dtype", torch.int8 if kind in _OURS.values() else torch.qint8)
            settings.setdefault("qscheme", getattr(torch, f"per_{per}_symmetric"))
        factory = functools.partial(kind, **settings)
        usual = qconfig.default_static_qconfig._asdict()
        try:
            qconfig.check(qconfig.QConfig(**{**usual, part: factory}), "the summary")
            if part == "weight" and qconfig.is_dynamic(factory()):
                raise ValueError("a weight is not quantized at run time")
        # torch's observers refuse their settings by each of these.
        except (TypeError, ValueError, AssertionError, NotImplementedError) as error:
            raise QuantizationError(f"{where}: {show(description)}: {error}") from error
        return factory

    def _kind(self, name: str, part: str, where: str) -> Any:
        if name in _OURS:
            return _OURS[name]
        plain = name.removeprefix("torch.")
        if name != plain and plain in _TORCHS:
            from torch.ao.quantization import observer as theirs

            return getattr(theirs, plain)
        own = [json.loads(made) for kind, made in self._made if kind == part]
        names = {n["name"] if isinstance(n, dict) else n for n in own}
        known = sorted(names.union(_OURS, (f"torch.{n}" for n in _TORCHS)))
        raise QuantizationError(
            f"{where}: there is no observer {name!r}; one of {', '.join(known)}, or one of the "
            "model's QConfig, is expected"
        )


def _key(description: Any) -> str:
    return json.dumps(description, sort_keys=True, default=repr)


def _quietly(kind: Any, **settings: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's observers warn of themselves
        return kind(**settings)


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, (torch.dtype, torch.qscheme)) else value


def _value(value: Any) -> Any:
    """A setting as the observer takes it: "torch.qint8" is torch's."""
    if isinstance(value, str) and value.startswith("torch."):
        return getattr(torch, value.removeprefix("torch."), value)
    return value

"""Finds rules of a QConfigMapping that fit nothing in a model: what is written there has no effect.

A rule for a kind of operator that only other models have is a warning: one mapping may serve them
all. Anything else is an error. A rule that is less special than another one that fits the same is
no such rule.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import nn

from ipex_quant import _backend, ops, qconfig, torch_rules
from ipex_quant.qconfig import QConfigMapping, SiteQuery


class Parts(NamedTuple):
    """The modules of a model before anything is folded: paths, and their types."""

    paths: frozenset[str]
    types: frozenset[type]


def parts_of(model: nn.Module) -> Parts:
    """The modules of a model, each under all its names."""
    modules = dict(model.named_modules(remove_duplicate=False))
    return Parts(frozenset(modules), frozenset(type(m) for m in modules.values()))


def check_modules(mapping: QConfigMapping, parts: Parts) -> None:
    """Raise unless the model has every module that a rule is for; for a class, warn.

    Raises:
        ValueError: a rule would never fit; the text names the nearest paths or types.
    """
    qconfig.check_names(mapping, set(parts.paths))
    for pattern in mapping.module_name_regex_qconfigs:
        if not any(re.match(pattern, path) for path in parts.paths):
            raise ValueError(
                f"qconfig: set_module_name_regex({pattern!r}) matches the path of no module; it is "
                f"matched from the beginning, with paths such as {_some(parts.paths - {''})}"
            )
    for kind in _object_types(mapping):
        if isinstance(kind, type) and kind not in parts.types:
            names = {t.__name__ for t in parts.types}
            _unused(
                kind,
                f"qconfig: set_object_type({kind.__name__}) fits no module of the model, which has "
                f"{_near(kind.__name__, names)}",
            )


def check_operators(mapping: QConfigMapping, parts: Parts, sites: Iterable[SiteQuery]) -> None:
    """Raise unless the model has a site for every rule for an operator; for one of torch, warn.

    Raises:
        ValueError: a rule would never fit; the text names what there is.
    """
    sites = list(sites)
    names = {ops.base_name(site.op) for site in sites}
    for kind in _object_types(mapping):
        if isinstance(kind, type) or any(qconfig.names_op(kind, site, ()) for site in sites):
            continue
        if _is_module(kind, parts.types):
            continue
        shown = qconfig.show(kind)
        _unused(
            kind,
            f"qconfig: the rule for the object type {shown!r} fits no operator of the model that "
            f"could be int8, which are {_near(shown, names)}",
        )
    for path, kind, number in mapping.module_name_object_type_order_qconfigs:
        inside = [site for site in sites if site.path == path]
        calls = [site for site in inside if qconfig.names_op(kind, site, site.types[:1])]
        if not any(site.number == number for site in calls):
            raise ValueError(
                f"qconfig: set_module_name_object_type_order({path!r}, {qconfig.show(kind)}, "
                f"{number}) fits no call; directly in that module are "
                + (_some({f"{ops.base_name(s.op)} {s.number}" for s in inside}) or "none")
            )


def _unused(kind: Any, words: str) -> None:
    if not _is_known(kind):
        raise ValueError(words)
    warnings.warn(words, stacklevel=4)


def _is_known(kind: Any) -> bool:
    """Whether an object type is that of some model: a class, a function or the name of one."""
    if not isinstance(kind, str):
        return callable(kind)
    name = kind.rsplit("::", 1)[-1].strip("_")
    places = (torch, nn.functional, torch.Tensor)
    return name in _backend.op_table() or any(hasattr(place, name) for place in places)


def _object_types(mapping: QConfigMapping) -> list[Any]:
    """The object types of the rules that were written for this model."""
    return [
        kind
        for kind, rule in mapping.object_type_qconfigs.items()
        if not (mapping.of_torch and rule is not None and torch_rules.is_stock(kind))
    ]


def _is_module(kind: Any, types: frozenset[type]) -> bool:
    """Whether the model has an operator as a module, perhaps one that was folded."""
    name = qconfig.show(kind).rsplit("::", 1)[-1].replace("_", "").lower()
    return any(re.fullmatch(rf"{re.escape(name)}([123]d)?", t.__name__.lower()) for t in types)


def _near(name: str, names: set[str]) -> str:
    return _some(difflib.get_close_matches(name, sorted(names), 3) or names)


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(repr(name) for name in ordered[:8]) + (" ..." if len(ordered) > 8 else "")

"""Reads the configure.json that IPEX wrote: by module path, operator and order.

IPEX keeps, per parent module (``.`` written as ``:``, the root as a space), its quantizable calls
in order: type, module path, and what `ipex_quant.ipex_sites` reads.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ipex_quant import decisions, ipex_sites, ops, state
from ipex_quant.calibration import Site, split_key
from ipex_quant.errors import QuantizationError, listing


class _Call(NamedTuple):
    """One call of IPEX's file."""

    name: str
    parent: str
    path: str
    op: str
    number: str
    info: dict[str, Any]


def is_ipex(content: Any) -> bool:
    """Whether parsed JSON has the layout of IPEX."""
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(v, dict) and "q_op_infos" in v for v in content.values())
    )


def summary(
    content: dict[str, Any],
    sites: list[Site],
    calibrated: dict[str, Any] | None,
    opaque: list[str],
    source: str,
) -> dict[str, Any]:
    """The summary of a prepared model with IPEX's qparams and decisions.

    What IPEX does not know takes the decision of our calibration, or stays float without one. Every
    entry of the file that fits no operator of the model is named in a warning.

    Raises:
        QuantizationError: no entry fits, or one is damaged.
    """
    bound, lost = _bind(_calls(content, source), sites)
    own = {entry["site"]: entry for entry in (calibrated or {"sites": []})["sites"]}
    entries, edited = [], []
    for site in sites:
        call = bound.pop(site.key, None)
        reason = "IPEX's file has no entry for it"
        if call is not None:
            try:
                where = f"{source}: {call.name}"
                entries.append(_read(site, call, where))
                edited += [call.name] if ipex_sites.wants_calibration(call.info) else []
                continue
            except ipex_sites.Unfit as error:
                reason = f"IPEX's entry does not fit: {error}"
                lost.append(f"{call.name} ({error})")
        left = {**ipex_sites.float_entry(site, reason), decisions.OF_RECIPE: "float"}
        entries.append(own.get(site.key) or left)
    if len(lost) == sum(len(layer["q_op_infos"]) for layer in content.values()):
        raise QuantizationError(
            f"{source} is IPEX's, but none of its operators is in the prepared model: "
            f"{listing(lost)}; it was made from another model, so calibrate again"
        )
    if lost:
        warnings.warn(
            f"{source}: these entries fit no operator of the prepared model and were left out: "
            f"{listing(lost)}",
            stacklevel=3,
        )
    if edited:
        warnings.warn(
            f"{source}: these entries ask for an observer of another dtype than that of their "
            f"scales, which were taken: {listing(edited)}; name the observer in the qconfig of "
            "prepare and calibrate for other scales",
            stacklevel=3,
        )
    return state.summary(entries, opaque)


def _read(site: Site, call: _Call, where: str) -> dict[str, Any]:
    try:
        return ipex_sites.entry(site, call.info, call.number, where)
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise QuantizationError(f"{where} is damaged: {type(error).__name__}: {error}") from error


def _bind(calls: Iterable[_Call], sites: list[Site]) -> tuple[dict[str, _Call], list[str]]:
    """The call for each site, and the names of those for none.

    IPEX does not record every call that has a site. Only where both have equally many of an
    operator in a module is the n-th of the one the n-th of the other.
    """
    places: dict[tuple[str, str], list[Site]] = defaultdict(list)
    for site in sites:
        if _is_recorded(site):
            places[split_key(site.key)[0], _plain(ops.base_name(site.op))].append(site)
    groups: dict[tuple[str, str], list[_Call]] = defaultdict(list)
    for call in calls:
        groups[call.path, call.op].append(call)
    bound: dict[str, _Call] = {}
    lost: list[str] = []
    for place, members in groups.items():
        found = places.get(place, [])
        if len(found) != len(members):  # relu_ is F.relu(x, inplace=True), or x.relu_() is it not
            found = [s for s in found if not ops.base_name(s.op).endswith("_")] or found
        if len(found) == len(members) and len({call.parent for call in members}) == 1:
            bound |= {s.key: call for s, call in zip(found, members, strict=True)}
        else:
            lost += [_with_counts(call.name, len(members), len(found)) for call in members]
    return bound, lost


def _is_recorded(site: Site) -> bool:
    """Whether IPEX may record such a call: not sums in place or with a number."""
    if site.family != "add":
        return True
    kinds = {operand.kind for operand in site.operands.values()}
    return ops.base_name(site.op) == "add" and "ignored" not in kinds


def _with_counts(name: str, of_file: int, of_model: int) -> str:
    if of_model == 0:
        return name
    if of_file == of_model:
        return f"{name} (it is called in several modules)"
    return f"{name} (the file has {of_file} such calls there, the model {of_model})"


def _calls(content: dict[str, Any], source: str) -> Iterator[_Call]:
    for parent, layer in content.items():
        path = "" if parent.strip() == "" else parent.replace(":", ".")
        infos = layer["q_op_infos"]
        try:
            ordered = sorted(infos.items(), key=lambda item: int(item[0]))
            for index, info in ordered:
                kind = _name_of(info["op_type"])
                module = info.get("op_type_is_module", False)
                where = info["fqn"] if module else path
                name = f"{where or path}: {kind} {index}"
                yield _Call(name, path, where, _plain(kind), index, info)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise QuantizationError(
                f"{source} is damaged at the operators of {path!r}: {type(error).__name__}: {error}"
            ) from error


def _name_of(kind: str) -> str:
    """``Linear`` of ``<class 'torch.nn...Linear'>``, ``relu`` of ``<function relu at 0x7f..>``."""
    match = re.search(r"'([\w.]+)'>|function ([\w.]+)|method '?(\w+)", kind)
    found = next(g for g in match.groups() if g) if match else kind
    return found.rsplit(".", 1)[-1]


def _plain(name: str) -> str:
    """One name for a module class, a function and an operator: ``maxpool2d``."""
    return name.lower().replace("_", "")

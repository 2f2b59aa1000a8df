"""Reads the configure.json that IPEX wrote: by module path, kind of operator and order.

IPEX keeps, per parent module (``.`` written as ``:``, the root as a space), its quantizable calls
in order: type, module path, and per tensor the dtype it is computed in with scale and zero point.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from ipex_quant import _backend, ops, state
from ipex_quant.calibration import Operand, Site
from ipex_quant.errors import QuantizationError, listing

_QUANTIZED = ("torch.quint8", "torch.qint8")
#: Operators whose family has another name.
_OTHER_NAMES = {"convtranspose": "conv", "bmm": "matmul", "mm": "matmul", "iadd": "add"}


class _Call(NamedTuple):
    """One call of IPEX's file."""

    name: str
    path: str
    family: str
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
    known = {site.key: site for site in sites}
    found: dict[str, dict[str, Any]] = {}
    lost: list[str] = []
    numbers: Counter[tuple[str, str]] = Counter()
    for call in _calls(content, source):
        key = f"{call.path}/{call.family}/{numbers[call.path, call.family]}"
        numbers[call.path, call.family] += 1
        if call.family and key in known:
            found[key] = call.info
        else:
            lost.append(call.name)
    if not found:
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
    own = {entry["site"]: entry for entry in (calibrated or {"sites": []})["sites"]}
    entries = [_entry(s, found.get(s.key), own.get(s.key), source) for s in sites]
    return state.summary(entries, opaque)


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
                yield _Call(name, where, _family_of(kind), info)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise QuantizationError(
                f"{source} is damaged at the operators of {path!r}: {type(error).__name__}: {error}"
            ) from error


def _name_of(kind: str) -> str:
    """``Linear`` of ``<class 'torch.nn...Linear'>``, ``relu`` of ``<function relu at 0x7f..>``."""
    match = re.search(r"'([\w.]+)'>|function ([\w.]+)|method '?(\w+)", kind)
    found = next(g for g in match.groups() if g) if match else kind
    return found.rsplit(".", 1)[-1]


def _family_of(name: str) -> str:
    """Family of an operator by the name of its module class or function; empty when unknown."""
    families = {family.replace("_", ""): family for family in _backend.op_table()}
    plain = re.sub(r"[123]d$", "", name.lower().replace("_", ""))
    return families.get(_OTHER_NAMES.get(plain, plain), "")


def _entry(
    site: Site, info: dict[str, Any] | None, own: dict[str, Any] | None, source: str
) -> dict[str, Any]:
    if info is None and own is not None:
        return own
    entry: dict[str, Any] = {
        "site": site.key,
        "op": ops.base_name(site.op),
        "decision": "float",
        "reason": "IPEX's file has no entry for it",
        "operands": {},
        "bias_correction": None,
        **state.notes(site.family),
    }
    inputs = defaultdict(dict, enumerate((info or {}).get("input_tensor_infos", [])))
    weights = defaultdict(dict, enumerate((info or {}).get("weight_tensor_infos", [])))
    place: Counter[str] = Counter()
    for name, operand in site.operands.items():
        given = (weights if operand.kind == "weight" else inputs)[place[operand.kind]]
        # A function takes its weight as an input, after the activation.
        if operand.kind == "weight" and not weights:
            given = inputs[1]
        if name.startswith("weights."):  # an LSTM's list has the biases, too
            given = weights[int(name.removeprefix("weights."))]
        place[operand.kind] += 1
        if name == ops.PROBABILITIES:  # IPEX has one scale for all
            given = {"scale": [1 / 255], "zero_point": [0]}
        entry["operands"][name] = _operand(operand, given or {}, own, name, site.key, source)
    if info is None:
        return entry
    reason = _refusal(site, entry["operands"], inputs)
    return {**entry, "decision": "float" if reason else "int8", "reason": reason}


def _refusal(site: Site, operands: dict[str, Any], inputs: dict[int, Any]) -> str:
    """Why IPEX's entry leaves the site float; empty for int8."""
    if site.family in ops.ANCHORS and not any(
        (i or {}).get("force_dtype", (i or {}).get("inf_dtype")) in _QUANTIZED
        for i in inputs.values()
    ):
        return "it is float in IPEX's file"
    for name, operand in operands.items():
        if operand["kind"] != "ignored" and operand["scale"] is None:
            return f"operand {name!r} has no scale in IPEX's file"
    return ""


def _operand(
    operand: Operand, given: dict[str, Any], own: Any, name: str, key: str, source: str
) -> dict[str, Any]:
    where = f"{source}: site {key!r}, operand {name!r}"
    observer = state.observer_fields(operand.observer)
    scales, zeros = given.get("scale") or None, given.get("zero_point") or None
    if operand.kind == "weight":
        return {
            "kind": "weight",
            **observer,
            "dtype": "int8",
            "axis": operand.axis,
            "scale": scales,
        }
    if operand.kind == "ignored":
        return {"kind": "ignored"}
    if scales is not None and (zeros is None or len(scales) != 1 or len(zeros) != 1):
        raise QuantizationError(f"{where}: expected one scale and one zero point, got {given!r}")
    signed = "torch.qint8" in (given.get("inf_dtype"), given.get("force_dtype"))
    return {
        "kind": "activation",
        **observer,
        "dtype": "uint8",
        "scale": None if scales is None else scales[0],
        "zero_point": None if zeros is None else zeros[0] + (128 if signed else 0),
        "mode": "static",
        "channel_factor": None,
    }

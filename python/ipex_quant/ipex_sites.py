"""What one entry of IPEX's configure.json says of a site: qparams, factors, or that it is float.

Each tensor has the dtype that it is computed in, ``force_dtype`` or else ``inf_dtype``, its scale
and its zero point. The weight of a function is one of its inputs. With SmoothQuant the input of a
linear layer has one factor per channel that it is multiplied by, and the weight its reciprocal.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from ipex_quant import ops, state
from ipex_quant.calibration import Operand, Site
from ipex_quant.errors import QuantizationError

_QUANTIZED = ("torch.quint8", "torch.qint8")
_FACTOR = "smooth_quant_scaling_factor"
#: Factor of the input times that of the weight; both are written in float32 with all digits.
_ONE = (0.999, 1.001)


class Unfit(ValueError):
    """What an entry asks for is not what the kernels do; the text says why."""


def float_entry(site: Site, reason: str) -> dict[str, Any]:
    """The summary's entry of a site without qparams."""
    operands = {
        name: {"kind": "ignored"}
        if operand.kind == "ignored"
        else _fields(operand, state.observer_fields(operand.observer), None, None, None)
        for name, operand in site.operands.items()
    }
    return _entry(site, operands, reason)


def entry(site: Site, info: dict[str, Any], index: str, where: str) -> dict[str, Any]:
    """The summary's entry of a site, from IPEX's entry number ``index`` of a module.

    Raises:
        Unfit: the kernels cannot do what it asks for.
        QuantizationError: it is damaged; the text begins with ``where``.
    """
    given = {
        name: _info_of(info, place, name, operand)
        for place, (name, operand) in enumerate(site.operands.items())
        if operand.kind != "ignored"
    }
    quantized = [_dtype(given[name], site.operands[name]) in _QUANTIZED for name in given]
    # Relu, add and pools are float on the side where they are part of the operator before them.
    if not (all(quantized) if site.family in ops.ANCHORS else any(quantized)):
        return float_entry(site, "it is float in IPEX's file")
    factor = _factor(site, given, index, where)
    operands: dict[str, Any] = {}
    reason = ""
    for name, operand in site.operands.items():
        if operand.kind == "ignored":
            operands[name] = {"kind": "ignored"}
            continue
        place = f"{where}: operand {name!r} of site {site.key!r}"
        scales, zeros = _qparams(given[name], operand, index, place)
        observed = state.noted_observer(_observer(info, operand.kind))
        operands[name] = _fields(operand, observed, scales, zeros, factor)
        if scales is None:
            reason = f"operand {name!r} has no scale in IPEX's file"
    return _entry(site, operands, reason)


def wants_calibration(info: dict[str, Any]) -> bool:
    """Whether an entry's observer was edited: it has another dtype than the scales."""
    for kind in ("activation", "weight"):
        infos = info["input_tensor_infos" if kind == "activation" else "weight_tensor_infos"]
        observer = info.get(f"{kind}_observer") or {}
        dtypes = {(i or {}).get("force_dtype", (i or {}).get("inf_dtype")) for i in infos[:1]}
        dtypes &= set(_QUANTIZED)
        # IPEX observes the tables of embedding bags as activations.
        if "dtype" in observer and dtypes - {observer["dtype"]} and "Bag" not in info["op_type"]:
            return True
    return False


def _entry(site: Site, operands: dict[str, Any], reason: str) -> dict[str, Any]:
    return {
        "site": site.key,
        "op": ops.base_name(site.op),
        "decision": "float" if reason else "int8",
        "reason": reason,
        "operands": operands,
        "bias_correction": None,
        **state.notes(site.family),
    }


def _fields(operand: Operand, observed: dict, scales: Any, zeros: Any, factor: Any) -> dict:
    if operand.kind == "weight":
        return {
            "kind": "weight",
            **observed,
            "dtype": "int8",
            "axis": operand.axis,
            "scale": scales,
        }
    return {
        "kind": "activation",
        **observed,
        "dtype": "uint8",
        "scale": None if scales is None else scales[0],
        "zero_point": None if zeros is None else zeros[0],
        "mode": "static",
        "channel_factor": factor,
    }


def _info_of(info: dict[str, Any], place: int, name: str, operand: Operand) -> dict[str, Any]:
    infos = info["input_tensor_infos"]
    if operand.kind == "weight":
        infos = info["weight_tensor_infos"] or infos
        of_module = bool(info["weight_tensor_infos"])
        number = int(name.rsplit(".", 1)[1]) if "." in name else 0
        place = number if of_module else 1
    return (infos[place] if place < len(infos) else None) or {}


def _dtype(given: dict[str, Any], operand: Operand) -> Any:
    usual = "torch.qint8" if operand.kind == "weight" else None
    return given.get("force_dtype", given.get("inf_dtype", usual))


def _observer(info: dict[str, Any], kind: str) -> Any:
    """IPEX's description of an observer with its name as a name of ours."""
    found = info.get(f"{kind}_observer")
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return None
    settings = {key: found[key] for key in ("dtype", "qscheme") if key in found}
    return {"name": f"ipex.{found['name']}", **settings}


def _qparams(given: dict[str, Any], operand: Operand, index: str, place: str) -> tuple[Any, Any]:
    """Scales and zero points of an operand as the summary has them, None without."""
    scales = _of_weight(given.get("scale"), index, place)
    zeros = _of_weight(given.get("zero_point"), index, place)
    if not scales:
        return None, None
    weight = operand.kind == "weight"
    if weight and operand.tensor is not None:
        channels = operand.tensor.shape[operand.axis]
        if not isinstance(scales, list) or len(scales) not in (1, channels):
            raise QuantizationError(
                f"{place}: expected 1 or {channels} scales, got {_count(scales)}"
            )
    counted = isinstance(zeros, list) and (weight or (_is_one(scales) and len(zeros) == 1))
    if not counted or not all(isinstance(zero, int) for zero in zeros):
        wanted = "zero points" if weight else "one scale and one zero point"
        raise QuantizationError(f"{place}: expected {wanted}, got {_count(scales)} and {zeros!r}")
    signed = _dtype(given, operand) == "torch.qint8"
    if not weight:
        return scales, [zeros[0] + (128 if signed else 0)]
    if any(zero != (0 if signed else 128) for zero in zeros):
        raise Unfit("its weight has zero points, int8 weights are symmetric")
    return scales, None


def _is_one(scales: Any) -> bool:
    return isinstance(scales, list) and len(scales) == 1


def _count(scales: Any) -> str:
    return f"{len(scales)} scales" if isinstance(scales, list) else repr(scales)


def _of_weight(value: Any, index: str, place: str) -> Any:
    """What a list says, or a dictionary of lists for each of the weights that read one value."""
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        return next(iter(value.values()))
    if f"{index}_0" not in value:
        raise QuantizationError(f"{place}: expected one for weight '{index}_0', got {list(value)}")
    return value[f"{index}_0"]


def _factor(
    site: Site, given: dict[str, dict[str, Any]], index: str, where: str
) -> list[float] | None:
    """What a layer's input is divided by, and its weight multiplied with."""
    place = f"{where}: {_FACTOR} of site {site.key!r}"
    found = {
        name: _of_weight(info[_FACTOR], index, place)
        for name, info in given.items()
        if info.get(_FACTOR) is not None
    }
    if not found:
        return None
    if site.family != "linear":
        raise Unfit(f"it has a {_FACTOR}, which is for linear layers")
    weight = site.operands["weight"].tensor
    channels = None if weight is None else weight.shape[1]
    for name in ("input", "weight"):
        values = found.get(name)
        if not _are_factors(values) or len(values) != channels:
            got = len(values) if _are_factors(values) else repr(values)
            raise QuantizationError(
                f"{place}: expected {channels} numbers above 0 at the {name}, got {got}"
            )
    pairs = zip(found["input"], found["weight"], strict=True)
    if not all(_ONE[0] < a * b < _ONE[1] for a, b in pairs):
        raise QuantizationError(f"{place}: those of input and weight are not reciprocals")
    return found["weight"]


def _are_factors(values: Any) -> TypeGuard[list[float]]:
    return isinstance(values, list) and all(
        isinstance(v, (int, float)) and 0 < v < float("inf") for v in values
    )

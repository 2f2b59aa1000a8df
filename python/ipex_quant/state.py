"""The summary: qparams and decision of every site as JSON, in a file or in a buffer of a trace.

Two saves of one summary are byte-identical. Whatever is read is checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from ipex_quant import __about__
from ipex_quant.errors import QuantizationError, listing
from ipex_quant.observer_names import describe

SCHEMA = "ipex_quant.summary"
VERSION = 1
#: Name of the uint8 buffer in which the summary rides along with a trace.
BUFFER = "_ipex_quant_state"


def fingerprint(sites: Iterable[str]) -> str:
    """Identity of a model for a summary: its site keys in order of execution."""
    return "sha256:" + hashlib.sha256("\n".join(sites).encode()).hexdigest()


def summary(entries: list[dict[str, Any]], opaque: list[str]) -> dict[str, Any]:
    """The summary with these entries, one for each site in order of execution."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "ipex_quant": __about__.VERSION,
        "torch": torch.__version__.split("+")[0],
        "fingerprint": fingerprint(entry["site"] for entry in entries),
        "opaque": opaque,
        "sites": entries,
    }


def dumps(summary: dict[str, Any]) -> bytes:
    """The summary as JSON text; the same summary always gives the same bytes."""
    text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False)
    # Lists of numbers on one line each: a summary has thousands of scales.
    text = re.sub(r"\[\s+([-+.\deE,\s]+?)\s+\]", _one_line, text)
    return (text + "\n").encode()


def _one_line(match: re.Match[str]) -> str:
    return f"[{', '.join(part.strip() for part in match[1].split(','))}]"


def loads(data: bytes, source: str) -> dict[str, Any]:
    """Parse and check a summary.

    Raises:
        QuantizationError: it is corrupted, of something else, of a newer version or out of range.
    """
    try:
        summary = json.loads(data.decode())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise QuantizationError(
            f"{source} is corrupted, it is not JSON: {error}; write it again with "
            "save_qconf_summary()"
        ) from error
    if not isinstance(summary, dict) or summary.get("schema") != SCHEMA:
        raise QuantizationError(
            f"{source} is not a summary of ipex_quant: expected a JSON object with "
            f'"schema": "{SCHEMA}"'
        )
    version = summary.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise QuantizationError(
            f"{source} has version {version!r}; this ipex_quant reads versions up to {VERSION}, "
            "so update it or calibrate again"
        )
    _check(summary, source)
    return summary


def save(summary: dict[str, Any], path: Any) -> None:
    """Write the summary to a file."""
    write(dumps(summary), path)


def write(data: bytes, path: Any) -> None:
    """Write a file, which is complete or untouched whatever happens."""
    target = Path(path)
    temporary = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Any, read_foreign: Callable[[Any, str], Any] | None = None) -> dict[str, Any]:
    """Read a summary from a file; FileNotFoundError when there is none.

    ``read_foreign`` is given any other JSON and the name of its source first, and may make a
    summary of it (else None).
    """
    data, source = Path(path).read_bytes(), f"the file {str(path)!r}"
    if read_foreign is not None:
        try:
            made = read_foreign(json.loads(data.decode()), source)
        except (UnicodeDecodeError, json.JSONDecodeError):
            made = None  # loads() says what is wrong
        if made is not None:
            data = dumps(made)
    return loads(data, source)


def write_buffer(module: torch.nn.Module, summary: dict[str, Any]) -> None:
    """Put the summary into the module's buffer, in place, so that a running trace sees it."""
    getattr(module, BUFFER).set_(torch.frombuffer(bytearray(dumps(summary)), dtype=torch.uint8))


def renew_buffer(module: torch.nn.Module) -> None:
    """Give the module an empty buffer: traces share the tensor, and those made before keep it."""
    setattr(module, BUFFER, torch.zeros(0, dtype=torch.uint8))


def read_buffer(module: Any) -> dict[str, Any] | None:
    """The summary in a traced module's buffer, or None when it has none."""
    buffer = getattr(module, BUFFER, None)
    if not isinstance(buffer, torch.Tensor) or buffer.numel() == 0:
        return None
    if buffer.dtype != torch.uint8 or buffer.dim() != 1:
        raise QuantizationError(
            f"the buffer {BUFFER} of the traced module is corrupted: expected uint8 of one "
            f"dimension, got {buffer.dtype} of {buffer.dim()}"
        )
    return loads(buffer.cpu().numpy().tobytes(), "the summary inside the traced module")


def observer_fields(observer: Any) -> dict[str, Any]:
    """The fields of an operand that name its observer: the one to use, and the one that was used.

    A person edits the first; where they differ the operand is to be observed again.
    """
    named = None if observer is None else describe(observer)
    return {"observer": named, "observed_with": named}


def changed_observers(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Per int8 site, its operands whose observer was edited, with what they ask for now."""
    changed: dict[str, dict[str, Any]] = {}
    for entry in summary["sites"]:
        for name, operand in entry["operands"].items():
            if entry["decision"] == "int8" and _is_changed(operand):
                changed.setdefault(entry["site"], {})[name] = operand["observer"]
    return changed


def _is_changed(operand: dict[str, Any]) -> bool:
    wanted = operand.get("observer")
    return wanted is not None and wanted != operand.get("observed_with", wanted)


def check_sites(sites: list[str], summary: dict[str, Any], model: str, source: str) -> None:
    """Raise unless a summary has exactly the sites of a model; the error lists all others."""
    known = [entry["site"] for entry in summary["sites"]]
    if known == sites:
        return
    only_model = [s for s in sites if s not in set(known)]
    only_summary = [s for s in known if s not in set(sites)]
    if not only_model and not only_summary:
        moved = [s for s, k in zip(sites, known, strict=True) if s != k]
        raise QuantizationError(
            f"{source} has the sites of {model} in another order, from {moved[0]!r} on; it was "
            "made from another version of the model, so calibrate again"
        )
    raise QuantizationError(
        f"{source} does not fit {model}; sites only in {model}: {listing(only_model)}; sites only "
        f"in {source}: {listing(only_summary)}; it was made from another model or another version "
        "of it, so calibrate again"
    )


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(_number(v) for v in value)


def _scales(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_positive(v) for v in value)


def _zero_point(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


#: What each field must be: name, test, and the words for the error.
_SITE_FIELDS: list[tuple[str, Callable[[Any], bool], str]] = [
    ("site", lambda v: isinstance(v, str) and v.count("/") >= 2, "a text 'path/family/number'"),
    ("op", lambda v: isinstance(v, str), "a text"),
    ("decision", lambda v: v in ("int8", "float"), '"int8" or "float"'),
    ("reason", lambda v: isinstance(v, str), "a text"),
    ("operands", lambda v: isinstance(v, dict), "an object"),
    ("bias_correction", lambda v: v is None or _numbers(v), "null or a list of numbers"),
]
_WEIGHT_FIELDS: list[tuple[str, Callable[[Any], bool], str]] = [
    ("axis", lambda v: v in (0, 1), "0 or 1"),
    ("scale", _scales, "a list of finite numbers above 0"),
]
_ACTIVATION_FIELDS: list[tuple[str, Callable[[Any], bool], str]] = [
    ("mode", lambda v: v in ("static", "dynamic"), '"static" or "dynamic"'),
    ("channel_factor", lambda v: v is None or _scales(v), "null or a list of numbers above 0"),
]
_STATIC_FIELDS: list[tuple[str, Callable[[Any], bool], str]] = [
    ("scale", _positive, "a finite number above 0"),
    ("zero_point", _zero_point, "a whole number in 0..255"),
]


def _check_fields(fields: Any, rules: list, where: str) -> None:
    if not isinstance(fields, dict):
        raise QuantizationError(f"{where} must be an object, got {fields!r}")
    for name, test, words in rules:
        if name not in fields:
            raise QuantizationError(f"{where} has no {name!r}")
        if not test(fields[name]):
            raise QuantizationError(f"{where}: {name!r} must be {words}, got {fields[name]!r}")


def _check(summary: dict[str, Any], source: str) -> None:
    sites = summary.get("sites")
    if not isinstance(sites, list):
        raise QuantizationError(f"{source} has no list 'sites'")
    opaque = summary.get("opaque")
    if not isinstance(opaque, list) or not all(isinstance(p, str) for p in opaque):
        raise QuantizationError(f"{source} has no list of module paths 'opaque'")
    for number, entry in enumerate(sites):
        _check_fields(entry, _SITE_FIELDS, f"{source}: entry {number} of 'sites'")
        where = f"{source}: site {entry['site']!r}"
        for name, operand in entry["operands"].items():
            _check_operand(operand, entry["decision"] == "int8", f"{where}, operand {name!r}")
    keys = [entry["site"] for entry in sites]
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise QuantizationError(f"{source} lists sites twice: {listing(twice)}")
    if summary.get("fingerprint") != fingerprint(keys):
        raise QuantizationError(
            f"{source}: the fingerprint does not fit its list of sites; sites cannot be added, "
            "removed or moved by hand (set 'decision' to 'float' instead)"
        )


def _check_operand(operand: Any, used: bool, where: str) -> None:
    kinds = ("activation", "weight", "ignored")
    rules = [("kind", lambda v: v in kinds, " or ".join(kinds))]
    _check_fields(operand, rules, where)
    if not used or operand["kind"] == "ignored" or _is_changed(operand):
        return  # a changed observer will give new fields
    if operand["kind"] == "weight":
        _check_fields(operand, _WEIGHT_FIELDS, where)
    else:
        _check_fields(operand, _ACTIVATION_FIELDS, where)
        if operand["mode"] == "static":
            _check_fields(operand, _STATIC_FIELDS, where)

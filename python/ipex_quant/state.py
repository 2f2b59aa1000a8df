"""The summary: qparams and decision of every site as JSON, in a file or in a buffer of a trace.

Two saves of one summary are byte-identical. Whatever is read is checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from ipex_quant import __about__, _backend, ops
from ipex_quant.errors import QuantizationError
from ipex_quant.observer_names import describe

SCHEMA = "ipex_quant.summary"
VERSION = 1
#: Name of the uint8 buffer in which the summary rides along with a trace.
BUFFER = "_ipex_quant_state"
#: Field of an entry whose site has another name in a trace than in calibration: the latter.
CALIBRATED_AS = "calibrated_as"


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


def compact(summary: dict[str, Any]) -> bytes:
    """The summary as JSON that no person reads, made in a third of the time."""
    return json.dumps(summary, ensure_ascii=False, allow_nan=False).encode()


def _one_line(match: re.Match[str]) -> str:
    return f"[{', '.join(part.strip() for part in match[1].split(','))}]"


def loads(data: bytes, source: str) -> dict[str, Any]:
    """Parse and check a summary.

    Raises:
        QuantizationError: it is corrupted, of something else, of a newer version or out of range.
    """
    _backend.check_summary(data, source)
    try:
        summary: dict[str, Any] = json.loads(data.decode())
    except (ValueError, RecursionError) as error:  # what the two readers do not agree on
        raise QuantizationError(f"{source} is corrupted, it is not JSON: {error}") from error
    if summary.get("fingerprint") != fingerprint(entry["site"] for entry in summary["sites"]):
        raise QuantizationError(
            f"{source}: the fingerprint does not fit its list of sites; sites cannot be added, "
            "removed or moved by hand (set 'decision' to 'float' instead)"
        )
    return summary


def save(summary: dict[str, Any], path: Any) -> None:
    """Write the summary to a file."""
    write(dumps(summary), path)


def write(data: bytes, path: Any) -> None:
    """Write a file, which is complete or untouched whatever happens.

    A link stays one, the file behind it is written. Pipes and devices take the bytes as they are.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        target.write_bytes(data)
        return
    target = target.resolve()
    temporary = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a machine that stops may have the name without the bytes
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
        except (ValueError, RecursionError):
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


def calibrated_site(entry: dict[str, Any]) -> str:
    """The site of an entry as calibration named it."""
    site: str = entry.get(CALIBRATED_AS, entry["site"])
    return site


def notes(family: str) -> dict[str, str]:
    """What an entry says of tensors that its operator rounds without qparams; read by people."""
    if family not in ops.RECURRENT:
        return {}
    return {
        "note": "the hidden state takes a scale per row at run time, the output that of its "
        "reader: neither has qparams here"
    }


def observer_fields(observer: Any) -> dict[str, Any]:
    """The fields of an operand that name its observer: the one to use, and the one that was used.

    A person edits the first; where they differ the operand is to be observed again.
    """
    return noted_observer(None if observer is None else describe(observer))


def noted_observer(named: Any) -> dict[str, Any]:
    """The same fields, from a description."""
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
    _backend.check_same_sites(sites, [entry["site"] for entry in summary["sites"]], model, source)

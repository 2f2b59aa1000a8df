"""Fits the summary of a model to a trace of it, while the trace runs.

The tracer drops calls whose results nobody uses, and what a model keeps from an earlier call it may
compute anew in a trace. So the n-th call of a family in the trace need not be the n-th of the
calibration; here, where the model runs under the tracer, it is known which one it is.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from ipex_quant import _backend, ops, state

_OF_NUMBERS = (
    "calibration made no such call: it computes from sizes and constants alone, which are numbers "
    "outside of a trace or were kept from an earlier call"
)


class TracedCalls:
    """The calls of one traced run of a model, noted by `note` before each runs."""

    def __init__(self) -> None:
        self._native = _backend.traced_calls()
        self._groups: list[str | None] = []

    def note(self, path: str, family: str, of_numbers: bool) -> None:
        """A call of a family in a module; one ``of_numbers`` has no site in calibration."""
        self._native.note(family)
        self._groups.append(None if of_numbers else f"{path}/{family}")

    def fit(self, summary: dict[str, Any], outputs: Any, opaque: list[str]) -> dict[str, Any]:
        """The summary with the sites of the trace that returns these outputs.

        One that has another number in the trace says what it was ``calibrated_as``; what is not in
        the trace stands in the list ``untraced``. Where it cannot be told which
        calibrated call a traced one is, the sites of both stay as they are, and do not fit.
        """
        sites = self._native.sites(ops.tensors_in(outputs), opaque)
        keys = self._calibrated_keys(summary)
        entries = {entry["site"]: entry for entry in summary["sites"]}
        fitted, used = [], set()
        for site, call in sites:
            key = keys.get(call)
            if key is not None:
                renamed = {} if key == site else {state.CALIBRATED_AS: key}
                fitted.append({**entries[key], "site": site, **renamed})
                used.add(key)
            elif call in keys:
                fitted.append(_float_entry(site))
        dropped = set(keys.values()) - used - {None}
        taken = {entry["site"] for entry in fitted}
        rest = [e for k, e in entries.items() if k not in used | dropped and k not in taken]
        untraced = [key for key in entries if key in dropped]
        if not untraced and [e["site"] for e in fitted + rest] == list(entries):
            return summary
        made = state.summary(fitted + rest, summary["opaque"])
        return {**summary, **made, "untraced": untraced}

    def _calibrated_keys(self, summary: dict[str, Any]) -> dict[int, str | None]:
        """The calibrated site of each call; None for one that needs none, unknown ones are out."""
        calibrated: dict[str, list[str]] = defaultdict(list)
        for entry in summary["sites"]:
            calibrated[entry["site"].rsplit("/", 1)[0]].append(entry["site"])
        calls: dict[str, list[int]] = defaultdict(list)
        keys: dict[int, str | None] = {}
        of_numbers = self._native.of_numbers()
        for call, group in enumerate(self._groups):
            if group is None:
                keys[call] = None
            else:
                calls[group].append(call)
        for group, members in calls.items():
            if len(members) != len(calibrated[group]):
                keys |= {call: None for call in members if of_numbers[call]}
                members = [call for call in members if not of_numbers[call]]
            if len(members) == len(calibrated[group]):
                keys |= dict(zip(members, calibrated[group], strict=True))
        return keys


def _float_entry(site: str) -> dict[str, Any]:
    return {
        "site": site,
        "op": site.split("/")[-2],
        "decision": "float",
        "reason": _OF_NUMBERS,
        "operands": {},
        "bias_correction": None,
    }

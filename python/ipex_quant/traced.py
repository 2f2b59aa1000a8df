"""Fits the summary of a model to a trace of it, while the trace runs.

The tracer drops calls whose results nobody uses, and what a model keeps from an earlier call it may
compute anew in a trace. So the n-th call of a family in the trace need not be the n-th of the
calibration; here, where the model runs under the tracer, it is known which one it is.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch

from ipex_quant import _backend, ops, state
from ipex_quant.calibration import Site, operand_values

_OF_NUMBERS = (
    "calibration made no such call: it computes from numbers, sizes and constants alone, which are "
    "no tensors outside of a trace or were kept from an earlier call"
)


@dataclass(frozen=True)
class _Call:
    group: str | None
    """Path and family; None for a call that computes numbers, which is none in calibration."""
    signature: tuple[Any, ...]
    is_quantizable: bool
    """Whether it has an operand that could be int8."""


class TracedCalls:
    """The calls of one traced run of a model, noted by `note` before each runs."""

    def __init__(self) -> None:
        self._native = _backend.traced_calls()
        self._calls: list[_Call] = []

    def note(self, path: str, family: str, args: list[Any], of_numbers: bool) -> None:
        """A call of a family in a module; one ``of_numbers`` has no site in calibration."""
        self._native.note(family)
        group = None if of_numbers else f"{path}/{family}"
        self._calls.append(_Call(group, ops.signature(args), has_activation(family, args)))

    def fit(
        self, summary: dict[str, Any], sites: dict[str, Site], outputs: Any, opaque: list[str]
    ) -> dict[str, Any]:
        """The summary with the sites of the trace that returns these outputs.

        One that has another number in the trace says what it was ``calibrated_as``; what is not in
        the trace stands in the list ``untraced``. Where it cannot be told which calibrated call a
        traced one is, the sites of both stay as they are, and do not fit. ``sites`` are those of
        the calibration.
        """
        traced = self._native.sites(ops.tensors_in(outputs), opaque)
        entries = {entry["site"]: entry for entry in summary["sites"]}
        keys, dropped = self._calibrated_keys(list(entries), sites)
        fitted, used = [], set()
        for site, call in traced:
            key = keys.get(call)
            if key is not None:
                renamed = {} if key == site else {state.CALIBRATED_AS: key}
                fitted.append({**entries[key], "site": site, **renamed})
                used.add(key)
            elif call in keys:
                fitted.append(_float_entry(site))
        dropped |= {key for key in keys.values() if key is not None} - used
        taken = {entry["site"] for entry in fitted}
        rest = [e for k, e in entries.items() if k not in used | dropped and k not in taken]
        untraced = [key for key in entries if key in dropped]
        if not untraced and [e["site"] for e in fitted + rest] == list(entries):
            return summary
        made = state.summary(fitted + rest, summary["opaque"])
        return {**summary, **made, "untraced": untraced}

    def _calibrated_keys(
        self, calibrated: list[str], sites: dict[str, Site]
    ) -> tuple[dict[int, str | None], set[str]]:
        """The calibrated site of each call, and the calibrated sites of no call.

        It is None for a call that needs none. Calls that cannot be told apart have no entry.
        """
        known: dict[str, list[str]] = defaultdict(list)
        calls: dict[str, list[int]] = defaultdict(list)
        for key in calibrated:
            known[key.rsplit("/", 1)[0]].append(key)
        keys: dict[int, str | None] = {}
        for number, call in enumerate(self._calls):
            if call.group is None:
                keys[number] = None
            else:
                calls[call.group].append(number)
        dropped: set[str] = set()
        for group in (*known, *(calls.keys() - known.keys())):
            if len(calls[group]) == len(known[group]):
                keys |= dict(zip(calls[group], known[group], strict=True))
            else:
                found = self._aligned(calls[group], [sites[key] for key in known[group]])
                keys |= found
                if all(number in found for number in calls[group]):
                    dropped |= {k for k in known[group] if not _is_quantizable(sites[k])}
        return keys, dropped - set(keys.values())

    def _aligned(self, calls: list[int], sites: list[Site]) -> dict[int, str | None]:
        """Sites of the calls of a group that calibration made more or fewer calls of, in order.

        Either side may have calls that the other has not got, but none that matters: of the trace
        those that compute from sizes and constants, and on both sides those without an operand to
        quantize. The others must be the same. Nothing when they are not.
        """
        of_numbers = self._native.of_numbers()
        spares = {n for n in calls if of_numbers[n] or not self._calls[n].is_quantizable}
        keys: dict[int, str | None] = {number: None for number in spares}
        firm = [number for number in calls if number not in spares]
        wanted = [site for site in sites if _is_quantizable(site)]
        if [self._calls[n].signature for n in firm] == [site.signature for site in wanted]:
            return keys | {n: site.key for n, site in zip(firm, wanted, strict=True)}
        waiting = list(sites)
        for number in calls:
            call = self._calls[number]
            ahead = next((i for i, s in enumerate(waiting) if s.signature == call.signature), None)
            if ahead is not None and not any(_is_quantizable(s) for s in waiting[:ahead]):
                keys[number] = waiting[ahead].key
                waiting = waiting[ahead + 1 :]
            elif number not in spares:
                return {}
        return {} if any(_is_quantizable(site) for site in waiting) else keys


def has_activation(family: str, args: list[Any]) -> bool:
    """Whether a call has an operand that could be int8."""
    return any(
        isinstance(value, torch.Tensor) and value.dtype == torch.float32 and value.dim() > 0
        for _, value in operand_values(family, args)
    )


def _is_quantizable(site: Site) -> bool:
    return any(operand.kind != "ignored" for operand in site.operands.values())


def _float_entry(site: str) -> dict[str, Any]:
    return {
        "site": site,
        "op": site.split("/")[-2],
        "decision": "float",
        "reason": _OF_NUMBERS,
        "operands": {},
        "bias_correction": None,
    }

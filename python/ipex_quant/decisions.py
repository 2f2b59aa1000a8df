"""Decisions for int8 or float that are not the recipe's: they outlast the next calibration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: Field of a summary's entry: what the recipe decided. A person edits ``decision`` beside it.
OF_RECIPE = "recipe_decision"
_FIELDS = ("site", "decision", "reason")


def taken(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Per site, the decision that is not the recipe's; any where the recipe's is not known."""
    return {
        entry["site"]: {name: entry[name] for name in _FIELDS}
        for entry in summary["sites"]
        if entry["decision"] != entry.get(OF_RECIPE)
    }


def floats(sites: Iterable[str], reason: str) -> dict[str, dict[str, Any]]:
    """The decisions that keep these sites float."""
    return {site: {"site": site, "decision": "float", "reason": reason} for site in sites}


def put(summary: dict[str, Any], decisions: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The summary with these decisions; a site without qparams stays float, with its own reason."""
    entries = [
        {**entry, **decisions[entry["site"]]} if _fits(entry, decisions) else entry
        for entry in summary["sites"]
    ]
    return {**summary, "sites": entries}


def _fits(entry: dict[str, Any], decisions: dict[str, dict[str, Any]]) -> bool:
    decision = decisions.get(entry["site"])
    return decision is not None and (decision["decision"] == "float" or _has_qparams(entry))


def _has_qparams(entry: dict[str, Any]) -> bool:
    return all(
        operand["kind"] == "ignored"
        or operand.get("mode") == "dynamic"
        or operand["scale"] is not None
        for operand in entry["operands"].values()
    )

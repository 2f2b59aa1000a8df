"""Loads a summary in the format of IPEX into a prepared model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn


def load_ipex(model: nn.Module, data: Any, tmp_path: Path) -> dict[str, Any]:
    """The entries of our summary after IPEX's file with `data` was loaded, by site."""
    (tmp_path / "configure.json").write_text(json.dumps(data))
    model.load_qconf_summary(qconf_summary=str(tmp_path / "configure.json"))
    model.save_qconf_summary(qconf_summary=str(tmp_path / "ours.json"))
    sites = json.loads((tmp_path / "ours.json").read_text())["sites"]
    return {site["site"]: site for site in sites}

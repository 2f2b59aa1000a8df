"""The report of a quantized module: what became of every operator of the original model."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from ipex_quant.errors import QuantizationError

#: Name of the uint8 attribute that holds the report as JSON.
ATTRIBUTE = "_ipex_quant_report"
_VERSION = 1


@dataclass(frozen=True)
class Row:
    """One operator of the original model."""

    module: str
    """Path of the module that called it; empty for the model itself."""
    op: str
    index: int
    """It is the index-th call of this operator in the module."""
    became: str
    """"int8", "pass_through", "removed", "integer" (ids, positions, masks) or "float"."""
    kernel: str
    """The int8 operator that does its work, with its epilogue; also for a float operator that is a
    float32 step of that epilogue."""
    reason: str
    """Why it is float, and where an int8 operator computes it in float32; of a recurrent int8
    operator, which of its tensors have no qparams but a scale found at run time."""


@dataclass(frozen=True)
class FusionRow:
    """What became of one match of a user's fusion."""

    name: str
    ops: list[int]
    """The matched operators, by their numbers in the report; empty: nothing matched."""
    refusal: str
    """Why they were left as they are; empty when the fusion was applied."""


@dataclass(frozen=True)
class UntracedSite:
    """A calibrated site of which the trace has no call."""

    site: str
    reason: str


class Report:
    """Rows in the order of the model; print it, or take it apart with `to_dict`."""

    def __init__(
        self,
        rows: list[Row],
        fusions: Sequence[FusionRow] = (),
        untraced: Sequence[UntracedSite] = (),
    ) -> None:
        self.rows = rows
        self.fusions = list(fusions)
        """One row per match of the user's fusions, and one per fusion without a match."""
        self.untraced = list(untraced)
        """Sites that were calibrated in vain: no row stands for them."""

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def counts(self) -> dict[str, int]:
        """Number of operators per fate."""
        found = Counter(row.became for row in self.rows)
        return {
            name: found[name] for name in ("int8", "pass_through", "removed", "integer", "float")
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data: counts and one dict per operator."""
        return {
            "version": _VERSION,
            "counts": self.counts(),
            "ops": [asdict(row) for row in self.rows],
            "fusions": [asdict(row) for row in self.fusions],
            "untraced": [asdict(site) for site in self.untraced],
        }

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1)

    def to_tensor(self) -> torch.Tensor:
        """`to_dict` as uint8, the form in which a module carries its report (see ATTRIBUTE)."""
        return torch.frombuffer(bytearray(self.to_json().encode()), dtype=torch.uint8)

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        counts = self.counts()
        title = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items())
        table = Table(title=title, title_justify="left")
        for column in ("module", "op", "became", "kernel", "reason"):
            table.add_column(column, overflow="fold")
        for row in self.rows:
            op = f"{row.op.removeprefix('aten::')} {row.index}"
            table.add_row(row.module, op, row.became, row.kernel, row.reason)
        yield table
        if self.fusions:
            yield self._table_of_fusions()
        if self.untraced:
            yield self._table_of_untraced()

    def _table_of_fusions(self) -> Table:
        table = Table(title="fusions of the user", title_justify="left")
        for column in ("fusion", "ops", "became"):
            table.add_column(column, overflow="fold")
        for row in self.fusions:
            ops = (self.rows[i] for i in row.ops)
            names = [f"{op.module} {op.op.removeprefix('aten::')} {op.index}".strip() for op in ops]
            table.add_row(row.name, ", ".join(names), row.refusal or "applied")
        return table

    def _table_of_untraced(self) -> Table:
        table = Table(title="calibrated, but not in the trace", title_justify="left")
        for column in ("site", "reason"):
            table.add_column(column, overflow="fold")
        for site in self.untraced:
            table.add_row(site.site, site.reason)
        return table

    def __str__(self) -> str:
        console = Console(width=160, record=True, file=io.StringIO(), force_terminal=False)
        console.print(self)
        return console.export_text().rstrip()


def report(quantized: Any) -> Report:
    """What became of every operator, for a module from `jit.quantize` or `convert`, also loaded.

    Raises:
        TypeError: the module has no report, since it does not come from ipex_quant or was frozen
            once more.
        QuantizationError: its report is corrupted or of a newer version.
    """
    data = _find(quantized)
    try:
        content = json.loads(data.cpu().numpy().tobytes().decode())
        version = content["version"]
        if version > _VERSION:
            raise QuantizationError(
                f"the report has version {version}, this ipex_quant reads up to {_VERSION}; "
                "update it"
            )
        fusions = [FusionRow(**entry) for entry in content.get("fusions", ())]
        untraced = [UntracedSite(**entry) for entry in content.get("untraced", ())]
        return Report([_row(entry) for entry in content["ops"]], fusions, untraced)
    except (ValueError, KeyError, TypeError) as error:
        raise QuantizationError(f"the report inside the module is corrupted: {error}") from error


def _row(entry: dict[str, Any]) -> Row:
    kernel = entry["kernel"]
    if entry.get("epilogue"):
        kernel = f"{kernel} [{entry['epilogue']}]"
    return Row(
        entry["module"], entry["op"], entry["index"], entry["became"], kernel, entry["reason"]
    )


def _find(module: Any) -> torch.Tensor:
    for _, part in module.named_modules() if isinstance(module, torch.nn.Module) else ():
        data = getattr(part, ATTRIBUTE, None)
        if isinstance(data, torch.Tensor):
            return data
    raise TypeError(
        f"{type(module).__name__} has no report; give the result of ipex_quant.jit.quantize() or "
        "convert() (freezing it once more drops the report)"
    )

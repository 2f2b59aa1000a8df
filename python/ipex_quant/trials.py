"""What autotune tried: one record per trial, a file to go on from, and the table of them."""

from __future__ import annotations

import hashlib
import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from ipex_quant import state
from ipex_quant.errors import QuantizationError

_SCHEMA = "ipex_quant.autotune"
#: Relative difference of two accuracies that rounding in another order may make.
_SAME = 1e-6


@dataclass(frozen=True)
class Trial:
    """One set of float sites and what it gave."""

    floats: tuple[str, ...]
    """Keys of the sites that were float beside those that the recipe keeps float."""
    accuracy: float
    loss: float
    """By the criterion: relative or absolute, above 0 when worse than float."""
    met: bool
    milliseconds: float
    """Of one call on the first calibration input."""
    seconds: float
    """What the trial took."""
    step: str
    """Why it was tried."""


@dataclass(frozen=True)
class Sensitivity:
    """What int8 at one site alone does to the model."""

    site: str
    sqnr: float
    """Signal to noise of the model's output in dB."""
    gain: float
    """Milliseconds per call that int8 saves."""


class Trials:
    """All trials of one autotune in order; print it, or take it apart with `to_dict`."""

    def __init__(self, baseline: float, criterion: str) -> None:
        self.baseline = baseline
        self.criterion = criterion
        self.trials: list[Trial] = []
        self.sensitivities: list[Sensitivity] = []
        """Noisiest first by what calibration measured; without sites that were not tried alone."""
        self.ended = ""
        """What of the budget ended the search; empty when it came to its end."""
        self.chosen: Trial | None = None

    @property
    def met(self) -> bool:
        """Whether the chosen trial meets the criterion."""
        return self.chosen is not None and self.chosen.met

    def find(self, floats: frozenset[str]) -> Trial | None:
        """The trial of these sites, or None."""
        return next((t for t in self.trials if frozenset(t.floats) == floats), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "baseline": self.baseline,
            "criterion": self.criterion,
            "met": self.met,
            "ended": self.ended,
            "chosen": None if self.chosen is None else self.trials.index(self.chosen),
            "trials": [asdict(t) for t in self.trials],
            "sensitivities": [asdict(s) for s in self.sensitivities],
        }

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        title = f"float: {self.baseline:.6g}; criterion: {self.criterion}"
        table = Table(title=title, title_justify="left")
        for column in ("trial", "step", "float sites", "accuracy", "loss", "ms", "took s", "met"):
            table.add_column(column, overflow="fold")
        for number, t in enumerate(self.trials):
            names = ", ".join(t.floats[:3]) + (" ..." if len(t.floats) > 3 else "")
            table.add_row(
                f"{number}{' *' if t == self.chosen else ''}",
                t.step,
                f"{len(t.floats)}: {names}" if t.floats else "0",
                f"{t.accuracy:.6g}",
                f"{t.loss:.3g}",
                f"{t.milliseconds:.3g}",
                f"{t.seconds:.1f}",
                "yes" if t.met else "no",
            )
        if self.ended:
            table.caption, table.caption_justify = f"{self.ended}; the best so far is taken", "left"
        yield table

    def __str__(self) -> str:
        console = Console(width=160, record=True, file=io.StringIO(), force_terminal=False)
        console.print(self)
        return console.export_text().rstrip()


class Journal:
    """The file from which an interrupted autotune goes on; None keeps nothing.

    Raises:
        QuantizationError: the file is no journal, or is of another model or calibration.
    """

    def __init__(self, path: Any, summary: dict[str, Any]) -> None:
        self._path = None if path is None else Path(path)
        self._key = hashlib.sha256(state.dumps(summary)).hexdigest()
        self._known: dict[str, Any] = {}
        if self._path is not None and self._path.exists():
            self._known = self._read(self._path)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            content = json.loads(path.read_text(encoding="utf8"))
            if content["schema"] != _SCHEMA:
                raise KeyError("schema")
            key, known = content["key"], dict(content["known"])
        except (ValueError, KeyError, TypeError) as error:
            raise QuantizationError(
                f"the file {str(path)!r} is not one that autotune wrote ({error}); give another "
                "name for resume"
            ) from error
        if key != self._key:
            raise QuantizationError(
                f"the file {str(path)!r} is of another model or another calibration; remove it, or "
                "give another name for resume"
            )
        return known

    def once(self, name: str, make: Any) -> Any:
        """What was recorded under a name, else what ``make()`` gives (JSON data), recorded."""
        if name not in self._known:
            self._record(name, make())
        return self._known[name]

    def confirm(self, name: str, accuracy: float, of: str) -> None:
        """Record an accuracy that was measured again in this call.

        Raises:
            QuantizationError: it is not the recorded one, so the others are not to be compared with
                what is measured now.
        """
        known = self._known.setdefault(name, accuracy)
        if not math.isclose(known, accuracy, rel_tol=_SAME):
            raise QuantizationError(
                f"the file {str(self._path)!r} has an accuracy of {known:.9g} for {of}, and "
                f"eval_func gives {accuracy:.9g} now: it measures something else, or not the same "
                "in each call; remove the file, or give another name for resume"
            )
        self._record(name, known)

    def _record(self, name: str, value: Any) -> None:
        self._known[name] = value
        if self._path is not None:
            content = {"schema": _SCHEMA, "key": self._key, "known": self._known}
            state.write(json.dumps(content, indent=1).encode(), self._path)

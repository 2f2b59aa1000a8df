"""The exception that tells of a problem with a model, its calibration or its saved state."""

from __future__ import annotations

from collections.abc import Iterable


class QuantizationError(RuntimeError):
    """A model cannot be calibrated, quantized or loaded; the text names the place and the way out.

    Wrong arguments of a function are a ``TypeError`` or ``ValueError`` instead.
    """


def listing(names: Iterable[str]) -> str:
    """All names, quoted and in the order given, for the text of an error."""
    quoted = [repr(name) for name in names]
    return ", ".join(quoted) if quoted else "none"

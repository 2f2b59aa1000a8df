"""The fusions of the user: what one is, and which ones hold for every compilation."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fusion:
    """A checked fusion, made by `ipex_quant.fusion.rewrite`, ``post_op`` or ``elementwise``."""

    name: str
    becomes: str
    """"rewrite", "post_op" or "elementwise"."""
    native: Any = field(repr=False, compare=False)
    """The C++ form of it."""

    @property
    def pattern(self) -> str:
        """The IR that is looked for, after normalization."""
        return str(self.native.pattern)


class Registration:
    """What `register` did. As a context manager it takes the fusions back at the end."""

    def __init__(self, fusions: tuple[Fusion, ...]) -> None:
        self._fusions = fusions

    def remove(self) -> None:
        """Take back those of the fusions that are still registered."""
        with _lock:
            for fusion in self._fusions:
                if _registered.get(fusion.name) is fusion:
                    del _registered[fusion.name]

    def __enter__(self) -> Registration:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


_lock = threading.Lock()
_registered: dict[str, Fusion] = {}


def check(fusions: Any, what: str) -> tuple[Fusion, ...]:
    """The fusions as a tuple.

    Raises:
        TypeError: one is something else.
        ValueError: two have one name.
    """
    found: dict[str, Fusion] = {}
    for fusion in fusions:
        if not isinstance(fusion, Fusion):
            raise TypeError(
                f"{what} expects fusions made by ipex_quant.fusion.rewrite(), post_op() or "
                f"elementwise(), got {type(fusion).__name__}"
            )
        if fusion.name in found:
            raise ValueError(_twice(fusion))
        found[fusion.name] = fusion
    return tuple(found.values())


def register(*fusions: Fusion) -> Registration:
    """Try these fusions in every later compilation of this process, in this order.

    Returns: what takes them back, by ``remove()`` or at the end of a ``with`` block.

    Raises:
        TypeError: an argument is no fusion.
        ValueError: a fusion of that name is registered already.
    """
    given = check(fusions, "register")
    with _lock:
        for fusion in given:
            if fusion.name in _registered:
                raise ValueError(_twice(fusion))
        _registered.update({fusion.name: fusion for fusion in given})
    return Registration(given)


def unregister(name: str) -> None:
    """Forget a registered fusion.

    Raises:
        KeyError: none has this name.
    """
    with _lock:
        if name not in _registered:
            raise KeyError(f"no fusion {name!r} is registered; there are {sorted(_registered)}")
        del _registered[name]


def registered() -> tuple[Fusion, ...]:
    """The registered fusions, in the order in which they are tried."""
    with _lock:
        return tuple(_registered.values())


def _twice(fusion: Fusion) -> str:
    return (
        f"fusion {fusion.name!r} is given twice; names must be unique. Its pattern is\n"
        f"{fusion.pattern}"
    )

"""A summary changed anywhere is read right or refused with a clear error; nothing crashes."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import QuantizationError, state

SOURCE = "the file 'a.json'"
BYTES = 3000
FIELDS = 3000
COMPILED = 60
#: Texts of JSON values that no field wants, or that only some do.
VALUES = ["null", "true", "0", "-1", "1", "2", "255", "256", "1.5", "1e-50", "1e-400", "1e39"]
VALUES += ["1e400", "NaN", "Infinity", "[]", "[0]", "[1.0]", "[[1]]", "{}", '""', '"int8"']
VALUES += [
    '"float"',
    '"a/b/0"',
    '"weight"',
    '"\\ud800"',
    "9" * 400,
    "9" * 5000,
    "[" * 90 + "]" * 90,
]
#: Stands where a value is to be put that json.dumps cannot write.
HOLE = "\x00hole\x00"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm(self.conv(x)))
        return self.fc(y.mean((2, 3)))


@pytest.fixture(scope="module")
def traced() -> Any:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 6)
    prepared = ipex_quant.prepare(Net().eval(), ipex_quant.default_static_qconfig, x)
    with torch.no_grad():
        prepared(x)
        return torch.jit.trace(prepared, x)


@pytest.fixture(scope="module")
def text(traced: Any) -> bytes:
    return bytes(getattr(traced, state.BUFFER).tolist())


def read(data: bytes) -> dict[str, Any] | None:
    """The summary, or None when it was refused as it should be."""
    try:
        return state.loads(data, SOURCE)
    except QuantizationError as error:
        assert str(error).startswith(SOURCE)
        assert "Exception raised from" not in str(error)
        return None


def test_mutated_bytes(text: bytes) -> None:
    rng = random.Random(1)
    outcomes = set()
    for _ in range(BYTES):
        data = bytearray(text)
        for _ in range(rng.choice((1, 1, 2, 5))):
            place = rng.randrange(len(data))
            kind = rng.randrange(4)
            if kind == 0:
                data[place] ^= 1 << rng.randrange(8)
            elif kind == 1:
                del data[place : place + rng.randrange(40)]
            elif kind == 2:
                data[place:place] = data[place : place + rng.randrange(40)]
            else:
                data[place:place] = rng.choice(VALUES).encode()
        outcomes.add(read(bytes(data)) is None)
    assert outcomes == {True, False}


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value inside."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        found.append((value, key))
        if isinstance(inner, (dict, list)):
            found += places(inner)
    return found


def with_another_value(summary: dict[str, Any], rng: random.Random) -> bytes:
    changed = copy.deepcopy(summary)
    container, key = rng.choice(places(changed))
    if rng.random() < 0.1:
        del container[key]
        return json.dumps(changed).encode()
    container[key] = HOLE
    return json.dumps(changed).replace(json.dumps(HOLE), rng.choice(VALUES)).encode()


def test_mutated_fields(text: bytes, traced: Any) -> None:
    """What is read is what stands there, and the compiler takes it or says what does not fit."""
    rng = random.Random(2)
    summary = json.loads(text)
    read_ones = []
    for _ in range(FIELDS):
        data = with_another_value(summary, rng)
        got = read(data)
        if got is not None:
            assert got == json.loads(data)
            read_ones.append(got)
    assert 100 < len(read_ones) < FIELDS
    x = torch.randn(2, 3, 6, 6)
    for got in rng.sample(read_ones, COMPILED):
        try:
            quantized = ipex_quant.jit.from_summary(traced, got)
        except QuantizationError as error:
            assert str(error)
            continue
        assert quantized(x).shape == (2, 4)


def test_nesting_is_limited(text: bytes) -> None:
    """No text reaches the end of the stack, in either of the two readers."""
    deep = text.rstrip()[:-1] + b', "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(QuantizationError, match="nests deeper than 32"):
        state.loads(deep, SOURCE)

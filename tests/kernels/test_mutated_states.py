"""A packed object's saved state, changed anywhere, is loaded right or refused; nothing crashes.

`make sanitize` runs this under AddressSanitizer, too, so that a read out of bounds is a failure.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from mutations import mutated
from packed_seeds import SEEDS, Seed, set_state, state_of

CASES = 350  # for each of the seeds


@pytest.mark.parametrize("seed", SEEDS, ids=lambda s: s.name)
def test_a_state_loads_as_it_was(seed: Seed) -> None:
    torch.manual_seed(0)
    packed, other = seed.make(), seed.make()
    set_state(other, state_of(packed))
    assert same(state_of(other), state_of(packed))
    torch.manual_seed(1)
    expected = seed.call(packed, state_of(packed))
    torch.manual_seed(1)
    assert same(seed.call(other, state_of(other)), expected)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda s: s.name)
def test_a_mutated_state_loads_right_or_is_refused(seed: Seed) -> None:
    torch.manual_seed(0)
    rng = random.Random(seed.name)
    packed = seed.make()
    valid = state_of(packed)
    loaded = 0
    for case in range(CASES):
        state = mutated(valid, rng)
        try:
            set_state(packed, state)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            assert str(error), case
            assert same(state_of(packed), valid), f"case {case} changed the object and failed"
            continue
        loaded += 1
        now = state_of(packed)
        assert same(without_texts(now), without_texts(state)), f"case {case} was misread"
        run(seed, packed, now)
        set_state(packed, now)  # what it would save loads again, as it is
        assert same(state_of(packed), now), case
        set_state(packed, valid)
    assert 0 < loaded < CASES  # or the mutations do not reach what they should


def run(seed: Seed, packed: Any, state: tuple) -> None:
    """Whatever was loaded can be called; sizes that no memory holds are an error."""
    try:
        seed.call(packed, state)
    except (RuntimeError, torch.jit.Error) as error:
        assert str(error)


def without_texts(state: tuple) -> tuple:
    """A state without its epilogue, which has more than one spelling."""
    return tuple(v for v in state if not isinstance(v, str))


def same(a: Any, b: Any) -> bool:
    """Equality of states, by value; a scale is a float32."""
    if isinstance(a, torch.Tensor):
        if not isinstance(b, torch.Tensor) or a.dtype != b.dtype or a.shape != b.shape:
            return False
        return torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    if isinstance(a, float) and isinstance(b, float):
        return torch.tensor(a).item() == torch.tensor(b).item()
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b

"""Outputs come from memory that is used again, and never from memory that is in use."""

from __future__ import annotations

import random
import threading

import pytest
import torch

import ipex_quant
from ipex_quant import _C

SCALE = 0.5


def quantized(value: int, shape: tuple[int, ...]) -> torch.Tensor:
    """A uint8 tensor of the operators that holds `value` everywhere."""
    return torch.ops.ipex_quant.quantize(torch.full(shape, SCALE * value), SCALE, 0)


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Regions that earlier tests left behind would hide growth."""
    before = _C.memory_statistics()[1]
    probe = quantized(1, (1 << 20,))
    if _C.memory_statistics()[1] == before:
        pytest.skip("a sanitized runtime takes all memory from malloc, which it can watch")
    del probe
    ipex_quant.release_memory()


def test_a_freed_block_serves_the_next_call() -> None:
    """The same size again takes nothing from the system."""
    quantized(1, (1 << 20,))
    reserved, used = _C.memory_statistics()
    places = set()
    for _ in range(50):
        out = quantized(2, (1 << 20,))
        places.add(out.data_ptr())
        del out
    assert _C.memory_statistics() == (reserved, used)
    assert len(places) == 1


def test_tensors_that_are_alive_keep_their_values() -> None:
    """Blocks of many sizes, freed in any order, never overlap; freed neighbours join."""
    draw = random.Random(0)
    before = _C.memory_statistics()[1]
    alive: dict[int, torch.Tensor] = {}
    for step in range(2000):
        if len(alive) > 20 or (alive and draw.random() < 0.4):
            key = draw.choice(list(alive))
            assert bool((alive.pop(key) == key % 251).all())
        size = draw.choice([100, 16384, 20000, 65536, 100000, 4096 * 30, 1 << 20])
        alive[step] = quantized(step % 251, (size + draw.randrange(64),))
    for key, tensor in alive.items():
        assert bool((tensor == key % 251).all())
    tensor = None
    alive.clear()
    assert _C.memory_statistics()[1] == before
    ipex_quant.release_memory()
    after = _C.memory_statistics()
    assert after.count(0) == 2 or after[1] == before


def test_release_memory_gives_back_what_no_tensor_uses() -> None:
    """A tensor that is alive keeps its region and its values."""
    kept = quantized(7, (1 << 20,))
    large = quantized(1, (1 << 26,))
    reserved = _C.memory_statistics()[0]
    assert reserved > 1 << 26
    del large
    ipex_quant.release_memory()
    assert _C.memory_statistics()[0] <= reserved - (1 << 26)
    assert bool((kept == 7).all())


def test_alignment() -> None:
    """Kernels may count on whole cache lines."""
    outs = [quantized(1, (size,)) for size in (16384, 40961, 1 << 17)]
    assert [out.data_ptr() % 64 for out in outs] == [0, 0, 0]


def test_many_threads_take_and_give_back() -> None:
    """Threads share the pool; a tensor may be freed by another thread than made it."""
    handed: list[torch.Tensor] = []
    wrong: list[str] = []

    def work(own: int) -> None:
        for step in range(200):
            out = quantized(own, (16384 + 512 * ((step * 7 + own) % 60),))
            if not bool((out == own).all()):
                wrong.append(f"thread {own}, step {step}")
            handed.append(out)
            if len(handed) > 30:
                handed.pop(0)

    threads = [threading.Thread(target=work, args=(own,)) for own in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_memory_is_an_error_that_says_so() -> None:
    """A size that no machine has; the pool is usable afterwards."""
    before = _C.memory_statistics()
    bags = torch.ops.ipex_quant.quantize(torch.ones(1, 1), 1.0, 0)
    packed = torch.ops.ipex_quant.binary_prepack("add", 1.0, 0, 1.0, 0, "quantize(1,0)")
    with pytest.raises(RuntimeError, match="out of memory: a tensor of an int8 operator needs"):
        torch.ops.ipex_quant.binary(
            bags.expand(1 << 24, 1 << 22), bags.expand(1 << 24, 1 << 22), packed, []
        )
    assert _C.memory_statistics() == before

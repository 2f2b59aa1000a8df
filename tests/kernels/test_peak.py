"""The limits that the benchmarks compare with: a rate of everything on each ISA with vectors."""

from __future__ import annotations

from bench import limits


def test_every_vector_isa_has_its_limits(isa: str) -> None:
    rates = [limits.peak(), limits.float_peak(), limits.read_rate(1 << 16)]
    if isa == "reference":
        assert rates == [0, 0, 0]
    else:
        assert all(rate > 0 for rate in rates), rates


def test_description_names_the_caches() -> None:
    sizes = limits.caches()
    assert all(size > 0 for size in sizes.values())
    text = limits.describe(limits.measure_limits())
    assert all(level in text for level in sizes if level != "L1")

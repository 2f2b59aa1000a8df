"""What one thread of this machine can do at most, measured: the benchmarks compare with it."""

from __future__ import annotations

import ctypes
import functools
import re
from dataclasses import dataclass
from pathlib import Path

import ipex_quant

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
INT8_PEAK = "int8 peak"


@dataclass(frozen=True)
class Limit:
    """What one thread does at most, in 1e9 of something per second; 0 where it is not known."""

    name: str
    rate: float
    unit: str


@functools.cache
def _runtime() -> ctypes.CDLL:
    """The runtime library that this process has loaded."""
    maps = Path("/proc/self/maps").read_text(encoding="ascii").splitlines()
    loaded = {line.split()[-1] for line in maps if "libipex_quant_runtime.so" in line}
    found = Path(ipex_quant.__file__).parent.rglob("libipex_quant_runtime.so")
    library = ctypes.CDLL(next(iter(loaded or map(str, found))))
    for name in ("ipex_quant_peak_gmacs", "ipex_quant_float_peak_gmacs", "ipex_quant_read_rate"):
        getattr(library, name).restype = ctypes.c_double
    library.ipex_quant_read_rate.argtypes = [ctypes.c_uint64]
    return library


def peak() -> float:
    """1e9 int8 multiply-adds per second; 0, as below, under the cap of the reference kernels."""
    return _runtime().ipex_quant_peak_gmacs()


def float_peak() -> float:
    """1e9 float32 multiply-adds per second."""
    return _runtime().ipex_quant_float_peak_gmacs()


def read_rate(size: int) -> float:
    """1e9 bytes per second when ``size`` bytes are read again and again."""
    return _runtime().ipex_quant_read_rate(size)


def caches() -> dict[str, int]:
    """The bytes of the caches for data, by level; empty where the system does not tell."""
    sizes = {}
    for folder in sorted(_CACHES.glob("index*")):
        kind, level, size = (
            (folder / name).read_text(encoding="ascii").strip()
            for name in ("type", "level", "size")
        )
        match = re.fullmatch(r"(\d+)([KMG])", size)
        if kind != "Instruction" and match:
            sizes[f"L{level}"] = int(match[1]) * _UNITS[match[2]]
    return sizes


def measure_limits() -> list[Limit]:
    """The peaks, then the reading rates of the caches and of the memory."""
    limits = [
        Limit(INT8_PEAK, peak(), "GMAC/s"),
        Limit("float32 peak", float_peak(), "GMAC/s"),
    ]
    sizes = caches()
    reads = {level: size // 2 for level, size in sizes.items() if level != "L1"}
    if sizes:
        reads["memory"] = 4 * max(sizes.values())
    return limits + [
        Limit(f"reads from {level} ({size >> 10} KiB)", read_rate(size), "GB/s")
        for level, size in reads.items()
    ]


def describe(limits: list[Limit]) -> str:
    """One line for each limit."""
    return "\n".join(
        f"{limit.name}: " + (f"{limit.rate:.1f} {limit.unit}" if limit.rate else "not known")
        for limit in limits
    )

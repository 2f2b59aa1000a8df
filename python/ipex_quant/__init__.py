"""Int8 TorchScript for CPUs: calibrate an eager or traced model, run it in Python or C++."""

from __future__ import annotations

from pathlib import Path

from ipex_quant import fusion, jit, quantization
from ipex_quant.__about__ import VERSION as __version__
from ipex_quant._backend import isa, release_memory
from ipex_quant.errors import QuantizationError
from ipex_quant.qconfig import (
    QConfig,
    QConfigMapping,
    default_dynamic_qconfig,
    default_dynamic_qconfig_mapping,
    default_static_qconfig,
    default_static_qconfig_mapping,
)
from ipex_quant.quantization import convert, prepare
from ipex_quant.report import report

#: For CMake: ``find_package(ipex_quant PATHS <this>)`` in a C++ program.
cmake_prefix_path = str(Path(__file__).parent / "share" / "cmake")

__all__ = [
    "QConfig",
    "QConfigMapping",
    "QuantizationError",
    "__version__",
    "cmake_prefix_path",
    "convert",
    "default_dynamic_qconfig",
    "default_dynamic_qconfig_mapping",
    "default_static_qconfig",
    "default_static_qconfig_mapping",
    "fusion",
    "isa",
    "jit",
    "prepare",
    "quantization",
    "release_memory",
    "report",
]

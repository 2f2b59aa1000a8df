"""The names that IPEX gave its int8 users, in one place."""

from ipex_quant.autotune import autotune
from ipex_quant.frontend import convert, prepare
from ipex_quant.qconfig import (
    QConfig,
    QConfigMapping,
    default_dynamic_qconfig,
    default_dynamic_qconfig_mapping,
    default_static_qconfig,
    default_static_qconfig_mapping,
)
from ipex_quant.smooth_quant import get_smooth_quant_qconfig, get_smooth_quant_qconfig_mapping

__all__ = [
    "QConfig",
    "QConfigMapping",
    "autotune",
    "convert",
    "default_dynamic_qconfig",
    "default_dynamic_qconfig_mapping",
    "default_static_qconfig",
    "default_static_qconfig_mapping",
    "get_smooth_quant_qconfig",
    "get_smooth_quant_qconfig_mapping",
    "prepare",
]

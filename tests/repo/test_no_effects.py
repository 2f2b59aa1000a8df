"""Importing the package registers operators and changes nothing else in the process."""

from __future__ import annotations

import subprocess
import sys
import textwrap

SCRIPT = textwrap.dedent(
    """
    import os, signal, sys, warnings
    import torch

    def settings():
        return {
            "threads": torch.get_num_threads(),
            "dtype": torch.get_default_dtype(),
            "grad": torch.is_grad_enabled(),
            "rng": torch.get_rng_state().sum().item(),
            "mkldnn": torch.backends.mkldnn.enabled,
            "engine": torch.backends.quantized.engine,
            "fastpath": torch.backends.mha.get_fastpath_enabled(),
            "profiling": torch._C._get_graph_executor_optimize(),
            "passes": torch._C._jit_texpr_fuser_enabled(),
            "environment": dict(os.environ),
            "filters": list(warnings.filters),
            "hooks": (sys.excepthook, sys.displayhook, signal.getsignal(signal.SIGINT)),
            "forward": torch.nn.Linear.forward,
            "trace": torch.jit.trace,
        }

    before = settings()
    import ipex_quant
    after = settings()
    changed = [key for key in before if before[key] != after[key]]
    assert not changed, changed
    """
)


def test_import_changes_nothing() -> None:
    """Settings, hooks, environment and torch's own functions are as before."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""

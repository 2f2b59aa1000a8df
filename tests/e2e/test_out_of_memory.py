"""Memory that runs out anywhere is an error or changes nothing, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
SOURCE = Path(__file__).resolve().parents[1] / "native" / "failing_malloc.cpp"

SETUP = """
    import ctypes, io, sys, torch
    import ipex_quant
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(0)
    faults = ctypes.CDLL(None)
    faults.fail_at.argtypes = [ctypes.c_long, ctypes.c_size_t]
    LARGE = 2000  # bytes; what packing takes for the layers below

    class Net(nn.Module):
        # one layer of each packed class

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3)
            self.depthwise = nn.Conv2d(16, 16, 3, groups=16)
            self.up = nn.ConvTranspose2d(16, 24, 2, 2)
            self.lstm = nn.LSTM(24, 24, batch_first=True)
            self.gru = nn.GRU(24, 24, batch_first=True)
            self.table = nn.EmbeddingBag(100, 24)
            self.fc = nn.Linear(24, 48)

        def forward(self, x, ids):
            y = torch.relu(self.up(torch.relu(self.depthwise(torch.relu(self.conv(x))))))
            y = self.gru(self.lstm(y.flatten(2).transpose(1, 2))[0])[0]
            return self.fc(y[:, -1] + self.table(ids))

    inputs = torch.randn(2, 3, 8, 8), torch.randint(0, 100, (2, 5))
    prepared = ipex_quant.prepare(Net().eval(), ipex_quant.default_static_qconfig, inputs)
    with torch.no_grad():
        prepared(*inputs)
        traced = torch.jit.trace(prepared, inputs)
    del prepared

    def snapshot():
        return str(traced.inlined_graph), [t.clone() for t in traced.state_dict().values()]

    def unchanged(before):
        text, tensors = snapshot()
        return text == before[0] and all(torch.equal(a, b) for a, b in zip(tensors, before[1]))

    def fail_everywhere(work, check):
        # One request after the other fails, until all that `work` makes were tried.
        errors = number = 0
        while True:
            result = None
            faults.fail_at(number, LARGE)
            try:
                result = work()
            except (RuntimeError, MemoryError) as error:
                problem = error
            finally:
                failed = faults.failed()
            if result is None:
                assert failed, problem
                text = str(problem).lower()
                known = isinstance(problem, MemoryError) or "memory" in text or "alloc" in text
                assert known, problem
                errors += 1
            check(result)
            if not failed:
                return number, errors
            number += 1
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of failing_malloc.cpp."""
    built = tmp_path_factory.mktemp("shim") / "failing_malloc.so"
    compiler = os.environ.get("CXX", "c++")
    subprocess.run(
        [compiler, "-std=c++17", "-O1", "-shared", "-fPIC", "-o", built, SOURCE], check=True
    )
    return built


def run(shim: Path, script: str) -> list[str]:
    """Words that a script prints after SETUP."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(SETUP) + textwrap.dedent(script)],
        env=dict(os.environ, LD_PRELOAD=str(shim)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()


def test_compiling(shim: Path) -> None:
    """The module given stays as it was; a module that is returned is packed and right."""
    tried, errors = run(
        shim,
        """
        before = snapshot()
        expected = ipex_quant.jit.quantize(traced)(*inputs)

        def check(quantized):
            assert unchanged(before)
            if quantized is not None:
                assert "prepack" not in str(quantized.graph)
                assert torch.equal(quantized(*inputs), expected)

        print(*fail_everywhere(lambda: ipex_quant.jit.quantize(traced), check))
        """,
    )
    assert int(tried) > 40
    assert int(errors) > 20


def test_loading_and_calling(shim: Path) -> None:
    """A load or call that fails can be repeated."""
    tried, errors = run(
        shim,
        """
        quantized = ipex_quant.jit.quantize(traced)
        expected = quantized(*inputs)
        buffer = io.BytesIO()
        torch.jit.save(quantized, buffer)
        del quantized  # or its packed weights would serve the loaded module

        def load():
            buffer.seek(0)
            return ipex_quant.jit.load(buffer)

        def check(module):
            assert module is None or torch.equal(module(*inputs), expected)

        loads = fail_everywhere(load, check)
        module = load()
        calls = fail_everywhere(
            lambda: module(*inputs), lambda y: None if y is None else check(lambda *_: y)
        )
        print(*loads)
        """,
    )
    assert int(tried) > 20
    assert int(errors) > 10

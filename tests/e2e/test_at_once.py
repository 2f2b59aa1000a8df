"""One quantized module in many threads, through forks and changes of the number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant

pytestmark = pytest.mark.e2e
SECONDS = float(os.environ.get("IPEX_QUANT_STRESS_SECONDS", "4"))


class Net(nn.Module):
    """A convolution, a recurrent layer, attention and a linear layer: every kind of operator."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.lstm = nn.LSTM(16, 24, batch_first=True)
        self.fc = nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.depthwise(torch.relu(self.conv(x))))
        y = self.norm(y.flatten(2).transpose(1, 2))
        y = y + self.attention(y, y, y, need_weights=False)[0]
        return self.fc(self.lstm(y)[0].mean(1))


@pytest.fixture(scope="module")
def quantized() -> Any:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    prepared = ipex_quant.prepare(Net().eval(), ipex_quant.default_static_qconfig, x)
    with torch.no_grad():
        prepared(x)
        return ipex_quant.jit.quantize(torch.jit.trace(prepared, x))


@pytest.fixture(scope="module")
def cases(quantized: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Inputs of several shapes with their outputs on one thread."""
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(n, 3, 8, 8, generator=generator) for n in (1, 2, 5)]
    with torch.no_grad():
        return [(x, quantized(x)) for x in inputs]


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_eight_threads_give_the_same_bits_and_keep_no_memory(quantized: Any, cases: list) -> None:
    """For IPEX_QUANT_STRESS_SECONDS, which is 4 unless it says otherwise."""
    wrong: list[str] = []
    calls = [0] * 8
    end = time.monotonic() + SECONDS

    def work(number: int) -> None:
        torch.set_num_threads(1 + number % 2)
        with torch.no_grad():
            while time.monotonic() < end and not wrong:
                x, expected = cases[(number + calls[number]) % len(cases)]
                if not torch.equal(quantized(x), expected):
                    wrong.append(f"thread {number}, call {calls[number]}")
                calls[number] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS / 4)
    before = resident()
    time.sleep(SECONDS / 2)
    after = resident()
    for thread in threads:
        thread.join()
    assert not wrong
    assert min(calls) > 3
    assert after < 1.01 * before, (before, after)


class Pause(nn.Module):
    """Lets other threads run in the middle of a trace."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.05)
        return x


@pytest.mark.slow
def test_several_threads_may_quantize() -> None:
    """A model, which is traced then, and a trace that all threads share."""
    torch.manual_seed(3)
    model = nn.Sequential(Pause(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()).eval()
    x = torch.randn(2, 3, 8, 8)

    def calibrated() -> Any:
        prepared = ipex_quant.prepare(model, ipex_quant.default_static_qconfig, x)
        prepared(x)
        return prepared

    with torch.no_grad():
        traced = torch.jit.trace(calibrated(), x)
        expected = ipex_quant.jit.quantize(traced)(x)

    def work(_thread: int) -> bool:
        with torch.no_grad():
            modules = [ipex_quant.jit.quantize(traced), ipex_quant.convert(calibrated())]
            return all(torch.equal(module(x), expected) for module in modules)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_the_number_of_threads_may_change_between_calls(quantized: Any, cases: list) -> None:
    before = torch.get_num_threads()
    try:
        with torch.no_grad():
            for threads in (1, 3, 2, 8, 1, 5):
                torch.set_num_threads(threads)
                assert all(torch.equal(quantized(x), expected) for x, expected in cases)
    finally:
        torch.set_num_threads(before)


def test_modules_that_come_and_go_leave_nothing(quantized: Any, tmp_path: Path) -> None:
    """A process that loads one file again and again does not grow."""
    saved = tmp_path / "model.pt"
    quantized.save(str(saved))
    sizes = []
    for _ in range(60):
        torch.jit.load(str(saved))
        sizes.append(resident())
    assert sizes[-1] < 1.01 * sizes[30], sizes


def run(script: str, *arguments: object) -> str:
    """The output of a script in a process of its own, which may be stuck for a minute at most."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.fixture
def saved(quantized: Any, cases: list, tmp_path: Path) -> tuple[Path, Path]:
    quantized.save(str(tmp_path / "model.pt"))
    x = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.save((x, quantized(x)), tmp_path / "example.pt")
    return tmp_path / "model.pt", tmp_path / "example.pt"


def test_a_child_of_fork_can_call_the_module(saved: tuple[Path, Path]) -> None:
    """After the parent used several threads; the child's would wait for ever for those."""
    script = """
        import os, sys, torch, ipex_quant
        torch.set_num_threads(3)
        module = torch.jit.load(sys.argv[1])
        x, expected = torch.load(sys.argv[2])
        many = torch.randn(1 << 22)  # enough for several threads

        def codes():  # as bytes: torch's own operators wait for ever in such a child
            return torch.ops.ipex_quant.quantize(many, 0.1, 128).numpy().tobytes()

        before = codes()
        assert torch.equal(module(x), expected)
        for _ in range(3):
            child = os.fork()
            if child == 0:
                same = codes() == before and torch.equal(module(x[:1]), expected[:1])
                os._exit(0 if same else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert torch.equal(module(x), expected) and codes() == before
        print("equal")
    """
    assert run(script, *saved) == "equal"


@pytest.mark.slow
def test_a_fork_may_come_while_another_thread_packs() -> None:
    """It waits for the locks of the pools; a child would find them taken for ever."""
    script = """
        import os, signal, threading, torch, ipex_quant
        torch.set_num_threads(1)
        ops = torch.ops.ipex_quant
        image = torch.randint(256, (1, 64, 8, 8), dtype=torch.uint8)
        vector = torch.randint(256, (1, 512), dtype=torch.uint8)

        def weight(*sizes):
            w = torch.randint(-127, 128, sizes, dtype=torch.int8)
            return w, torch.full((sizes[0],), 0.01), None

        def linear(weight):
            return ops.linear(vector, ops.linear_prepack(*weight, 0.02, 3, ""), [])

        def convolution(weight):
            one = [1, 1]
            arguments = one, one, one, [0, 0], 1, False
            return ops.conv(image, ops.conv_prepack(*weight, *arguments, 0.02, 3, ""), [])

        def recurrent(weight):
            w, scale, _ = weight
            lists = [w, w], [scale, scale], []
            packed = ops.lstm_prepack(*lists, 1, False, False, False, 0.02, 3, "")
            return ops.lstm(vector[:, None], None, None, packed)[0]

        cases = [
            (linear, weight(512, 512)), (convolution, weight(64, 64, 3, 3)),
            (recurrent, weight(2048, 512)),
        ]
        expected = []
        stop = threading.Event()

        def pack_others(function, own):
            while not stop.is_set():
                function((own[0].roll(1), *own[1:]))

        def fork_once():
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # ends a child that waits for ever
                got = [function(weight).numpy().tobytes() for function, weight in cases]
                os._exit(0 if not expected or got == expected else 1)
            status = os.waitpid(child, 0)[1]
            assert status == 0, f"a child ended with status {status}"

        others = [threading.Thread(target=pack_others, args=c, daemon=True) for c in cases]
        for thread in others:
            thread.start()  # the first of them makes the pool of memory
            fork_once()
        expected += [function(weight).numpy().tobytes() for function, weight in cases]
        for _ in range(40):
            fork_once()
        stop.set()
        for thread in others:
            thread.join()
        print("equal")
    """
    assert run(script) == "equal"


def test_workers_of_a_data_loader_can_call_the_module(saved: tuple[Path, Path]) -> None:
    script = """
        import sys, torch, ipex_quant
        from torch.utils.data import DataLoader, Dataset

        torch.set_num_threads(2)
        module = torch.jit.load(sys.argv[1])
        x, expected = torch.load(sys.argv[2])
        assert torch.equal(module(x), expected)

        class Rows(Dataset):
            def __len__(self):
                return len(x)

            def __getitem__(self, row):
                with torch.no_grad():
                    return module(x[row : row + 1])[0]

        loader = DataLoader(Rows(), batch_size=16, num_workers=2, multiprocessing_context="fork")
        assert torch.equal(torch.cat(list(loader)), expected)
        assert torch.equal(module(x), expected)
        print("equal")
    """
    assert run(script, *saved) == "equal"

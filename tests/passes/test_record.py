"""The recorder: which calls it reports, threads, nesting, errors, and marked graphs."""

from __future__ import annotations

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eager_sites import eager_sites
from ipex_quant import _C


class Recording:
    """`with Recording() as calls:` collects (family, op, args, site)."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def __enter__(self) -> list[tuple]:
        _C.recorder_start(lambda *call: self.calls.append(call))
        return self.calls

    def __exit__(self, *_: object) -> None:
        _C.recorder_stop()


def test_outermost_call_with_its_arguments() -> None:
    x, weight = torch.randn(2, 3), torch.randn(4, 3)
    with Recording() as calls:
        F.linear(input=x, weight=weight)
        torch.einsum("ij,kj->ik", x, weight)
        x += 1
    assert [(call[0], call[1]) for call in calls] == [
        ("linear", "aten::linear"),
        ("einsum", "aten::einsum"),  # not the bmm inside
        ("add", "aten::add_"),
    ]
    _, _, args, site = calls[0]
    assert args[0] is not None
    assert torch.equal(args[1], weight)
    assert args[2] is None
    assert site is None


def test_reported_before_the_call_runs() -> None:
    x = torch.tensor([-1.0, 2.0])
    seen = []
    _C.recorder_start(lambda family, op, args, site: seen.append(args[0].clone()))
    F.relu_(x)
    _C.recorder_stop()
    assert seen[0].tolist() == [-1.0, 2.0]
    assert x.tolist() == [0.0, 2.0]


def test_cells_are_looked_through() -> None:
    with torch.no_grad(), Recording() as calls:
        nn.LSTMCell(3, 4)(torch.randn(2, 3))
        nn.LSTM(3, 4)(torch.randn(5, 2, 3))
    assert [call[0] for call in calls].count("linear") == 2
    assert [call[0] for call in calls].count("lstm") == 1


def test_calls_of_the_callback_are_not_reported() -> None:
    calls = []

    def callback(family: str, op: str, args: list, site: str | None) -> None:
        calls.append(family)
        torch.relu(args[0]).mean((0,))

    _C.recorder_start(callback)
    torch.tanh(torch.randn(3))
    _C.recorder_stop()
    assert calls == ["tanh"]


def test_exception_of_the_callback_is_raised_by_stop() -> None:
    calls = []

    def callback(family: str, op: str, args: list, site: str | None) -> None:
        calls.append(family)
        raise KeyError("my own error")

    _C.recorder_start(callback)
    torch.relu(torch.tanh(torch.randn(3)))
    with pytest.raises(KeyError, match="my own error"):
        _C.recorder_stop()
    assert calls == ["tanh"], "nothing is reported after the first error"
    with Recording() as after:  # the thread is usable again
        torch.relu(torch.randn(3))
    assert len(after) == 1


def test_stop_without_start() -> None:
    with pytest.raises(RuntimeError, match="no recorder was started on this thread"):
        _C.recorder_stop()


def test_nested_recorders_see_the_same_calls() -> None:
    with Recording() as outer:
        torch.relu(torch.randn(3))
        with Recording() as inner:
            torch.tanh(torch.randn(3))
        torch.sigmoid(torch.randn(3))
    assert [call[0] for call in outer] == ["relu", "tanh", "sigmoid"]
    assert [call[0] for call in inner] == ["tanh"]


def test_threads_are_independent() -> None:
    results: dict[str, list[str]] = {}
    barrier = threading.Barrier(2)

    def work(name: str, function: object) -> None:
        barrier.wait()
        with Recording() as calls:
            for _ in range(50):
                function(torch.randn(4))
        results[name] = [call[0] for call in calls]

    threads = [
        threading.Thread(target=work, args=args) for args in (("a", torch.relu), ("b", torch.tanh))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {"a": ["relu"] * 50, "b": ["tanh"] * 50}


def test_thread_may_end_without_stop() -> None:
    thread = threading.Thread(target=lambda: _C.recorder_start(lambda *_: None))
    thread.start()
    thread.join()
    torch.relu(torch.randn(3))


def test_torchscript_code_is_opaque() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    with Recording() as calls:
        for _ in range(3):
            torch.tanh(scripted(torch.randn(2, 3)))
    assert [call[0] for call in calls] == ["tanh"] * 3


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_parameter("matrix", nn.Parameter(torch.randn(4, 8)))
        self.register_parameter("bias", nn.Parameter(torch.randn(8)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu_(self.conv(x)).flatten(2).transpose(1, 2)
        x = F.scaled_dot_product_attention(x, x * 2, x + 1)
        y = torch.baddbmm(x, x, x.transpose(1, 2) @ x, beta=0.5)
        return torch.addmm(self.bias, y.reshape(-1, 4), self.matrix)


def test_marked_graph_gives_the_calls_of_the_eager_model() -> None:
    model, x = Net().eval(), torch.randn(2, 3, 6, 6)
    expected = dict(eager_sites(model, x))
    with torch.no_grad():
        module, sites = _C.normalize(torch.jit.trace(model, x)._c)
        marked = torch.jit._recursive.wrap_cpp_module(_C.instrument(module))
        with torch.jit.optimized_execution(False), Recording() as calls:
            marked(x)
    assert sites == list(expected)
    assert {call[3] for call in calls} == set(sites)
    operands = {row["family"]: row["operands"] for row in _C.op_table()}
    for family, _, args, site in calls:
        assert site.split("/")[1] == family
        for operand in operands[family]:
            got, wanted = args[operand["index"]], expected[site][operand["index"]]
            torch.testing.assert_close(
                got, wanted, rtol=1e-4, atol=1e-5, check_stride=False, check_dtype=False
            )
    assert "ipex_quant::mark" not in str(torch.jit._recursive.wrap_cpp_module(module).graph)


def test_arguments_from_torchscript_are_those_of_the_call() -> None:
    """A value with several uses leaves copies on the interpreter's stack, below the arguments."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(2, 2, 1) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(x)
            return torch.cat([self.a(x), self.b(x), self.c(x)], 1)

    x = torch.randn(1, 2, 4, 4)
    with torch.no_grad():
        traced = torch.jit.trace(Branches().eval(), x)
    normalized, _ = _C.normalize(traced._c, [], [])
    marked = torch.jit._recursive.wrap_cpp_module(_C.instrument(normalized))
    with torch.no_grad(), torch.jit.optimized_execution(False), Recording() as calls:
        marked(x)
    convolutions = [args for family, _, args, _ in calls if family == "conv"]
    assert len(convolutions) == 3
    for args in convolutions:
        assert len(args) == 7
        assert torch.equal(args[0], torch.relu(x))

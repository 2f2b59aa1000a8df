"""Builds the C++ program as a user would and runs a model that Python quantized and saved."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import cpp_app
import ipex_quant
from models.resnet import ResNet, settle

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built program."""
    return cpp_app.build(tmp_path_factory.mktemp("cpp"))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A small quantized ResNet and an (inputs, expected) pair."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    x = torch.randn(2, 3, 64, 64)
    model = settle(ResNet((1, 1, 1, 1), width=16, classes=10), torch.randn(8, 3, 64, 64))
    prepared = ipex_quant.prepare(model, ipex_quant.default_static_qconfig, example_inputs=(x,))
    with torch.no_grad():
        prepared(x)
        quantized = ipex_quant.jit.quantize(torch.jit.trace(prepared, x))
        expected = quantized(x)
    quantized.save(str(folder / "model.pt"))
    torch.save(((x,), expected), folder / "example.pt")
    yield folder / "model.pt", folder / "example.pt"


def test_output_is_bit_identical(program: Path, saved: tuple[Path, Path]) -> None:
    """C++ gives what Python gave, to the last bit."""
    served = cpp_app.serve(program, *saved)
    assert served.identical
    assert served.version == ipex_quant.__version__
    assert served.isa == ipex_quant.isa()


def test_every_isa_gives_the_same_bits(
    program: Path, saved: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file serves every instruction set."""
    from ipex_quant import _C

    names = _C.isa_names()
    for isa in names[: names.index(_C.cpu_isa()) + 1]:
        monkeypatch.setenv("IPEX_QUANT_ISA", isa)
        served = cpp_app.serve(program, *saved, runs=1)
        assert served.identical, isa


def test_no_python_is_linked(program: Path) -> None:
    """The program loads neither Python nor the compiler passes."""
    names = cpp_app.linked(program)
    assert any(name.startswith("libipex_quant_runtime") for name in names)
    assert not [name for name in names if name.startswith(cpp_app.FORBIDDEN)]


def test_missing_model_is_a_clear_error(program: Path, saved: tuple[Path, Path]) -> None:
    """The program says which file it could not read."""
    with pytest.raises(RuntimeError, match=r"nowhere\.pt"):
        cpp_app.serve(program, saved[0].with_name("nowhere.pt"), saved[1])


def test_wrong_isa_is_a_clear_error(
    program: Path, saved: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown value of the variable lists the known ones."""
    monkeypatch.setenv("IPEX_QUANT_ISA", "sse9")
    with pytest.raises(RuntimeError, match=r"unknown ISA 'sse9'; expected one of: reference"):
        cpp_app.serve(program, *saved)


def test_threads_share_one_module(program: Path, saved: tuple[Path, Path]) -> None:
    """Eight threads at once: each output has the same bits, and memory does not grow."""
    seconds = float(os.environ.get("IPEX_QUANT_STRESS_SECONDS", "10"))
    served = cpp_app.serve_at_once(program, *saved, threads=8, seconds=seconds)
    assert served.calls > 100
    assert served.wrong == 0
    assert served.growth < 0.01, served

"""A C++ program quantizes a calibrated trace to the bits of Python, with a fusion of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import cpp_app
import ipex_quant
from ipex_quant import state

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


class Model(nn.Module):
    """Has a batch norm to fold, and what the program's fusion looks for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(torch.relu(self.norm(self.conv(x))).mean((2, 3)))
        return y * y.abs()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cpp_app.build(tmp_path_factory.mktemp("compile"), "cpp_compile", "compile")


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trace, and beside it example.pt with what Python's quantized module gives."""
    folder = tmp_path_factory.mktemp("trace")
    torch.manual_seed(0)
    x = torch.randn(4, 3, 16, 16)
    model = Model()
    model(torch.randn(8, 3, 16, 16))  # gives the norm statistics
    prepared = ipex_quant.prepare(model.eval(), ipex_quant.default_static_qconfig, x)
    with torch.no_grad():
        prepared(x)
        module = torch.jit.trace(prepared, x)
        expected = ipex_quant.jit.quantize(module)(x)
    module.save(str(folder / "traced.pt"))
    torch.save(((x,), expected), folder / "example.pt")
    return folder / "traced.pt"


def test_same_bits_as_python(program: Path, traced: Path, tmp_path: Path) -> None:
    got = cpp_app.output_of(
        program, str(traced), str(traced.with_name("example.pt")), str(tmp_path / "q.pt")
    )
    assert got["identical"] == "yes"
    assert [path.name for path in tmp_path.iterdir()] == ["q.pt"]
    assert got["fused"] == "1"
    became = {row["op"]: row["became"] for row in json.loads(got["report"])["ops"]}
    heavy = {op: how for op, how in became.items() if "conv" in op or "linear" in op}
    assert len(heavy) == 2 and set(heavy.values()) == {"int8"}


def test_what_it_saved_needs_its_operator(program: Path, traced: Path, tmp_path: Path) -> None:
    """The file holds the call of the program's own operator, which Python has not got."""
    saved = tmp_path / "q.pt"
    cpp_app.output_of(program, str(traced), str(traced.with_name("example.pt")), str(saved))
    with pytest.raises(RuntimeError, match="example::signed_square"):
        torch.jit.load(str(saved))


def save_to(path: Path, program: Path, traced: Path, before: str = "") -> None:
    """Let the program save to a path, after commands of the shell."""
    arguments = [str(program), str(traced), str(traced.with_name("example.pt")), str(path)]
    cpp_app.output_of(Path("/bin/sh"), "-c", f'{before} exec "$@"', "sh", *arguments)


def test_a_disk_that_is_full(program: Path, traced: Path, tmp_path: Path) -> None:
    """A limit of the size of files cuts the writing in the middle, as a full disk does."""
    old = tmp_path / "q.pt"
    old.write_bytes(b"old")
    with pytest.raises(RuntimeError, match=r"save: cannot write the module to '.*q.pt': File too"):
        save_to(old, program, traced, before="trap '' XFSZ; ulimit -f 4;")
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]


def test_a_program_that_ends_while_it_writes(program: Path, traced: Path, tmp_path: Path) -> None:
    old = tmp_path / "q.pt"
    old.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="exited with -25"):  # the signal of the limit
        save_to(old, program, traced, before="ulimit -f 4;")
    assert old.read_bytes() == b"old"


def test_places_that_cannot_be_written(program: Path, traced: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"'.*none/q.pt': No such file or directory"):
        save_to(tmp_path / "none" / "q.pt", program, traced)
    with pytest.raises(RuntimeError, match="Is a directory"):
        save_to(tmp_path, program, traced)
    with pytest.raises(RuntimeError, match="'/dev/full': No space left on device"):
        save_to(Path("/dev/full"), program, traced)
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    with pytest.raises(RuntimeError, match="Too many levels of symbolic links"):
        save_to(circle, program, traced)
    assert list(tmp_path.iterdir()) == [circle]


@pytest.mark.parametrize("old", [b"old", None])
def test_a_link_stays_a_link(
    program: Path, traced: Path, tmp_path: Path, old: bytes | None
) -> None:
    (tmp_path / "folder").mkdir()
    link, behind = tmp_path / "link", tmp_path / "folder" / "behind"
    link.symlink_to("folder/behind")
    if old is not None:
        behind.write_bytes(old)
    save_to(link, program, traced)
    assert link.is_symlink()
    assert behind.read_bytes()[:2] == b"PK"


def test_no_python_is_linked(program: Path) -> None:
    names = cpp_app.linked(program)
    assert any(name.startswith("libipex_quant_passes") for name in names)
    assert not [name for name in names if name.startswith(("libpython", "libtorch_python"))]


def test_a_trace_without_summary_is_a_clear_error(
    program: Path, traced: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.pt"
    torch.jit.trace(Model().eval(), torch.randn(1, 3, 16, 16)).save(str(bare))
    with pytest.raises(RuntimeError, match="the traced module has no qparams"):
        cpp_app.output_of(program, str(bare), str(traced.with_name("example.pt")), "unused")


def test_a_corrupted_summary_is_a_clear_error(program: Path, traced: Path, tmp_path: Path) -> None:
    module, broken = torch.jit.load(str(traced)), tmp_path / "broken.pt"
    getattr(module, state.BUFFER)[5:9] = 0
    module.save(str(broken))
    with pytest.raises(RuntimeError, match="summary inside the traced module is corrupted"):
        cpp_app.output_of(program, str(broken), str(traced.with_name("example.pt")), "unused")

"""A file that is written is complete or as it was, whatever stops the writing."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import state

OLD = b"what was there before"
PYTHON = (sys.executable, "-W", "ignore", "-c")
Write = Callable[[Path], None]


@pytest.fixture(scope="module")
def prepared() -> nn.Module:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)).eval()
    x = torch.randn(16, 64)
    prepared = ipex_quant.prepare(model, ipex_quant.default_static_qconfig, x)
    prepared(x)
    return prepared


@pytest.fixture(params=["summary", "module"])
def write(request: pytest.FixtureRequest, prepared: nn.Module) -> Write:
    """What writes a file."""
    if request.param == "summary":
        return prepared.save_qconf_summary
    with torch.no_grad():
        quantized = ipex_quant.jit.quantize(torch.jit.trace(prepared, torch.randn(16, 64)))
    return lambda path: ipex_quant.jit.save(quantized, path)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """A file that must stay as it is, alone in its folder."""
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_bytes(OLD)
    yield path
    assert path.read_bytes() == OLD
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_saved_module_loads(prepared: nn.Module, tmp_path: Path) -> None:
    """The parts before it are gone, and no other file is left."""
    x = torch.randn(16, 64)
    with torch.no_grad():
        quantized = ipex_quant.jit.quantize(torch.jit.trace(prepared, x))
    path = tmp_path / "model.pt"
    path.write_bytes(OLD)
    ipex_quant.jit.save(quantized, str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]
    assert torch.equal(ipex_quant.jit.load(path)(x), quantized(x))


def test_a_rename_that_fails(write: Write, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(state.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(old)


def test_a_disk_that_is_full(write: Write, old: Path) -> None:
    """A limit of the size of files cuts the writing in the middle, as a full disk does."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write(old)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_folder_that_is_read_only(old: Path) -> None:
    """In a process that gives up the rights of root, which may write everywhere."""
    script = """
        import os, sys
        from ipex_quant import state

        os.chdir(sys.argv[1])
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            state.write(b"new", sys.argv[2])
        except PermissionError as error:
            print(error)
    """
    old.parent.chmod(0o555)
    try:
        done = subprocess.run(
            [*PYTHON, textwrap.dedent(script), old.parent, old.name],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    finally:
        old.parent.chmod(0o755)
    assert old.name in done.stdout


def test_a_process_that_is_killed(tmp_path: Path) -> None:
    """Again and again while it writes one of two contents: the file is always one of them."""
    script = """
        import sys
        from ipex_quant import state

        contents = b"a" * (1 << 22), b"b" * (1 << 22)
        state.write(contents[0], sys.argv[1])
        print("ready", flush=True)
        while True:
            for content in contents:
                state.write(content, sys.argv[1])
    """
    path = tmp_path / "file"
    whole = {b"a" * (1 << 22), b"b" * (1 << 22)}
    with subprocess.Popen(
        [*PYTHON, textwrap.dedent(script), str(path)],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for _ in range(50):
            assert path.read_bytes() in whole
        process.kill()
    assert path.read_bytes() in whole


def test_a_link_stays_a_link(write: Write, tmp_path: Path) -> None:
    behind, link = tmp_path / "behind", tmp_path / "link"
    behind.write_bytes(OLD)
    link.symlink_to(behind)
    write(link)
    assert link.is_symlink()
    assert behind.read_bytes() != OLD


def test_a_pipe_stays_a_pipe(write: Write, tmp_path: Path) -> None:
    """Nothing is put in the place of what is no file: a device would be lost."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write(pipe)
    reader.join(60)
    assert read and read[0]
    assert pipe.is_fifo()


def test_a_device_that_is_full(write: Write) -> None:
    with pytest.raises(OSError, match="No space left"):
        write(Path("/dev/full"))
    assert Path("/dev/full").is_char_device()

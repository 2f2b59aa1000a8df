"""The pipeline table, its runner, the debugging variables, bad modules, and the opt tool."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from ipex_quant import _C
from ipex_quant.tools import opt

GRAPH = """
graph(%x : Tensor):
  %p : float = prim::Constant[value=0.5]()
  %train : bool = prim::Constant[value=0]()
  %y : Tensor = aten::dropout(%x, %p, %train)
  return (%y)
"""
RESULT = "graph(%0 : Tensor):\n  return (%0)\n"


def test_table() -> None:
    """Each pass finds what it needs when the rows run in order."""
    have: set[str] = set()
    for name, needs, gives in _C.pass_table():
        assert set(needs.split("|")) - {"kNone"} <= have, name
        have |= set(gives.split("|"))
    names = _C.pass_names()
    assert len(set(names)) == len(names)
    assert names[0] == "inline-calls"


def test_unknown_pass() -> None:
    with pytest.raises(RuntimeError, match="no pass 'nothing', expected one of: inline-calls"):
        _C.run_pass("nothing", _C.parse_ir(GRAPH))


def test_error_names_the_pass() -> None:
    graph = _C.parse_ir("""
graph(%x : Tensor):
  %y : Tensor = aten::relu(%x, %x, %x)
  return (%y)
""")
    with pytest.raises(RuntimeError, match=r"pass 'view-to-reshape': .*matches no schema"):
        _C.run_pass("view-to-reshape", graph)


def test_constants_must_match() -> None:
    text = "graph():\n  %y : Tensor = prim::Constant[value=<Tensor>]()\n  return (%y)\n"
    with pytest.raises(RuntimeError, match="more than 0 tensor constants"):
        _C.parse_ir(text, [])
    with pytest.raises(RuntimeError, match="got 2 tensors for 1"):
        _C.parse_ir(text, [torch.ones(1), torch.ones(1)])


def run_two_passes() -> None:
    graph = _C.parse_ir(GRAPH)
    for name in ("remove-dropout", "view-to-reshape"):  # the second changes nothing
        _C.run_pass(name, graph)


def test_dump(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("IPEX_QUANT_DUMP_IR", str(tmp_path))
    run_two_passes()
    number = _C.pass_names().index("remove-dropout")
    (file,) = tmp_path.iterdir()
    assert file.name == f"{number:02}-remove-dropout.ir"
    assert file.read_text() == RESULT


def test_dump_into_nowhere(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("IPEX_QUANT_DUMP_IR", str(tmp_path / "none"))
    with pytest.raises(RuntimeError, match=r"IPEX_QUANT_DUMP_IR: cannot write .*none/"):
        run_two_passes()


def test_times(monkeypatch, capfd) -> None:
    monkeypatch.setenv("IPEX_QUANT_TIME_PASSES", "1")
    run_two_passes()
    assert re.search(r"^ipex_quant,pass,time,remove-dropout,\S+ ms$", capfd.readouterr().err, re.M)
    monkeypatch.setenv("IPEX_QUANT_TIME_PASSES", "yes")
    with pytest.raises(RuntimeError, match="IPEX_QUANT_TIME_PASSES: got 'yes', expected 0 or 1"):
        run_two_passes()


def test_log(monkeypatch, capfd) -> None:
    run_two_passes()
    assert capfd.readouterr().err == ""
    monkeypatch.setenv("IPEX_QUANT_LOG", "pass,fusion")
    run_two_passes()
    lines = capfd.readouterr().err.splitlines()
    assert "ipex_quant,pass,changed,remove-dropout" in lines
    assert "ipex_quant,pass,unchanged,view-to-reshape" in lines
    monkeypatch.setenv("IPEX_QUANT_LOG", "all")
    with pytest.raises(RuntimeError, match="IPEX_QUANT_LOG: unknown part 'all'"):
        run_two_passes()


def test_training_mode_is_refused() -> None:
    module = torch.jit.script(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(RuntimeError, match=r"the module is in training mode; call \.eval\(\)"):
        _C.normalize(module._c)


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            x = self.fc(x)
        return x


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("make", [Branches, lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU())])
def test_scripted_module_is_refused(make, saved: bool, reload) -> None:
    module = torch.jit.script(make().eval())
    with pytest.raises(RuntimeError, match=r"the module was scripted, expected a traced one"):
        _C.normalize((reload(module) if saved else module)._c)


def test_module_without_forward_is_refused() -> None:
    with pytest.raises(RuntimeError, match="no method 'forward'"):
        _C.normalize(torch.jit.trace_module(Other(), {"other": torch.ones(2)})._c)


class Other(nn.Module):
    def other(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


def test_preserved_attributes() -> None:
    model = nn.Sequential(nn.Linear(2, 2)).eval()
    model.register_buffer("labels", torch.arange(3))
    traced = torch.jit.trace(model, torch.ones(2, 2))
    module, _ = _C.normalize(traced._c, preserved_attrs=["labels"])
    assert module.getattr("labels").tolist() == [0, 1, 2]
    assert traced.labels.tolist() == [0, 1, 2]
    module, _ = _C.normalize(traced._c)
    assert not module.hasattr("labels")


def test_input_module_is_unchanged() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.norm = nn.BatchNorm2d(4)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return torch.relu_(self.norm(self.conv(x))) + self.calls

    x = torch.randn(1, 3, 5, 5)
    with torch.no_grad():
        traced = torch.jit.trace(Counter().eval(), x, check_trace=False)
        state = {name: value.clone() for name, value in traced.state_dict().items()}
        text = traced.inlined_graph.str()
        module, _ = _C.normalize(traced._c)
        wrapped = torch.jit._recursive.wrap_cpp_module(module)
        wrapped(x)
        assert traced.inlined_graph.str() == text
        for name, value in traced.state_dict().items():
            assert torch.equal(value, state[name]), name
        fresh = torch.jit._recursive.wrap_cpp_module(_C.normalize(traced._c)[0])
        for _ in range(2):
            torch.testing.assert_close(fresh(x), traced(x))


def test_opt_tool(tmp_path: Path) -> None:
    source = tmp_path / "in.ir"
    source.write_text(GRAPH)
    done = CliRunner().invoke(opt.main, ["--passes=remove-dropout", str(source)])
    assert (done.exit_code, done.output) == (0, RESULT)
    assert CliRunner().invoke(opt.main, ["--list"]).output.split() == _C.pass_names()


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        (["--passes=nothing"], GRAPH, "no pass nothing"),
        (["--passes=remove-dropout"], "graph(%x", "in.ir: "),
    ],
)
def test_opt_tool_errors(tmp_path: Path, arguments: list[str], text: str, message: str) -> None:
    source = tmp_path / "in.ir"
    source.write_text(text)
    done = CliRunner().invoke(opt.main, [*arguments, str(source)])
    assert done.exit_code != 0
    assert message in done.output

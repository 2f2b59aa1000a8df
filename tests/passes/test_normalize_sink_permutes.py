"""sink-permutes: what follows a linear meets it in front of the permute of its result."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compile_tools import Compiled, Golden

HEAD = """graph({inputs}):
  %w : Float(6, 4) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %one : int = prim::Constant[value=1]()
  %two : int = prim::Constant[value=2]()
  %minus1 : int = prim::Constant[value=-1]()
  %up : int[] = prim::Constant[value=[0, 3, 1, 2]]()
  %down : int[] = prim::Constant[value=[0, 2, 3, 1]]()
  %ones : int[] = prim::Constant[value=[1, 1]]()
  %zeros : int[] = prim::Constant[value=[0, 0]]()
  %k : Float(6, 6, 1, 1) = prim::Constant[value=<Tensor>]()
  %x : Tensor = aten::conv2d(%i, %k, %none, %ones, %zeros, %ones, %one)
  %l : Tensor = aten::linear(%h, %w, %none)
  {body}
  return (%y)
"""
RANKED = "%h : Float(*, *, *, *), %i : Float(*, *, *, *)"
LAYERS = """graph(%0, %1):
  %2 = aten::conv2d(%1, <6x6x1x1>, None, [1, 1], [0, 0], [1, 1], 1)
  %3 = aten::linear(%0, <6x4>, None)
"""


def check(
    body: list[str],
    after: str | None,
    constant: torch.Tensor | None = None,
    inputs: str = RANKED,
) -> None:
    """The pass on a linear %l [2, 5, 7, 6] and an image %x [2, 6, 5, 7], all numbers equal."""
    lines = body if constant is None else ["%c : Tensor = prim::Constant[value=<Tensor>]()", *body]
    text = HEAD.format(inputs=inputs, body="\n  ".join(lines))
    constants = [torch.randn(6, 4), torch.randn(6, 6, 1, 1)]
    constants += [] if constant is None else [constant]
    values = [torch.randn(2, 5, 7, 4), torch.randn(2, 6, 5, 7)]
    after = None if after is None else LAYERS + after
    Golden("sink-permutes").check(text, after, constants=constants, inputs=values)


@pytest.mark.parametrize("op", ["add(%x, %p, %one)", "add(%p, %x, %two)", "sub(%x, %p, %two)"])
def test_sum(op: str) -> None:
    name, arguments = op[:3], op[4:-1].replace("%one", "1").replace("%two", "2")
    moved = arguments.replace("%p", "%3").replace("%x", "%4")
    check(
        ["%p : Tensor = aten::permute(%l, %up)", f"%y : Tensor = aten::{op}"],
        f"""  %4 = aten::permute(%2, [0, 2, 3, 1])
  %5 = aten::{name}({moved})
  %6 = aten::permute(%5, [0, 3, 1, 2])
  return (%6)""",
    )


def test_constants_are_permuted() -> None:
    """The layer scale of torchvision's ConvNeXt, in front of the residual sum."""
    check(
        [
            "%p : Tensor = aten::permute(%l, %up)",
            "%m : Tensor = aten::mul(%c, %p)",
            "%y : Tensor = aten::add(%x, %m, %one)",
        ],
        """  %4 = aten::mul(<1x1x1x6>, %3)
  %5 = aten::permute(%2, [0, 2, 3, 1])
  %6 = aten::add(%5, %4, 1)
  %7 = aten::permute(%6, [0, 3, 1, 2])
  return (%7)""",
        torch.randn(6, 1, 1),
    )


def test_permutes_cancel() -> None:
    check(
        [
            "%p : Tensor = aten::permute(%l, %up)",
            "%s : Tensor = aten::add(%p, %x, %one)",
            "%q : Tensor = aten::permute(%s, %down)",
            "%y : Tensor = aten::relu(%q)",
        ],
        """  %4 = aten::permute(%2, [0, 2, 3, 1])
  %5 = aten::add(%3, %4, 1)
  %6 = aten::relu(%5)
  return (%6)""",
    )


def test_permute_of_the_other_operand_cancels() -> None:
    check(
        [
            "%r : Tensor = aten::permute(%x, %down)",
            "%n : Tensor = aten::relu(%r)",
            "%o : Tensor = aten::permute(%n, %up)",
            "%p : Tensor = aten::permute(%l, %up)",
            "%y : Tensor = aten::add(%o, %p, %one)",
        ],
        """  %4 = aten::permute(%2, [0, 2, 3, 1])
  %5 = aten::relu(%4)
  %6 = aten::add(%5, %3, 1)
  %7 = aten::permute(%6, [0, 3, 1, 2])
  return (%7)""",
    )


def test_transpose_is_a_permute() -> None:
    check(
        [
            "%p : Tensor = aten::transpose(%l, %one, %minus1)",
            "%t : Tensor = aten::transpose(%i, %two, %minus1)",
            "%v : Tensor = aten::conv2d(%t, %k, %none, %ones, %zeros, %ones, %one)",
            "%s : Tensor = aten::add(%p, %v, %one)",
            "%u : Tensor = aten::transpose(%x, %two, %minus1)",
            "%y : Tensor = aten::sub(%s, %u, %one)",
        ],
        """  %4 = aten::transpose(%1, 2, -1)
  %5 = aten::conv2d(%4, <6x6x1x1>, None, [1, 1], [0, 0], [1, 1], 1)
  %6 = aten::permute(%5, [0, 3, 2, 1])
  %7 = aten::add(%3, %6, 1)
  %8 = aten::transpose(%7, 1, -1)
  %9 = aten::transpose(%2, 2, -1)
  %10 = aten::sub(%8, %9, 1)
  return (%10)""",
    )


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        # the other operand may have fewer dimensions, and would stand at others
        (
            [
                "%n : Tensor = aten::relu(%i)",
                "%v : Tensor = aten::conv2d(%n, %k, %none, %ones, %zeros, %ones, %one)",
                "%p : Tensor = aten::permute(%l, %up)",
                "%s : Tensor = aten::add(%n, %p, %one)",
                "%y : Tensor = aten::add(%s, %v, %one)",
            ],
            "%h : Tensor, %i : Tensor",
        ),
        # it is no image, so to permute it would cost time
        (
            [
                "%n : Tensor = aten::relu(%x)",
                "%p : Tensor = aten::permute(%l, %up)",
                "%y : Tensor = aten::add(%n, %p, %one)",
            ],
            RANKED,
        ),
        # something else reads the permute
        (
            [
                "%p : Tensor = aten::permute(%l, %up)",
                "%z : Tensor = aten::add(%x, %p, %one)",
                "%y : Tensor = aten::mul(%z, %p)",
            ],
            RANKED,
        ),
        # and the linear
        (
            [
                "%p : Tensor = aten::permute(%l, %up)",
                "%z : Tensor = aten::add(%x, %p, %one)",
                "%s : Tensor = aten::sum(%l, %none)",
                "%y : Tensor = aten::mul(%z, %s)",
            ],
            RANKED,
        ),
        # no linear made it
        (
            [
                "%r : Tensor = aten::relu(%l)",
                "%p : Tensor = aten::permute(%r, %up)",
                "%y : Tensor = aten::add(%x, %p, %one)",
            ],
            RANKED,
        ),
    ],
)
def test_others_stay(body: list[str], inputs: str) -> None:
    check(body, None, inputs=inputs)


class Block(nn.Module):
    """One of ConvNeXt, as the transformers library or as torchvision writes it."""

    def __init__(self, channels: int, scale_first: bool) -> None:
        super().__init__()
        self.scale_first = scale_first
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide, self.narrow = (
            nn.Linear(channels, 4 * channels),
            nn.Linear(4 * channels, channels),
        )
        shape = (channels,) if scale_first else (channels, 1, 1)
        self.scale = nn.Parameter(torch.rand(shape) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.narrow(nn.functional.gelu(self.wide(y)))
        y = self.scale * y if self.scale_first else y
        y = y.permute(0, 3, 1, 2)
        return x + (y if self.scale_first else self.scale * y)


@pytest.mark.parametrize("scale_first", [True, False])
def test_convnext_is_int8_throughout(scale_first: bool) -> None:
    torch.manual_seed(0)
    blocks = [Block(16, scale_first) for _ in range(2)]
    model = nn.Sequential(nn.Conv2d(3, 16, 4, 4), *blocks, nn.Conv2d(16, 8, 2, 2))
    compiled = Compiled(model, torch.randn(2, 3, 32, 24))
    sums = [row["became"] for row in compiled.report if row["op"] in ("aten::add", "aten::mul")]
    assert sums == ["int8"] * 4
    assert "aten::add" not in compiled.kinds
    assert len({text for text in compiled.epilogues() if "mul_f32|add_u8" in text}) == 2
    assert compiled.error() < 0.05
    assert compiled.error(compiled.inputs[0][:1, :, :24, :16]) < 0.05


class ResponseNorm(nn.Module):
    """The global response normalization of ConvNeXt V2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.randn(1, 1, 1, channels)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = torch.linalg.vector_norm(x, ord=2, dim=(1, 2), keepdim=True)
        return self.weight * (x * (size / (size.mean(-1, keepdim=True) + 1e-6))) + self.bias + x


def test_convnext_v2() -> None:
    """The sum joins though the norm in the block is float: it does not change the shape."""
    torch.manual_seed(0)
    block = Block(16, True)
    block.narrow = nn.Sequential(ResponseNorm(64), block.narrow)
    model = nn.Sequential(nn.Conv2d(3, 16, 4, 4), block, nn.Conv2d(16, 8, 2, 2))
    compiled = Compiled(model, torch.randn(2, 3, 32, 24))
    assert any("mul_f32|add_u8" in text for text in compiled.epilogues())
    assert compiled.error() < 0.05


class Vocoder(nn.Module):
    """A block of Vocos: ConvNeXt in one dimension, with transposes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide, self.narrow = nn.Linear(channels, 48), nn.Linear(48, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.dwconv(x).transpose(1, 2))
        return x + self.narrow(nn.functional.gelu(self.wide(y))).transpose(1, 2)


def test_blocks_of_one_dimension() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(8, 16, 7), Vocoder(16), Vocoder(16), nn.Conv1d(16, 8, 1))
    compiled = Compiled(model, torch.randn(2, 8, 40))
    assert [row["became"] for row in compiled.report if row["op"] == "aten::add"] == ["int8"] * 2
    assert compiled.error() < 0.05
    assert compiled.error(compiled.inputs[0][:1, :, :29]) < 0.05

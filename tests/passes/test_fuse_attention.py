"""fuse-attention: both products of attention and the softmax between them become one op."""

from __future__ import annotations

import math

import pytest
import torch

from compile_tools import Compiled, Golden

HEAD = """
  %qs : float = prim::Constant[value=0.02]()
  %qz : int = prim::Constant[value=131]()
  %ps : float = prim::Constant[value=0.004]()
  %pz : int = prim::Constant[value=0]()
  %scores : str = prim::Constant[value="mul(0.125)|add_f32"]()
  %end : str = prim::Constant[value="quantize(0.01,128)"]()
  %two : int = prim::Constant[value=2]()
  %masks : Tensor[] = prim::ListConstruct(%mask)
  %none : Tensor[] = prim::ListConstruct()"""
INPUTS = "%q : Tensor, %k : Tensor, %v : Tensor, %mask : Tensor"
PREPACK = "__torch__.torch.classes.ipex_quant.PackedMatmul = ipex_quant::matmul_prepack"
QK = f"""
  %p0 : {PREPACK}(%qs, %qz, %qs, %qz, %scores)
  %s : Tensor = ipex_quant::matmul(%q, %k, %p0, %masks)"""
SOFTMAX = """
  %w : Tensor = ipex_quant::softmax(%s, %ps, %pz)"""
PV = f"""
  %p1 : {PREPACK}(%ps, %pz, %qs, %qz, %end)
  %y : Tensor = ipex_quant::matmul(%w, %v, %p1, %none)"""


def graph(*parts: str, results: str = "%y", inputs: str = INPUTS) -> str:
    return f"graph({inputs}):{HEAD}{''.join(parts)}\n  return ({results})\n"


def check(before: str, after: str | None) -> None:
    q, k, v = (torch.randint(0, 256, (2, 8, 8), dtype=torch.uint8) for _ in range(3))
    Golden("fuse-attention").check(before, after, inputs=[q, k, v, torch.randn(8, 8)])


def test_attention() -> None:
    after = """
graph(%0, %1, %2, %3):
  %4 = ipex_quant::attention_prepack(0.02, 131, 0.02, 131, 0.004, 0, 0.02, 131, 'mul(0.125)|add_f32', 'quantize(0.01,128)')
  %5 = ipex_quant::attention(%0, %1, %2, %4, [%3], [])
  return (%5)"""  # noqa: E501
    check(graph(QK, SOFTMAX, PV), after)


SHAPE = """
  %n : int = aten::size(%s, %two)
  %z : Tensor = aten::add(%y, %n, %two)"""
OTHER = """
  %z : Tensor = aten::add(%w, %w, %two)"""
WRITE = """
  %c : Tensor = aten::add_(%k, %k, %two)"""


@pytest.mark.parametrize(
    "before",
    [
        graph(QK, SOFTMAX, PV, SHAPE, results="%z"),  # a shape of the scores is read
        graph(QK, SOFTMAX, PV, OTHER, results="%y, %z"),  # the probabilities are read
        graph(QK, SOFTMAX, PV, results="%y, %s"),  # the scores are a result
        graph(QK, SOFTMAX, PV.replace("(%ps", "(%qs")),  # other qparams
        graph(QK, SOFTMAX, PV).replace("|add_f32", "|add_f32|quantize(0.1,3)"),
        graph(SOFTMAX.replace("%s,", "%mask,"), PV),  # the scores are not a product
        graph(QK, SOFTMAX, PV.replace("(%w, %v", "(%v, %w")),  # the values are on the left
        graph(QK, WRITE, SOFTMAX, PV, results="%y, %c"),  # the keys change in between
    ],
)
def test_what_stays(before: str) -> None:
    g = Golden("fuse-attention")
    g.check(before, None)


class Model(torch.nn.Module):
    """Attention as the transformers library writes it, in one of its forms."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.query, self.key, self.value, self.out = (torch.nn.Linear(32, 32) for _ in range(4))

    def split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(x.shape[0], x.shape[1], 4, 8).transpose(1, 2)

    def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """x [n, tokens, 32], keep [n, tokens] bool: True is read."""
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        y = getattr(self, self.form)(q, k, v, keep[:, None, None, :])
        return self.out(y.transpose(1, 2).reshape(x.shape))

    def additive(self, q, k, v, keep):  # type: ignore[no-untyped-def]
        mask = (1.0 - keep.to(q.dtype)) * -10000.0
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(8) + mask
        return torch.matmul(torch.softmax(scores, -1), v)

    def eager_function(self, q, k, v, keep):  # type: ignore[no-untyped-def]
        mask = torch.zeros_like(keep, dtype=q.dtype).masked_fill(~keep, torch.finfo(q.dtype).min)
        scores = torch.matmul(q, k.transpose(2, 3)) * 8**-0.5
        scores = scores + mask
        weights = torch.nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        return torch.matmul(torch.nn.functional.dropout(weights, 0.1, self.training), v)

    def eager_mask(self, q, k, v, keep):  # type: ignore[no-untyped-def]
        lowest = torch.finfo(q.dtype).min
        mask = torch.where(keep, torch.tensor(0.0, dtype=q.dtype), lowest)
        scores = torch.matmul(q, k.transpose(2, 3)) * 8**-0.5 + mask
        return torch.matmul(torch.nn.functional.softmax(scores, dim=-1), v)

    def masked_fill(self, q, k, v, keep):  # type: ignore[no-untyped-def]
        q = q / math.sqrt(8)
        scores = torch.matmul(q, k.transpose(2, 3))
        lowest = torch.tensor(torch.finfo(scores.dtype).min)
        scores = scores.masked_fill(keep.logical_not(), lowest)
        return torch.matmul(torch.softmax(scores, -1), v)

    def where(self, q, k, v, keep):  # type: ignore[no-untyped-def]
        scores = torch.matmul(q, k.transpose(-1, -2)) / 8**0.5
        lowest = torch.full([], torch.finfo(scores.dtype).min, dtype=scores.dtype)
        scores = torch.where(keep, scores.to(scores.dtype), lowest)
        return torch.matmul(torch.softmax(scores, -1).type(v.dtype), v)

    def sdpa(self, q, k, v, keep):  # type: ignore[no-untyped-def]
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, keep == 1)

    def sdpa_additive(self, q, k, v, keep):  # type: ignore[no-untyped-def]
        mask = torch.zeros_like(keep, dtype=q.dtype).masked_fill(~keep, torch.finfo(q.dtype).min)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=0.3)

    def sdpa_causal(self, q, k, v, keep):  # type: ignore[no-untyped-def]
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)

    def position_bias(self, q, k, v, keep):  # type: ignore[no-untyped-def]
        bias = self.out.weight[:4, :1, None].abs() * keep.float()
        scores = torch.matmul(q, k.transpose(3, 2))
        scores += bias
        weights = torch.nn.functional.softmax(scores.float(), dim=-1).type_as(scores)
        return torch.matmul(weights, v)

    def relative_positions(self, q, k, v, keep):  # type: ignore[no-untyped-def]
        distances = torch.cumsum(q.sum(-1, keepdim=True), 2) - k.sum(-1)[..., None, :]
        positions = distances.tanh().index_select(3, torch.arange(k.shape[2]))  # of unknown sizes
        scores = (torch.matmul(q, k.transpose(2, 3)) + positions) / math.sqrt(8)
        scores = scores.masked_fill(~keep, torch.finfo(q.dtype).min)
        return torch.matmul(torch.softmax(scores, -1), v)

    def batched(self, q, k, v, keep):  # type: ignore[no-untyped-def]
        n, heads, tokens, size = q.shape
        q, k, v = (x.reshape(n * heads, tokens, size) for x in (q, k, v))
        mask = torch.zeros_like(keep, dtype=q.dtype).masked_fill(~keep, torch.finfo(q.dtype).min)
        scores = torch.bmm(q, k.transpose(1, 2)).view(n, heads, tokens, tokens) + mask
        weights = torch.softmax(scores.view(n * heads, tokens, tokens), -1)
        return torch.bmm(weights, v).view(n, heads, tokens, size)

    def baddbmm(self, q, k, v, keep):  # type: ignore[no-untyped-def]
        n, heads, tokens, size = q.shape
        q, v = (x.reshape(n * heads, tokens, size) for x in (q, v))
        k = k.transpose(-1, -2).reshape(n * heads, size, tokens)
        scores = torch.empty(n * heads, tokens, tokens)
        scores = torch.baddbmm(scores, q, k, beta=0, alpha=8**-0.5)
        scores = scores.reshape(n, heads, tokens, tokens)
        lowest = torch.full([], torch.finfo(scores.dtype).min, dtype=scores.dtype)
        weights = torch.softmax(torch.where(keep, scores, lowest), -1)
        return torch.bmm(weights.view(n * heads, tokens, tokens), v).view(n, heads, tokens, size)


FORMS = [
    "additive",
    "eager_function",
    "eager_mask",
    "masked_fill",
    "where",
    "sdpa",
    "sdpa_additive",
]
FORMS += ["sdpa_causal", "position_bias", "relative_positions"]


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_transformers_library(form: str) -> None:
    """Each becomes one attention; masked tokens have no effect; any batch and length runs."""
    torch.manual_seed(3)
    x, keep = torch.randn(2, 10, 32), torch.rand(2, 10) < 0.7
    keep[:, 0] = True
    compiled = Compiled(Model(form), x, keep)
    assert compiled.kinds.count("ipex_quant::attention") == 1, compiled.kinds
    assert not {"ipex_quant::matmul", "ipex_quant::softmax", "aten::softmax"} & set(compiled.kinds)
    assert compiled.error() < 0.05
    x, keep = torch.randn(3, 17, 32), torch.rand(3, 17) < 0.7
    keep[:, 0] = True
    assert compiled.error(x, keep) < 0.1


@pytest.mark.parametrize("form", ["batched", "baddbmm"])
def test_scores_that_change_shape_stay_apart(form: str) -> None:
    x, keep = torch.randn(2, 10, 32), torch.rand(2, 10) < 0.7
    keep[:, 0] = True
    compiled = Compiled(Model(form), x, keep)
    assert compiled.kinds.count("ipex_quant::matmul") == 2
    assert compiled.error() < 0.05


def test_report() -> None:
    x, keep = torch.randn(2, 10, 32), torch.ones(2, 10, dtype=torch.bool)
    rows = [row for row in Compiled(Model("additive"), x, keep).report if row["op"]]
    by_op: dict[str, list[dict]] = {}
    for row in rows:
        by_op.setdefault(row["op"], []).append(row)
    scores, result = by_op["aten::matmul"]
    assert [scores["became"], result["became"]] == ["int8", "int8"]
    assert scores["kernel"] == result["kernel"] == "ipex_quant::attention"
    assert scores["epilogue"] == "mul(0.353553385)|add_f32"
    assert result["epilogue"].startswith("quantize(")
    (softmax,) = by_op["aten::softmax"]
    assert softmax["became"] == "float"
    assert softmax["kernel"] == "ipex_quant::attention"
    assert "between the two int8 products" in softmax["reason"]

"""expand-transformer: the fused operators of torch's fast path become its slow path."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from eager_sites import eager_sites
from ipex_quant import _C


@pytest.fixture(autouse=True)
def fast_path():
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(True)
    yield
    torch.backends.mha.set_fastpath_enabled(before)


class Masked(nn.Module):
    def __init__(self, layer: nn.Module, *names: str) -> None:
        super().__init__()
        self.layer = layer
        self.names = names

    def forward(self, x: torch.Tensor, *masks: torch.Tensor) -> torch.Tensor:
        return self.layer(x, **dict(zip(self.names, masks, strict=True)))


class Attention(nn.Module):
    def __init__(self, need_weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x: torch.Tensor):
        y, weights = self.attention(x, x, x, need_weights=self.need_weights)
        return (y, weights) if self.need_weights else y


def layer(**kwargs: object) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, **kwargs)


CAUSAL = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
PADDING = torch.tensor([[False] * 3 + [True] * 2, [False] * 5, [False] * 5])


def normalized(model: nn.Module, *inputs: torch.Tensor) -> tuple[str, list[str]]:
    """Graph text and sites of the normalized trace, after its outputs were compared."""
    model.eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about nested tensors
        traced = torch.jit.trace(model, inputs, check_trace=False)
        assert "aten::_transformer_encoder" in str(
            traced.inlined_graph
        ) or "aten::_native_multi" in str(traced.inlined_graph)
        module, sites = _C.normalize(traced._c)
        module = torch.jit._recursive.wrap_cpp_module(module)
        torch.testing.assert_close(module(*inputs), traced(*inputs), rtol=1e-4, atol=1e-5)
    return str(module.graph), sites


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_layer(norm_first: bool, activation: str) -> None:
    model, x = layer(norm_first=norm_first, activation=activation), torch.randn(3, 5, 16)
    text, sites = normalized(model, x)
    assert "_transformer_encoder_layer_fwd" not in text
    torch.backends.mha.set_fastpath_enabled(False)
    assert sites == [site for site, _ in eager_sites(model, x)]


@pytest.mark.parametrize(
    ("names", "masks"),
    [
        (["src_mask"], [CAUSAL]),
        (["src_key_padding_mask"], [PADDING]),
        (["src_mask", "src_key_padding_mask"], [CAUSAL, PADDING]),
    ],
)
def test_masks(names: list[str], masks: list[torch.Tensor]) -> None:
    text, _ = normalized(Masked(layer(), *names), torch.randn(3, 5, 16), *masks)
    assert "_transformer_encoder_layer_fwd" not in text


def test_attention() -> None:
    text, sites = normalized(Attention(need_weights=False), torch.randn(3, 5, 16))
    assert "_native_multi_head_attention" not in text
    assert sites == ["attention/linear/0", "attention/sdpa/0", "attention/linear/1"]


def test_attention_whose_weights_are_used_stays() -> None:
    text, _ = normalized(Attention(need_weights=True), torch.randn(3, 5, 16))
    assert "_native_multi_head_attention" in text


@pytest.mark.parametrize("norm_first", [False, True])
def test_nested_tensors_become_padded_ones(norm_first: bool) -> None:
    """The encoder makes one of its padding mask; its result has zeros there."""
    with warnings.catch_warnings():
        # torch's, that it makes none of layers that normalize first
        warnings.simplefilter("ignore", UserWarning)
        inner = nn.TransformerEncoder(layer(norm_first=norm_first), 2, norm=nn.LayerNorm(16))
    encoder = Masked(inner, "src_key_padding_mask")
    text, sites = normalized(encoder, torch.randn(3, 5, 16), PADDING)
    assert "_transformer_encoder_layer_fwd" not in text
    assert "nested" not in text
    assert sum("/sdpa/" in site for site in sites) == 2

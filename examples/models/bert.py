"""A BERT encoder with eager attention and an additive mask, as Hugging Face's traces have it."""

from __future__ import annotations

import math

import torch
from torch import nn


class Layer(nn.Module):
    """Self-attention and feed-forward, each with a residual addition and a layer norm after it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.attention_output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.intermediate = nn.Linear(width, 4 * width)
        self.output = nn.Linear(4 * width, width)
        self.output_norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(0.1)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).permute(0, 2, 1, 3)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """x [n, tokens, width], mask [n, 1, 1, tokens] added to the scores -> as x."""
        q, k, v = self._split(self.query(x)), self._split(self.key(x)), self._split(self.value(x))
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        weights = self.dropout(nn.functional.softmax(scores + mask, dim=-1))
        y = torch.matmul(weights, v).permute(0, 2, 1, 3).contiguous()
        y = y.view(x.shape[0], x.shape[1], -1)
        x = self.attention_norm(self.dropout(self.attention_output(y)) + x)
        y = self.output(nn.functional.gelu(self.intermediate(x)))
        return self.output_norm(self.dropout(y) + x)


class Bert(nn.Module):
    """Embeddings and `layers` encoder layers; the defaults are BERT-base."""

    def __init__(
        self, layers: int = 12, width: int = 768, heads: int = 12, vocabulary: int = 30522
    ) -> None:
        super().__init__()
        self.word = nn.Embedding(vocabulary, width, padding_idx=0)
        self.position = nn.Embedding(512, width)
        self.kind = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(0.1)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))

    def forward(self, ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """ids, attention_mask (1 = read, 0 = padding) int64 [n, tokens] -> [n, tokens, width]."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.word(ids) + self.position(positions) + self.kind(torch.zeros_like(ids))
        x = self.dropout(self.norm(x))
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -10000.0
        for layer in self.layers:
            x = layer(x, mask)
        return x

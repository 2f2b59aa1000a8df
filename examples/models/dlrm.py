"""A recommendation model after DLRM: embedding bags and a dense part, their products, an MLP."""

from __future__ import annotations

import itertools

import torch
from torch import nn


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with relu between them; the last one has none."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Dlrm(nn.Module):
    """26 tables of 128 numbers a row, 13 dense features."""

    def __init__(self, tables: int = 26, rows: int = 1000, width: int = 128) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.EmbeddingBag(rows, width, mode="sum") for _ in range(tables))
        self.bottom = nn.Sequential(mlp(13, 512, 256, width), nn.ReLU())
        pairs = (tables + 1) * tables // 2
        self.top = mlp(width + pairs, 1024, 1024, 512, 256, 1)
        row, column = torch.tril_indices(tables + 1, tables + 1, offset=-1)
        self.register_buffer("pairs", row * (tables + 1) + column)

    def forward(self, dense: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """dense [n, 13], ids int64 [n, tables, k] -> logits [n, 1]."""
        x = self.bottom(dense)
        rows = [x] + [table(ids[:, i]) for i, table in enumerate(self.tables)]
        features = torch.stack(rows, dim=1)
        products = torch.bmm(features, features.transpose(1, 2)).flatten(1)
        return self.top(torch.cat([x, products.index_select(1, self.pairs)], dim=1))

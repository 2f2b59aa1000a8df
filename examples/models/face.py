"""IResNet for face recognition, as ArcFace trains it: PReLU, and a norm in front of each block."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):
    """Norm, 3x3, norm, PReLU, 3x3 with the stride, norm; a projected shortcut at a stride."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.PReLU(out),
            nn.Conv2d(out, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.shortcut = (
            nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            if stride > 1
            else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, h, w] -> [n, out, h / stride, w / stride]."""
        return self.body(x) + self.shortcut(x)


class IResNet(nn.Module):
    """Embeddings of aligned faces of `size` pixels square; the network of 18 layers by default."""

    def __init__(
        self, blocks: tuple[int, ...] = (2, 2, 2, 2), width: int = 64, size: int = 112
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(3, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
        ]
        channels = width
        for stage, count in enumerate(blocks):
            for i in range(count):
                layers.append(Block(channels, width << stage, 1 if i else 2))
                channels = width << stage
        layers.append(nn.BatchNorm2d(channels))
        self.features = nn.Sequential(*layers)
        side = size >> len(blocks)
        self.embed = nn.Sequential(
            nn.Dropout(0.4), nn.Linear(channels * side**2, 512), nn.BatchNorm1d(512)
        )
        for module in self.modules():
            if isinstance(module, nn.PReLU):
                nn.init.uniform_(module.weight, 0.05, 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 3, size, size] -> embeddings [n, 512]."""
        return self.embed(torch.flatten(self.features(x), 1))

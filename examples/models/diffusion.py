"""The middle of a diffusion U-Net: group norms, SiLU, a time embedding, attention over pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class TimedBlock(nn.Module):
    """Two 3x3 convolutions behind group norm and SiLU; the time is added to the channels."""

    def __init__(self, channels: int, out: int, times: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.time = nn.Linear(times, out)
        self.norm2 = nn.GroupNorm(groups, out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """[n, channels, h, w] and [n, times] -> [n, out, h, w]."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time(F.silu(time))[:, :, None, None]
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class PixelAttention(nn.Module):
    """Attention of all pixels, with 1x1 convolutions around it."""

    def __init__(self, channels: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, h, w] -> the same shape."""
        n, c, h, w = x.shape
        q, k, v = (
            part.reshape(n, self.heads, c // self.heads, h * w).transpose(2, 3)
            for part in self.qkv(self.norm(x)).chunk(3, 1)
        )
        y = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(n, c, h, w)
        return x + self.out(y)


class DiffusionUNet(nn.Module):
    """One level down and up again."""

    def __init__(self, width: int = 128, times: int = 256, groups: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, width, 3, padding=1)
        self.down = TimedBlock(width, width, times, groups)
        self.pool = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.middle = TimedBlock(width, 2 * width, times, groups)
        self.attention = PixelAttention(2 * width, 4, groups)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.join = TimedBlock(2 * width, width, times, groups)
        self.norm = nn.GroupNorm(groups, width)
        self.out = nn.Conv2d(width, 4, 3, padding=1)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """Noisy latents [n, 4, h, w] and time embeddings [n, times] -> noise [n, 4, h, w]."""
        high = self.down(self.stem(x), time)
        low = self.attention(self.middle(self.pool(high), time))
        y = self.join(torch.cat([self.up(low), high], 1), time)
        return self.out(F.silu(self.norm(y)))

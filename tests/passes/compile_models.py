"""Small float models, one for each kind of block that compile must bring to int8."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    """ResNet basic block, with or without a projection."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.down: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.down = nn.Sequential(nn.Conv2d(channels, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.down(x)
        return self.relu(y)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 7, 2, 3)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.blocks = nn.Sequential(Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 32, 1))
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.pool(torch.relu(self.stem(x))))
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Inverted(nn.Module):
    """MobileNet block: expansion, depthwise convolution, projection, residual."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        wide = channels * 4
        self.expand = nn.Conv2d(channels, wide, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.depthwise = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.project = nn.Conv2d(wide, out, 1)
        self.residual = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu6(self.bn1(self.expand(x)))
        y = F.hardtanh(self.bn2(self.depthwise(y)), 0.0, 6.0)
        y = self.project(y)
        return x + y if self.residual else y


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2)
        self.blocks = nn.Sequential(Inverted(16, 16, 1), Inverted(16, 24, 2), Inverted(24, 24, 1))
        self.head = nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.stem(F.pad(x, (0, 1, 0, 1))))
        return self.head(self.blocks(x).mean([2, 3]))


class SqueezeExcite(nn.Module):
    """Channel gates made from the mean of the channels; two activations written out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3)
        self.reduce = nn.Conv2d(16, 4, 1)
        self.expand = nn.Conv2d(4, 16, 1)
        self.out = nn.Conv2d(16, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.hardswish(self.stem(x))
        gate = F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))
        x = x * F.hardsigmoid(self.expand(gate))
        x = self.out(x)
        x = x * torch.sigmoid(x)
        return self.head(x.mean((2, 3)))


class Inception(nn.Module):
    """Parallel branches of convolutions and pools, joined by cat."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.one = nn.Conv2d(8, 8, 1)
        self.narrow = nn.Conv2d(8, 4, 1)
        self.row = nn.Conv2d(4, 8, (1, 3), padding=(0, 1))
        self.column = nn.Conv2d(4, 8, (3, 1), padding=(1, 0))
        self.pooled = nn.Conv2d(8, 6, 1)
        self.out = nn.Conv2d(38, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        narrow = F.relu(self.narrow(x))
        cross = torch.cat([F.relu(self.row(narrow)), F.relu(self.column(narrow))], 1)
        average = F.relu(self.pooled(F.avg_pool2d(x, 3, 1, 1)))
        largest = F.max_pool2d(x, 3, 1, 1)
        return self.out(torch.cat([F.relu(self.one(x)), cross, average, largest], 1))


class Attention(nn.Module):
    """Transformer block; `fused`: one product for query, key and value, and SDPA."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.norm1 = nn.LayerNorm(32)
        self.qkv = nn.Linear(32, 96)
        self.out = nn.Linear(32, 32)
        self.norm2 = nn.LayerNorm(32)
        self.wide = nn.Linear(32, 64)
        self.narrow = nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, c = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(b, n, 3, 4, 8).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = ((q @ k.transpose(-2, -1)) * 8**-0.5).softmax(-1) @ v
        x = x + self.out(y.transpose(1, 2).reshape(b, n, c))
        return x + self.narrow(F.gelu(self.wide(self.norm2(x))))


class Speech(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(20, 16, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 8)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, (h, _) = self.lstm(x)
        return self.head(y[:, -1]), h


class Gated(nn.Module):
    """A GRU of two layers and directions; its output and last state are read."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(20, 16, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 8)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, h = self.gru(x)
        return self.head(y[:, -1]), h


class OneDimensional(nn.Module):
    """Convolutions over time, transposed and plain; a convolution called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv1d(4, 8, 3)
        self.up = nn.ConvTranspose1d(8, 6, 4, 2, 1)
        self.same = nn.Conv1d(6, 6, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.interpolate(self.up(F.elu(self.down(x))), scale_factor=2)
        a, b = F.mish(self.same(y)).chunk(2, 1)
        return self.same(torch.cat([b, a], 1) * 0.5 - 1.0)


class Shared(nn.Module):
    """One layer, called four times (ALBERT)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(32, 32)
        self.norm = nn.LayerNorm(32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(4):
            x = self.norm(x + torch.relu(self.linear(x)))
        return x


class Decoder(nn.Module):
    """U-Net: a grouped transposed convolution, a skip connection, a resize to the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(3, 8, 3, 2, 1)
        self.down2 = nn.Conv2d(8, 16, 3, 2, 1)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2, groups=2)
        self.join = nn.Conv2d(16, 4, 3, 1, 1)
        self.out = nn.Conv2d(4, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = F.leaky_relu(self.down1(x))
        up = F.leaky_relu(self.up(F.leaky_relu(self.down2(a))))
        y = F.interpolate(self.join(torch.cat([a, up], 1)), size=x.shape[2:], mode="nearest")
        return torch.sigmoid(self.out(y))


class Shuffle(nn.Module):
    """ShuffleNet block: half of the channels pass by, then all are shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.depthwise = nn.Conv2d(4, 4, 3, 1, 1, groups=4)
        self.point = nn.Conv2d(4, 4, 1)
        self.out = nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = F.relu(self.stem(x)).chunk(2, 1)
        x = torch.cat([a, F.relu(self.point(self.depthwise(b)))], 1)
        n, c, h, w = x.shape
        return self.out(x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w))


class Ranking(nn.Module):
    """DLRM: embeddings and a dense feature, their products, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.EmbeddingBag(30, 8, mode="sum") for _ in range(3)])
        self.dense = nn.Linear(8, 8)
        self.head = nn.Linear(8 + 6, 4)
        self.register_buffer("pairs", torch.tril_indices(4, 4, -1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dense = F.relu(self.dense(x))
        ids = (x.abs() * 10).to(torch.long) % 30
        rows = [dense, *(table(ids[:, i : i + 1]) for i, table in enumerate(self.tables))]
        features = torch.stack(rows, 1)
        products = torch.bmm(features, features.transpose(1, 2))
        return self.head(torch.cat([dense, products[:, self.pairs[0], self.pairs[1]]], 1))

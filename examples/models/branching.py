"""Classifiers whose blocks branch and join: DenseNet, Inception and ShuffleNet."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .efficient import conv_bn


class DenseLayer(nn.Module):
    """Batch norm and relu come before each convolution; the result is joined to the input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, h, w] -> [n, channels + growth, h, w]."""
        y = self.conv1(F.relu(self.norm1(x), inplace=True))
        return torch.cat([x, self.conv2(F.relu(self.norm2(y), inplace=True))], 1)


class DenseNet(nn.Module):
    """DenseNet-121 by default."""

    def __init__(
        self, blocks: tuple[int, ...] = (6, 12, 24, 16), growth: int = 32, classes: int = 1000
    ) -> None:
        super().__init__()
        channels = 2 * growth
        layers: list[nn.Module] = [
            nn.Conv2d(3, channels, 7, 2, 3, bias=False),
            *(nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)),
        ]
        for i, count in enumerate(blocks):
            for _ in range(count):
                layers.append(DenseLayer(channels, growth))
                channels += growth
            layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            if i + 1 < len(blocks):
                layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2, 2)]
                channels //= 2
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 3, h, w] -> logits [n, classes]."""
        x = F.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


def _rect(channels: int, out: int, kernel: tuple[int, int]) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, padding=padding, bias=False),
        nn.BatchNorm2d(out, eps=0.001),
        nn.ReLU(inplace=True),
    )


class InceptionBlock(nn.Module):
    """Four branches: 1x1, 1x1-5x5, 1x1-1x7-7x1, average pool and 1x1."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.one = _rect(channels, width, (1, 1))
        self.five = nn.Sequential(_rect(channels, 48, (1, 1)), _rect(48, width, (5, 5)))
        self.seven = nn.Sequential(
            *(_rect(channels, 64, (1, 1)), _rect(64, 64, (1, 7)), _rect(64, width, (7, 1)))
        )
        self.pool = _rect(channels, width, (1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, h, w] -> [n, 4 * width, h, w]."""
        pooled = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        return torch.cat([self.one(x), self.five(x), self.seven(x), self.pool(pooled)], 1)


class InceptionReduction(nn.Module):
    """Halves the image: 3x3 of stride 2 beside a max pool."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.three = conv_bn(channels, width, 3, 2, act=nn.ReLU)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, h, w] -> [n, channels + width, h / 2, w / 2]."""
        return torch.cat([self.three(x), F.max_pool2d(x, 3, stride=2, padding=1)], 1)


class Inception(nn.Module):
    """An Inception network of the third kind."""

    def __init__(self, blocks: int = 3, width: int = 64, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_bn(3, 32, 3, 2, act=nn.ReLU)]
        layers.append(conv_bn(32, 64, 3, act=nn.ReLU))
        channels = 64
        for _ in range(3):
            layers.append(InceptionReduction(channels, width))
            channels += width
            for _ in range(blocks):
                layers.append(InceptionBlock(channels, width))
                channels = 4 * width
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 3, h, w] -> logits [n, classes]."""
        x = F.dropout(F.adaptive_avg_pool2d(self.features(x), (1, 1)), training=self.training)
        return self.fc(torch.flatten(x, 1))


def channel_shuffle(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Interleaves the channels of the groups."""
    n, channels, height, width = x.size()
    x = x.view(n, groups, channels // groups, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(n, -1, height, width)


class ShuffleUnit(nn.Module):
    """ShuffleNetV2: one half of the channels passes, the other is computed, then they mix."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        half = out // 2
        self.stride = stride
        self.left: nn.Module = nn.Identity()
        if stride > 1:
            self.left = nn.Sequential(
                conv_bn(channels, channels, 3, stride, channels),
                conv_bn(channels, half, 1, act=nn.ReLU),
            )
        self.right = nn.Sequential(
            conv_bn(channels if stride > 1 else half, half, 1, act=nn.ReLU),
            conv_bn(half, half, 3, stride, half),
            conv_bn(half, half, 1, act=nn.ReLU),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, h, w] -> [n, out, h / stride, w / stride]."""
        if self.stride == 1:
            left, right = x.chunk(2, dim=1)
            y = torch.cat((left, self.right(right)), dim=1)
        else:
            y = torch.cat((self.left(x), self.right(x)), dim=1)
        return channel_shuffle(y, 2)


class ShuffleNetV2(nn.Module):
    """ShuffleNetV2 at width 1.0 by default."""

    def __init__(
        self,
        stages: tuple[tuple[int, int], ...] = ((116, 4), (232, 8), (464, 4)),
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, 24, 3, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1))
        layers: list[nn.Module] = []
        channels = 24
        for out, count in stages:
            for i in range(count):
                layers.append(ShuffleUnit(channels, out, 2 if i == 0 else 1))
                channels = out
        self.stages = nn.Sequential(*layers, conv_bn(channels, 1024, 1, act=nn.ReLU))
        self.fc = nn.Linear(1024, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 3, h, w] -> logits [n, classes]."""
        return self.fc(self.stages(self.stem(x)).mean([2, 3]))

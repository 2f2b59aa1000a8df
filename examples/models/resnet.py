"""ResNet-50 for ImageNet as torchvision builds it: the stride is on the 3x3 convolution."""

from __future__ import annotations

import torch
from torch import nn


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut; the output is four times as wide.

    With `groups` the block of a ResNeXt, whose inner convolutions are `inner` times as wide.
    """

    def __init__(
        self, channels: int, width: int, stride: int, groups: int = 1, inner: int = 1
    ) -> None:
        super().__init__()
        out, wide = 4 * width, inner * width
        self.conv1 = nn.Conv2d(channels, wide, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.conv3 = nn.Conv2d(wide, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, h, w] -> [n, 4 * width, h / stride, w / stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += self.downsample(x)
        return self.relu(y)


class ResNet(nn.Module):
    """A residual network of bottleneck blocks."""

    def __init__(
        self,
        blocks: tuple[int, ...],
        width: int = 64,
        classes: int = 1000,
        groups: int = 1,
        inner: int = 1,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        channels = width
        stages = []
        for i, count in enumerate(blocks):
            layers = []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                layers.append(Bottleneck(channels, width << i, stride, groups, inner))
                channels = 4 * (width << i)
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 3, h, w] -> [n, classes]."""
        return self.fc(torch.flatten(self.pool(self.stages(self.stem(x))), 1))


def resnet50() -> ResNet:
    """25.6 M parameters; 4.1 GMAC at 224 x 224."""
    return ResNet((3, 4, 6, 3))


@torch.no_grad()
def settle(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """Give an untrained model statistics like a trained one's: batch norms that saw data."""
    model.train()
    for _ in range(3):
        model(x)
    return model.eval()

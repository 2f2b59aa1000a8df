"""MobileNetV3 and EfficientNet: inverted residuals with squeeze-and-excite, hardswish or silu."""

from __future__ import annotations

import torch
from torch import nn


class SqueezeExcite(nn.Module):
    """Multiplies each channel by a gate made from the means of all channels."""

    def __init__(self, channels: int, squeezed: int, act: type[nn.Module], gate: nn.Module) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = act()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, h, w] -> the same."""
        return x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))


def conv_bn(
    channels: int,
    out: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    act: type[nn.Module] | None = None,
) -> nn.Sequential:
    """Convolution, batch norm and activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
    ]
    return nn.Sequential(*layers, *([act()] if act is not None else []))


class MBConv(nn.Module):
    """1x1 to `wide` channels, depthwise, squeeze-and-excite, 1x1 back, with a shortcut."""

    def __init__(
        self,
        channels: int,
        wide: int,
        out: int,
        kernel: int,
        stride: int,
        act: type[nn.Module],
        excite: nn.Module | None,
    ) -> None:
        super().__init__()
        layers = [] if wide == channels else [conv_bn(channels, wide, 1, act=act)]
        layers.append(conv_bn(wide, wide, kernel, stride, wide, act))
        if excite is not None:
            layers.append(excite)
        layers.append(conv_bn(wide, out, 1))
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, h, w] -> [n, out, h / stride, w / stride]."""
        return x + self.layers(x) if self.shortcut else self.layers(x)


# kernel, expanded channels, output channels, squeeze-and-excite, hardswish, stride
_MOBILENET_V3_SMALL = [
    *((3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1)),
    *((5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1)),
    *((5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1), (5, 288, 96, True, True, 2)),
    *((5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1)),
]


class MobileNetV3(nn.Module):
    """MobileNetV3-small; with `blocks` only the first ones of its body."""

    def __init__(self, blocks: int | None = None, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_bn(3, 16, 3, 2, act=nn.Hardswish)]
        channels = 16
        for kernel, wide, out, squeeze, swish, stride in _MOBILENET_V3_SMALL[:blocks]:
            squeezed = max(8, wide // 4 // 8 * 8)
            excite = SqueezeExcite(wide, squeezed, nn.ReLU, nn.Hardsigmoid()) if squeeze else None
            act = nn.Hardswish if swish else nn.ReLU
            layers.append(MBConv(channels, wide, out, kernel, stride, act, excite))
            channels = out
        layers.append(conv_bn(channels, 6 * channels, 1, act=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, 1024), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(1024, classes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 3, h, w] -> logits [n, classes]."""
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


# expansion, kernel, stride, output channels, blocks
_EFFICIENTNET_B0 = [
    *((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3)),
    *((6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)),
]


class EfficientNet(nn.Module):
    """EfficientNet-B0; with `stages` only the first ones."""

    def __init__(self, stages: int | None = None, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_bn(3, 32, 3, 2, act=nn.SiLU)]
        channels = 32
        for expansion, kernel, stride, out, blocks in _EFFICIENTNET_B0[:stages]:
            for i in range(blocks):
                wide = channels * expansion
                excite = SqueezeExcite(wide, max(1, channels // 4), nn.SiLU, nn.Sigmoid())
                step = stride if i == 0 else 1
                layers.append(MBConv(channels, wide, out, kernel, step, nn.SiLU, excite))
                channels = out
        layers.append(conv_bn(channels, 4 * channels, 1, act=nn.SiLU))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(4 * channels, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 3, h, w] -> logits [n, classes]."""
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))

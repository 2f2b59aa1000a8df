"""Networks that give an image or boxes: U-Net, a YOLO-like detector, SSD, super-resolution."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from .efficient import conv_bn


def _double(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(conv_bn(channels, out, 3, act=nn.ReLU), conv_bn(out, out, 3, act=nn.ReLU))


class UNet(nn.Module):
    """Down by max pools, up by transposed convolutions (or bilinear), joined at each level."""

    def __init__(
        self, width: int = 32, levels: int = 4, classes: int = 2, bilinear: bool = False
    ) -> None:
        super().__init__()
        widths = [width << i for i in range(levels + 1)]
        self.inward = _double(3, width)
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), _double(a, b)) for a, b in pairwise(widths)
        )
        self.up = nn.ModuleList()
        self.join = nn.ModuleList()
        for a, b in zip(reversed(widths), reversed(widths[:-1]), strict=False):
            upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.up.append(
                nn.Sequential(upsample, nn.Conv2d(a, b, 1))
                if bilinear
                else nn.ConvTranspose2d(a, b, 2, 2)
            )
            self.join.append(_double(a, b))
        self.out = nn.Conv2d(width, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 3, h, w] -> [n, classes, h, w]; any h and w."""
        skips = [self.inward(x)]
        for down in self.down:
            skips.append(down(skips[-1]))
        y = skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            skip = skips.pop()
            y = up(y)
            high, wide = skip.size(2) - y.size(2), skip.size(3) - y.size(3)
            y = F.pad(y, [wide // 2, wide - wide // 2, high // 2, high - high // 2])
            y = join(torch.cat([skip, y], dim=1))
        return self.out(y)


class C2f(nn.Module):
    """YOLO's block: a chain of bottlenecks, all of whose results are joined."""

    def __init__(self, channels: int, out: int, count: int, shortcut: bool) -> None:
        super().__init__()
        self.half = out // 2
        self.first = conv_bn(channels, out, 1, act=nn.SiLU)
        self.last = conv_bn((2 + count) * self.half, out, 1, act=nn.SiLU)
        self.inner = nn.ModuleList(
            nn.Sequential(
                conv_bn(self.half, self.half, 3, act=nn.SiLU),
                conv_bn(self.half, self.half, 3, act=nn.SiLU),
            )
            for _ in range(count)
        )
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, h, w] -> [n, out, h, w]."""
        parts = list(self.first(x).split((self.half, self.half), 1))
        for inner in self.inner:
            y = inner(parts[-1])
            parts.append(parts[-1] + y if self.shortcut else y)
        return self.last(torch.cat(parts, 1))


class PyramidPool(nn.Module):
    """YOLO's SPPF: three max pools in a row, joined."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_bn(channels, channels // 2, 1, act=nn.SiLU)
        self.last = conv_bn(2 * channels, channels, 1, act=nn.SiLU)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, h, w] -> the same."""
        x = self.first(x)
        y = self.pool(x)
        z = self.pool(y)
        return self.last(torch.cat((x, y, z, self.pool(z)), 1))


class Yolo(nn.Module):
    """Backbone, neck with nearest upsampling, and heads that decode distances to boxes."""

    def __init__(self, width: int = 16, depth: int = 1, classes: int = 80, bins: int = 16) -> None:
        super().__init__()
        self.classes, self.bins = classes, bins
        w = [width, 2 * width, 4 * width, 8 * width, 16 * width]

        def down(a: int, b: int) -> nn.Sequential:
            return conv_bn(a, b, 3, 2, act=nn.SiLU)

        self.stem = nn.Sequential(down(3, w[0]), down(w[0], w[1]), C2f(w[1], w[1], depth, True))
        self.p3 = nn.Sequential(down(w[1], w[2]), C2f(w[2], w[2], 2 * depth, True))
        self.p4 = nn.Sequential(down(w[2], w[3]), C2f(w[3], w[3], 2 * depth, True))
        self.p5 = nn.Sequential(down(w[3], w[4]), C2f(w[4], w[4], depth, True), PyramidPool(w[4]))
        self.up = nn.Upsample(None, 2, "nearest")
        self.n4 = C2f(w[4] + w[3], w[3], depth, False)
        self.n3 = C2f(w[3] + w[2], w[2], depth, False)
        self.d4 = down(w[2], w[2])
        self.m4 = C2f(w[2] + w[3], w[3], depth, False)
        self.boxes = nn.ModuleList(self._head(c, 4 * bins) for c in (w[2], w[3], w[4]))
        self.scores = nn.ModuleList(self._head(c, classes) for c in (w[2], w[3], w[4]))

    @staticmethod
    def _head(channels: int, out: int) -> nn.Sequential:
        hidden = max(channels // 2, 16)
        return nn.Sequential(
            conv_bn(channels, hidden, 3, act=nn.SiLU),
            conv_bn(hidden, hidden, 3, act=nn.SiLU),
            nn.Conv2d(hidden, out, 1),
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[n, 3, h, w] -> distances [n, 4, cells] and class scores [n, classes, cells]."""
        p3 = self.p3(self.stem(x))
        p4 = self.p4(p3)
        p5 = self.p5(p4)
        n4 = self.n4(torch.cat([self.up(p5), p4], 1))
        n3 = self.n3(torch.cat([self.up(n4), p3], 1))
        m4 = self.m4(torch.cat([self.d4(n3), n4], 1))
        n = x.shape[0]
        maps = [
            torch.cat((box(level), score(level)), 1).view(n, 4 * self.bins + self.classes, -1)
            for box, score, level in zip(self.boxes, self.scores, (n3, m4, p5), strict=True)
        ]
        boxes, scores = torch.cat(maps, 2).split((4 * self.bins, self.classes), 1)
        chances = boxes.view(n, 4, self.bins, -1).transpose(2, 1).softmax(1)
        distances = (chances * torch.arange(self.bins).view(1, -1, 1, 1)).sum(1)
        return distances, scores.sigmoid()


class Ssd(nn.Module):
    """Heads on several levels, each permuted to rows of boxes and joined."""

    def __init__(self, width: int = 32, classes: int = 21, anchors: int = 4) -> None:
        super().__init__()
        self.classes = classes
        widths = [width, 2 * width, 4 * width, 4 * width]
        self.stem = nn.Sequential(
            conv_bn(3, width, 3, 2, act=nn.ReLU6), conv_bn(width, width, 3, 2, act=nn.ReLU6)
        )
        self.levels = nn.ModuleList(conv_bn(a, b, 3, 2, act=nn.ReLU6) for a, b in pairwise(widths))
        self.boxes = nn.ModuleList(nn.Conv2d(c, 4 * anchors, 3, padding=1) for c in widths)
        self.scores = nn.ModuleList(nn.Conv2d(c, classes * anchors, 3, padding=1) for c in widths)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[n, 3, h, w] -> boxes [n, cells, 4] and chances [n, cells, classes]."""
        maps = [self.stem(x)]
        for level in self.levels:
            maps.append(level(maps[-1]))
        boxes, scores = [], []
        for y, box, score in zip(maps, self.boxes, self.scores, strict=True):
            boxes.append(box(y).permute(0, 2, 3, 1).contiguous().view(y.size(0), -1, 4))
            scores.append(score(y).permute(0, 2, 3, 1).reshape(y.size(0), -1, self.classes))
        return torch.cat(boxes, 1), torch.cat(scores, 1).softmax(-1)


class SuperResolution(nn.Module):
    """EDSR: residual blocks without norms, and pixel shuffles to a larger image."""

    def __init__(self, width: int = 64, blocks: int = 8, scale: int = 4) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1),
                nn.PReLU(),
                nn.Conv2d(width, width, 3, padding=1),
            )
            for _ in range(blocks)
        )
        steps: list[nn.Module] = []
        while scale > 1:
            steps += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()]
            scale //= 2
        self.tail = nn.Sequential(*steps, nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 3, h, w] -> [n, 3, scale * h, scale * w]."""
        x = self.head(x)
        y = x
        for block in self.body:
            y = y + block(y)
        return self.tail(x + y)

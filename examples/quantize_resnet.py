"""Quantizes a ResNet-50, saves it, loads it back and says what became of its operators."""

from __future__ import annotations

from pathlib import Path

import torch

import ipex_quant
from models.resnet import resnet50, settle


def main(path: Path = Path("build/resnet50_int8.pt")) -> None:
    """Calibrate, trace, quantize, save, load, report."""
    torch.manual_seed(0)
    images = [torch.randn(4, 3, 224, 224) for _ in range(3)]  # a few batches of your own data
    model = settle(resnet50(), images[0])  # or your trained model, in eval mode

    qconfig = ipex_quant.default_static_qconfig
    prepared = ipex_quant.prepare(model, qconfig, example_inputs=(images[0],))
    with torch.no_grad():
        for batch in images:
            prepared(batch)
        traced = torch.jit.trace(prepared, images[0])
    quantized = ipex_quant.jit.quantize(traced)

    path.parent.mkdir(parents=True, exist_ok=True)
    quantized.save(str(path))
    loaded = torch.jit.load(str(path))
    with torch.no_grad():
        expected, got = model(images[0]), loaded(images[0])
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    print(f"largest difference {(got - expected).abs().max():.3g} of {expected.abs().max():.3g}")
    ipex_quant.report(loaded).print()


if __name__ == "__main__":
    main()

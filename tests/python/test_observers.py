"""Observers: ranges, error-minimising scales, and canonical qparams of torch's observers."""

from __future__ import annotations

import pytest
import torch
from torch.ao.quantization import observer as torch_observers

from ipex_quant import histogram, observers, ops
from ipex_quant.histogram import OUTSIDE, Histogram


def error(x: torch.Tensor, low: float, high: float) -> float:
    """Sum of squared errors; the values outside the range count more."""
    scale = (high - low) / 255
    zero = round(-low / scale)
    code = torch.round(x / scale) + zero
    weight = 1 + (OUTSIDE - 1) * ((code < 0) | (code > 255))
    return float(((ops.quantize_dequantize(x, scale, zero) - x).square() * weight).sum())


def brute_force(x: torch.Tensor) -> float:
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    steps = [0.05 * i for i in range(1, 21)]
    return min(error(x, low * a, high * b) for a in steps for b in (steps if low else [1.0]))


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(20000, generator=torch.Generator().manual_seed(1)),
        torch.randn(20000, generator=torch.Generator().manual_seed(2)) ** 3,
        torch.cat(
            [torch.randn(20000, generator=torch.Generator().manual_seed(3)), torch.ones(1) * 40]
        ),
    ],
    ids=["normal", "heavy-tailed", "outlier"],
)
def test_least_error_range_is_as_good_as_brute_force(x: torch.Tensor) -> None:
    found = Histogram()
    for part in x.split(3000):
        found.update(part)
    assert error(x, *found.least_error_range(False)) <= 1.05 * brute_force(x)


def test_histogram_of_parts_is_the_histogram_of_the_whole() -> None:
    x = torch.randn(5000) * torch.linspace(0.01, 30, 5000)  # each part is wider than the last
    whole, parts = Histogram(), Histogram()
    whole.update(x)
    for part in x.split(100):
        parts.update(part)
    assert (parts.minimum, parts.maximum) == (float(x.min()), float(x.max()))
    assert parts.count == whole.count == x.numel()
    ours, other = parts.least_error_range(False), whole.least_error_range(False)
    assert error(x, *ours) <= 1.1 * error(x, *other)


def test_values_outside_the_range_count_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs that calibration did not show have more large values: less is cut off for them."""
    x = torch.randn(1_000_000, generator=torch.Generator().manual_seed(2))
    found = Histogram()
    found.update(x)

    def cut_off() -> int:
        low, high = found.least_error_range(False)
        return int(((x < low) | (x > high)).sum())

    few = cut_off()
    monkeypatch.setattr(histogram, "OUTSIDE", 1.0)
    assert 0 < few < 0.2 * cut_off()


def test_histogram_takes_negative_values_after_positive_ones() -> None:
    found = Histogram()
    found.update(torch.rand(1000))
    found.update(-5 * torch.rand(1000))
    low, high = found.percentile(1.0)
    assert low < -4.9 and high > 0.95
    assert found.count == 2000


def test_percentile_cuts_the_tails() -> None:
    observer = observers.HistogramObserver(method="percentile", percentile=0.98)
    observer(torch.linspace(-1, 1, 10001))
    low, high = observer.ranges()[0]
    assert low == pytest.approx(-0.98, abs=0.01)
    assert high == pytest.approx(0.98, abs=0.01)
    with pytest.raises(ValueError, match="method must be"):
        observers.HistogramObserver(method="entropy")


def test_minmax_qparams() -> None:
    observer = observers.MinMaxObserver()
    observer(torch.tensor([-1.0, 0.5]))
    observer(torch.tensor([0.0, 1.55]))
    assert observers.activation_qparams(observer) == (pytest.approx(0.01), 100)


def test_zero_is_exact_when_the_range_excludes_it() -> None:
    observer = observers.MinMaxObserver()
    observer(torch.tensor([2.0, 2.55]))
    assert observers.activation_qparams(observer) == (pytest.approx(0.01), 0)


#: Of torch's settings; it refuses a reduced range of symmetric quint8 itself.
SETTINGS = [
    (dtype, qscheme, reduce_range)
    for dtype in (torch.quint8, torch.qint8)
    for qscheme in (torch.per_tensor_affine, torch.per_tensor_symmetric)
    for reduce_range in (False, True)
    if (dtype, qscheme, reduce_range) != (torch.quint8, torch.per_tensor_symmetric, True)
]


@pytest.mark.parametrize(("dtype", "qscheme", "reduce_range"), SETTINGS)
@pytest.mark.parametrize(
    "name", ["MinMaxObserver", "MovingAverageMinMaxObserver", "HistogramObserver"]
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_torch_observers_become_uint8_with_the_same_numbers(
    name: str, dtype: torch.dtype, qscheme: torch.qscheme, reduce_range: bool
) -> None:
    x = torch.randn(4096)
    theirs = getattr(torch_observers, name)(dtype=dtype, qscheme=qscheme, reduce_range=reduce_range)
    theirs(x)
    scale, zero = observers.activation_qparams(theirs)
    t_scale, t_zero = theirs.calculate_qparams()
    low, high = (-128, 127) if dtype == torch.qint8 else (0, 255)
    q = (x / t_scale).round() + t_zero
    expected = (q.clamp(low, high) - t_zero) * t_scale
    assert torch.allclose(ops.quantize_dequantize(x, scale, zero), expected, atol=1e-6)


def test_a_bad_observer_is_named() -> None:
    class Broken:
        dtype = torch.quint8

        def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.tensor([0.0]), torch.tensor([0])

    with pytest.raises(ValueError, match=r"Broken gave scale 0\.0"):
        observers.activation_qparams(Broken())


def test_weight_scale_minimises_the_error_of_the_output() -> None:
    weight = torch.randn(8, 64)
    weight[:, 0] = 20.0  # a large weight that no input meets
    scale = observers.least_error_scale(weight)
    assert (scale * 127 > 0.99 * weight.abs().amax(1)).all(), "the large weight is not clipped"
    importance = torch.ones(1, 64)
    importance[0, 0] = 0.0
    weighted = observers.least_error_scale(weight, importance)
    assert (weighted < 0.7 * scale).all()


def _rounding_error(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    steps = scale[:, None]
    return (weight / steps).round().clamp(-127, 127) * steps - weight


def test_few_weights_meet_the_steps_of_their_scale() -> None:
    weight = torch.randn(500, 9, generator=torch.Generator().manual_seed(0))
    found = _rounding_error(weight, observers.least_error_scale(weight))
    plain = _rounding_error(weight, weight.abs().amax(1) / 127)
    assert found.square().sum() < 0.6 * plain.square().sum()


def test_weight_scale_knows_how_inputs_go_together() -> None:
    """Neighbouring pixels are alike: errors of a kernel's weights may cancel."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2 * 16, 9, generator=generator)
    x = torch.randn(2, 1000, 1, generator=generator)
    x = x + 0.1 * torch.randn(2, 1000, 9, generator=generator)
    covariance = x.transpose(1, 2) @ x / 1000
    square = torch.diagonal(covariance, dim1=1, dim2=2).repeat_interleave(16, 0)

    def output_error(scale: torch.Tensor) -> torch.Tensor:
        return (x @ _rounding_error(weight, scale).unflatten(0, (2, 16)).mT).square().sum()

    alone = output_error(observers.least_error_scale(weight, square))
    together = output_error(observers.least_error_scale(weight, None, covariance))
    assert together < 0.2 * alone


def test_weight_scale_of_zeros_is_usable() -> None:
    scales = observers.weight_scales(observers.WeightObserver(), torch.zeros(3, 4))
    assert (scales > 0).all()
    assert torch.isfinite(scales).all()


def test_with_args_nests() -> None:
    factory = observers.HistogramObserver.with_args(method="minmax").with_args(dtype=torch.int8)
    observer = factory()
    assert observer.method == "minmax"
    assert observer.qscheme == torch.per_tensor_symmetric
    observer(torch.tensor([-2.54, 1.0]))
    assert observers.activation_qparams(observer) == (pytest.approx(0.02), 128)

"""The models of `python -m bench.models`: random weights, inputs of real shapes, multiply-adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from examples.models.bert import Bert
from examples.models.dlrm import Dlrm, mlp
from examples.models.mobilenet import MobileNetV2
from examples.models.resnet import resnet50, settle
from examples.models.vit import Vit

Inputs = tuple[torch.Tensor, ...]
CALIBRATION_BATCHES = 4


@dataclass(frozen=True)
class Spec:
    """One model at one batch size."""

    make: Callable[[], nn.Module]
    """An eval model; the same weights in every process, because the seed is fixed before it."""
    inputs: Callable[[], Inputs]
    """One draw of inputs."""
    macs: float
    """Multiply-adds of a call: convolutions, linears, matrix products."""
    recurrent: bool = False


class Recurrent(nn.Module):
    """An LSTM or GRU of two layers of 512, batch first; gives the outputs of all steps."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.rnn = kind(512, 512, num_layers=2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, steps, 512] -> the same."""
        return self.rnn(x)[0]


def _efficientnet() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0")


def _settled(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: settle(make(), torch.randn(4, 3, 96, 96))


def _image(batch: int) -> Callable[[], Inputs]:
    return lambda: (torch.randn(batch, 3, 224, 224),)


def _tokens(batch: int) -> Callable[[], Inputs]:
    def draw() -> Inputs:
        return torch.randint(1, 30522, (batch, 128)), torch.ones(batch, 128, dtype=torch.int64)

    return draw


def _bert_macs(batch: int, tokens: int = 128, width: int = 768, layers: int = 12) -> float:
    return batch * layers * (12 * tokens * width**2 + 2 * tokens**2 * width)


def _random(*shape: int) -> Callable[[], Inputs]:
    return lambda: (torch.randn(shape),)


def _perceptron() -> nn.Module:
    return mlp(1024, 4096, 1024)


def _recommend() -> Inputs:
    return torch.randn(128, 13), torch.randint(0, 1000, (128, 26, 1))


RESNET, MOBILENET, EFFICIENTNET = 4.09e9, 0.301e9, 0.385e9
VIT = _bert_macs(1, 197) + 196 * 768 * 3 * 16 * 16 + 768 * 1000
GATES = 50 * 2 * (512 + 512) * 512  # per gate: 50 steps, 2 layers
DLRM = 128 * (13 * 512 + 512 * 256 + 256 * 128 + 27 * 27 * 128)
DLRM += 128 * (479 * 1024 + 1024 * 1024 + 1024 * 512 + 512 * 256 + 256)

MODELS: dict[str, Spec] = {
    "resnet50_b1": Spec(_settled(resnet50), _image(1), RESNET),
    "resnet50_b16": Spec(_settled(resnet50), _image(16), 16 * RESNET),
    "mobilenetv2_b1": Spec(_settled(MobileNetV2), _image(1), MOBILENET),
    "effnet_lite0_b1": Spec(_settled(_efficientnet), _image(1), EFFICIENTNET),
    "bert_base_b1": Spec(Bert, _tokens(1), _bert_macs(1)),
    "bert_base_b8": Spec(Bert, _tokens(8), _bert_macs(8)),
    "vit_base_b1": Spec(Vit, _image(1), VIT),
    "lstm_b1": Spec(lambda: Recurrent(nn.LSTM), _random(1, 50, 512), 4 * GATES, True),
    "lstm_b16": Spec(lambda: Recurrent(nn.LSTM), _random(16, 50, 512), 64 * GATES, True),
    "gru_b1": Spec(lambda: Recurrent(nn.GRU), _random(1, 50, 512), 3 * GATES, True),
    "mlp_b1": Spec(_perceptron, _random(1, 1024), 2 * 1024 * 4096),
    "mlp_b16": Spec(_perceptron, _random(16, 1024), 16 * 2 * 1024 * 4096),
    "mlp_b256": Spec(_perceptron, _random(256, 1024), 256 * 2 * 1024 * 4096),
    "dlrm_b128": Spec(Dlrm, _recommend, DLRM),
}


def inputs_of(name: str) -> tuple[Inputs, list[Inputs]]:
    """The inputs to time, and inputs for calibration; the same in every process."""
    torch.manual_seed(1)
    draw = MODELS[name].inputs
    return draw(), [draw() for _ in range(CALIBRATION_BATCHES)]


def create(name: str) -> tuple[nn.Module, Inputs, list[Inputs]]:
    """The model and its inputs."""
    torch.manual_seed(0)
    model = MODELS[name].make().eval()
    return model, *inputs_of(name)

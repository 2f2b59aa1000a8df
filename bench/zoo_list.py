"""The models of `python -m bench.zoo`, each in its full size and small enough for a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from examples.models import branching, dense_prediction, efficient, sequences
from examples.models.diffusion import DiffusionUNet
from examples.models.face import IResNet
from examples.models.mobilenet import MobileNetV2
from examples.models.resnet import ResNet, settle

Inputs = tuple[torch.Tensor, ...] | dict[str, torch.Tensor]


@dataclass(frozen=True)
class Entry:
    """One model."""

    make: Callable[[bool], nn.Module]
    """The model in eval mode, small or in full size."""
    draw: Callable[[bool, int], Inputs]
    """One draw of inputs, for the small model or the full one: number 0 has the sizes of the
    trace, 1 another batch, 2 another length or image size too."""
    free: tuple[int, ...] = (1, 2)
    """The numbers that the model's own trace runs on."""


def _image_model(
    make: Callable[[bool], nn.Module], size: int = 224, fixed_size: bool = False
) -> Entry:
    def settled(small: bool) -> nn.Module:
        side = size if fixed_size and not small else 64
        return settle(make(small), torch.randn(4, 3, side, side))

    def draw(small: bool, number: int) -> Inputs:
        side = 64 if small else size
        return (torch.randn(3 if number else 1, 3, side, side + 32 * (number == 2)),)

    return Entry(settled, draw, (1,) if fixed_size else (1, 2))


def _sequence(*features: int) -> Callable[[bool, int], Inputs]:
    """Random input with one size left out (0): the number of steps."""

    def draw(small: bool, number: int) -> Inputs:
        steps = (24 if small else 200) + 9 * (number == 2)
        return (torch.randn(3 if number else 1, *(size or steps for size in features)),)

    return draw


def _stream(small: bool, number: int) -> Inputs:
    n = 3 if number else 1
    steps = 8 + 4 * (number == 2)
    return (
        *(torch.randn(n, 40, steps), torch.randn(n, 40, 4)),
        *(torch.randn(1, n, 96).tanh(), torch.randn(1, n, 96)),
    )


def _packed(small: bool, number: int) -> Inputs:
    tokens = 12 + 5 * (number == 2)
    lengths = torch.tensor([tokens, tokens - 3, 2][: 3 if number else 2])
    return torch.randint(0, 500, (len(lengths), tokens)), lengths


def _translation(small: bool, number: int) -> Inputs:
    n, tokens = (3 if number else 2), 20 + 7 * (number == 2)
    padding = torch.zeros(n, tokens, dtype=torch.bool)
    padding[-1, -6:] = True
    return torch.randint(0, 500, (n, tokens)), torch.randint(0, 500, (n, 15)), padding


def _latents(small: bool, number: int) -> Inputs:
    n, side = 3 if number else 1, (8 if small else 32) + 4 * (number == 2)
    return (torch.randn(n, 4, side, side), torch.randn(n, 16 if small else 256))


def _text(vocabulary: int) -> Callable[[bool, int], Inputs]:
    """Ids and a mask with padding at the end of the last row."""

    def draw(small: bool, number: int) -> Inputs:
        tokens = (16 if small else 128) + 7 * (number == 2)
        n = 3 if number else 2 if small else 1
        mask = torch.ones(n, tokens, dtype=torch.int64)
        mask[-1, -5:] = 0  # without padding these models leave their mask out, but in a trace
        ids = torch.randint(1, 500 if small else vocabulary, (n, tokens))
        return {"input_ids": ids, "attention_mask": mask}

    return draw


def _pixels(small: bool, number: int) -> Inputs:
    side = 32 if small else 224
    return {"pixel_values": torch.randn(3 if number else 1, 3, side, side)}


def _speech(small: bool, number: int) -> Inputs:
    samples = (4000 if small else 16000) + 1600 * (number == 2)
    return {"input_values": torch.randn(3 if number else 1, samples)}


def _transformer(
    family: str,
    attention: str,
    small: dict[str, Any],
    model: str = "Model",
    return_dict: bool = False,
    **both: Any,
) -> Callable[[bool], nn.Module]:
    """A model of the `transformers` package from its configuration, with random weights."""

    def make(is_small: bool) -> nn.Module:
        import transformers

        options = {**both, **(small if is_small else {}), "attn_implementation": attention}
        config = getattr(transformers, f"{family}Config")(**options)
        config.return_dict = return_dict
        return getattr(transformers, f"{family}{model}")(config).eval()

    return make


_BERT = {
    **{"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4},
    **{"intermediate_size": 128, "vocab_size": 500},
}
_DISTILBERT = {"n_layers": 2, "dim": 64, "n_heads": 4, "hidden_dim": 128, "vocab_size": 500}
_VIT = {k: v for k, v in _BERT.items() if k != "vocab_size"} | {"image_size": 32, "patch_size": 8}
_GPT2 = {
    **{"n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 500, "n_positions": 64},
    **{"bos_token_id": 1, "eos_token_id": 1},
}
_T5 = {
    **{"num_layers": 2, "d_model": 64, "num_heads": 4, "d_kv": 16, "d_ff": 128},
    **{"vocab_size": 500},
}
_ALBERT = {**_BERT, "num_hidden_layers": 3, "embedding_size": 32}


def _transformers() -> dict[str, Entry]:
    entries = {}
    for kind in ("eager", "sdpa"):
        entries |= {
            f"bert_{kind}": Entry(_transformer("Bert", kind, _BERT), _text(30522)),
            f"distilbert_{kind}": Entry(
                _transformer("DistilBert", kind, _DISTILBERT), _text(30522)
            ),
            f"vit_{kind}": Entry(_transformer("ViT", kind, _VIT), _pixels, (1,)),
            f"gpt2_{kind}": Entry(_transformer("GPT2", kind, _GPT2, use_cache=False), _text(50257)),
            f"t5_{kind}": Entry(
                _transformer("T5", kind, _T5, "EncoderModel", use_cache=False), _text(32128)
            ),
            f"albert_{kind}": Entry(
                _transformer("Albert", kind, _ALBERT, **_ALBERT_BASE), _text(30000)
            ),
        }
    return entries | {
        "swin": Entry(_transformer("Swin", "sdpa", _SWIN, return_dict=True), _pixels, (1,)),
        "deberta": Entry(_transformer("DebertaV2", "eager", _BERT, **_DEBERTA), _text(128100)),
        "wav2vec2": Entry(
            _transformer("Wav2Vec2", "sdpa", _WAV2VEC2, apply_spec_augment=False), _speech
        ),
    }


_SWIN = {
    **{"image_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 16},
    **{"depths": [2, 2], "num_heads": [2, 2]},
}
_DEBERTA = {
    **{"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "num_hidden_layers": 12},
    **{"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
}
_WAV2VEC2 = {k: v for k, v in _BERT.items() if k != "vocab_size"} | {
    **{"conv_dim": [32] * 3, "conv_stride": [5, 4, 4], "conv_kernel": [10, 8, 4]},
    **{"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
}
_ALBERT_BASE = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}


MODELS: dict[str, Entry] = {
    "resnet50": _image_model(lambda small: ResNet((1, 1), 16) if small else ResNet((3, 4, 6, 3))),
    "resnext50": _image_model(
        lambda small: (
            ResNet((1, 1), 16, groups=4) if small else ResNet((3, 4, 6, 3), groups=32, inner=2)
        )
    ),
    "mobilenet_v2": _image_model(lambda small: MobileNetV2()),
    "mobilenet_v3": _image_model(lambda small: efficient.MobileNetV3(5 if small else None)),
    "efficientnet_b0": _image_model(lambda small: efficient.EfficientNet(2 if small else None)),
    "densenet121": _image_model(
        lambda small: branching.DenseNet((2, 2), 8) if small else branching.DenseNet()
    ),
    "inception": _image_model(
        lambda small: branching.Inception(1, 16) if small else branching.Inception()
    ),
    "shufflenet_v2": _image_model(
        lambda small: (
            branching.ShuffleNetV2(((24, 2), (48, 2))) if small else branching.ShuffleNetV2()
        )
    ),
    "iresnet18": _image_model(
        lambda small: IResNet((1, 1), 16, 64) if small else IResNet(), 112, fixed_size=True
    ),
    "unet": _image_model(
        lambda small: dense_prediction.UNet(8, 2) if small else dense_prediction.UNet()
    ),
    "unet_bilinear": _image_model(
        lambda small: dense_prediction.UNet(*((8, 2) if small else (32, 4)), bilinear=True)
    ),
    "yolo": _image_model(
        lambda small: dense_prediction.Yolo(8) if small else dense_prediction.Yolo(), 320
    ),
    "ssd": _image_model(
        lambda small: dense_prediction.Ssd(8) if small else dense_prediction.Ssd(), 320
    ),
    "super_resolution": _image_model(
        lambda small: (
            dense_prediction.SuperResolution(16, 1) if small else dense_prediction.SuperResolution()
        ),
        96,
    ),
    "diffusion_unet": Entry(
        lambda small: (DiffusionUNet(32, 16, 8) if small else DiffusionUNet()).eval(), _latents
    ),
    "tcn": Entry(lambda small: sequences.TCN(width=32 if small else 128).eval(), _sequence(16, 0)),
    "gated_conv": Entry(
        lambda small: sequences.GatedConvNet(width=32 if small else 256).eval(), _sequence(40, 0)
    ),
    "conformer": Entry(
        lambda small: (
            sequences.Conformer(20, 32, 2, 2) if small else sequences.Conformer(80)
        ).eval(),
        lambda small, number: _sequence(0, 20 if small else 80)(small, number),
    ),
    "lstm_cells": Entry(
        lambda small: sequences.CellLoop(nn.LSTMCell, 32 if small else 256).eval(),
        lambda small, number: (torch.randn(3 if number else 1, 10 if small else 30, 20),),
        (1,),
    ),
    "gru_cells": Entry(
        lambda small: sequences.CellLoop(nn.GRUCell, 32 if small else 256).eval(),
        lambda small, number: (torch.randn(3 if number else 1, 10 if small else 30, 20),),
        (1,),
    ),
    "streaming": Entry(lambda small: sequences.Streaming().eval(), _stream),
    "packed_tagger": Entry(lambda small: sequences.PackedTagger().eval(), _packed, (1,)),
    "translator": Entry(
        lambda small: (
            sequences.Translator(32, 2, 1, 500) if small else sequences.Translator()
        ).eval(),
        _translation,
    ),
    "denoiser": Entry(
        lambda small: sequences.Denoiser(24 if small else 128).eval(),
        lambda small, number: (
            torch.randn(
                3 if number else 1, 1, (400 if small else 16000) + 80 * (number == 2)
            ).tanh(),
        ),
    ),
    **_transformers(),
}

"""Writes the file that one competitor runs: `python -m bench.build_model COMPETITOR MODEL FOLDER`.

Runs in the environment where the competitor is installed. Each competitor is used as its own guide
says: static int8 with the calibration inputs, or int8 weights with dynamic activations where that
is what it has for the model.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from bench.model_list import MODELS, Inputs, create


def ours(model: nn.Module, inputs: Inputs, data: list[Inputs], path: Path) -> None:
    """ipex_quant with the default recipe."""
    import ipex_quant

    qconfig = ipex_quant.default_static_qconfig
    prepared = ipex_quant.prepare(model, qconfig, example_inputs=inputs)
    for x in data:
        prepared(*x)
    traced = torch.jit.trace(prepared, inputs, check_trace=False)
    ipex_quant.jit.quantize(traced).save(str(path))


def torch_float(model: nn.Module, inputs: Inputs, data: list[Inputs], path: Path) -> None:
    """Float TorchScript."""
    torch.jit.trace(model, inputs, check_trace=False).save(str(path))


def torch_fx(model: nn.Module, inputs: Inputs, data: list[Inputs], path: Path) -> None:
    """torch's FX static quantization, onednn engine."""
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    torch.backends.quantized.engine = "onednn"
    prepared = prepare_fx(model, get_default_qconfig_mapping("onednn"), inputs)
    for x in data:
        prepared(*x)
    torch.jit.trace(convert_fx(prepared), inputs, check_trace=False).save(str(path))


def torch_dynamic(model: nn.Module, inputs: Inputs, data: list[Inputs], path: Path) -> None:
    """torch's dynamic quantization of linear, LSTM and GRU."""
    from torch.ao.quantization import quantize_dynamic

    torch.backends.quantized.engine = "onednn"
    quantized = quantize_dynamic(model, {nn.Linear, nn.LSTM, nn.GRU}, dtype=torch.qint8)
    torch.jit.trace(quantized, inputs, check_trace=False).save(str(path))


def is_transformer(model: nn.Module) -> bool:
    """Whether the peers' advice for transformers is for this model."""
    return any(isinstance(m, nn.LayerNorm) for m in model.modules())


def export_onnx(model: nn.Module, inputs: Inputs, path: Path) -> list[str]:
    """Write float ONNX; returns the names of the inputs."""
    names = [f"x{i}" for i in range(len(inputs))]
    torch.onnx.export(
        model, inputs, str(path), input_names=names, dynamo=False, opset_version=17, verbose=False
    )
    return names


def onnxruntime(model: nn.Module, inputs: Inputs, data: list[Inputs], path: Path) -> None:
    """ONNX Runtime: QDQ static for convolutions, dynamic elsewhere."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    float_path, ready = path.with_suffix(".float.onnx"), path.with_suffix(".ready.onnx")
    names = export_onnx(model, inputs, float_path)
    quant_pre_process(str(float_path), str(ready), skip_symbolic_shape=True)

    class Reader(CalibrationDataReader):
        """Hands out the calibration inputs once."""

        def __init__(self) -> None:
            self.left = iter(data)

        def get_next(self) -> dict | None:
            x = next(self.left, None)
            return None if x is None else {n: v.numpy() for n, v in zip(names, x, strict=True)}

    if not is_transformer(model) and any(isinstance(m, nn.Conv2d) for m in model.modules()):
        quantize_static(
            str(ready), str(path), Reader(), per_channel=True, activation_type=QuantType.QUInt8
        )
    else:
        quantize_dynamic(str(ready), str(path), per_channel=True)


def openvino(model: nn.Module, inputs: Inputs, data: list[Inputs], path: Path) -> None:
    """OpenVINO with NNCF's static quantization; recurrent models in float, as NNCF leaves them."""
    import nncf
    import openvino as ov

    converted = ov.convert_model(model, example_input=inputs)
    shapes = {i: list(x.shape) for i, x in enumerate(inputs)}
    converted.reshape(shapes)
    if not any(isinstance(m, nn.LSTM | nn.GRU) for m in model.modules()):
        kind = nncf.ModelType.TRANSFORMER if is_transformer(model) else None
        dataset = nncf.Dataset([[x.numpy() for x in batch] for batch in data])
        converted = nncf.quantize(converted, dataset, model_type=kind)
    ov.save_model(converted, str(path), compress_to_fp16=False)


Build = Callable[[nn.Module, Inputs, list[Inputs], Path], None]
COMPETITORS: dict[str, tuple[Build, str]] = {
    "ours": (ours, ".pt"),
    "torch_float": (torch_float, ".pt"),
    "torch_fx": (torch_fx, ".pt"),
    "torch_dynamic": (torch_dynamic, ".pt"),
    "onnxruntime": (onnxruntime, ".onnx"),
    "openvino": (openvino, ".xml"),
}


def file_of(competitor: str, model: str, folder: Path) -> Path:
    """Where the competitor's file for the model is."""
    return folder / f"{model}-{competitor}{COMPETITORS[competitor][1]}"


def main() -> None:
    competitor, name, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    warnings.filterwarnings("ignore")  # of the competitors' own tools
    if name not in MODELS:
        raise SystemExit(f"unknown model {name}; there are {', '.join(MODELS)}")
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        COMPETITORS[competitor][0](*create(name), file_of(competitor, name, folder))


if __name__ == "__main__":
    main()

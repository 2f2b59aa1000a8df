"""prepare and convert: the way from an eager model to int8."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from ipex_quant import dynamic, equalizing, folding, jit, targets, unused_rules
from ipex_quant import prepared as _prepared
from ipex_quant.errors import QuantizationError, listing
from ipex_quant.qconfig import SiteQuery, as_mapping, wants_dynamic
from ipex_quant.report import ATTRIBUTE


def prepare(
    model: nn.Module,
    configure: Any = None,
    example_inputs: Any = None,
    inplace: bool = False,
    bn_folding: bool = True,
    example_kwarg_inputs: dict[str, Any] | None = None,
    *,
    qconfig: Any = None,
    bias_correction: bool = True,
) -> nn.Module:
    """A copy of the model that calibrates itself whenever it is called.

    Args:
        model: float model in eval mode; unchanged unless ``inplace``.
        configure: QConfig or QConfigMapping, ours or torch's.
        example_inputs: a tensor, dict or PackedSequence (one positional argument; the last for
            dynamic quantization only), or a tuple or list of positional arguments. Run once to
            find the operators; not observed.
        inplace: prepare the given model itself.
        bn_folding: fold batch normalization into the layer before it, and even out the channels
            between layers where that makes int8 more exact; the float outputs stay the same.
        example_kwarg_inputs: keyword arguments, instead of ``example_inputs``.
        qconfig: another name of ``configure``, which is IPEX's.
        bias_correction: take the mean error of each output channel, measured in calibration, off
            the bias; never in dynamic quantization, which does not depend on data.

    Returns: the prepared model, with ``save_qconf_summary(path)`` and ``load_qconf_summary(path)``.

    Raises:
        TypeError: an argument has the wrong type, such as a ScriptModule for the model, or a
            PackedSequence for an input of static quantization.
        ValueError: training mode; an unsupported observer; a rule for a module or
            an operator that the model does not have; no or wrong example inputs.
        QuantizationError: the model cannot be copied.
    """
    check_model(model, "prepare")
    mapping = as_mapping(_given(configure, qconfig))
    parts = unused_rules.parts_of(model)
    unused_rules.check_modules(mapping, parts)
    example = _example(example_inputs, example_kwarg_inputs)
    if not wants_dynamic(mapping):
        if example is None:
            raise ValueError(
                "static quantization needs example_inputs (or example_kwarg_inputs) to find the "
                "operators of the model"
            )
        _check_traceable(model, example)
    target = model if inplace else _prepared.copied(model)
    if example is not None and bn_folding:
        _try_example(target, example, lambda: folding.fold_batch_norms(target, example))
        _try_example(target, example, lambda: equalizing.equalize_layers(target, example))
    session = _prepared.Session(target, mapping, example, bias_correction)
    if example is not None:
        _try_example(target, example, lambda: session.discover(target, target))
    unused_rules.check_operators(mapping, parts, _queries(session, target))
    session.calibrator.check_weights()
    if session.dynamic:
        dynamic.check_weights(target, mapping)
    return _prepared.attach(target, session)


def _given(configure: Any, qconfig: Any) -> Any:
    if configure is not None and qconfig is not None:
        raise TypeError("give configure or qconfig, which mean the same, not both")
    if configure is None and qconfig is None:
        raise TypeError("prepare needs configure: it must be a QConfig or a QConfigMapping")
    return qconfig if configure is None else configure


def _queries(session: _prepared.Session, model: nn.Module) -> list[SiteQuery]:
    """What the mapping may be asked about."""
    found = session.calibrator.queries()
    return found + dynamic.queries(model) if session.dynamic else found


def check_model(model: Any, caller: str) -> None:
    """Raise unless a function of ours may take the model: eager, float and in eval mode."""
    if jit.is_script_module(model):
        raise TypeError(
            f"{caller} expects an eager nn.Module, got a ScriptModule; quantize a traced module "
            "with ipex_quant.jit.quantize(traced, qconfig, calibration_data=...)"
        )
    if not isinstance(model, nn.Module):
        raise TypeError(f"{caller} expects an nn.Module, got {type(model).__name__}")
    if _prepared.is_prepared(model):
        calibrate = "call it on inputs to calibrate it"
        instead = calibrate if caller == "prepare" else f"give {caller} the float model"
        raise ValueError(f"the model is prepared already; {instead}")
    training = [name or "the model itself" for name, m in model.named_modules() if m.training]
    if training:
        raise ValueError(
            f"the model is in training mode ({listing(training[:5])}"
            f"{' and more' if len(training) > 5 else ''}); call model.eval() first"
        )


def _example(inputs: Any, kwargs: Any) -> tuple[tuple, dict[str, Any]] | None:
    if inputs is not None and kwargs is not None:
        raise ValueError("give example_inputs or example_kwarg_inputs, not both")
    if kwargs is not None:
        if not isinstance(kwargs, dict):
            raise TypeError(f"example_kwarg_inputs must be a dict, got {type(kwargs).__name__}")
        return (), dict(kwargs)
    if inputs is None:
        return None
    if isinstance(inputs, (torch.Tensor, dict, PackedSequence)):
        return (inputs,), {}
    if isinstance(inputs, (list, tuple)):
        return tuple(inputs), {}
    raise TypeError(
        "example_inputs must be a tensor, a dict, or a tuple or list of arguments, got "
        f"{type(inputs).__name__}"
    )


def _check_traceable(model: nn.Module, example: tuple[tuple, dict[str, Any]]) -> None:
    """Raise for an argument that no trace takes: convert would fail after all calibration."""
    args, kwargs = example
    names = list(inspect.signature(model.forward).parameters)
    names += names[-1:] * (len(args) - len(names))  # of *args
    for name, value in [*zip(names, args, strict=False), *kwargs.items()]:
        if _has_packed(value):
            raise TypeError(
                f"the argument {name!r} of the model is a PackedSequence, which torch.jit.trace "
                "does not take, and static quantization needs a trace: give the model padded "
                "sequences and lengths, and call pack_padded_sequence inside of it"
            )


def _has_packed(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, PackedSequence) or (
        isinstance(value, (list, tuple)) and any(_has_packed(v) for v in value)
    )


def _try_example(model: nn.Module, example: tuple[tuple, dict], run: Any) -> None:
    """Run what calls the model on the example; the error of a failure names the inputs."""
    try:
        run()
    except QuantizationError:
        raise
    except _prepared.MODEL_ERRORS as error:
        shown = [_show(v) for v in example[0]] + [f"{k}={_show(v)}" for k, v in example[1].items()]
        raise ValueError(
            f"the model does not run on the example inputs ({', '.join(shown)}): "
            f"{type(error).__name__}: {error}"
        ) from error


def _show(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {list(value.shape)}"
    return type(value).__name__


def convert(
    model: nn.Module,
    inplace: bool = False,
    *,
    mode: str = "int8",
    float_dtype: torch.dtype | None = None,
) -> nn.Module:
    """The int8 model made from a prepared ``model``, which can be called, traced, frozen and saved.

    A statically quantized model is compiled from its trace with the example inputs of `prepare`,
    and needs calibration; ``inplace`` has no effect. For dynamic quantization the linear and
    recurrent layers are exchanged for int8 ones, which can be scripted, too; with ``inplace`` in
    the prepared model itself, which is no prepared model then.

    ``mode`` and ``float_dtype`` are those of `ipex_quant.jit.quantize`; a portable model is
    compiled from a trace in either case. Under ``torch.autocast("cpu", dtype=torch.bfloat16)`` what
    a static int8 model keeps float is bfloat16.

    Raises:
        TypeError: the model does not come from `prepare`.
        ValueError: ``mode`` or ``float_dtype`` are unknown; for dynamic quantization,
            ``float_dtype`` is given, or ``mode`` is "portable" and `prepare` had no example inputs.
        QuantizationError: it was not calibrated; it cannot be traced or copied.
    """
    session = _prepared.session_of(model)
    if session.dynamic:
        if float_dtype not in (None, torch.float32):
            raise ValueError(
                "a dynamically quantized model has no float_dtype: its modules are exchanged, and "
                "all others stay as they are; call it under "
                "torch.autocast('cpu', dtype=torch.bfloat16), or quantize its trace with "
                "ipex_quant.jit.quantize"
            )
        if targets.choose(mode, torch.float32, ()) == "INT8":
            return _convert_dynamically(model, session, inplace)
        if session.example is None:
            raise ValueError(
                "mode='portable' needs a trace, and this model was prepared without example "
                "inputs: give prepare() example_inputs"
            )
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu")
    if float_dtype is None:
        takes_bfloat16 = autocast is torch.bfloat16 and mode == "int8"
        float_dtype = torch.bfloat16 if takes_bfloat16 else torch.float32
    with targets.without_autocast():
        session.finalise(model)
        args, kwargs = session.example_copy()
        traced = jit.trace(model, args, kwargs)
        return QuantizedModel(jit.quantize(traced, mode=mode, float_dtype=float_dtype))


def _convert_dynamically(
    prepared: nn.Module, session: _prepared.Session, inplace: bool
) -> nn.Module:
    floats = {
        entry["site"].rsplit("/", 2)[0]: entry["reason"] or "its decision in the summary is float"
        for entry in session.known()["sites"]
        if entry["decision"] == "float"
    }
    model, found = dynamic.exchange(_prepared.detach(prepared, inplace), session.rules(), floats)
    model.register_buffer(ATTRIBUTE, found.to_tensor(), persistent=False)
    return model


class QuantizedModel(nn.Module):
    """Runs a compiled int8 module; an nn.Module that can be traced, frozen and saved."""

    def __init__(self, compiled: Any) -> None:
        super().__init__()
        self.compiled = compiled
        self.eval()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs of the prepared model, computed in int8."""
        return self.compiled(*args, **kwargs)

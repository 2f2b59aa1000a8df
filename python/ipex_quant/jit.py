"""Quantizes a traced module; the only file that calls torch.jit."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

from ipex_quant import _backend, adopted, dynamic_graph, ops, recipe, registry, state, targets
from ipex_quant import qconfig as _qconfig
from ipex_quant.calibration import Calibrator
from ipex_quant.errors import QuantizationError
from ipex_quant.registry import Fusion


@targets.without_autocast()
def quantize(
    traced: Any,
    qconfig: Any = None,
    *,
    calibration_data: Iterable[Any] | None = None,
    fusions: Sequence[Fusion] = (),
    preserved_attrs: Sequence[str] = (),
    mode: str = "int8",
    float_dtype: torch.dtype = torch.float32,
    bias_correction: bool = True,
) -> Any:
    """Compile a traced module to int8.

    ``torch.autocast`` around the call has no effect: its casts would be in the weights.

    Args:
        traced: ``torch.jit.trace`` of a calibrated prepared model, of a model that torch quantized
            (FX, PT2E, quantization-aware training), or any trace together with
            ``calibration_data``; eval mode, also after ``torch.jit.save`` and ``load``.
        qconfig: QConfig or QConfigMapping; the default recipe when not given. For a trace that
            has qparams it can only keep sites float, unless all of it is dynamic, which needs no
            qparams and no data.
        calibration_data: inputs that represent the real ones: each a tensor, or a tuple, list or
            dict of arguments. Replaces the qparams of the trace.
        fusions: made by `ipex_quant.fusion`; tried before the registered ones and these before the
            built-in ones, larger patterns first.
        preserved_attrs: attributes and methods to keep besides ``forward``.
        mode: "int8", or "portable": operators of torch alone, which round as int8 does and run
            where this package is not installed; such a file can be given to `quantize` again.
        float_dtype: of what stays float; ``torch.bfloat16`` for convolutions, linear layers, matrix
            products and recurrent layers where the CPU has it, elsewhere a warning and float32.
        bias_correction: as that of `prepare`, for ``calibration_data``.

    Returns: a new frozen ``torch.jit.ScriptModule``; ``traced`` is unchanged.

    Raises:
        TypeError: ``traced`` is no traced module.
        ValueError: ``traced`` is in training mode, or an argument asks for what is not supported.
        QuantizationError: no qparams and no calibration data, or they do not fit the module.
    """
    _check_traced(traced)
    target = targets.choose(mode, float_dtype, fusions)
    if target != "PORTABLE":
        fusions = registry.check([*fusions, *registry.registered()], "quantize")
    mapping = None if qconfig is None else _qconfig.as_mapping(qconfig)
    preserved = list(preserved_attrs)
    if not bias_correction and calibration_data is None:
        raise ValueError(
            "bias_correction=False needs calibration_data: a calibrated trace has its corrections "
            "already; give it to prepare()"
        )
    if mapping is not None and _qconfig.wants_dynamic(mapping):
        if calibration_data is not None:
            raise ValueError(
                "give calibration_data or a dynamic qconfig, not both: dynamic quantization finds "
                "its ranges at run time"
            )
        normalized, sites, summary = _dynamic(traced, mapping, preserved)
    elif calibration_data is not None:
        mapping = mapping or _qconfig.default_static_qconfig_mapping
        normalized, sites = _backend.normalize(traced._c, [], preserved)
        summary = _calibrate(traced, normalized, sites, mapping, calibration_data, bias_correction)
    else:
        calibrated = state.read_buffer(traced)
        if calibrated is not None:
            if mapping is not None:
                calibrated = _keep_float(calibrated, mapping, _types_of(traced))
            return from_summary(traced, calibrated, fusions, preserved, target)
        normalized, sites, summary = _adopt(traced, mapping, preserved)
    text, extra = state.compact(summary), _as_cpp(fusions)
    return wrap(_backend.compile_by_summary(normalized, sites, text, extra, preserved, target))


@targets.without_autocast()
def from_summary(
    traced: Any,
    summary: dict[str, Any],
    fusions: Sequence[Fusion] = (),
    preserved: Sequence[str] = (),
    target: str = "INT8",
) -> Any:
    """Compile a traced module by a summary of its model, whatever it carries itself."""
    text, extra = state.compact(summary), _as_cpp(fusions)
    return wrap(_backend.quantize(traced._c, text, extra, list(preserved), target))


def _as_cpp(fusions: Sequence[Fusion]) -> list[Any]:
    return [fusion.native for fusion in fusions]


def save(module: Any, path: Any) -> None:
    """Save a quantized module to a file, which is complete or untouched whatever happens.

    ``module.save`` writes the same bytes in place: a full disk or a process that ends meanwhile
    leaves part of a file where the old one was.

    Args:
        module: the ``torch.jit.ScriptModule``.
        path: of the file.

    Raises:
        OSError: the file cannot be written.
    """
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that torch.jit is deprecated
        torch.jit.save(module, content)
    state.write(content.getvalue(), path)


def load(file: Any) -> Any:
    """Load a saved quantized module, steady from its first call.

    ``torch.jit.load`` loads it as well; torch then profiles the first call and rewrites the graph
    for the second, which costs tens of milliseconds and changes no result.

    Args:
        file: a path or a readable binary file.

    Returns: the ``torch.jit.ScriptModule``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that torch.jit is deprecated
        module = torch.jit.load(file)
    _backend.make_steady(module._c)
    return module


def _dynamic(
    traced: Any, mapping: _qconfig.QConfigMapping, preserved: list[str]
) -> tuple[Any, list[str], dict[str, Any]]:
    """The normalized module, its sites and the summary of a dynamic quantization."""
    calibrated = state.read_buffer(traced)
    opaque = calibrated["opaque"] if calibrated else []
    normalized, sites = _backend.normalize(traced._c, opaque, preserved)
    types = _types_of(traced)
    summary = dynamic_graph.summarize(
        wrap(normalized).graph, sites, mapping, lambda path: _around(types, path), opaque
    )
    return normalized, sites, summary


def _check_traced(traced: Any) -> None:
    if not isinstance(traced, torch.jit.ScriptModule):
        raise TypeError(
            f"quantize expects a module from torch.jit.trace or torch.jit.load, got "
            f"{type(traced).__name__}; trace it first, or use prepare() and convert()"
        )
    if is_scripted(traced):
        raise TypeError(
            "quantize expects a module from torch.jit.trace, got one from torch.jit.script; trace "
            "it with example inputs"
        )
    if getattr(traced, "training", False):  # a frozen module has no mode
        raise ValueError(
            "the traced module is in training mode; call .eval() on the model before tracing it"
        )


def _adopt(
    traced: Any, mapping: _qconfig.QConfigMapping | None, preserved: list[str]
) -> tuple[Any, list[str], dict[str, Any]]:
    """The normalized module, its sites and the summary of a trace that is quantized already."""
    normalized, sites = _backend.normalize(traced._c, [], preserved)
    graph = wrap(normalized).graph
    if adopted.is_compiled(graph):
        raise QuantizationError(
            "the module is quantized already: it has int8 operators of ipex_quant; give the trace "
            "that it was made from"
        )
    if not adopted.is_quantized(graph):
        raise QuantizationError(
            "the traced module has no qparams: trace a model that went through prepare() and "
            "calibration, or give calibration_data" + adopted.hint(graph)
        )
    types = _types_of(traced)
    summary = adopted.summarize(graph, sites, mapping, lambda path: _around(types, path))
    return normalized, sites, summary


def _keep_float(
    summary: dict[str, Any], mapping: _qconfig.QConfigMapping, types: dict[str, Any]
) -> dict[str, Any]:
    """The summary with the sites float that a mapping gives None."""
    entries = []
    for entry in summary["sites"]:
        path, family, number = state.calibrated_site(entry).rsplit("/", 2)
        query = _qconfig.SiteQuery(path, family, entry["op"], int(number), _around(types, path))
        chosen, rule = _qconfig.choose(mapping, query)
        if chosen is None:
            entry = {**entry, "decision": "float", "reason": f"kept float by {rule}"}
        entries.append(entry)
    return {**summary, "sites": entries}


def _types_of(traced: Any) -> dict[str, str]:
    """Name of the Python class of each submodule of a traced module."""
    return {path: getattr(m, "original_name", "") for path, m in traced.named_modules()}


def _around(types: dict[str, str], path: str) -> tuple[str, ...]:
    parts = path.split(".") if path else []
    paths = [".".join(parts[:n]) for n in range(len(parts), -1, -1)]
    return tuple(types[p] for p in paths if p in types)


def _calibrate(
    traced: Any,
    normalized: Any,
    sites: list[str],
    mapping: _qconfig.QConfigMapping,
    data: Iterable[Any],
    bias_correction: bool,
) -> dict[str, Any]:
    """Calibrate on the graph: run a marked copy of it over the data and apply the recipe."""
    marked = wrap(_backend.instrument(normalized))
    types = _types_of(traced)
    calibrator = Calibrator(mapping, lambda path: _around(types, path))

    def run(event: Any, item: Any) -> None:
        def callback(family: str, op: str, args: list, site: str | None) -> None:
            if site is not None:
                args = ops.attention_arguments(args) if family == "sdpa" else args
                event(site, family, op, args)

        args, kwargs = item
        with torch.no_grad(), torch.jit.optimized_execution(False), _backend.recording(callback):
            marked(*args, **kwargs)

    names = {a.name for a in traced.forward.schema.arguments}
    for number, batch in enumerate(_batches(data)):
        item = _as_arguments(batch, names, f"batch {number} of calibration_data")
        calibrator.kept.add(item)
        calibrator.begin(observe=True, may_add=number == 0)
        try:
            run(calibrator.event, item)
        except QuantizationError:
            raise
        except (RuntimeError, TypeError, ValueError) as error:
            raise QuantizationError(
                f"the traced module does not run on batch {number} of calibration_data "
                f"({_describe(item)}): {error}"
            ) from error
        finally:
            calibrator.end()
        if number == 0:
            calibrator.check_weights()
        calibrator.forwards += 1
    if calibrator.forwards == 0:
        raise QuantizationError("calibration_data is empty; give at least one batch of inputs")

    def measure(event: Any) -> None:
        for item in calibrator.kept.copies():
            run(event, item)

    calibrator.arrange(sites)
    return recipe.summarize(calibrator, [], measure, bias_correction=bias_correction)


def _batches(data: Any) -> Iterator[Any]:
    if isinstance(data, (torch.Tensor, dict, str)) or not isinstance(data, Iterable):
        raise TypeError(
            "calibration_data must be an iterable of inputs, such as a list or a DataLoader, got "
            f"{type(data).__name__}"
        )
    return iter(data)


def _as_arguments(inputs: Any, names: set[str], what: str) -> tuple[tuple, dict[str, Any]]:
    """Arguments of one call: a dict means keywords if the module has them, else one argument."""
    if isinstance(inputs, dict):
        return ((), dict(inputs)) if names.issuperset(inputs) else ((inputs,), {})
    if isinstance(inputs, torch.Tensor):
        return (inputs,), {}
    if isinstance(inputs, (list, tuple)):
        return tuple(inputs), {}
    raise TypeError(
        f"{what} must be a tensor, or a tuple, list or dict of arguments, got "
        f"{type(inputs).__name__}"
    )


def _describe(item: tuple[tuple, dict[str, Any]]) -> str:
    return ", ".join(f"{t.dtype} {list(t.shape)}" for t in ops.tensors_in(item))


def wrap(module: Any) -> Any:
    """A ``torch._C.ScriptModule`` as the ScriptModule that users know."""
    return torch.jit._recursive.wrap_cpp_module(module)


_trace_lock = threading.RLock()
"""torch keeps the modules of a running trace in a global: of two at once one loses its modules."""


def trace(model: torch.nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Trace a module in eval mode without checks of ours or torch's; outputs may be dicts."""
    with _trace_lock, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that torch.jit is deprecated
        inputs = {"example_kwarg_inputs": kwargs} if kwargs else {"example_inputs": args}
        return torch.jit.trace(model, **inputs, check_trace=False, strict=False)


def trace_function(function: Callable, inputs: Sequence[Any]) -> Any:
    """Trace a function or module of tensors; inputs that are numbers stay numbers in the trace."""

    class Traced(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if isinstance(function, torch.nn.Module):
                self.function = function

        def forward(self, *tensors: torch.Tensor) -> Any:
            left = iter(tensors)
            return function(*(next(left) if isinstance(v, torch.Tensor) else v for v in inputs))

    tensors = tuple(v for v in inputs if isinstance(v, torch.Tensor))
    return trace(Traced().eval(), tensors, {})


def function_of(graph: Any) -> Callable:
    """A graph as a function of tensors."""
    return torch._C._create_function_from_graph("forward", graph.copy())


def is_script_module(module: Any) -> bool:
    """Whether an nn.Module is TorchScript already."""
    return isinstance(module, torch.jit.ScriptModule)


def is_scripted(module: Any) -> bool:
    """Whether a ScriptModule was made by torch.jit.script in this process."""
    if isinstance(module, torch.jit.TopLevelTracedModule):
        return False
    kind = getattr(module, "_concrete_type", None)  # one of its own for a loaded module
    return kind in torch.jit._recursive.concrete_type_store.methods_compiled


def is_tracing() -> bool:
    """Whether torch.jit.trace is recording this thread."""
    return torch._C._get_tracing_state() is not None


@contextlib.contextmanager
def tracing_paused() -> Iterator[None]:
    """Run without a running trace seeing it."""
    before = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)
    try:
        yield
    finally:
        torch._C._set_tracing_state(before)

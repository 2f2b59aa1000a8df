"""The prepared model: a copy of the user's that calibrates when called; its trace has qparams."""

from __future__ import annotations

import contextlib
import copy
import inspect
import threading
from collections.abc import Callable, Iterator
from pickle import PickleError
from typing import Any

import torch
from torch import nn

from ipex_quant import _backend, decisions, ipex_json, jit, ops, recipe, state
from ipex_quant.branches import as_traced
from ipex_quant.calibration import Calibrator
from ipex_quant.errors import QuantizationError
from ipex_quant.observer_edits import Edits
from ipex_quant.qconfig import QConfigMapping, wants_dynamic
from ipex_quant.traced import TracedCalls
from ipex_quant.tracking import PathTracker, module_paths

#: The model as a function of its arguments.
Run = Callable[..., Any]

_ATTRIBUTE = "_ipex_quant_calibration"
MODEL_ERRORS = (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError)
"""What a model raises on inputs that it cannot run on."""

_fast_path_lock = threading.Lock()
_fast_path_users = 0
_fast_path_before = True


@contextlib.contextmanager
def plain_attention() -> Iterator[None]:
    """Keep nn.MultiheadAttention and transformer layers to separate operators inside the block.

    torch has one process-wide switch for it; the last of several users puts it back.
    """
    global _fast_path_users, _fast_path_before
    with _fast_path_lock:
        if _fast_path_users == 0:
            _fast_path_before = torch.backends.mha.get_fastpath_enabled()
            torch.backends.mha.set_fastpath_enabled(False)
        _fast_path_users += 1
    try:
        yield
    finally:
        with _fast_path_lock:
            _fast_path_users -= 1
            if _fast_path_users == 0:
                torch.backends.mha.set_fastpath_enabled(_fast_path_before)


class Session:
    """Calibration of one prepared model: what its forward and its methods work on."""

    def __init__(
        self,
        model: nn.Module,
        mapping: QConfigMapping,
        example: tuple[tuple, dict[str, Any]] | None,
        bias_correction: bool = True,
    ) -> None:
        self.mapping = mapping
        self.dynamic = wants_dynamic(mapping)
        self.bias_correction = bias_correction and not self.dynamic
        self.example = example
        self.opaque = sorted(p for m, p in module_paths(model).items() if jit.is_script_module(m))
        types = {path: type(m) for m, path in module_paths(model).items()}
        types[""] = type(model)
        self._new_calibrator = lambda: Calibrator(mapping, lambda path: enclosing(types, path))
        self.calibrator = self._new_calibrator()
        self.as_traced = True
        """Whether calls take the branches of a trace."""
        self.summary: dict[str, Any] | None = None
        self.edits: Edits | None = None
        """What a loaded summary changed and calibration has to complete."""
        self.decisions: dict[str, dict[str, Any]] = {}
        """Sites for which a loaded summary or autotune decided, whatever the recipe does."""
        self.plain_forward: Callable | None = None
        """The forward that was set on the user's model itself, beside that of its class."""
        self.lock = threading.RLock()

    def __deepcopy__(self, memo: dict) -> Session:
        raise QuantizationError("a prepared model cannot be copied; prepare a copy of the model")

    def example_copy(self) -> tuple[tuple, dict[str, Any]]:
        """A copy of the example inputs, since a model may write into them."""
        args, kwargs = self.example or ((), {})
        return ops.map_tensors((args, kwargs), lambda t: t.detach().clone())

    def discover(self, model: nn.Module, run: Run) -> None:
        """Find the sites by a run on the example inputs."""
        try:
            self._discover(model, run)
        except MODEL_ERRORS:
            # A branch for tracing may need what only a trace has: sizes that are tensors.
            self.as_traced = False
            self.calibrator = self._new_calibrator()
            self._discover(model, run)

    def _discover(self, model: nn.Module, run: Run) -> None:
        with kept_buffers(model), torch.no_grad():
            args, kwargs = self.example_copy()
            self.watch(model, run, args, kwargs, observe=False)

    def calibrate(self, model: nn.Module, run: Run, args: tuple, kwargs: dict) -> Any:
        """One calibration call of the user."""
        with self.lock:
            kept = (ops.map_tensors(args, torch.Tensor.detach), dict(kwargs))
            self.calibrator.kept.add(kept)
            result = self.watch(model, run, args, kwargs, observe=True)
            if self.calibrator.forwards == 0 and self._counts_anew(model, run):
                self.calibrator.kept.add(kept)
                result = self.watch(model, run, args, kwargs, observe=True)
            self.calibrator.forwards += 1
            self.summary = None
            return result

    def _counts_anew(self, model: nn.Module, run: Run) -> bool:
        """Begin again when the first calibration call made fewer calls than the example.

        A model that keeps what it computed, positions for a size as an example, does so from its
        second run on, and those are the runs to count the calls in.
        """
        if self.example is None or self.edits is not None or self.decisions or self.dynamic:
            return False
        if not self.calibrator.has_silent_sites():
            return False
        self.calibrator = self._new_calibrator()
        self.discover(model, run)
        return True

    def watch(self, model: nn.Module, run: Run, args: tuple, kwargs: dict, observe: bool) -> Any:
        """Run the model and give the calibrator every call that has a site."""
        calibrator = self.calibrator
        # Dynamic quantization exchanges modules, whatever path a call takes through them.
        may_add = self.example is None or self.dynamic or not observe
        calibrator.begin(observe=observe, may_add=may_add)
        try:
            return self._record(model, calibrator.event, run, args, kwargs)
        finally:
            calibrator.end()

    def _record(
        self, model: nn.Module, event: Callable, run: Run, args: tuple, kwargs: dict
    ) -> Any:
        tracker = PathTracker(model)
        calibrator = self.calibrator
        owned = owned_numbers(model)

        def callback(family: str, op: str, arguments: list, _site: str | None) -> None:
            if computes_numbers(arguments, owned):
                return
            event(calibrator.key(tracker.path, family), family, op, arguments)

        branches = as_traced() if self.as_traced else contextlib.nullcontext()
        with plain_attention(), branches, tracker.tracking(), _backend.recording(callback):
            return run(*args, **kwargs)

    def trace(self, model: nn.Module, run: Run, args: tuple, kwargs: dict) -> Any:
        """Run the model under the tracer; the buffer gets the summary of its calls in the trace."""
        with jit.tracing_paused():
            summary = self.finalise(model)
        calls = TracedCalls()
        owned = owned_numbers(model)
        tracker = PathTracker(model)

        def callback(family: str, _op: str, arguments: list, _site: str | None) -> None:
            calls.note(tracker.path, family, arguments, computes_numbers(arguments, owned))

        with plain_attention(), tracker.tracking(), _backend.recording(callback):
            result = run(*args, **kwargs)
        fitted = calls.fit(summary, self.calibrator.sites, result, self.opaque)
        with jit.tracing_paused():
            state.write_buffer(model, fitted)
        return result

    def measure(self, model: nn.Module, run: Run, event: Callable) -> None:
        """Run the model on the kept inputs; ``event`` gets the calls instead of the calibrator."""
        with kept_buffers(model), torch.no_grad():
            for args, kwargs in self.calibrator.kept.copies():
                self.calibrator.begin(observe=False, may_add=False)
                self._record(model, event, run, args, kwargs)

    def finalise(self, model: nn.Module) -> dict[str, Any]:
        """The summary: from the calibration, or the loaded one; cached until the next call."""
        with self.lock:
            if self.summary is None:
                if self.edits is not None:
                    self.edits.check_observed()
                run = type(model)._ipex_quant_run
                fresh = recipe.summarize(
                    self.calibrator,
                    self.opaque,
                    lambda event: self.measure(model, lambda *a, **k: run(model, *a, **k), event),
                    bias_correction=self.bias_correction,
                )
                made = fresh if self.edits is None else self.edits.merged(fresh)
                self.summary = decisions.put(made, self.decisions)
            return self.summary

    def take(self, summary: dict[str, Any], source: str) -> None:
        """Take a loaded summary; sites whose observers were edited in it wait for calibration."""
        with self.lock:
            edits = Edits(summary, self.calibrator.sites, self.mapping, source)
            self.decisions = decisions.taken(summary)
            self.edits = edits if edits.changed else None
            self.summary = None if edits.changed else summary

    def known(self) -> dict[str, Any]:
        """The summary as far as it was loaded or made, without calibration."""
        loaded = None if self.edits is None else self.edits.summary
        return self.summary or loaded or {"sites": list(self.decisions.values())}

    def decide(self, model: nn.Module, taken: dict[str, dict[str, Any]]) -> None:
        """Take decisions for some sites, which hold in later calibrations, too."""
        with self.lock:
            self.summary = decisions.put(self.finalise(model), taken)
            self.decisions = {**self.decisions, **taken}

    def rules(self) -> QConfigMapping:
        """The mapping with what a loaded summary changed in it."""
        return self.mapping if self.edits is None else self.edits.rules(self.mapping)


def owned_numbers(model: nn.Module) -> set[int]:
    """The ids of a model's parameters and buffers that hold one number."""
    return {id(t) for t in (*model.parameters(), *model.buffers()) if t.dim() == 0}


def computes_numbers(arguments: list, owned: set[int]) -> bool:
    """Whether a call computes with numbers alone, in tensors: sizes and what is made of them.

    They are numbers in the graph too, so such a call has no site there. Parameters and buffers,
    ``owned`` by id, are none.
    """
    tensors = [value for value in arguments if isinstance(value, (torch.Tensor, list))]
    return all(
        isinstance(value, torch.Tensor) and value.dim() == 0 and id(value) not in owned
        for value in tensors
    )


@contextlib.contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Put the buffers back as they were, for a model that keeps state in them."""
    before = {b: (b._version, b.detach().clone()) for b in model.buffers() if not b.is_inference()}
    try:
        yield
    finally:
        for buffer, (version, value) in before.items():
            if buffer._version != version:
                with torch.no_grad():
                    buffer.copy_(value)


def enclosing(types: dict[str, Any], path: str) -> tuple[Any, ...]:
    """Types of the module at a path and of those around it, nearest first."""
    parts = path.split(".") if path else []
    paths = [".".join(parts[:n]) for n in range(len(parts), -1, -1)]
    return tuple(types[p] for p in paths if p in types)


def is_prepared(model: Any) -> bool:
    """Whether a module comes from prepare()."""
    return isinstance(getattr(model, _ATTRIBUTE, None), Session)


def session_of(model: Any) -> Session:
    """The session of a prepared model; TypeError for any other object."""
    session = getattr(model, _ATTRIBUTE, None)
    if not isinstance(session, Session):
        raise TypeError(
            f"expected a model from ipex_quant.prepare(), got {type(model).__name__}; "
            "prepare and calibrate it first"
        )
    return session


def attach(model: nn.Module, session: Session) -> nn.Module:
    """Make the model calibrate itself when it is called; changes the class of this object only."""
    plain = type(model)
    run = model.__dict__.pop("forward", None)  # a forward set on the object hides the class's
    session.plain_forward = run

    def run_model(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return run(*args, **kwargs) if run is not None else plain.forward(self, *args, **kwargs)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        work = session.calibrate
        if jit.is_tracing():
            work = session.trace
        else:
            state.renew_buffer(self)
        return work(self, lambda *a, **k: run_model(self, *a, **k), args, kwargs)

    forward.__signature__ = _method_signature(run, plain.forward)  # type: ignore[attr-defined]
    members = {
        "forward": forward,
        "_ipex_quant_run": run_model,
        "save_qconf_summary": save_qconf_summary,
        "load_qconf_summary": load_qconf_summary,
        "__module__": plain.__module__,
        "__qualname__": plain.__qualname__,
        "__doc__": plain.__doc__,
    }
    model.__class__ = type(plain.__name__, (plain,), members)
    setattr(model, _ATTRIBUTE, session)
    model.register_buffer(state.BUFFER, torch.zeros(0, dtype=torch.uint8), persistent=False)
    return model


def detach(model: nn.Module, inplace: bool) -> nn.Module:
    """The user's model again, without its session: itself, or a copy."""
    session = session_of(model)
    forward = session.plain_forward
    if not inplace:
        memo = {id(session): session}
        model, forward = copied((model, forward), memo)
    model.__class__ = type(model).__mro__[1]
    delattr(model, _ATTRIBUTE)
    delattr(model, state.BUFFER)
    if forward is not None:
        model.forward = forward
    return model


def copied(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """A deep copy; the error of a failure names the way out."""
    try:
        return copy.deepcopy(value, memo)
    except (RuntimeError, TypeError, AttributeError, ValueError, PickleError) as error:
        raise QuantizationError(
            f"the model cannot be copied: {type(error).__name__}: {error}; make it copyable, or "
            "give inplace=True to work on the model itself"
        ) from error


def _method_signature(bound: Callable | None, method: Callable) -> inspect.Signature:
    """Signature of the user's forward with self: the tracer names the graph's inputs after it."""
    if bound is None:
        return inspect.signature(method)
    signature = inspect.signature(bound)
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return signature.replace(parameters=[first, *signature.parameters.values()])


def save_qconf_summary(self: nn.Module, qconf_summary: Any) -> None:
    """Write the qparams and decisions of every site to a JSON file, to be read and edited."""
    _check_ran(session_of(self), "save_qconf_summary")
    state.save(session_of(self).finalise(self), qconf_summary)


def load_qconf_summary(self: nn.Module, qconf_summary: Any) -> None:
    """Take qparams and decisions from a JSON file; the next calibration call replaces them.

    A ``decision`` that was edited holds from then on: calibration replaces the site's qparams. It
    was edited where it is not ``recipe_decision``, or where there is no such field.

    Where an ``observer`` was edited, calibration calls are needed: they complete the file with the
    scales of the observers it asks for, and leave its other entries as they are.

    A ``configure.json`` of IPEX is read, too: see `ipex_quant.ipex_json`.
    """
    session = session_of(self)
    _check_ran(session, "load_qconf_summary")

    def of_ipex(content: Any, source: str) -> dict[str, Any] | None:
        if not ipex_json.is_ipex(content):
            return None
        calibrated = session.finalise(self) if session.calibrator.forwards else None
        sites = list(session.calibrator.sites.values())
        return ipex_json.summary(content, sites, calibrated, session.opaque, source)

    summary = state.load(qconf_summary, of_ipex)
    state.check_sites(
        list(session.calibrator.sites), summary, "the prepared model", str(qconf_summary)
    )
    session.take(summary, f"the file {str(qconf_summary)!r}")
    state.renew_buffer(self)


def _check_ran(session: Session, what: str) -> None:
    """Raise before a dynamically prepared model without example inputs made its first call."""
    calibrator = session.calibrator
    if session.example is None and calibrator.forwards == 0 and not calibrator.sites:
        raise QuantizationError(
            f"{what} needs to know the operators of the model, which did not run yet: give prepare "
            "example_inputs, or call the prepared model on an input first"
        )

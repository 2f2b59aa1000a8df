"""Searches the fewest float operators, by the time they cost, that keep a model's accuracy."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from rich.progress import Progress
from torch import nn

from ipex_quant import decisions, frontend, jit, ops, prepared, state, tuning_inputs
from ipex_quant.qconfig import as_mapping, default_static_qconfig, wants_dynamic
from ipex_quant.trials import Journal, Sensitivity, Trial, Trials

#: Seconds in which one way of running is timed, at least three calls: of a trial and of a site.
_TRIAL_TIMING, _SITE_TIMING = 0.1, 0.02
#: Share of the time that is left which the sites alone may take.
_SITES_SHARE = 0.5
#: A site whose output has so many dB less noise than the noisiest one's is not tried alone.
_NEGLIGIBLE = 30.0


def autotune(
    model: nn.Module,
    calib_dataloader: Iterable[Any] | None,
    calib_func: Callable[[nn.Module], Any] | None = None,
    eval_func: Callable[[nn.Module], Any] | None = None,
    op_type_dict: dict[str, Any] | None = None,
    sampling_sizes: Sequence[int] | None = None,
    accuracy_criterion: dict[str, Any] | None = None,
    tuning_time: float = 0,
    *,
    qconfig: Any = default_static_qconfig,
    max_trials: int = 100,
    resume: Any = None,
    progress: bool = True,
) -> nn.Module:
    """A calibrated prepared model with the fewest float operators that keep the accuracy.

    It tries int8 everywhere first. If that loses too much, each site is tried in int8 alone: what
    it does to the model's output on the first input, and the time that it saves. Calibration has
    measured the noise in the output of each site itself: the noisiest come first, and those with
    30 dB less noise than the noisiest are left out. Sites become float in the order of error per
    time saved, as few as are needed, and are then tried in int8 once more one by one.

    Args:
        model: float model in eval mode; unchanged.
        calib_dataloader: inputs that represent the real ones: each a tensor, or a tuple, list or
            dict of arguments; a pair that does not fit the model is an input and its label.
        calib_func: calibrates the prepared model that it is given, instead of a call on each input.
        eval_func: gives the accuracy of a model, a number.
        op_type_dict: operators to keep float, by name, as in
            ``{"linear": {"activation": {"dtype": ["fp32"]}}}``.
        sampling_sizes: numbers of inputs to calibrate with; each is tried, the best is kept.
        accuracy_criterion: ``{"relative": 0.01}`` or ``{"absolute": 0.01}``, the loss allowed, and
            ``"higher_is_better": False`` for an error.
        tuning_time: seconds after which nothing is begun but what is always done: one calibration
            and the trial of int8 everywhere; 0 for no limit. At most half of what is left after
            these goes to single sites; those that were not reached come last, noisiest first.
        qconfig: static QConfig or QConfigMapping to start from.
        max_trials: after which the search ends.
        resume: file that records the trials, and from which a later call goes on, perhaps with
            another criterion. It evaluates float and int8 everywhere once more, to know that
            ``eval_func`` measures what it measured.
        progress: show a progress bar.

    Returns: the prepared model for `convert`, with its summary, whose float sites hold in later
        calibrations, too; ``.autotune_trials`` (`Trials`) tells what each trial did, and prints as
        a table. When nothing within the budget meets the criterion, the most accurate trial is
        taken, with a warning.

    Raises:
        TypeError: the model is a ScriptModule; the inputs cannot be iterated; eval_func gives no
            number.
        ValueError: a model in training mode or prepared already; a wrong criterion, budget or
            op_type_dict; no inputs.
        QuantizationError: ``resume`` is of another model, calibration or ``eval_func``.
    """
    frontend.check_model(model, "autotune")
    budget = tuning_inputs.Budget(max_trials, tuning_time)
    criterion = Criterion(accuracy_criterion)
    if eval_func is None:
        raise ValueError("autotune needs eval_func, a function that gives the accuracy of a model")
    sizes = tuning_inputs.check_sizes(sampling_sizes)
    mapping = tuning_inputs.with_types(as_mapping(qconfig), op_type_dict)
    if wants_dynamic(mapping):
        raise ValueError("autotune works on static quantization; give a static qconfig")
    batches = tuning_inputs.inputs(model, calib_dataloader, max(sizes))
    searches: list[Search] = []
    with torch.no_grad(), Progress(disable=not progress, transient=True) as bar:
        baseline = number_of(eval_func(model))
        for size, journal in zip(sizes, _journals(resume, len(sizes)), strict=True):
            if searches and budget.left() <= 0:
                break
            ready = frontend.prepare(model, mapping, **_example(batches[0]))
            _calibrate(ready, tuning_inputs.first(batches, size), calib_func)
            search = Search(ready, batches[0], eval_func, criterion, baseline, journal, budget, bar)
            search.try_floats(frozenset(), "int8 everywhere")
            searches.append(search)
        best = min(searches, key=lambda search: search.trials.trials[0].loss)
        best.run()
    return best.result()


class Criterion:
    """The accuracy that a trial must keep."""

    def __init__(self, given: dict[str, Any] | None) -> None:
        given = {"relative": 0.01} if given is None else given
        kinds = (
            [k for k in ("relative", "absolute") if k in given] if isinstance(given, dict) else []
        )
        known = {"relative", "absolute", "higher_is_better"}
        if len(kinds) != 1 or not set(given) <= known:
            raise ValueError(
                'accuracy_criterion must be {"relative": loss} or {"absolute": loss}, perhaps with '
                f'"higher_is_better", got {given!r}'
            )
        self.kind = kinds[0]
        self.most = given[self.kind]
        self.higher = bool(given.get("higher_is_better", True))
        if not isinstance(self.most, (int, float)) or not 0 <= self.most < math.inf:
            raise ValueError(
                f"the {self.kind} loss must be a number of at least 0, got {self.most!r}"
            )

    def loss(self, baseline: float, accuracy: float) -> float:
        """How much worse than float; below 0 when better."""
        loss = baseline - accuracy if self.higher else accuracy - baseline
        return loss if self.kind == "absolute" else loss / max(abs(baseline), 1e-12)

    def __str__(self) -> str:
        return f"{self.kind} loss of at most {self.most:g}"


class Search:
    """Trials of one calibrated model."""

    def __init__(
        self,
        ready: nn.Module,
        example: tuple[tuple, dict[str, Any]],
        evaluate: Callable[[nn.Module], Any],
        criterion: Criterion,
        baseline: float,
        resume: Any,
        budget: tuning_inputs.Budget,
        bar: Progress,
    ) -> None:
        self._ready, self._example, self._evaluate = ready, example, evaluate
        self._criterion, self._budget, self._bar = criterion, budget, bar
        self._session = prepared.session_of(ready)
        self._summary = self._session.finalise(ready)
        self._traced = jit.trace(ready, *self._session.example_copy())
        #: With the sites of the trace.
        self._fitted = state.read_buffer(self._traced) or self._summary
        self._journal = Journal(resume, self._summary)
        self._sites = [
            entry["site"]
            for entry in self._summary["sites"]
            if entry["decision"] == "int8" and entry["site"].rsplit("/", 2)[1] in ops.ANCHORS
        ]
        known = self._session.calibrator.sites
        #: Signal to noise of each site's own output; what was not measured may be the worst.
        self._own = {key: known[key].sqnr or -math.inf for key in self._sites}
        self._noisiest = sorted(self._sites, key=lambda site: self._own[site])
        self._journal.confirm("baseline", baseline, "the float model")
        self.trials = Trials(baseline, str(criterion))

    def _over(self) -> bool:
        """Whether the budget forbids the trial that would be next; then the table says so."""
        if self._budget.left() <= 0:
            done = f"{len(self.trials.sensitivities)} of {len(self._sites)} sites were tried alone"
            self.trials.ended = f"tuning_time was over: {done}"
        elif len(self.trials.trials) >= self._budget.trials:
            self.trials.ended = "max_trials were done"
        return bool(self.trials.ended)

    def try_floats(self, floats: frozenset[str], step: str) -> Trial:
        """The trial of these float sites, evaluated unless that was done before."""
        known = self.trials.find(floats)
        if known is not None:
            return known
        ordered = tuple(site for site in self._sites if site in floats)
        measured = self._measured(ordered)
        loss = self._criterion.loss(self.trials.baseline, measured["accuracy"])
        met = loss <= self._criterion.most
        trial = Trial(floats=ordered, loss=loss, met=met, step=step, **measured)
        self.trials.trials.append(trial)
        return trial

    def _measured(self, floats: tuple[str, ...]) -> dict[str, float]:
        """What was measured with these float sites, now or before: whatever the criterion."""
        if floats:
            measured = self._journal.once("float " + " ".join(floats), lambda: self._run(floats))
            return {name: measured[name] for name in ("accuracy", "milliseconds", "seconds")}
        measured = self._run(floats)
        self._journal.confirm("int8", measured["accuracy"], "int8 everywhere")
        return measured

    def _run(self, floats: tuple[str, ...]) -> dict[str, float]:
        start = time.monotonic()
        compiled = self._compile(set(floats))
        accuracy = number_of(self._evaluate(frontend.QuantizedModel(compiled)))
        milliseconds = 1e3 * self._time([compiled], _TRIAL_TIMING)[0]
        seconds = time.monotonic() - start
        return {"accuracy": accuracy, "milliseconds": milliseconds, "seconds": seconds}

    def _compile(self, floats: set[str]) -> Any:
        return jit.from_summary(self._traced, with_floats(self._fitted, floats, "autotune"))

    def _call(self, compiled: Any) -> list[torch.Tensor]:
        args, kwargs = ops.map_tensors(self._example, torch.clone)
        return [
            t.float() for t in ops.tensors_in(compiled(*args, **kwargs)) if t.is_floating_point()
        ]

    def _time(self, compiled: list[Any], seconds: float) -> list[float]:
        """Least seconds per call of each, taken in turn."""
        least = [math.inf] * len(compiled)
        start, rounds = time.monotonic(), 0
        while rounds < 3 or time.monotonic() - start < seconds * len(compiled):
            for i, module in enumerate(compiled):
                before = time.perf_counter()
                self._call(module)
                least[i] = min(least[i], time.perf_counter() - before)
            rounds += 1
        return least

    def measure_sites(self) -> None:
        """Each site that may matter in int8 alone, against none of them; while there is time."""
        plain = self._compile(set(self._sites))
        reference = self._call(plain)
        worst = min((own for own in self._own.values() if own > -math.inf), default=0.0)
        chosen = [site for site in self._noisiest if self._own[site] < worst + _NEGLIGIBLE]
        task = self._bar.add_task("sensitivity", total=len(chosen))
        kept = (1 - _SITES_SHARE) * self._budget.left()

        def measure(site: str) -> list[float]:
            alone = self._compile(set(self._sites) - {site})
            noise = signal = 0.0
            for got, expected in zip(self._call(alone), reference, strict=True):
                noise += float((got - expected).square().sum(dtype=torch.float64))
                signal += float(expected.square().sum(dtype=torch.float64))
            float_time, int8_time = self._time([plain, alone], _SITE_TIMING)
            share = max(noise, signal * 1e-15, 1e-300) / max(signal, 1e-300)
            return [-10 * math.log10(share), 1e3 * (float_time - int8_time)]

        for site in chosen:
            if self._budget.left() <= kept < math.inf:
                break
            sqnr, gain = self._journal.once("site " + site, lambda site=site: measure(site))
            self.trials.sensitivities.append(Sensitivity(site, sqnr, gain))
            self._bar.advance(task)

    def run(self) -> None:
        """Search until the criterion is met with as little time lost as can be found."""
        if self.trials.trials[0].met or self._over():
            return
        self.measure_sites()
        found = self.trials.sensitivities
        # A site that saves no measurable time costs nothing as float: it goes early.
        floor = 0.01 * max(sum(max(s.gain, 0.0) for s in found) / max(len(found), 1), 1e-6)
        worth = {s.site: 10 ** (-s.sqnr / 10) / max(s.gain, floor) for s in found}
        order = sorted(self._noisiest, key=lambda site: -worth.get(site, 0.0))
        task = self._bar.add_task("trials", total=self._budget.trials)
        least = self._least_prefix(order, task)
        if least is not None:
            self._give_back(order[:least], {s.site: s.gain for s in found}, task)

    def _least_prefix(self, order: list[str], task: Any) -> int | None:
        """Length of the shortest prefix found that meets the criterion as float sites."""
        failed, met, length = 0, None, 1
        while (met is None or met - failed > 1) and not self._over():
            trial = self.try_floats(frozenset(order[:length]), f"{length} most harmful float")
            self._bar.update(task, completed=len(self.trials.trials))
            if trial.met:
                met = length
            else:
                failed = length
                if length == len(order):
                    return None
            length = min(2 * length, len(order)) if met is None else (failed + met) // 2
        return met

    def _give_back(self, floats: list[str], gains: dict[str, float], task: Any) -> None:
        """Try each float site in int8 once more, the one that saves most first."""
        left = set(floats)
        for site in sorted(floats, key=lambda site: -gains.get(site, 0.0)):
            if len(left) == 1 or self._over():
                return
            trial = self.try_floats(frozenset(left - {site}), f"{site} int8 again")
            self._bar.update(task, completed=len(self.trials.trials))
            if trial.met:
                left.discard(site)

    def result(self) -> nn.Module:
        """The prepared model with the best trial's decisions."""
        trials = self.trials.trials
        met = [trial for trial in trials if trial.met]
        if met:
            # Of equal time within the noise of timing, fewer float sites.
            fastest = min(trial.milliseconds for trial in met)
            near = [t for t in met if t.milliseconds <= 1.03 * fastest]
            self.trials.chosen = min(near, key=lambda t: len(t.floats))
        else:
            self.trials.chosen = min(trials, key=lambda trial: trial.loss)
            ended = f" ({self.trials.ended})" if self.trials.ended else ""
            warnings.warn(
                f"autotune found nothing with a {self.trials.criterion} in {len(trials)} trials"
                f"{ended}; the most accurate has {self.trials.chosen.loss:.3g}. Keep more float "
                "with the qconfig, or allow a larger loss, more trials or more time",
                stacklevel=3,
            )
        chosen = decisions.floats(self.trials.chosen.floats, "autotune: it costs accuracy")
        self._session.decide(self._ready, chosen)
        self._ready.autotune_trials = self.trials
        return self._ready


def with_floats(summary: dict[str, Any], floats: set[str], reason: str) -> dict[str, Any]:
    """The summary with more float sites, which have the names of calibration."""
    sites = [e["site"] for e in summary["sites"] if state.calibrated_site(e) in floats]
    return decisions.put(summary, decisions.floats(sites, reason))


def number_of(value: Any) -> float:
    """The accuracy that eval_func gave."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    try:
        number = float(value) if not isinstance(value, (str, bytes, bool)) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise TypeError(f"eval_func must return a finite number, got {value!r}")
    return number


def _journals(resume: Any, count: int) -> list[Any]:
    """A file for each calibration."""
    if resume is None or count == 1:
        return [resume] * count
    return [f"{resume}.{number}" for number in range(count)]


def _example(item: tuple[tuple, dict[str, Any]]) -> dict[str, Any]:
    """An input as prepare takes its example."""
    args, kwargs = item
    return {"example_kwarg_inputs": kwargs} if kwargs else {"example_inputs": args}


def _calibrate(ready: nn.Module, batches: list[Any], function: Any) -> None:
    with torch.no_grad():
        if function is not None:
            function(ready)
            return
        for args, kwargs in batches:
            ready(*args, **kwargs)

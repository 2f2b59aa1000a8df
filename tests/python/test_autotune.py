"""autotune: finds the harmful sites, keeps a budget, goes on, reports, checks its input."""

from __future__ import annotations

import functools
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from rich.progress import Progress
from torch import nn
from torch.ao.quantization import MinMaxObserver, PerChannelMinMaxObserver

import ipex_quant
from ipex_quant import QConfig, QuantizationError, prepared, tuning_inputs
from ipex_quant.autotune import Search
from ipex_quant.quantization import autotune, convert

#: No error-minimising recipe: the planted outliers do their harm.
MIN_MAX = QConfig(
    MinMaxObserver.with_args(dtype=torch.quint8, qscheme=torch.per_tensor_affine),
    PerChannelMinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_channel_symmetric),
)
HARMFUL = ("2", "5")
TIMES = 40.0


class Net(nn.Sequential):
    """Layers with outliers in the inputs of two; the other ones quantize well."""

    def __init__(self) -> None:
        torch.manual_seed(2)
        layers = [nn.Linear(32, 32) for _ in range(8)]
        super().__init__(*layers)
        self.eval()
        with torch.no_grad():
            for layer in layers:
                layer.weight.normal_(0, 32**-0.5)
            for name in HARMFUL:
                before, after = self[int(name) - 1], self[int(name)]
                before.weight[:2] *= TIMES
                before.bias[:2] *= TIMES
                after.weight[:, :2] /= TIMES


def data(count: int = 6) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return [torch.randn(32, 32, generator=g) for _ in range(count)]


class DeadCalls(Net):
    """Calls two layers first for nothing: their sites have other numbers in the trace."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self[3](x), self[5](x)
        return super().forward(x)


class Accuracy:
    """Share of the answers that are those of the float model, and the number of evaluations."""

    def __init__(self) -> None:
        self.net, self.calls = Net(), 0

    def __call__(self, model: nn.Module) -> float:
        self.calls += 1
        with torch.no_grad():
            x = torch.cat(data(40)[6:])
            return float((model(x).argmax(1) == self.net(x).argmax(1)).float().mean())


def floats_of(ready: nn.Module) -> set[str]:
    rows = ipex_quant.report(convert(ready))
    return {row.module for row in rows if row.became == "float"}


def tuned(accuracy: Any, loss: float = 0.05, net: type = Net, **settings: Any) -> nn.Module:
    return autotune(
        net(),
        data(),
        eval_func=accuracy,
        accuracy_criterion={"relative": loss},
        qconfig=MIN_MAX,
        **{"progress": False, **settings},
    )


def test_the_harmful_sites_become_float_under_their_numbers_in_the_trace() -> None:
    ready = tuned(Accuracy(), net=DeadCalls)
    assert "5/linear/1" in ready.autotune_trials.chosen.floats
    assert floats_of(ready) == set(HARMFUL)


def test_the_harmful_sites_become_float() -> None:
    accuracy = Accuracy()
    ready = tuned(accuracy)
    trials = ready.autotune_trials
    assert not trials.trials[0].met and trials.trials[0].loss > 0.2
    assert trials.met and trials.chosen.loss <= 0.05
    assert floats_of(ready) == set(HARMFUL)
    assert accuracy(convert(ready)) == trials.chosen.accuracy
    noisiest = sorted(trials.sensitivities, key=lambda s: s.sqnr)[:2]
    assert {s.site.split("/")[0] for s in noisiest} == set(HARMFUL)
    table = str(trials)
    assert "int8 everywhere" in table and "2/linear/0" in table and "*" in table
    assert trials.to_dict()["trials"][0]["floats"] == ()


def test_nothing_is_tried_when_int8_is_good_enough() -> None:
    accuracy = Accuracy()
    ready = tuned(accuracy, loss=0.95)
    assert accuracy.calls == 2  # float, int8
    assert floats_of(ready) == set() and not ready.autotune_trials.sensitivities


def test_the_summary_can_be_saved_and_loaded(tmp_path: Path) -> None:
    ready = tuned(Accuracy())
    file = str(tmp_path / "s.json")
    ready.save_qconf_summary(qconf_summary=file)
    sites = json.loads(Path(file).read_text())["sites"]
    reasons = {s["site"].split("/")[0]: s["reason"] for s in sites if s["decision"] == "float"}
    assert set(reasons) == set(HARMFUL) and set(reasons.values()) == {"autotune: it costs accuracy"}
    ready.load_qconf_summary(qconf_summary=file)
    assert floats_of(ready) == set(HARMFUL)


def test_later_calibration_keeps_the_float_sites(tmp_path: Path) -> None:
    ready = tuned(Accuracy())
    for x in data():
        ready(x)
    assert floats_of(ready) == set(HARMFUL)
    rows = {row.module: row for row in ipex_quant.report(convert(ready))}
    assert rows[HARMFUL[0]].reason == "autotune: it costs accuracy"
    ready.save_qconf_summary(tmp_path / "s.json")
    other = ipex_quant.prepare(Net(), MIN_MAX, data(1)[0])
    other.load_qconf_summary(tmp_path / "s.json")
    for x in data():
        other(x)
    assert floats_of(other) == set(HARMFUL)


@pytest.mark.parametrize("budget", [{"max_trials": 2}, {"tuning_time": 1e-9}])
def test_a_budget_ends_the_search(budget: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="autotune found nothing with a relative loss"):
        ready = tuned(Accuracy(), loss=0.001, **budget)
    assert len(ready.autotune_trials.trials) <= 2 and not ready.autotune_trials.met


def test_no_calibration_is_begun_when_the_time_is_over() -> None:
    accuracy = Accuracy()
    tuned(accuracy, loss=0.95, tuning_time=1e-9, sampling_sizes=[32, 64, 96])
    assert accuracy.calls == 2


class Clock:
    """A budget of which everything that is compiled takes a second, and nothing else does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.compiled = 0
        compile_floats = Search._compile

        def counting(search: Search, floats: set[str]) -> Any:
            self.compiled += 1
            return compile_floats(search, floats)

        def left(budget: tuning_inputs.Budget) -> float:
            return (budget.seconds or float("inf")) - self.compiled

        monkeypatch.setattr(Search, "_compile", counting)
        monkeypatch.setattr(tuning_inputs.Budget, "left", left)


def test_the_time_ends_the_trials_of_single_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what is left goes to the noisiest sites, the other half to trials."""
    clock = Clock(monkeypatch)
    with pytest.warns(UserWarning, match=r"in 3 trials \(tuning_time was over: 2 of 8 sites"):
        trials = tuned(Accuracy(), loss=0, tuning_time=6).autotune_trials
    assert clock.compiled == 6
    # Int8 everywhere, float everywhere, two single sites.
    assert [s.site for s in trials.sensitivities] == ["5/linear/0", "2/linear/0"]
    assert [len(t.floats) for t in trials.trials] == [0, 1, 2]
    told = "tuning_time was over: 2 of 8 sites were tried alone"
    assert trials.ended == trials.to_dict()["ended"] == told
    assert f"{told}; the best so far is taken" in str(trials)


def test_a_site_with_no_noise_is_not_tried_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    finalise = prepared.Session.finalise
    noises = {"0": 45.0, "1": 14.9, "2": -15.0, "3": 15.1, "4": 60.0, "5": -10.0}

    def faked(session: prepared.Session, model: nn.Module) -> dict[str, Any]:
        summary = finalise(session, model)
        for key, site in session.calibrator.sites.items():
            site.sqnr = noises.get(key.split("/")[0])
        return summary

    monkeypatch.setattr(prepared.Session, "finalise", faked)
    trials = tuned(Accuracy()).autotune_trials
    alone = [s.site.split("/")[0] for s in trials.sensitivities]
    assert alone == ["6", "7", "2", "5", "1"]  # the noise of the first two is not known
    assert trials.met and trials.ended == ""


def test_the_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100)
    bar = functools.partial(Progress, console=console)
    monkeypatch.setattr(sys.modules[Search.__module__], "Progress", bar)
    tuned(Accuracy(), progress=True)
    assert "sensitivity" in written.getvalue() and "trials" in written.getvalue()
    length = written.tell()
    tuned(Accuracy())
    assert written.tell() == length


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    class Interrupted(Accuracy):
        def __call__(self, model: nn.Module) -> float:
            if self.calls == 3:
                raise KeyboardInterrupt
            return super().__call__(model)

    file = tmp_path / "trials.json"
    with pytest.raises(KeyboardInterrupt):
        tuned(Interrupted(), resume=file)
    again, whole = Accuracy(), Accuracy()
    ready = tuned(again, resume=file)
    tuned(whole)
    assert floats_of(ready) == set(HARMFUL)
    assert again.calls <= whole.calls - 1  # float and int8 are always measured
    done = Accuracy()
    tuned(done, resume=file)
    assert done.calls == 2


def test_another_criterion_judges_the_recorded_accuracies(tmp_path: Path) -> None:
    file = tmp_path / "trials.json"
    first = tuned(Accuracy(), loss=0.95, resume=file).autotune_trials
    assert first.met and first.chosen.floats == ()
    with pytest.warns(UserWarning, match="relative loss of at most 0.001 in 2 trials"):
        strict = tuned(Accuracy(), loss=0.001, resume=file, max_trials=2).autotune_trials
    assert not strict.met and not strict.trials[0].met
    accuracy = Accuracy()
    absolute = autotune(
        Net(),
        data(),
        eval_func=accuracy,
        accuracy_criterion={"absolute": 2.0, "higher_is_better": False},
        qconfig=MIN_MAX,
        progress=False,
        resume=file,
    ).autotune_trials
    assert absolute.met and absolute.chosen.loss == absolute.chosen.accuracy - 1 < 0


@pytest.mark.parametrize("of", ["the float model", "int8 everywhere"])
def test_a_resume_file_of_another_evaluation(tmp_path: Path, of: str) -> None:
    """Agreement with float is 1 for the float model, whatever the data."""
    file = tmp_path / "trials.json"
    accuracy = Accuracy()
    tuned(accuracy, loss=0.95, resume=file)

    def other(model: nn.Module) -> float:
        return accuracy(model) ** 2 * (0.5 if of == "the float model" else 1.0)

    before = file.read_bytes()
    with pytest.raises(QuantizationError, match=f"for {of}, and eval_func gives .* now"):
        tuned(other, loss=0.95, resume=file)
    assert file.read_bytes() == before


def test_a_resume_file_of_something_else(tmp_path: Path) -> None:
    file = tmp_path / "trials.json"
    file.write_text("{}")
    with pytest.raises(QuantizationError, match="is not one that autotune wrote"):
        tuned(Accuracy(), resume=file)
    file.unlink()
    tuned(Accuracy(), loss=0.95, resume=file)
    with pytest.raises(QuantizationError, match="of another model or another calibration"):
        autotune(Net(), data(2), eval_func=Accuracy(), resume=file, progress=False)


def test_labels_calibration_functions_and_sizes() -> None:
    pairs = [(x, torch.zeros(32)) for x in data()]
    accuracy = Accuracy()
    settings = {"eval_func": accuracy, "qconfig": MIN_MAX, "progress": False}
    loose = {"absolute": 0.99, "higher_is_better": True}
    ready = autotune(Net(), pairs, accuracy_criterion=loose, sampling_sizes=[32, 192], **settings)
    assert accuracy.calls == 3  # float, and int8 for each calibration
    calls: list[int] = []

    def calibrate(model: nn.Module) -> None:
        for x in data(3):
            model(x)
            calls.append(1)

    ready = autotune(Net(), pairs, calibrate, accuracy_criterion=loose, **settings)
    assert len(calls) == 3 and convert(ready)(data(1)[0]).shape == (32, 32)


def test_operators_can_be_kept_float() -> None:
    float_linear = {"linear": {"activation": {"dtype": ["fp32"]}, "weight": {"dtype": ["fp32"]}}}
    ready = autotune(
        nn.Sequential(nn.Linear(8, 8), nn.Conv1d(4, 4, 1)).eval(),
        [torch.randn(2, 4, 8) for _ in range(3)],
        eval_func=lambda model: 1.0,
        op_type_dict=float_linear,
        progress=False,
    )
    assert floats_of(ready) == {"0"}


def test_an_error_may_be_the_measure() -> None:
    net, x = Net(), torch.cat(data(8)[6:])

    def error(model: nn.Module) -> torch.Tensor:
        return 1 + (model(x) - net(x)).norm() / net(x).norm()

    ready = autotune(
        Net(),
        data(),
        eval_func=error,
        accuracy_criterion={"absolute": 0.1, "higher_is_better": False},
        qconfig=MIN_MAX,
        progress=False,
    )
    assert set(HARMFUL) <= floats_of(ready) and ready.autotune_trials.chosen.loss <= 0.1


@pytest.mark.parametrize("value", [None, "0.9", [0.9], float("nan"), torch.ones(2), True])
def test_an_eval_func_that_gives_no_number(value: Any) -> None:
    with pytest.raises(TypeError, match="eval_func must return a finite number"):
        tuned(lambda model: value)


@pytest.mark.parametrize("loader", [None, 3, torch.ones(2, 32), "data"])
def test_an_unreadable_loader(loader: Any) -> None:
    with pytest.raises(TypeError, match="calib_dataloader must be an iterable of inputs"):
        autotune(Net(), loader, eval_func=Accuracy(), progress=False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"eval_func": None}, "needs eval_func"),
        ({"accuracy_criterion": {}}, "accuracy_criterion must be"),
        ({"accuracy_criterion": {"relative": 0.1, "absolute": 1}}, "accuracy_criterion must be"),
        ({"accuracy_criterion": {"relativ": 0.1}}, "accuracy_criterion must be"),
        ({"accuracy_criterion": {"relative": -1}}, "must be a number of at least 0"),
        ({"sampling_sizes": []}, "sampling_sizes must be"),
        ({"sampling_sizes": [0]}, "sampling_sizes must be"),
        ({"max_trials": 0}, "max_trials must be"),
        ({"tuning_time": -1}, "tuning_time must be"),
        ({"op_type_dict": {"linear": {"weight": {"dtype": ["int8"]}}}}, "can only keep"),
        ({"op_type_dict": {"linear": None}}, "can only keep"),
        ({"calib_dataloader": []}, "calib_dataloader is empty"),
        ({"qconfig": ipex_quant.default_dynamic_qconfig}, "works on static quantization"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], words: str) -> None:
    given = {"calib_dataloader": data(1), "eval_func": Accuracy(), "progress": False, **settings}
    with pytest.raises(ValueError, match=words):
        autotune(Net(), **given)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: torch.jit.trace(Net(), data(1)[0]),
            TypeError,
            "autotune expects an eager nn.Module, got a ScriptModule; .*jit.quantize",
        ),
        (lambda: torch.jit.script(Net()), TypeError, "got a ScriptModule"),
        (lambda: Net().forward, TypeError, "autotune expects an nn.Module, got method"),
        (lambda: Net().train(), ValueError, "the model is in training mode"),
        (
            lambda: ipex_quant.prepare(Net(), MIN_MAX, data(1)[0]),
            ValueError,
            "prepared already; give autotune the float model",
        ),
    ],
)
def test_a_model_that_cannot_be_tuned(make: Any, error: type, words: str) -> None:
    accuracy = Accuracy()
    with pytest.raises(error, match=words):
        autotune(make(), data(1), eval_func=accuracy, progress=False)
    assert accuracy.calls == 0


def test_a_batch_that_is_no_input() -> None:
    with pytest.raises(TypeError, match="a batch of calib_dataloader must be a tensor"):
        autotune(Net(), [object()], eval_func=Accuracy(), progress=False)

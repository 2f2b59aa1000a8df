"""Runs one competitor's file: `python -m bench.run_model COMPETITOR MODEL FOLDER THREADS`.

Loads, makes the first call, and says on standard output, as JSON lines, what that took. Then each
line `SECONDS` on standard input makes it call for so long and say the median time. Processes that
wait for a line use no CPU, so that several competitors can be timed in turn.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.build_model import file_of
from bench.model_list import Inputs, inputs_of

Call = Callable[[], np.ndarray]


def load_torch(path: Path, inputs: Inputs, threads: int) -> Call:
    """A TorchScript file, frozen."""
    torch.backends.quantized.engine = "onednn"
    module = torch.jit.freeze(torch.jit.load(str(path)).eval())
    return lambda: module(*inputs).numpy()


def load_ours(path: Path, inputs: Inputs, threads: int) -> Call:
    """A file of ipex_quant."""
    import ipex_quant

    module = ipex_quant.jit.load(str(path))
    return lambda: module(*inputs).numpy()


def load_onnxruntime(path: Path, inputs: Inputs, threads: int) -> Call:
    """An ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {i.name: x.numpy() for i, x in zip(session.get_inputs(), inputs, strict=True)}
    return lambda: session.run(None, feed)[0]


def load_openvino(path: Path, inputs: Inputs, threads: int) -> Call:
    """An OpenVINO file."""
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = ov.Core().compile_model(str(path), "CPU", settings).create_infer_request()
    feed = [x.numpy() for x in inputs]
    return lambda: request.infer(feed, share_inputs=True, share_outputs=True)[0]


LOADERS: dict[str, Callable[[Path, Inputs, int], Call]] = {
    "ours": load_ours,
    "onnxruntime": load_onnxruntime,
    "openvino": load_openvino,
}


def milliseconds(call: Call) -> float:
    begin = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - begin)


def median_of(call: Call, seconds: float) -> float:
    """Median milliseconds of calls for so long, three at least."""
    end, times = time.perf_counter() + seconds, []
    while time.perf_counter() < end or len(times) < 3:
        times.append(milliseconds(call))
    return sorted(times)[len(times) // 2]


def say(**values: float) -> None:
    print(json.dumps(values), flush=True)


def main() -> None:
    competitor, name, folder, threads = *sys.argv[1:3], Path(sys.argv[3]), int(sys.argv[4])
    warnings.filterwarnings("ignore")
    torch.set_num_threads(threads)
    inputs, _ = inputs_of(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.inference_mode():
        path = file_of(competitor, name, folder)
        call = LOADERS.get(competitor, load_torch)(path, inputs, threads)
        first = milliseconds(call)
        np.save(path.with_suffix(".npy"), call())
        for _ in range(5):
            call()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        say(first_ms=first, peak_mb=peak / 1024, before_mb=before / 1024)
        for line in sys.stdin:
            median_of(call, 0.05)  # caches and clocks, after the others ran
            say(ms=median_of(call, float(line)))


if __name__ == "__main__":
    main()

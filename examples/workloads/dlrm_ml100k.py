"""A DLRM-like click model on MovieLens-100k: embedding bags, dot interactions and two MLPs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .common import Inputs, Workload, package_folder, train_cached


def _mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers)


class DLRM(nn.Module):
    """One embedding bag per categorical feature, one for the genres of a film."""

    def __init__(self, sizes: list[int], genres: int, dense: int, d: int = 32) -> None:
        super().__init__()
        self.emb = nn.ModuleList(nn.EmbeddingBag(n, d, mode="sum") for n in sizes)
        self.genre = nn.EmbeddingBag(genres, d, mode="sum")
        for e in [*self.emb, self.genre]:
            nn.init.normal_(e.weight, std=0.05)
        self.bot = _mlp(dense, 64, d)
        f = len(sizes) + 2
        pairs = [(i, j) for i in range(f) for j in range(i)]
        self.register_buffer("ij", torch.tensor(pairs).T.contiguous())
        top = _mlp(d + f * (f - 1) // 2, 128, 64)
        self.top = nn.Sequential(*top, nn.Linear(64, 1))

    def forward(
        self,
        dense: torch.Tensor,
        sparse: torch.Tensor,
        genres: torch.Tensor,
        offsets: torch.Tensor,
    ) -> torch.Tensor:
        """[n, 4] f32, [n, 4] i64, [total] i64, [n] i64 -> [n] logits."""
        x = self.bot(dense)
        e = [emb(sparse[:, i : i + 1]) for i, emb in enumerate(self.emb)]
        t = torch.stack([x, *e, self.genre(genres, offsets)], 1)
        z = torch.bmm(t, t.transpose(1, 2))
        return self.top(torch.cat([x, z[:, self.ij[0], self.ij[1]]], 1)).squeeze(1)


@dataclass
class Ratings:
    """All ratings in order of time; `train` marks the random 80 % to train on."""

    dense: np.ndarray
    sparse: np.ndarray
    bags: list[list[int]]
    liked: np.ndarray
    train: np.ndarray
    sizes: list[int]
    genres: int

    def batch(self, rows: np.ndarray) -> Inputs:
        """The model's inputs for these rows."""
        bags = [self.bags[i] for i in rows]
        offsets = np.r_[0, np.cumsum([len(bag) for bag in bags])[:-1]].astype(np.int64)
        return (
            torch.from_numpy(self.dense[rows]),
            torch.from_numpy(self.sparse[rows]),
            torch.from_numpy(np.concatenate(bags).astype(np.int64)),
            torch.from_numpy(offsets),
        )


def _table(name: str) -> list[list[str]]:
    path = package_folder("recbole") / "dataset_example/ml-100k" / f"ml-100k.{name}"
    return [line.split("\t") for line in path.read_text(encoding="utf8").splitlines()[1:]]


def _ratings() -> Ratings:
    rows = [(int(u), int(i), float(r), float(t)) for u, i, r, t in _table("inter")]
    inter = np.array(rows)
    inter = inter[np.argsort(inter[:, 3], kind="stable")]
    users = {int(u): (int(age), sex, job, zip_[:2]) for u, age, sex, job, zip_ in _table("user")}
    items = {int(row[0]): (row[2], row[3].split()) for row in _table("item")}
    jobs = {job: i for i, job in enumerate(sorted({u[2] for u in users.values()}))}
    zips = {zip_: i for i, zip_ in enumerate(sorted({u[3] for u in users.values()}))}
    names = sorted({genre for item in items.values() for genre in item[1]})
    genres = {genre: i for i, genre in enumerate(names)}
    train = np.random.RandomState(7).rand(len(inter)) < 0.8
    by_user = np.bincount(inter[train, 0].astype(int), minlength=1000)
    by_item = np.bincount(inter[train, 1].astype(int), minlength=1700)
    dense, sparse, bags = [], [], []
    for row in inter:
        u, i = int(row[0]), int(row[1])
        age, sex, job, zip_ = users[u]
        year_text, item_genres = items[i]
        year = int(year_text) if year_text.isdigit() else 1995
        sparse.append((u, i, jobs[job] * 2 + (sex == "M"), zips[zip_]))
        popularity = (np.log1p(by_user[u]) / 4 - 1, np.log1p(by_item[i]) / 4 - 1)
        dense.append(((age - 33) / 12, (year - 1989) / 14, *popularity))
        bags.append([genres[genre] for genre in item_genres] or [0])
    return Ratings(
        dense=np.array(dense, np.float32),
        sparse=np.array(sparse),
        bags=bags,
        liked=(inter[:, 2] >= 4).astype(np.float32),
        train=train,
        sizes=[944, 1683, 2 * len(jobs), len(zips)],
        genres=len(genres),
    )


def load() -> Workload:
    """Trains in about 4 s on one core; the label is a rating of 4 or 5."""
    data = _ratings()
    train, test = np.flatnonzero(data.train), np.flatnonzero(~data.train)

    def fit(model: nn.Module) -> None:
        random = np.random.RandomState(0)
        optimizer = torch.optim.Adam(model.parameters(), 2e-3, weight_decay=1e-5)
        for epoch in range(3):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * (0.4**epoch)
            p = random.permutation(train)
            for k in range(0, len(p) - 511, 512):
                j = p[k : k + 512]
                logits, liked = model(*data.batch(j)), torch.from_numpy(data.liked[j])
                loss = F.binary_cross_entropy_with_logits(logits, liked)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    model = train_cached(
        "dlrm_ml100k", lambda: DLRM(data.sizes, data.genres, data.dense.shape[1]), fit
    )

    def calibration() -> Iterator[Inputs]:
        p = np.random.RandomState(1).permutation(train)
        for k in range(10):
            yield data.batch(p[k * 128 : (k + 1) * 128])

    def metric(fn: Callable[..., torch.Tensor]) -> dict[str, float]:
        from sklearn.metrics import roc_auc_score

        with torch.no_grad():
            logits = [fn(*data.batch(test[k : k + 2000])) for k in range(0, len(test), 2000)]
        return {"auc": float(roc_auc_score(data.liked[test], torch.cat(logits).numpy()))}

    title = "DLRM, MovieLens 100k"
    example = data.batch(test[:128])
    return Workload("dlrm_ml100k", title, model, example, calibration, metric, "auc")

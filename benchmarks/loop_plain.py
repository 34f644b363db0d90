"""A plain loop that trains YoutubeDNN: a Dataset of arrays, a DataLoader, torch's layers, Adam. Run by train.py.

Its negatives are drawn once a batch, as ours, since that is the cheapest way; only a sample's own target is spared.
"""

from __future__ import annotations

from contextlib import suppress

import histories
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from turns import Stopped, Turns, settings


class Clicks(Dataset[tuple[histories.Ints, int]]):
    """A click and the ones before it."""

    def __init__(self, history: histories.Ints, target: histories.Ints) -> None:
        self.history, self.target = history, target

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: int) -> tuple[histories.Ints, int]:
        return self.history[index], self.target[index]


class YoutubeDNN(nn.Module):
    """The mean of a history's vectors through an MLP, compared with items by cosine."""

    def __init__(self, n_items: int, dim: int, hidden: int, temperature: float) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items + 1, dim, padding_idx=0)
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.temperature = temperature

    def forward(self, history: Tensor, target: Tensor, negative: Tensor) -> Tensor:
        """Scores float [B, 1 + S] of the targets int [B], then of the negatives int [S]; histories are int [B, T]."""
        pooled = F.embedding_bag(history, self.items.weight, mode="mean", padding_idx=0)
        query = F.normalize(self.layers(pooled), dim=-1)
        positive = (query * F.normalize(self.items(target), dim=-1)).sum(-1, keepdim=True)
        others = query @ F.normalize(self.items(negative), dim=-1).T
        others = others.masked_fill(target[:, None] == negative, -torch.inf)
        return torch.cat([positive, others], 1) / self.temperature


def main() -> None:
    """Train as long as there are turns."""
    given = settings()
    turns = Turns(given["steps"], given["warm"])
    torch.set_num_threads(given["threads"])
    history, target, n_items = histories.samples(given["clicks"], given["history"])
    workers = given["workers"]
    loader = DataLoader(Clicks(history, target), given["batch"], shuffle=True, drop_last=True, num_workers=workers)
    model = YoutubeDNN(n_items, given["dim"], given["hidden"], given["temperature"])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    turns.ready(
        parameters=sum(weight.numel() for weight in model.parameters()),
        scores=1 + given["negatives"],
        **histories.sums(history, target),
    )
    total = 0.0
    while True:
        for clicks, wanted in turns.over(loader):
            scores = model(clicks, wanted, torch.randint(1, n_items + 1, (given["negatives"],)))
            loss = F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()


if __name__ == "__main__":
    with suppress(Stopped):
        main()

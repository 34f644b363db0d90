"""torch-rechub's own loop, MatchTrainer, with its YoutubeDNN. Run by train.py with the rivals' interpreter.

List-wise training as in its examples: each sample brings its own negatives, drawn beforehand and kept in the data. Its
MLP has a BatchNorm and a ReLU after each layer, the last one too.
"""

from __future__ import annotations

from contextlib import suppress

import histories
import numpy as np
import torch
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.matching import YoutubeDNN
from torch_rechub.trainers import MatchTrainer
from torch_rechub.utils.data import TorchDataset
from turns import Stopped, Turns, settings


def main() -> None:
    """Train as long as there are turns."""
    given = settings()
    turns = Turns(given["steps"], given["warm"])
    torch.set_num_threads(given["threads"])
    history, target, n_items = histories.samples(given["clicks"], given["history"])
    shape = (len(target), given["negatives"])
    negatives = np.random.default_rng(0).integers(1, n_items + 1, shape, dtype=np.int32)
    data = TorchDataset({"hist": history, "item": target, "neg": negatives}, np.zeros(len(target), np.int64))
    loader = torch.utils.data.DataLoader(
        data, given["batch"], shuffle=True, drop_last=True, num_workers=given["workers"]
    )
    size = {"vocab_size": n_items + 1, "embed_dim": given["dim"], "padding_idx": 0}
    model = YoutubeDNN(
        [SequenceFeature("hist", pooling="mean", shared_with="item", **size)],
        [SparseFeature("item", **size)],
        [SequenceFeature("neg", pooling="concat", shared_with="item", **size)],
        {"dims": [given["hidden"], given["dim"]], "activation": "relu"},
        given["temperature"],
    )
    trainer = MatchTrainer(model, mode=2, optimizer_params={"lr": 1e-3, "weight_decay": 0.0})
    first = {name: torch.from_numpy(values[:2]) for name, values in data.x.items()}
    turns.ready(
        parameters=sum(weight.numel() for weight in model.parameters()),
        scores=model(first).shape[1],
        **histories.sums(history, target),
    )
    while True:
        trainer.train_one_epoch(turns.over(loader))


if __name__ == "__main__":
    with suppress(Stopped):
        main()

"""RecBole's own loop, Trainer, with its GRU4Rec and a softmax over all items. Run by train.py with the rivals'
interpreter.

RecBole has no YoutubeDNN. Its samples are the same: it makes a history and a target of every click but a user's first.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.dataloader import TrainDataLoader
from recbole.model.sequential_recommender import GRU4Rec
from recbole.trainer import Trainer
from turns import Stopped, Turns, settings


def main() -> None:
    """Train as long as there are turns."""
    given = settings()
    turns = Turns(given["steps"], given["warm"])
    sys.argv = sys.argv[:1]  # RecBole reads the command line
    torch.set_num_threads(given["threads"])
    with TemporaryDirectory(prefix="micgraph-benchmark-") as folder:
        config = _config(given, folder)
        _write(given["clicks"], Path(folder) / "clicks")
        data = create_dataset(config).build()[0]
        model = GRU4Rec(config, data).to(config["device"])
        trainer = Trainer(config, model)
        loader = TrainDataLoader(config, data, None, shuffle=True)
        turns.ready(
            parameters=sum(weight.numel() for weight in model.parameters()),
            scores=model.n_items - 1,
            **_sums(data),
        )
        while True:
            trainer._train_epoch(turns.over(loader), 0, show_progress=True)


def _config(given: dict[str, Any], folder: str) -> Config:
    size = {"embedding_size": given["dim"], "hidden_size": given["hidden"], "dropout_prob": given["dropout"]}
    return Config(
        model="GRU4Rec",
        dataset="clicks",
        config_dict={
            "data_path": folder,
            "checkpoint_dir": folder,
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "eval_args": {"split": {"RS": [1, 0, 0]}, "order": "TO", "group_by": "user", "mode": "full"},
            "MAX_ITEM_LIST_LENGTH": given["history"],
            "train_batch_size": given["batch"],
            "loss_type": "CE",
            "train_neg_sample_args": None,
            "use_gpu": False,
            **size,
        },
    )


def _write(clicks: str, folder: Path) -> None:
    """RecBole's file of clicks; a user's clicks are ordered by their number, which stands for the time."""
    folder.mkdir()
    with np.load(clicks) as saved:
        indptr, item = saved["indptr"], saved["col"]
    user = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    number = np.arange(len(item)) - indptr[user]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    rows = np.stack([user, item + 1, number], 1)
    np.savetxt(folder / "clicks.inter", rows, fmt="%d", delimiter="\t", header=header, comments="")


def _sums(data: Any) -> dict[str, int]:
    """As histories.sums, in the ids of the file: RecBole numbers the items anew."""
    tokens = data.field2id_token["item_id"]
    given = torch.tensor([0, *(int(token) for token in tokens[1:])])
    target, history = data.inter_feat["item_id"], data.inter_feat["item_id_list"]
    return {
        "samples": len(target),
        "targets": int(given[target].sum()),
        "histories": int(given[history].sum()),
    }


if __name__ == "__main__":
    with suppress(Stopped):
        main()

"""What tests share: one thread, fixed seeds, a small log with planted structure, the real data where it is at hand."""

from __future__ import annotations

import os

# Before torch and numpy read them: small tensors are slower on more threads.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import importlib.util
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    from tests.saved import Saved

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"

GENRES = ("drama", "comedy", "crime", "nature")
N_USERS, N_ITEMS, N_DAYS, SESSIONS_PER_USER = 60, 48, 14, 8
FIRST_DAY = pd.Timestamp("2024-03-01", tz="UTC")

settings.register_profile("micgraph", deadline=None, derandomize=True)
settings.load_profile("micgraph")
torch.set_num_threads(1)


@dataclass(frozen=True)
class TinyLog:
    """A synthetic log as three pandas frames: clicks, items and users."""

    clicks: pd.DataFrame
    items: pd.DataFrame
    users: pd.DataFrame


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002 - libraries still read the global generator
    torch.manual_seed(7)


@pytest.fixture(autouse=True)
def _only_built_in() -> Iterator[None]:
    """What a test or a page registers is forgotten after it."""
    from micgraph.nn.registry import ENCODERS
    from micgraph.presets import ENCODER_PRESETS
    from micgraph.retrieval.extra import OWN
    from micgraph.tasks.registry import TASKS

    registries: list[dict[str, Any]] = [ENCODERS, TASKS, OWN, ENCODERS.made, TASKS.made, OWN.made, ENCODER_PRESETS]
    before = [dict(one) for one in registries]
    yield
    for one, had in zip(registries, before, strict=True):
        one.clear()
        one.update(had)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets that lies beside a checkout, where there is one."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data sets are not beside this checkout (../shared/data)")
    return SHARED_DATA


@pytest.fixture
def tiny_log() -> TinyLog:
    """About 1,900 clicks of users u0..u59 on items i0..i47 in sessions over 14 days; fresh frames for each test.

    Every user has a favourite genre (an item's genre is its number modulo 4), and a session walks along neighbouring
    items of one genre, so that histories, co-occurrence and categories all tell what comes next.
    """
    return TinyLog(_clicks(np.random.default_rng(7)), _items(), _users())


@pytest.fixture
def tiny_files(tiny_log: TinyLog, tmp_path: Path) -> Path:
    """A folder with the tiny log as clicks.parquet, items.parquet and users.parquet."""
    tiny_log.clicks.to_parquet(tmp_path / "clicks.parquet", index=False)
    tiny_log.items.to_parquet(tmp_path / "items.parquet", index=False)
    tiny_log.users.to_parquet(tmp_path / "users.parquet", index=False)
    return tmp_path


def _clicks(rng: np.random.Generator) -> pd.DataFrame:
    rows: list[tuple[str, str, pd.Timestamp]] = []
    per_genre = N_ITEMS // len(GENRES)
    for user in range(N_USERS):
        for day in sorted(rng.choice(N_DAYS, SESSIONS_PER_USER, replace=False)):
            genre = user % len(GENRES) if rng.random() < 0.8 else int(rng.integers(len(GENRES)))
            start, length = int(rng.integers(per_genre)), int(rng.integers(3, 6))
            time = FIRST_DAY + pd.Timedelta(days=int(day), seconds=int(rng.integers(86_400 - 3_600)))
            for step in range(length):
                item = (start + step) % per_genre * len(GENRES) + genre
                rows.append((f"u{user}", f"i{item}", time))
                time += pd.Timedelta(seconds=int(rng.integers(20, 300)))
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


def _items() -> pd.DataFrame:
    number = np.arange(N_ITEMS)
    genre = [GENRES[n % len(GENRES)] for n in number]
    place = number // len(GENRES)
    return pd.DataFrame(
        {
            "item_id": [f"i{n}" for n in number],
            "title": [f"{g} story part {p} of season {p // 3}" for g, p in zip(genre, place, strict=True)],
            "category": genre,
            "tags": [[g, f"season{p // 3}"] for g, p in zip(genre, place, strict=True)],
            "provider": [f"studio{n % 5}" for n in number],
            "year": 2000.0 + place,
        }
    )


def _users() -> pd.DataFrame:
    number = np.arange(N_USERS)
    return pd.DataFrame(
        {
            "user_id": [f"u{n}" for n in number],
            "country": [("fr", "br", "jp")[n % 3] for n in number],
            "age": 20.0 + number % 40,
        }
    )


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of an example, imported as Python does it for ``python examples/NAME.py``."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "examples"))
    path = REPOSITORY / "examples" / f"{request.param}.py"
    spec = importlib.util.spec_from_file_location(f"example_{request.param}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A directory of every kind that micgraph saves; tests copy what they damage."""
    from tests.saved import make

    return make(tmp_path_factory.mktemp("saved"))

"""Titles as vectors: the encoders that semantic neighbours by title can go by (MicRec 3.4)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from micgraph.extras import missing
from micgraph.progress import progress_bar
from micgraph.schema import ConfigError

Encoder = str | Callable[[list[str]], Any]
ENCODERS = ("tfidf", "wordllama", "sentence-transformers")
_PART = 4096


def check_encoder(encode: Any, checkpoint: Any) -> None:
    """Refuse an encoder nobody knows, and a checkpoint that is missing or that nothing would read.

    Raises:
        ConfigError: names which.
    """
    if not callable(encode) and encode not in ENCODERS:
        expected = f"{', '.join(map(repr, ENCODERS))} or a callable"
        raise ConfigError("encode", expected, repr(encode), "choose one of them")
    reads = encode == "sentence-transformers"
    if reads and (not isinstance(checkpoint, (str, Path)) or not (Path(checkpoint) / "modules.json").is_file()):
        expected = "the folder of a sentence-transformers model (with its modules.json)"
        remedy = "name a local folder: nothing is downloaded"
        raise ConfigError("checkpoint", expected, repr(checkpoint), remedy)
    if not reads and checkpoint is not None:
        remedy = "leave it out, or take encode=sentence-transformers"
        raise ConfigError("checkpoint", "nothing, which only sentence-transformers reads", repr(checkpoint), remedy)


def title_vectors(texts: list[str], encode: Encoder, checkpoint: str | Path | None = None) -> Tensor:
    """Dense vectors of titles.

    Args:
        texts: M titles.
        encode: ``"wordllama"`` (static word vectors), ``"sentence-transformers"`` (a transformer such as MicRec's BERT)
            or a callable that turns a list of M texts into an [M, d] array or tensor.
        checkpoint: the folder of the sentence-transformers model.

    Returns:
        float32 [M, d].

    Raises:
        MissingExtraError: the encoder's package is not installed.
    """
    if callable(encode):
        vectors = encode(texts)
    else:
        vectors = _wordllama(texts) if encode == "wordllama" else _sentence_transformers(texts, str(checkpoint))
    return torch.as_tensor(vectors, dtype=torch.float32)


def _wordllama(texts: list[str]) -> Any:
    try:
        import wordllama
    except ImportError as error:
        raise missing("encode", "wordllama") from error
    model = wordllama.WordLlama.load(cache_dir=os.path.dirname(wordllama.__file__), disable_download=True)
    return _in_parts(model.embed, texts)


def _sentence_transformers(texts: list[str], checkpoint: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise missing("encode", "sentence-transformers") from error
    model = SentenceTransformer(checkpoint, local_files_only=True)

    def encode(part: list[str]) -> Any:
        return model.encode(part, batch_size=128, show_progress_bar=False, convert_to_numpy=True)

    return _in_parts(encode, texts)


def _in_parts(encode: Callable[[list[str]], Any], texts: list[str]) -> Any:
    """The vectors of some thousand titles at a time, with a bar."""
    with progress_bar(total=len(texts), desc="titles to vectors") as bar:
        parts = []
        for begin in range(0, len(texts), _PART):
            parts.append(encode(texts[begin : begin + _PART]))
            bar.update(len(parts[-1]))
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)

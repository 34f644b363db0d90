"""News: the clicks of Globo, the titles of MIND-small."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from micgraph.datasets.files import existing, malformed
from micgraph.graph.events import Log, read_log


def globo(path: str | Path) -> Log:
    """News clicks of G1 (Globo), with the given sessions, from one Parquet file or a folder's ``clicks.parquet``."""
    file = Path(path) / "clicks.parquet" if Path(path).is_dir() else Path(path)
    return read_log(file, columns={"item_id": "click_article_id", "timestamp": "click_timestamp"}, time_unit="ms")


def mind_small_titles(path: str | Path) -> pa.Table:
    """Titles of MIND-small's news: ``item_id, category, title``, from ``news_titles.tsv`` or the folder that has it.

    Raises:
        InputError: the file is missing or not in that format.
    """
    file = existing(path, "news_titles.tsv") if Path(path).is_dir() else existing(Path(path).parent, Path(path).name)
    parse = pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False)
    convert = pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in ("news_id", "category", "title")})
    try:
        table = pyarrow.csv.read_csv(file, parse_options=parse, convert_options=convert)
        return table.select(["news_id", "category", "title"]).rename_columns(["item_id", "category", "title"])
    except (pa.ArrowException, KeyError) as error:
        raise malformed(file, error) from error

"""A Spark session that is there or is started, and what the statements need of it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micgraph.extras import missing
from micgraph.progress import progress_bar
from micgraph.schema import ConfigError, InputError, MissingExtraError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_GLOB = re.compile(r"([\[\]{}*?\\])")


@dataclass(frozen=True)
class Rows:
    """The rows of a small result."""

    rows: list[tuple[Any, ...]]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """As DuckDB calls it."""
        return self.rows


@dataclass(frozen=True)
class Engine:
    """Runs SQL on a Spark session; what is large goes from files to files and never through Python.

    Attributes:
        session: the Spark session.
        bar: the progress bar, one step a written folder.
    """

    session: SparkSession
    bar: Any

    def execute(self, query: str, /) -> Rows:
        """Run a query whose result is small."""
        return Rows([tuple(row) for row in self.session.sql(query).collect()])

    def write(self, query: str, folder: Path, what: str) -> None:
        """Write the rows of a query as Parquet files of a new folder, in their order.

        Args:
            what: the title of the progress bar.

        Raises:
            InputError: what Spark has written is not there: the folder is not on shared storage.
        """
        from pyspark.sql import Observation
        from pyspark.sql import functions as f

        self.bar.set_description(f"spark: {what}")
        written = Observation()
        counted = self.session.sql(query).observe(written, f.count(f.lit(1)).alias("rows"))
        counted.write.parquet(address(folder))
        expected, found = int(written.get["rows"]), _rows(folder)
        if found != expected:
            got = f"{found:,} of {expected:,} rows in {folder}"
            remedy = "let out= (of read_log: TMPDIR) be on storage that is mounted under one path everywhere"
            raise InputError("engine", "what Spark writes to be visible on this machine", got, remedy)
        self.bar.update()


def _rows(folder: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in folder.glob("*.parquet"))


def address(path: str | Path) -> str:
    """A path of the file system as Spark reads it, whatever its default file system; no character is a wildcard."""
    return "file://" + _GLOB.sub(r"\\\1", os.path.abspath(path))


def table(folder: Path) -> str:
    """The Parquet files of a folder as a table of Spark's SQL."""
    return f"parquet.{quoted(address(folder))}"


def quoted(name: str) -> str:
    """A name as Spark's SQL."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text as Spark's SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@contextmanager
def connected(master: str | None, steps: int) -> Iterator[Engine]:
    """The active session; where there is none, one at ``master`` that is stopped at the end.

    Args:
        master: such as ``spark://host:7077`` or ``local[2]``; None for the active session.
        steps: how many folders will be written.

    Raises:
        ConfigError: no session and no master, or a session at another master.
        MissingExtraError: pyspark or Java is missing.
    """
    active = _active()
    session = active if active is not None else _started(master)
    try:
        if (here := session.conf.get("spark.master", None)) != (master or here):
            remedy = "stop the session, or leave spark_master out to use it"
            raise ConfigError("spark_master", f"the active session's {here!r}", repr(master), remedy)
        with progress_bar(total=steps, desc="spark") as bar:
            yield Engine(session, bar)
    finally:
        if active is None:
            session.stop()


def _active() -> SparkSession | None:
    try:
        from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        raise missing("engine", "pyspark") from error
    return SparkSession.getActiveSession()


def _started(master: str | None) -> SparkSession:
    from pyspark.sql import SparkSession

    if master is None:
        remedy = 'start one, or name a master: {"engine": "spark", "spark_master": "spark://host:7077"}'
        raise ConfigError("spark_master", "a master, or an active Spark session", "neither", remedy)
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if "JAVA_HOME" in os.environ else shutil.which("java")
    remedy = "install Java 17 and let JAVA_HOME name its folder"
    if java is None or not Path(java).exists():
        raise MissingExtraError("engine", "Java 17 for Spark", f"no {java or 'java'}", remedy)
    try:
        return SparkSession.builder.master(master).appName("micgraph").getOrCreate()
    except RuntimeError as error:  # the gateway has exited
        raise MissingExtraError("engine", "a Java that starts Spark", str(error).split("\n")[0], remedy) from error

"""What runs the SQL of a large log: DuckDB on this machine, or Spark."""

from __future__ import annotations

from typing import Any, Literal, get_args

from micgraph.schema import ConfigError

EngineName = Literal["duckdb", "spark"]


def check_engine(engine: Any, spark_master: Any) -> None:
    """Refuse an unknown engine, and a master that is none or that nobody would ask.

    Raises:
        ConfigError: names the setting.
    """
    if engine not in get_args(EngineName):
        raise ConfigError("engine", "'duckdb' or 'spark'", repr(engine), "choose one of these")
    if spark_master is None:
        return
    if not isinstance(spark_master, str) or not spark_master.strip():
        remedy = 'write it as "spark://host:7077" or "local[2]"'
        raise ConfigError("spark_master", "the address of a master", repr(spark_master), remedy)
    if engine != "spark":
        raise ConfigError("spark_master", 'engine="spark" with it', f"engine={engine!r}", "set engine, or leave it out")

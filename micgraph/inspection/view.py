"""inspect: what is in a graph, what it knows of held-out clicks, and what lies around one user or item."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from micgraph.document import Picture, refuse_directory
from micgraph.document import save as save_page
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.tables import Table
from micgraph.inspection import figures, sections
from micgraph.inspection.ego import Ego, ego_of
from micgraph.inspection.facts import Facts, facts_of
from micgraph.inspection.leaks import Leaks, leaks


@dataclass(frozen=True, eq=False, repr=False)
class Inspection:
    """What :func:`inspect` found; ``str`` gives text, of the user or item alone where one was asked for.

    Attributes:
        graph: the graph.
        leaks: what it knows of the held-out part, where one was given.
        ego: the user or item, where one was asked for.
    """

    graph: RecGraph
    leaks: Leaks | None = None
    ego: Ego | None = None

    @cached_property
    def facts(self) -> Facts:
        """Numbers of the whole graph, counted when they are first asked for."""
        return facts_of(self.graph)

    def __str__(self) -> str:
        tables = sections.of_facts(self.facts, self.graph) if self.ego is None else sections.of_ego(self.ego)
        return sections.as_text([*tables, *self._leak_tables()])

    __repr__ = __str__

    def save_figures(self, folder: str | Path) -> dict[str, Path]:
        """Draw all there is as PNG files in ``folder``: name -> path.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from micgraph.drawing import save

        drawn = [*self._about_ego(), *figures.of_facts(self.facts, self.leaks)]
        return {one.name: save(one.figure, Path(folder) / f"{one.name}.png") for one in drawn}

    def save_page(self, path: str | Path) -> Path:
        """Write everything into one HTML file that needs nothing beside itself.

        Raises:
            InputError: ``path`` is a directory.
            ArtifactError: nothing can be written there.
            MissingExtraError: matplotlib is not installed.
        """
        refuse_directory(Path(path))
        return save_page(path, self._page())

    def _page(self) -> str:
        from micgraph.inspection.page import page

        about = "graph" if self.ego is None else f"{self.ego.node[0]} {self.ego.name}"
        parts = [] if self.ego is None else [(sections.of_ego(self.ego), self._about_ego())]
        parts.append((self._leak_tables(), []))
        parts.append((sections.of_facts(self.facts, self.graph), list(figures.of_facts(self.facts, self.leaks))))
        return page(f"micgraph: {about}", parts)

    def _about_ego(self) -> list[Picture]:
        return [] if self.ego is None else list(figures.of_ego(self.ego))

    def _leak_tables(self) -> list[Table]:
        return [] if self.leaks is None else sections.of_leaks(self.leaks)


def inspect(graph: RecGraph | str | Path, user: Any = None, item: Any = None, holdout: Any = None) -> Inspection:
    """Look into a graph: ``print(inspect(graph))``, ``.save_page("graph.html")``, ``.save_figures("figures")``.

    Args:
        graph: a graph, or the directory of a saved one.
        user, item: the id of one user or one item to look at.
        holdout: a Holdout of the split that made the graph, such as ``split.test``, or the directory of a saved one:
            what of it does the graph know?

    Raises:
        UnknownIdError: the graph does not have the user or the item.
        ArtifactError: a directory is missing, damaged or of another kind.
        InputError: both a user and an item, a ``holdout`` that is none, or a graph without ids where they are needed.
    """
    loaded = graph if isinstance(graph, RecGraph) else RecGraph.load(graph)
    found = None if user is None and item is None else ego_of(loaded, user, item)
    return Inspection(loaded, None if holdout is None else leaks(loaded, holdout), found)

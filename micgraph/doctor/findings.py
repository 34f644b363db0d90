"""What the doctor found, as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["ok", "missing", "broken", "version"]
_WORDS = {"version": "wrong version"}
NOTHING = "nothing that micgraph saved"
"""The kind of a path at which there is something else, or nothing."""


@dataclass(frozen=True)
class PartFound:
    """A package or program.

    Attributes:
        name: as people know it.
        needed: nothing works without it.
        status: ``ok``; ``missing``; ``broken``, it is there and fails; ``version``, it is not one of those asked for.
        version: its version, "" where nothing tells.
        purpose: what it is for.
        detail: what was seen, or what is wrong.
        remedy: the command that mends it, "" for what works.
        devices: that torch sees.
    """

    name: str
    needed: bool
    status: Status
    version: str
    purpose: str
    detail: str = ""
    remedy: str = ""
    devices: tuple[str, ...] = ()

    @property
    def damaged(self) -> bool:
        """Whether it is there, or must be, and does not serve."""
        return self.status != "ok" and (self.needed or self.status != "missing")


@dataclass(frozen=True)
class PlaceFound:
    """A directory that micgraph has saved, or something else.

    Attributes:
        path: as given.
        kind: ``run``, ``graph``, ``holdout``, ``recommender``, ``index``, ``store`` and so on.
        facts: what is in it, and what wrote it.
        problems: what is wrong and what to do, in words; none where all of it is whole.
    """

    path: str
    kind: str
    facts: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        state = "" if self.kind == NOTHING else ", damaged" if self.problems else ", whole"
        lines = [f"{self.path}: {self.kind}{state}"]
        return "\n".join([*lines, *(f"  {fact}" for fact in self.facts), *(f"  ! {one}" for one in self.problems)])


@dataclass(frozen=True)
class Diagnosis:
    """All of it; prints as text.

    Attributes:
        machine: name -> value: micgraph, Python, system, cores, memory.
        parts: what is needed, then what is optional.
        places: the paths given.
    """

    machine: dict[str, str]
    parts: list[PartFound]
    places: list[PlaceFound] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything needed works and every path is whole."""
        return not any(part.needed and part.damaged for part in self.parts) and not any(
            place.problems for place in self.places
        )

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {"ok": self.ok, **asdict(self)}

    def __str__(self) -> str:
        devices = [device for part in self.parts for device in part.devices]
        lines = [f"{name:<9} {value}" for name, value in {**self.machine, "device": ", ".join(devices)}.items()]
        for title, needed in (("needed", True), ("optional", False)):
            lines += ["", title, *_table([part for part in self.parts if part.needed == needed])]
        lines += [line for place in self.places for line in ("", *str(place).splitlines())]
        return "\n".join([*lines, "", self._sum()])

    def _sum(self) -> str:
        """The last line: what is to be done."""
        core = [part.name for part in self.parts if part.needed and part.damaged]
        other = [part.name for part in self.parts if not part.needed and part.damaged]
        places = [place.path for place in self.places if place.problems]
        said = [f"needed and not working: {', '.join(core)}" if core else "everything needed works"]
        said += [f"optional and not working: {', '.join(other)}"] if other else []
        said += [f"not whole: {', '.join(places)}"] if places else []
        return "; ".join(said)


def _table(parts: list[PartFound]) -> list[str]:
    """Aligned lines, and below what does not work how to mend it."""
    rows = [(part.name, _WORDS.get(part.status, part.status), part.version, _note(part)) for part in parts]
    widths = [max(len(row[column]) for row in rows) for column in range(3)] if rows else []
    return [
        "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    ]


def _note(part: PartFound) -> str:
    if part.status == "ok":
        return f"{part.purpose}: {part.detail}" if part.detail else part.purpose
    said = [part.detail or part.purpose, part.remedy]
    return ": ".join(text for text in said if text)

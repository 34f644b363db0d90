"""The pages that users read, and what stands in them: blocks of code, commands, links."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]

_FENCE = re.compile(
    r"^(?P<skip><!-- not run: \S.*? -->\n\s*)?^```(?P<language>[\w-]*) *\n(?P<code>.*?)^``` *$", re.M | re.S
)
_INDENTED = re.compile(r"(?<=\n\n)(?:(?:    .*)?\n)*(?:    .*\n)", re.M)
_LINK = re.compile(r"(?<!\\)\]\(([^()\s]+)\)")
_INLINE = re.compile(r"`(micgraph [^`]+)`")
COMMAND = re.compile(r"^(micgraph|make|python|pip|torchrun) ")


def blocks(text: str, language: str) -> list[tuple[int, str]]:
    """(first line, code) of each fenced block of a language that is not marked as not run."""
    return [
        (text.count("\n", 0, match.start("code")) + 1, match["code"])
        for match in _FENCE.finditer(text)
        if match["language"] == language and not match["skip"]
    ]


def languages(text: str) -> set[str]:
    """Of all fenced blocks."""
    return {match["language"] for match in _FENCE.finditer(text)}


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def commands(text: str) -> list[str]:
    """Lines of shell: of blocks of bash, and indented ones that begin with a program we ship or tell to use."""
    shown = [code for _, code in blocks(text, "bash")] + _INDENTED.findall(prose(text))
    lines = [line for code in shown for line in code.replace("\\\n", " ").splitlines()]
    return [line.strip() for line in lines if COMMAND.match(line.strip())]


def inline_commands(text: str) -> list[str]:
    """What prose says of ``micgraph`` in code."""
    return _INLINE.findall(re.sub(r"\s*\n\s*", " ", prose(text)))


def links(text: str) -> list[str]:
    """Targets of Markdown links, but for those of other sites."""
    return [target for target in _LINK.findall(prose(text)) if "://" not in target and not target.startswith("mailto:")]


def anchors(text: str) -> set[str]:
    """What headings can be linked by, as GitHub names them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.*?) *$", prose(text), re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(next(n for n in (name, *(f"{name}-{i}" for i in range(1, 99))) if n not in found))
    return found

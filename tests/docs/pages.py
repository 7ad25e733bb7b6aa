"""The pages of the documentation, and the fenced code blocks in them."""

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^ *(`{3,}|~{3,})(.*)$")
_COMMENT = re.compile(r"^ *<!-- not run:(.*)-->\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block: ```` ```language option name=value ````, its text, and why it is not run, if so."""

    where: str
    language: str
    options: dict[str, str]
    text: str
    not_run: str | None


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page, in order.

    Raises:
        ValueError: a fence is never closed.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    found, at = [], 0
    while at < len(lines):
        if opening := _FENCE.match(lines[at]):
            end = _closing(page, lines, at, opening[1])
            found.append(_block(page, lines, at, end, opening[2]))
            at = end
        at += 1
    return found


def prose_of(page: Path) -> list[tuple[int, str]]:
    """Line number and text of what stands outside the blocks."""
    lines = page.read_text(encoding="utf-8").splitlines()
    prose, at = [], 0
    while at < len(lines):
        if opening := _FENCE.match(lines[at]):
            at = _closing(page, lines, at, opening[1])
        else:
            prose.append((at + 1, lines[at]))
        at += 1
    return prose


def name_of(page: Path) -> str:
    """The page as people name it: its path in the repository."""
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def _closing(page: Path, lines: list[str], start: int, fence: str) -> int:
    for at in range(start + 1, len(lines)):
        bare = lines[at].strip()
        if bare.startswith(fence) and not bare.strip(fence[0]):
            return at
    raise ValueError(f"{name_of(page)}:{start + 1}: this block is never closed")


def _block(page: Path, lines: list[str], start: int, end: int, info: str) -> Block:
    language, *options = shlex.split(info) or [""]
    before = next((line for line in reversed(lines[:start]) if line.strip()), "")
    comment = _COMMENT.match(before)
    return Block(
        where=f"{name_of(page)}:{start + 1}",
        language=language,
        options=dict(option.partition("=")[::2] for option in options),
        text=textwrap.dedent("\n".join(lines[start + 1 : end]) + "\n"),
        not_run=comment[1].strip() if comment else None,
    )

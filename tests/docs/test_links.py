"""Links between pages lead somewhere, and no page shows a path of the machine it was written on."""

import re
import unicodedata
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, name_of, prose_of

_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s+(\S+)")
_CODE = re.compile(r"(`+).+?\1")
_MACHINE_PATH = re.compile(r"(?<![\w.-])(/(?:work|root|home|Users|tmp/pytest|opt/wheels)\b|[A-Z]:\\)[\w./\\-]*")
MORE_PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]


@pytest.mark.parametrize("page", [*PAGES, *MORE_PAGES], ids=name_of)
def test_every_link_to_a_page_or_heading_resolves(page: Path) -> None:
    broken = [f"{name_of(page)}:{line}: {target}" for line, target in links_of(page) if not resolves(page, target)]

    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        reached.add(page)
        linked = {(page.parent / target.partition("#")[0]).resolve() for _, target in links_of(page)}
        todo += [other for other in linked - reached if other in PAGES]

    assert [name_of(page) for page in PAGES if page not in reached] == []


@pytest.mark.parametrize("page", [*PAGES, *MORE_PAGES], ids=name_of)
def test_no_page_shows_a_path_of_its_writers_machine(page: Path) -> None:
    lines = enumerate(page.read_text().splitlines(), start=1)

    assert [
        f"{name_of(page)}:{line}: {found[0]}" for line, text in lines if (found := _MACHINE_PATH.search(text))
    ] == []


@pytest.mark.parametrize(
    ("target", "is_good"),
    [
        ("other.md", True),
        ("other.md#two-words--more", True),
        ("#here", True),
        ("https://example.org/x", True),
        ("missing.md", False),
        ("other.md#missing", False),
        ("#missing", False),
    ],
)
def test_a_broken_link_is_found(tmp_path: Path, target: str, is_good: bool) -> None:
    (tmp_path / "other.md").write_text("# Two `words` & more\n```sh\n# missing\n```\n")
    page = tmp_path / "page.md"
    page.write_text(f"## Here\nSee [it]({target} 'title'), not `[that](nowhere.md)`.\n")

    ((_, found),) = links_of(page)

    assert found == target
    assert resolves(page, found) is is_good


@pytest.mark.parametrize("text", ["/home/ada/shop", "cd /work/main", "(/root/.cache)", r"C:\Users"])
def test_a_machine_path_is_found(text: str) -> None:
    assert _MACHINE_PATH.search(text)


@pytest.mark.parametrize("text", ["/srv/shop", "docs/how-to/home/x.md", "https://example.org/home/x", "a/work"])
def test_other_paths_are_left_alone(text: str) -> None:
    assert not _MACHINE_PATH.search(text)


def links_of(page: Path) -> list[tuple[int, str]]:
    """Line and target of every link outside code."""
    return [
        (line, inline or reference)
        for line, text in prose_of(page)
        for inline, reference in _LINK.findall(_CODE.sub("", text))
    ]


def resolves(page: Path, target: str) -> bool:
    if re.match(r"[a-z]+:", target):
        return True  # another site: not looked at, the tests need no network
    path, _, heading = target.partition("#")
    other = (page.parent / path) if path else page
    return other.exists() and (not heading or heading in anchors_of(other))


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = [text.lstrip("#").strip() for _, text in prose_of(page) if re.match(r"#{1,6} ", text)]
    anchors: set[str] = set()
    for heading in headings:
        anchor = base = slug(heading)
        repeat = 0
        while anchor in anchors:
            repeat += 1
            anchor = f"{base}-{repeat}"
        anchors.add(anchor)
    return anchors


def slug(heading: str) -> str:
    shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    kept = (letter for letter in shown if letter in " -_" or unicodedata.category(letter)[0] in "LNM")
    return "".join(kept).replace(" ", "-")

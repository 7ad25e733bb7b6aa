"""The dashboard's files: third-party code as recorded, nothing from elsewhere, nothing that a strict CSP refuses."""

import hashlib
import json
import re
from pathlib import Path

import pytest

import jobqueue.api

STATIC = Path(jobqueue.api.__file__).parent / "static"
VENDOR = STATIC / "vendor"
RECORD = json.loads((VENDOR / "VENDOR.json").read_text())
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
OURS = [path for path in FILES if VENDOR not in path.parents]
SCRIPTS = [path for path in OURS if path.suffix == ".js"]
PAGES = [path for path in OURS if path.suffix in {".html", ".svg"}]
STYLES = [path for path in FILES if path.suffix == ".css"]
LIMIT = 300

NEVER = {
    "markup": r"\b(inner|outer)HTML\b|insertAdjacentHTML|dangerouslySetInnerHTML|createContextualFragment",
    "markup by writing": r"document\.write",
    "code made of text": r"\beval\s*\(|\bnew\s+Function\b|\bFunction\s*\(|set(Timeout|Interval)\s*\(\s*[\"'`]",
    "javascript: address": r"javascript:",
}
ELSEWHERE = r"""(?:[a-z]+:)?//[A-Za-z0-9]"""


def name(path: Path) -> str:
    return str(path.relative_to(STATIC))


@pytest.mark.parametrize("entry", RECORD["files"], ids=lambda entry: entry["file"])
def test_vendored_code_is_what_the_record_says(entry: dict[str, object]) -> None:
    found = hashlib.sha256((VENDOR / str(entry["file"])).read_bytes()).hexdigest()

    assert found == entry["sha256"]
    assert entry["packages"]
    assert entry["recipe"]


def test_every_vendored_file_is_recorded_with_its_licence() -> None:
    recorded = {entry["file"] for entry in RECORD["files"]}
    licences = {licence for entry in RECORD["files"] for licence in entry["licences"]}

    assert {path.name for path in VENDOR.iterdir()} == recorded | licences | {"VENDOR.json"}
    assert all("opyright" in (VENDOR / licence).read_text() for licence in licences)


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_a_script_makes_neither_markup_nor_code_out_of_text(path: Path) -> None:
    text = path.read_text()

    assert [what for what, pattern in NEVER.items() if re.search(pattern, text)] == []


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".js"], ids=name)
def test_a_script_imports_by_relative_path_a_file_that_is_there(path: Path) -> None:
    text = path.read_text()
    imported = re.findall(r"""^\s*(?:import|export)\b[^;"'`]*?\bfrom\s*["']([^"']+)["']""", text, re.MULTILINE)
    imported += re.findall(r"""^\s*import\s*["']([^"']+)["']""", text, re.MULTILINE)
    imported += re.findall(r"""\bimport\(\s*["'`]([^"'`]+)["'`]""", text)

    assert [each for each in imported if not each.startswith(("./", "../"))] == []
    assert [each for each in imported if not (path.parent / each).is_file()] == []


@pytest.mark.parametrize("path", [*SCRIPTS, *STYLES, *PAGES], ids=name)
def test_a_file_names_no_other_origin(path: Path) -> None:
    text = re.sub(r"xmlns=\"http://www\.w3\.org/2000/svg\"", "", path.read_text())
    addresses = re.findall(rf"""["'`(=]\s*({ELSEWHERE}[^\s"'`)]*)""", text)

    assert addresses == []
    assert "@import" not in text


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_has_no_inline_script_or_style(path: Path) -> None:
    text = path.read_text()

    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", text) == []
    assert re.findall(r"<style\b|\bstyle\s*=|\son[a-z]+\s*=", text) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_a_script_gives_styles_by_property_and_never_by_attribute(path: Path) -> None:
    text = path.read_text()

    assert re.findall(r"""style=["'][^"']*["']|setAttribute\(\s*["']style""", text) == []


@pytest.mark.parametrize("path", [path for path in OURS if path.suffix in {".js", ".css"}], ids=name)
def test_a_module_is_short_enough_to_be_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LIMIT


def test_the_page_addresses_everything_relatively() -> None:
    text = (STATIC / "index.html").read_text()
    addresses = re.findall(r"""\b(?:src|href)="([^"]*)\"""", text)

    assert addresses
    assert [each for each in addresses if each.startswith(("/", "http"))] == []
    assert [each for each in addresses if not (STATIC.parent / each).is_file()] == []


def test_the_page_asks_for_every_script_at_once() -> None:
    text = (STATIC / "index.html").read_text()
    scripts = {f"static/{name(path)}" for path in FILES if path.suffix == ".js"}

    assert set(re.findall(r"""(?:src|modulepreload" href)="(static/[^"]*\.js)\"""", text)) == scripts

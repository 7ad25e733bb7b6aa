"""The dashboard's colours: text can be read in light and in dark (WCAG 2, AA)."""

import re
from pathlib import Path

import pytest

import jobqueue.api

THEME = (Path(jobqueue.api.__file__).parent / "static" / "css" / "theme.css").read_text()
COLOURS = {name: pair for name, *pair in re.findall(r"--([a-z-]+): light-dark\((#\w{6}), (#\w{6})\);", THEME)}
SCHEMES = ("light", "dark")
TEXT = 4.5
SHAPE = 3.0

ON_GROUNDS = [(text, ground) for text in ("text", "mute", "accent") for ground in ("ground", "card", "raised")]
ON_CARDS = [(tone, "card") for tone in ("good", "warn", "bad")]
ON_TINTS = [("accent", "accent-soft"), ("text", "bad-soft"), ("text", "warn-soft"), ("text", "accent-soft")]
ON_THEIR_OWN = [
    ("good", "good-soft"),
    ("warn", "warn-soft"),
    ("bad", "bad-soft"),
    ("warn", "raised"),
    ("good", "raised"),
]
EDGES = [("edge", "card"), ("series", "card"), ("bad", "card")]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("text", "ground"), ON_GROUNDS + ON_CARDS + ON_TINTS + ON_THEIR_OWN)
def test_text_stands_out_from_its_ground(text: str, ground: str, scheme: str) -> None:
    assert contrast(colour(text, scheme), colour(ground, scheme)) >= TEXT


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("fill", ["accent-fill", "danger-fill"])
def test_white_stands_out_from_buttons(fill: str, scheme: str) -> None:
    assert contrast("#ffffff", colour(fill, scheme)) >= TEXT


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("shape", "ground"), EDGES)
def test_controls_and_bars_stand_out_from_their_ground(shape: str, ground: str, scheme: str) -> None:
    assert contrast(colour(shape, scheme), colour(ground, scheme)) >= SHAPE


def colour(name: str, scheme: str) -> str:
    return COLOURS[name][SCHEMES.index(scheme)]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(text: str) -> float:
    red, green, blue = (linear(int(text[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def linear(share: float) -> float:
    return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)

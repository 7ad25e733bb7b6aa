"""JSON of callers, read so that nobody could read it in another way."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final

MAX_DEPTH: Final = 64
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class NotJson(ValueError):
    """The text is no JSON, or JSON of two meanings; the message says what is wrong, without a value."""


def read_json(body: bytes) -> Any:
    """The value of a JSON text.

    Refused: names that stand twice in an object, NaN and infinities, numbers beyond a double or of thousands of
    digits, halves of surrogate pairs, more than 64 levels.

    Raises:
        NotJson: with what is wrong.
    """
    try:
        value = _decoder.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise NotJson(f"the body is not UTF-8: byte {error.start} begins no character") from error
    except json.JSONDecodeError as error:
        raise NotJson(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise NotJson(f"the body is nested deeper than {MAX_DEPTH} levels") from error
    except NotJson:
        raise
    except ValueError as error:  # Python refuses to read very long numbers
        raise NotJson("the body has a number with too many digits; pass it as text") from error
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _refuse_depth(value)
    if _SURROGATE.search(body):
        _refuse_surrogates(value)
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJson("the body has an object with one name twice")
    return found


def _constant(name: str) -> Any:
    raise NotJson(f"the body has {name}, which is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise NotJson("the body has a number beyond the range of a double; pass it as text")
    return value


_decoder: Final = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float)


def _refuse_depth(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return
    if any(isinstance(each, dict | list) for each in level):
        raise NotJson(f"the body is nested deeper than {MAX_DEPTH} levels")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _refuse_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise NotJson("the body has half of a surrogate pair, which is no character") from error

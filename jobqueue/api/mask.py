"""Fields whose values are not shown, and how an edited payload gets them back."""

from collections.abc import Collection
from typing import Any, Final

MASK: Final = "***"
_LACKING: Final = "the job's own payload has no such field to take the value from"


class NothingBehind(ValueError):
    """An edited payload has a mask where the original has no masked value; the message names the place."""


def mask(value: Any, fields: Collection[str]) -> Any:
    """*value* with every field of these names, at any depth and in any case, shown as `***`."""
    if isinstance(value, dict):
        return {name: MASK if _hidden(name, fields) else mask(inner, fields) for name, inner in value.items()}
    if isinstance(value, list):
        return [mask(each, fields) for each in value]
    return value


def unmask(
    edited: Any, original: Any, fields: Collection[str], *, lacking: str = _LACKING, place: str = "payload"
) -> Any:
    """*edited* with the values of *original* where it still shows `***` for a masked field.

    Raises:
        NothingBehind: there is no such field in *original*, which *lacking* says.
    """
    if isinstance(edited, dict):
        before = original if isinstance(original, dict) else {}
        return {
            name: _restored(name, before, f"{place}.{name}", lacking)
            if inner == MASK and _hidden(name, fields)
            else unmask(inner, before.get(name), fields, lacking=lacking, place=f"{place}.{name}")
            for name, inner in edited.items()
        }
    if isinstance(edited, list):
        items = original if isinstance(original, list) else []
        if items:
            _check_order(edited, items, place, fields)
        return [
            unmask(
                each, items[number] if number < len(items) else None, fields, lacking=lacking, place=f"{place}.{number}"
            )
            for number, each in enumerate(edited)
        ]
    return edited


def _check_order(edited: list[Any], items: list[Any], place: str, fields: Collection[str]) -> None:
    """A mask in a list stands for the value at its place: it must not have got another one's place.

    Raises:
        NothingBehind: items were moved, added or removed before one with a mask.
    """
    shown = mask(items, fields)
    for number, each in enumerate(edited):
        if not _has_mask(each, fields) or (number < len(shown) and each == shown[number]):
            continue
        if len(edited) != len(shown) or each in shown:
            raise NothingBehind(
                f"{place}.{number} has a {MASK!r}, and the list is another one: its items were moved, added or "
                f"removed; write the value"
            )


def _has_mask(value: Any, fields: Collection[str]) -> bool:
    if isinstance(value, dict):
        return any(
            (inner == MASK and _hidden(name, fields)) or _has_mask(inner, fields) for name, inner in value.items()
        )
    return isinstance(value, list) and any(_has_mask(each, fields) for each in value)


def _restored(name: str, before: dict[str, Any], place: str, lacking: str) -> Any:
    if name not in before:
        raise NothingBehind(f"{place} is {MASK!r}, and {lacking}; write the value")
    return before[name]


def _hidden(name: str, fields: Collection[str]) -> bool:
    return name.lower() in fields

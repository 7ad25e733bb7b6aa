"""Which keys a Lua script can touch, read from its source: every key of every command must come from KEYS.

Understands as much Lua as the scripts of `jobqueue/broker/lua` use. A name counts as a key when all that is ever
given to a variable of that name, in any scope of the script, is a key; anything not understood counts as none.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property

Tokens = list[str]

_TOKEN = re.compile(r"--[^\n]*|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\w+(?:\.(?!\.)\w+)*|\.\.|[=~<>]=|\S")
_OPERATOR = re.compile(r"\.\.|[=~<>]=|[-+*/%<>#.,:^(\[{]|and|or|not")
_STATEMENT = re.compile(r"local|if|for|function|return|end|else|elseif|then|do|while|repeat|until|break|in|;")
_CALLS = ("redis.call", "redis.pcall", "call")
_HIDDEN = ("redis", "_G", "load", "loadstring", "setmetatable", "rawset")


class Script:
    """One script. *positions* says where each command has its key, counted from 1, 0 for none."""

    def __init__(self, source: str, positions: Mapping[str, int]) -> None:
        body = source.partition("\n")[2] if source.startswith("#!") else source
        self._tokens = [token for token in _TOKEN.findall(body) if not token.startswith("--")]
        self._positions = positions
        self._asked: set[tuple[str, str]] = set()

    def undeclared(self) -> list[str]:
        """The commands whose key may come from elsewhere, as they stand in the source."""
        found = [f"{' '.join(call)}: {why}" for call in self._commands() if (why := self._fault(self._split(call)))]
        return found + [f"redis under another name near {where}" for where in self._aliases()]

    def commands(self) -> set[str]:
        """The commands it can call."""
        return {name for call in self._commands() for name in self._names(self._split(call)[0])}

    def _fault(self, args: list[Tokens]) -> str:
        for name in self._names(args[0]) or {""}:
            if name == "XREADGROUP":
                at = args.index(["'STREAMS'"]) + 1
                keys = args[at : at + (len(args) - at) // 2]
            elif name in self._positions:
                keys = [args[self._positions[name]]] if self._positions[name] else []
            else:
                return f"no command that is known: {name or ' '.join(args[0])}"
            if not all(self._is_key(key) for key in keys):
                return f"{name} on a key that is not in KEYS"
        return ""

    def _commands(self) -> Iterator[Tokens]:
        for at, token in enumerate(self._tokens[:-1]):
            if token in _CALLS and self._tokens[at + 1] == "(":
                yield self._inside(at + 1)

    def _aliases(self) -> Iterator[str]:
        """Where commands could be called unseen: the one alias that is read is `local call = redis.call`."""
        for at, token in enumerate(self._tokens):
            called = self._tokens[at + 1 : at + 2] == ["("]
            as_call = token == "redis.call" and self._tokens[at - 3 : at] == ["local", "call", "="]
            if token in _HIDDEN or (token in ("redis.call", "redis.pcall") and not called and not as_call):
                yield " ".join(self._tokens[max(0, at - 3) : at + 3])

    def _names(self, command: Tokens) -> set[str]:
        """The command itself, or all that its variable is ever given; empty when that cannot be told."""
        if len(command) == 1 and command[0].startswith("'"):
            return {command[0].strip("'")}
        given = self._given.get(command[0], []) if len(command) == 1 else []
        literal = {each[0].strip("'") for each in given if len(each) == 1 and each[0].startswith("'")}
        return literal if len(given) and all(len(each) == 1 and each[0].startswith("'") for each in given) else set()

    def _is_key(self, value: Tokens) -> bool:
        if value and value[-1] == "]":
            opened = self._opening(value)
            return self._are_keys(value[:opened])
        return len(value) == 1 and self._always(value[0], "key")

    def _are_keys(self, value: Tokens) -> bool:
        if value[:1] == ["("] and value[-1] == ")":
            return self._are_keys(value[1:-1])
        if value[:1] == ["{"] and value[-1] == "}":
            return all(self._is_key(each) for each in self._split(value[1:-1]))
        return value == ["KEYS"] or (len(value) == 1 and self._always(value[0], "keys"))

    def _always(self, name: str, what: str) -> bool:
        """Whether all that a variable is given is a key, or a table of keys. Given to itself, it stays what it was."""
        if (name, what) in self._asked:
            return True
        self._asked.add((name, what))
        try:
            is_it = self._is_key if what == "key" else self._are_keys
            return bool(self._given.get(name)) and all(is_it(value) for value in self._given[name])
        finally:
            self._asked.discard((name, what))

    @cached_property
    def _given(self) -> dict[str, list[Tokens]]:
        """Every name with all the expressions it is given: by assignment, by a loop, as a parameter."""
        given: dict[str, list[Tokens]] = {}
        depth = 0
        for at, token in enumerate(self._tokens):
            depth += (token in "({[") - (token in ")}]")
            if token == "=" and depth == 0:
                names = self._names_before(at)
                values = self._expressions(at + 1)
                for n, name in enumerate(names):
                    given.setdefault(name, []).append(values[n] if n < len(values) else [])
            if token == "ipairs" and self._tokens[at - 1] == "in":
                element = self._tokens[at - 2]
                given.setdefault(element, []).append([*self._inside(at + 1), "[", "]"])
            if token == "function":
                for name, value in self._parameters(at + 1):
                    given.setdefault(name, []).append(value)
        return given

    def _names_before(self, at: int) -> list[str]:
        names = [self._tokens[at - 1]]
        while self._tokens[at - 2] == ",":
            at -= 2
            names.insert(0, self._tokens[at - 1])
        return names

    def _parameters(self, at: int) -> Iterator[tuple[str, Tokens]]:
        """The parameters of the function named at *at*, each with what a call gives it."""
        names = self._split(self._inside(at + 1))
        for call in range(len(self._tokens) - 1):
            if call != at and self._tokens[call] == self._tokens[at] and self._tokens[call + 1] == "(":
                values = self._split(self._inside(call + 1))
                for n, name in enumerate(names):
                    yield name[0], values[n] if n < len(values) else []

    def _expressions(self, at: int) -> list[Tokens]:
        """The expressions that begin at *at*, up to the next statement."""
        taken: Tokens = []
        depth = 0
        while at < len(self._tokens):
            token = self._tokens[at]
            if depth == 0 and taken and not _OPERATOR.fullmatch(token) and not _OPERATOR.fullmatch(taken[-1]):
                break
            if depth == 0 and _STATEMENT.fullmatch(token):
                break
            depth += (token in "({[") - (token in ")}]")
            if depth < 0:
                break
            taken.append(token)
            at += 1
        return self._split(taken)

    def _inside(self, at: int) -> Tokens:
        """What stands between the bracket at *at* and the one that closes it."""
        depth = 0
        for end in range(at, len(self._tokens)):
            depth += (self._tokens[end] in "({[") - (self._tokens[end] in ")}]")
            if depth == 0:
                return self._tokens[at + 1 : end]
        raise ValueError(f"never closed: {' '.join(self._tokens[at : at + 9])}")

    @staticmethod
    def _opening(value: Tokens) -> int:
        """Where the bracket begins that the last token closes."""
        depth = 0
        for at in range(len(value) - 1, -1, -1):
            depth += (value[at] in ")}]") - (value[at] in "({[")
            if depth == 0:
                return at
        return 0

    @staticmethod
    def _split(tokens: Tokens) -> list[Tokens]:
        """By the commas that stand in no bracket."""
        parts: list[Tokens] = [[]]
        depth = 0
        for token in tokens:
            depth += (token in "({[") - (token in ")}]")
            if token == "," and depth == 0:
                parts.append([])
            else:
                parts[-1].append(token)
        return parts if parts != [[]] else []

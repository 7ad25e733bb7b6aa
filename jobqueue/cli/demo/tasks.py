"""The tasks of the demo, registered as anybody registers theirs."""

import ast
import sysconfig
from datetime import timedelta
from pathlib import Path

from jobqueue.registry import Registry
from jobqueue.retry import RetryPolicy

QUEUE = "source"
LIBRARY = Path(sysconfig.get_path("stdlib"))

registry = Registry()


@registry.task(
    "source.analyse",
    queue=QUEUE,
    retry=RetryPolicy(max_retries=2, base=timedelta(milliseconds=300), max_delay=timedelta(seconds=1)),
    timeout=timedelta(minutes=1),
    result_ttl=timedelta(minutes=10),
)
def analyse(path: str) -> dict[str, int]:
    """Count what is in one file of the standard library. A file that does not parse raises SyntaxError."""
    source = (LIBRARY / path).read_bytes()
    counts = {"lines": len(source.splitlines()), "functions": 0, "classes": 0, "imports": 0}
    for statement in statements_of(ast.parse(source, path)):
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                counts["functions"] += 1
            case ast.ClassDef():
                counts["classes"] += 1
            case ast.Import() | ast.ImportFrom():
                counts["imports"] += 1
    return counts


def statements_of(tree: ast.AST) -> list[ast.AST]:
    """Every statement, however deep; expressions hold none and are not entered."""
    found: list[ast.AST] = [tree]
    for node in found:
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, name, None)
            if isinstance(inner, list):
                found.extend(inner)
    return found


def source_files() -> list[str]:
    """Every `.py` file of this interpreter's standard library, tests included, as paths below `LIBRARY`."""
    paths = (path.relative_to(LIBRARY) for path in LIBRARY.rglob("*.py"))
    return sorted(path.as_posix() for path in paths if not _FOREIGN.intersection(path.parts))


_FOREIGN = {"site-packages", "dist-packages"}

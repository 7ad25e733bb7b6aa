"""The checker behind test_floors.py: it reads the imports of a package tree without running it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, and where it is written."""

    importer: str
    target: str
    where: str


def floor_violations(package: Path, floors: list[list[str]]) -> list[str]:
    """Every import that goes up or sideways, and every module without a floor."""
    root = package.name
    floor_of = {unit: number for number, floor in enumerate(floors, start=1) for unit in floor}
    found = [
        f"{path}:1: {name} has no floor; add it to FLOORS in tests/architecture/test_floors.py"
        for name, path in modules_of(package).items()
        if name != root and unit_of(name, root, floors) is None
    ]
    for edge in imports_of(package):
        importer, target = (unit_of(name, root, floors) for name in (edge.importer, edge.target))
        if edge.importer == root or importer is None:
            continue
        if edge.target == root:
            found.append(
                f"{edge.where}: {edge.importer} imports from {root}/__init__.py, which stands on the roof; "
                "import from the module that defines the name"
            )
        elif target is not None and importer != target and floor_of[importer] <= floor_of[target]:
            relation = "its neighbour" if floor_of[importer] == floor_of[target] else "the higher"
            found.append(
                f"{edge.where}: {importer} (floor {floor_of[importer]}) imports {relation} {target} "
                f"(floor {floor_of[target]}); modules import only from lower floors: move down what "
                "both need, or let a higher floor hand it in"
            )
    return found


def circles(package: Path) -> list[str]:
    """Every group of modules that import each other in a ring, with one import of it to look at."""
    edges = [edge for edge in imports_of(package) if edge.importer != package.name]
    graph: dict[str, set[str]] = {}
    for edge in edges:
        graph.setdefault(edge.importer, set()).add(edge.target)
    found: list[str] = []
    seen: set[str] = set()
    for edge in edges:
        ring = path_between(graph, edge.target, edge.importer)
        if ring and edge.importer not in seen:
            seen.update(ring)
            found.append(
                f"{edge.where}: circle {' -> '.join([edge.importer, *ring])}; "
                "data never knows services: move what both need into a lower module"
            )
    return found


def path_between(graph: dict[str, set[str]], start: str, end: str) -> list[str]:
    """The modules from *start* to *end*, both included, along imports; empty when there is no way."""
    came_from = {start: ""}
    todo = [start]
    while todo and end not in came_from:
        here = todo.pop(0)
        for there in sorted(graph.get(here, set()) - came_from.keys()):
            came_from[there] = here
            todo.append(there)
    path, step = [], end if end in came_from else ""
    while step:
        path.append(step)
        step = came_from[step]
    return path[::-1]


def definitions_in_init_files(package: Path) -> list[str]:
    """Every statement of an `__init__.py` that is more than a docstring, a re-export or a table of names."""
    return [
        f"{path}:{node.lineno}: __init__ files re-export, they do not define; "
        "move this into a module of its own and import it here"
        for path in sorted(package.rglob("__init__.py"))
        for node in ast.parse(path.read_text()).body
        if not is_reexport(node)
    ]


def is_reexport(node: ast.stmt) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=[]):
            return all(is_reexport(inner) for inner in body)
        case ast.FunctionDef(name="__getattr__" | "__dir__"):  # lazy re-export, PEP 562
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name in ("__all__", "__version__") or (name.startswith("_") and is_literal(node.value))
        case _:
            return False


def is_literal(node: ast.expr | None) -> bool:
    try:
        ast.literal_eval(node or "")
    except ValueError:
        return False
    return True


def foreign_imports(package: Path, floors: list[list[str]], only_in: dict[str, list[str]]) -> list[str]:
    """Every import of an outside package by a unit that has no business with it."""
    found = []
    for name, path in modules_of(package).items():
        unit = unit_of(name, package.name, floors)
        for line, target in raw_imports(path, name):
            outside = target.partition(".")[0]
            if unit not in only_in.get(outside, [unit]):
                found.append(
                    f"{path}:{line}: {unit} imports {outside}; only {', '.join(only_in[outside])} may: "
                    "ask the port, or hand the part in from bootstrap"
                )
    return found


def unit_of(module: str, root: str, floors: list[list[str]]) -> str | None:
    """The unit that a module belongs to: the longest name in the table that it equals or lies under."""
    inner = module.removeprefix(f"{root}.")
    units = [unit for floor in floors for unit in floor if inner == unit or inner.startswith(f"{unit}.")]
    return max(units, key=len, default=None)


def imports_of(package: Path) -> Iterator[Import]:
    """Every import of one of the package's own modules by another."""
    known = modules_of(package)
    for name, path in known.items():
        for line, target in raw_imports(path, name):
            module = target if target in known else target.rpartition(".")[0]
            if module in known and module != name:
                yield Import(name, module, f"{path}:{line}")


def modules_of(package: Path) -> dict[str, Path]:
    """Dotted name and file of each module; a package goes by its own name."""
    return {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(package.rglob("*.py"))
    }


def raw_imports(path: Path, module: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything that a file imports; `from a import b` gives `a.b`."""
    here = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=base, names=names, level=level):
                if level:
                    above = here.split(".")[: len(here.split(".")) - level + 1]
                    base = ".".join([*above, base] if base else above)
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in names)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(target)), *_],
            ):
                yield node.lineno, here + target if target.startswith(".") else target

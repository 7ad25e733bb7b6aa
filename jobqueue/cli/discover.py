"""Finding the user's registry: `-A module:registry`, else `JOBQUEUE_APP`, else pyproject.toml."""

import importlib
import sys
import tomllib
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from jobqueue.config import Settings
from jobqueue.errors import ConfigError, JobQueueError
from jobqueue.registry import Registry


def find_app(given: str | None, settings: Settings) -> str | None:
    """The name of the app: the flag, else the setting, else pyproject.toml in the working directory; or None."""
    return given or settings.app.app or _from_pyproject(Path("pyproject.toml"))


def require_app(given: str | None, settings: Settings) -> str:
    """`find_app`, where there must be one.

    Raises:
        ConfigError: none is given.
    """
    app = find_app(given, settings)
    if app is None:
        raise ConfigError(
            "which tasks? give -A module:registry, e.g. -A shop.jobs, or set JOBQUEUE_APP, "
            'or write app = "shop.jobs:registry" under [tool.jobqueue] in pyproject.toml'
        )
    return app


def load_registry(app: str) -> Registry:
    """Import *app*, `module:registry`, with the working directory first on the path.

    The name after the colon may be a registry or a function without arguments that makes one, also
    within something: `shop:app.registry`. A module alone is searched for its one registry.

    Raises:
        ConfigError: there is no such module, it cannot be imported, or there is no registry in it.
    """
    module_name, colon, path = app.partition(":")
    is_file = module_name.endswith(".py") or "/" in module_name
    if is_file or not all(part.isidentifier() for part in module_name.split(".")) or (colon and not path):
        hint = "; name a module, not a file" if is_file else ""
        raise ConfigError(f"app must be written module:registry, e.g. shop.jobs:registry, got {app!r}{hint}")
    module = _import(module_name)
    if not colon:
        return _only_registry(module)
    return _made(_reach(module, path, app), app)


def full_name(app: str) -> str:
    """*app* as `module:registry`, also where only the module was given: one app has one name.

    Raises:
        ConfigError: as `load_registry`.
    """
    if ":" in app:
        return app
    registry = load_registry(app)
    name = next(name for name, value in vars(sys.modules[app]).items() if value is registry)
    return f"{app}:{name}"


def _from_pyproject(path: Path) -> str | None:
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
        app = table.get("tool", {}).get("jobqueue", {}).get("app")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if app is None or isinstance(app, str):
        return app
    raise ConfigError(f"{path}: app under [tool.jobqueue] must be text such as 'shop.jobs:registry', got {app!r}")


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path[:1]:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(
                f"no module named {name!r} in {here} or among the installed packages"
                + ("" if error.name == name else f" (there is no {error.name!r})")
            ) from error
        raise _broken(name, error) from error
    except JobQueueError as error:
        raise ConfigError(f"cannot import {name!r}: {error}{_place(error)}") from error
    except Exception as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"cannot import {name!r}: {type(error).__name__}: {error}{_place(error)}; --debug shows the traceback"
    )


def _place(error: Exception) -> str:
    """Where in the user's own files an import failed."""
    here = str(Path.cwd())
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(here) and "site-packages" not in frame.filename:
            return f" ({Path(frame.filename).relative_to(here)}, line {frame.lineno})"
    return ""


def _only_registry(module: ModuleType) -> Registry:
    found = {name: value for name, value in vars(module).items() if isinstance(value, Registry)}
    if len({id(value) for value in found.values()}) == 1:
        return next(iter(found.values()))
    name = module.__name__
    if not found:
        raise ConfigError(f"module {name!r} has no Registry; make one, or name another module:registry")
    raise ConfigError(
        f"module {name!r} has {len(found)} registries; say which: "
        + " or ".join(f"{name}:{each}" for each in sorted(found))
    )


def _reach(module: ModuleType, path: str, app: str) -> object:
    value: object = module
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            registries = sorted(name for name, each in vars(module).items() if isinstance(each, Registry))
            there = f"; it has {', '.join(registries)}" if registries else ""
            raise ConfigError(f"module {module.__name__!r} has no {path!r} (asked for by {app!r}){there}") from None
    return value


def _made(value: object, app: str) -> Registry:
    if not isinstance(value, Registry) and callable(value):
        try:
            value = value()
        except Exception as error:
            raise ConfigError(
                f"{app!r} could not be called: {type(error).__name__}: {error}{_place(error)}; "
                f"--debug shows the traceback"
            ) from error
    if isinstance(value, Registry):
        return value
    raise ConfigError(f"{app!r} is no Registry and makes none: it is {type(value).__name__} {str(value)[:60]!r}")

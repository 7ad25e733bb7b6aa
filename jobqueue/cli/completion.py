"""`jobqueue completion`: the script that completes commands in a shell."""

import click
from click.shell_completion import get_completion_class

from jobqueue.errors import JobQueueError

_HINTS = {
    "bash": 'eval "$(jobqueue completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(jobqueue completion zsh)"  in ~/.zshrc',
    "fish": "jobqueue completion fish > ~/.config/fish/completions/jobqueue.fish",
}


@click.command(name="completion", epilog="  ".join(_HINTS.values()))
@click.argument("shell", type=click.Choice(list(_HINTS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands and options in SHELL."""
    complete = get_completion_class(shell)
    if complete is None:
        raise JobQueueError(f"click knows no completion for {shell}")
    try:
        click.echo(complete(ctx.find_root().command, {}, "jobqueue", "_JOBQUEUE_COMPLETE").source())
    except (RuntimeError, OSError) as error:
        raise JobQueueError(f"no completion for {shell} here: {error}") from error

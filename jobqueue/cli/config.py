"""`jobqueue config`: the settings in force."""

import os

import click

from jobqueue.cli.option import output_option
from jobqueue.cli.output import Form, show_all
from jobqueue.config import DEFAULT_FILE, FILE_VARIABLE, SETTINGS, Settings, show, written


@click.group(name="config")
def command() -> None:
    """Show the settings."""


@command.command("show")
@output_option
def show_settings(output: Form) -> None:
    """Show every setting: its value, where it comes from, what it does. Passwords are masked."""
    settings = Settings.load()
    file = os.environ.get(FILE_VARIABLE)
    from_file = Settings.load({FILE_VARIABLE: file} if file else {})
    records = []
    for setting in SETTINGS:
        default = written(setting.default, secret=setting.secret)
        source = "default"
        if os.environ.get(setting.env):
            source = "environment"
        elif show(setting, from_file) != default:
            source = file or DEFAULT_FILE
        records.append(
            {
                "setting": setting.env,
                "value": show(setting, settings),
                "source": source,
                "default": default,
                "in_file": f"{setting.section}.{setting.name}",
                "what": setting.doc,
            }
        )
    show_all(records, output, columns=("setting", "value", "source", "what"))

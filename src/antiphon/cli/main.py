"""The antiphon command: its sub-commands and options, and nothing that takes time to import.

What a sub-command needs is imported when it runs, so that `--help` is quick. Expected failures end in one line on
stderr and an exit code (1: it failed, 2: wrong usage); a traceback is a bug.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from antiphon import __version__
from antiphon.protocol.errors import AntiphonError

_FILE: Final = click.Path(path_type=Path)

data_option: Final = click.option("--data", type=_FILE, help="Folder for database and secret [ANTIPHON_DATA, data].")
config_option: Final = click.option(
    "--config", type=_FILE, help="Configuration file [ANTIPHON_CONFIG, antiphon.toml if it is there]."
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def _overrides(**given: Path | str | int | None) -> Mapping[str, str | int | None]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}


class _InOrder(click.Group):
    """A group whose help lists the commands as they are written here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


@click.group(cls=_InOrder, no_args_is_help=True)
@click.version_option(__version__, message="antiphon %(version)s")
def app() -> None:
    """One Responses API for every model: serve it, ask it, look after it."""


@app.command()
@click.option("--host", help="Address to listen on [ANTIPHON_HOST, 127.0.0.1].")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one [ANTIPHON_PORT, 8484].")
@data_option
@config_option
@click.option("--workers", type=int, help="Processes that serve [ANTIPHON_WORKERS, 1].")
def serve(host: str | None, port: int | None, data: Path | None, config: Path | None, workers: int | None) -> None:
    """Start the server. The first start makes a key and prints it once."""
    gc.disable()  # what is made from here on stays: the collector is switched on when the server stands
    from .serve import serve as run_server

    run_server(_overrides(host=host, port=port, data=data, config=config, workers=workers))


@app.command()
@click.argument("prompt")
@click.option("--model", "-m", help="Model to ask, VENDOR/MODEL or an alias.")
@click.option(
    "--base-url", envvar="ANTIPHON_BASE_URL", show_envvar=True, help="Server to ask, such as http://host:8484/v1."
)
@click.option("--key", envvar="ANTIPHON_API_KEY", show_envvar=True, help="API key of that server.")
@click.option("--previous", help="Response id to continue from.")
@click.option("--reasoning", help="Reasoning effort, such as low or high.")
@click.option("--instructions", help="Instructions for the model.")
@click.option("--image", type=_FILE, multiple=True, help="Image file to send; may be repeated.")
@data_option
@config_option
def ask(
    prompt: str,
    model: str | None,
    base_url: str | None,
    key: str | None,
    previous: str | None,
    reasoning: str | None,
    instructions: str | None,
    image: tuple[Path, ...],
    data: Path | None,
    config: Path | None,
) -> None:
    """Ask a model and stream its answer.

    PROMPT is the question, or `-` to read it from standard input. Without a server that runs, one is started for it.
    """
    from .ask import Question
    from .ask import ask as run_ask

    text = sys.stdin.read() if prompt == "-" else prompt
    question = Question(text, model, previous, reasoning, instructions, image)
    run_ask(question, base_url, key, _overrides(data=data, config=config))


@app.command()
@config_option
@data_option
@json_option
def models(config: Path | None, data: Path | None, as_json: bool) -> None:
    """List what can be called: aliases, vendors with a key, local engines that run, the simulator."""
    from .models import list_models

    list_models(_overrides(config=config, data=data), as_json)


@app.command()
@data_option
@config_option
@json_option
def doctor(data: Path | None, config: Path | None, as_json: bool) -> None:
    """Check the installation, the data folder, and every vendor that has a key. Exit code 1 if something fails."""
    from .doctor import doctor as run_doctor

    run_doctor(_overrides(data=data, config=config), as_json)


@app.command()
@click.option("--since", default="30d", show_default=True, help="How far back: hours, days or weeks, such as 24h.")
@data_option
@config_option
@json_option
def usage(since: str, data: Path | None, config: Path | None, as_json: bool) -> None:
    """Sum up what was used and what it cost, by project and model."""
    from .usage import usage as run_usage

    run_usage(_overrides(data=data, config=config), since, as_json)


@app.command()
def version() -> None:
    """Print the version."""
    print(f"antiphon {__version__}")


@app.command()
@click.option("--store", help="sqlite:///PATH or postgresql://... [ANTIPHON_STORE].")
@click.option("--check", is_flag=True, help="Only say whether steps are due; exit code 1 if so.")
@data_option
@config_option
def migrate(store: str | None, check: bool, data: Path | None, config: Path | None) -> None:
    """Bring the database to the newest schema. `serve` does it too; run it first where many servers start at once."""
    from .stores import migrate as run_migrate

    run_migrate(_overrides(store=store, data=data, config=config), is_check=check)


@app.group(cls=_InOrder, no_args_is_help=True)
def key() -> None:
    """Make, list and revoke API keys."""


@key.command("create")
@click.option(
    "--project",
    multiple=True,
    required=True,
    help="Project of the key; made if it is new. More of them for X-Project-ID.",
)
@json_option
@data_option
@config_option
def key_create(project: tuple[str, ...], as_json: bool, data: Path | None, config: Path | None) -> None:
    """Make a key and print it; it is not shown again."""
    from .keys import create

    create(_overrides(data=data, config=config), list(project), as_json)


@key.command("list")
@json_option
@data_option
@config_option
def key_list(as_json: bool, data: Path | None, config: Path | None) -> None:
    """List keys: id, project, last characters, when made, whether revoked."""
    from .keys import show

    show(_overrides(data=data, config=config), as_json)


@key.command("revoke")
@click.argument("key_id")
@data_option
@config_option
def key_revoke(key_id: str, data: Path | None, config: Path | None) -> None:
    """Revoke a key; running servers refuse it within seconds. KEY_ID is its id, as `key list` shows it."""
    from .keys import revoke

    revoke(_overrides(data=data, config=config), key_id)


@app.group("config", cls=_InOrder, no_args_is_help=True)
def config_group() -> None:
    """Look at the configuration."""


@config_group.command("check")
@config_option
@data_option
@json_option
def config_check(config: Path | None, data: Path | None, as_json: bool) -> None:
    """Read the configuration and show what it comes to. Exit code 1 if it is wrong."""
    from .check import check

    check(_overrides(config=config, data=data), as_json)


@app.group("store", cls=_InOrder, no_args_is_help=True)
def store_group() -> None:
    """Look after the database."""


@store_group.command("copy")
@click.option("--from", "source", required=True, help="Store to read, sqlite:///PATH or postgresql://...")
@click.option("--to", "target", required=True, help="Store to fill; it must be empty.")
@click.option("--resume", is_flag=True, help="Go on with a copy that was interrupted.")
def store_copy(source: str, target: str, resume: bool) -> None:
    """Copy everything from one store into another. Stop the servers first, and take the secret along."""
    from .stores import copy

    copy(source, target, resume=resume)


def main() -> None:
    """Run the command. Expected errors become one line on stderr and exit code 1."""
    try:
        sys.exit(app.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output left; what is still buffered goes nowhere instead of failing once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except (AntiphonError, OSError) as error:
        _fail(error)
    except ExceptionGroup as group:
        expected: list[Exception] = []
        if group.split(lambda error: _is_expected(error, expected))[1] is not None:
            raise
        _fail(expected[0])


def _is_expected(error: Exception, expected: list[Exception]) -> bool:
    """Whether a task failed for a reason that is no bug; collects it."""
    if not isinstance(error, AntiphonError | OSError):
        return False
    expected.append(error)
    return True


def _fail(error: Exception) -> None:
    print(f"antiphon: {error}", file=sys.stderr)
    sys.exit(1)

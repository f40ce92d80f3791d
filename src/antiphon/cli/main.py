"""The antiphon command: its sub-commands and options, and nothing that takes time to import.

What a sub-command needs is imported when it runs, so that `--help` is quick. Expected failures end in one line on
stderr and an exit code (1: it failed, 2: wrong usage); a traceback is a bug.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from antiphon import __version__
from antiphon.protocol.errors import AntiphonError

app: Final = typer.Typer(
    name="antiphon",
    help="One Responses API for every model: serve it, ask it, look after it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
key_app: Final = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
store_app: Final = typer.Typer(help="Look after the database.", no_args_is_help=True)
config_app: Final = typer.Typer(help="Look at the configuration.", no_args_is_help=True)
app.add_typer(key_app, name="key")
app.add_typer(config_app, name="config")
app.add_typer(store_app, name="store")

Host = Annotated[str | None, typer.Option("--host", help="Address to listen on [ANTIPHON_HOST, 127.0.0.1].")]
Port = Annotated[
    int | None, typer.Option("--port", help="Port to listen on; 0 takes a free one [ANTIPHON_PORT, 8484].")
]
DataDir = Annotated[Path | None, typer.Option("--data", help="Folder for database and secret [ANTIPHON_DATA, data].")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Configuration file [ANTIPHON_CONFIG, antiphon.toml if it is there].")
]
Workers = Annotated[int | None, typer.Option("--workers", help="Processes that serve [ANTIPHON_WORKERS, 1].")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", envvar="ANTIPHON_BASE_URL", help="Server to ask, such as http://host:8484/v1."),
]
ApiKey = Annotated[str | None, typer.Option("--key", envvar="ANTIPHON_API_KEY", help="API key of that server.")]


def _overrides(**given: Path | str | int | None) -> Mapping[str, str | int | None]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}


@app.command()
def serve(
    host: Host = None, port: Port = None, data: DataDir = None, config: ConfigFile = None, workers: Workers = None
) -> None:
    """Start the server. The first start makes a key and prints it once."""
    from .serve import serve as run_server

    run_server(_overrides(host=host, port=port, data=data, config=config, workers=workers))


@app.command()
def ask(
    prompt: Annotated[str, typer.Argument(help="What to ask; `-` reads it from standard input.")],
    model: Annotated[str | None, typer.Option("--model", "-m", help="Model to ask, VENDOR/MODEL or an alias.")] = None,
    base_url: BaseUrl = None,
    key: ApiKey = None,
    previous: Annotated[str | None, typer.Option("--previous", help="Response id to continue from.")] = None,
    reasoning: Annotated[str | None, typer.Option("--reasoning", help="Reasoning effort, such as low or high.")] = None,
    instructions: Annotated[str | None, typer.Option("--instructions", help="Instructions for the model.")] = None,
    image: Annotated[list[Path] | None, typer.Option("--image", help="Image file to send; may be repeated.")] = None,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Ask a model and stream its answer. Without a server that runs, one is started for the question."""
    from .ask import Question
    from .ask import ask as run_ask

    text = sys.stdin.read() if prompt == "-" else prompt
    question = Question(text, model, previous, reasoning, instructions, tuple(image or ()))
    run_ask(question, base_url, key, _overrides(data=data, config=config))


@app.command()
def models(config: ConfigFile = None, data: DataDir = None, as_json: AsJson = False) -> None:
    """List what can be called: aliases, vendors with a key, local engines that run, the simulator."""
    from .models import list_models

    list_models(_overrides(config=config, data=data), as_json)


@app.command()
def doctor(data: DataDir = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Check the installation, the data folder, and every vendor that has a key. Exit code 1 if something fails."""
    from .doctor import doctor as run_doctor

    run_doctor(_overrides(data=data, config=config), as_json)


@app.command()
def usage(
    since: Annotated[str, typer.Option("--since", help="How far back: hours, days or weeks, such as 24h.")] = "30d",
    data: DataDir = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Sum up what was used and what it cost, by project and model."""
    from .usage import usage as run_usage

    run_usage(_overrides(data=data, config=config), since, as_json)


@app.command()
def version() -> None:
    """Print the version."""
    print(f"antiphon {__version__}")


@app.command()
def migrate(
    store: Annotated[
        str | None, typer.Option("--store", help="sqlite:///PATH or postgresql://... [ANTIPHON_STORE].")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say whether steps are due; exit code 1 if so.")] = False,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Bring the database to the newest schema. `serve` does it too; run it first where many servers start at once."""
    from .stores import migrate as run_migrate

    run_migrate(_overrides(store=store, data=data, config=config), is_check=check)


@store_app.command("copy")
def store_copy(
    source: Annotated[str, typer.Option("--from", help="Store to read, sqlite:///PATH or postgresql://...")],
    target: Annotated[str, typer.Option("--to", help="Store to fill; it must be empty.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a copy that was interrupted.")] = False,
) -> None:
    """Copy everything from one store into another. Stop the servers first, and take the secret along."""
    from .stores import copy

    copy(source, target, resume=resume)


@key_app.command("create")
def key_create(
    project: Annotated[
        list[str],
        typer.Option("--project", help="Project of the key; made if it is new. More of them for X-Project-ID."),
    ],
    as_json: AsJson = False,
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make a key and print it; it is not shown again."""
    from .keys import create

    create(_overrides(data=data, config=config), project, as_json)


@key_app.command("list")
def key_list(as_json: AsJson = False, data: DataDir = None, config: ConfigFile = None) -> None:
    """List keys: id, project, last characters, when made, whether revoked."""
    from .keys import show

    show(_overrides(data=data, config=config), as_json)


@key_app.command("revoke")
def key_revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `key list` shows it.")],
    data: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Revoke a key; running servers refuse it within seconds."""
    from .keys import revoke

    revoke(_overrides(data=data, config=config), key_id)


@config_app.command("check")
def config_check(config: ConfigFile = None, data: DataDir = None, as_json: AsJson = False) -> None:
    """Read the configuration and show what it comes to. Exit code 1 if it is wrong."""
    from .check import check

    check(_overrides(config=config, data=data), as_json)


def main() -> None:
    """Run the command. Expected errors become one line on stderr and exit code 1."""
    try:
        app()
    except BrokenPipeError:
        # The reader of our output left; what is still buffered goes nowhere instead of failing once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
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

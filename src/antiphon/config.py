"""Typed settings from four places: built-in defaults, `antiphon.toml`, the environment, the command line.

The later place wins. `SETTINGS` is the one list of what can be set; the file's tables, the `ANTIPHON_...` variables and
docs/configuration.md all follow it. Every error names the file or variable, the key, and the way out. Must never
import a room above it: vendor rows stay plain values here, `providers.catalog` gives them their meaning.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from antiphon.protocol.errors import ConfigError

Value = str | int | float | bool
Overrides = Mapping[str, str | int | None]
LogFormat = Literal["auto", "json", "text"]

_CONFIG_NAME: Final = "antiphon.toml"
_DATA_NAME: Final = "data"
_PREFIX: Final = "ANTIPHON_"
_TRUTH: Final = MappingProxyType({"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False})


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set: its field in Settings, its place in the file, its range and what it is for.

    `default` None means a text that is worked out from other settings. `kind` is the type of the value.
    """

    name: str
    table: str
    key: str
    kind: type[str] | type[int] | type[float] | type[bool]
    default: Value | None
    help: str
    least: float = 0
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        return _PREFIX + self.key.upper() if self.table == "server" else _PREFIX + self.name.upper()


SETTINGS: Final = (
    Setting("host", "server", "host", str, "127.0.0.1", "Address to listen on; 0.0.0.0 is every interface."),
    Setting("port", "server", "port", int, 8484, "Port to listen on; 0 takes a free one."),
    Setting("data", "server", "data", str, _DATA_NAME, "Folder for the database and the secret."),
    Setting("workers", "server", "workers", int, 1, "Processes that serve requests.", least=1),
    Setting("drain_s", "server", "drain_s", float, 30.0, "Seconds that running streams get when the server stops."),
    Setting("sim", "server", "sim", bool, True, "Whether the built-in simulator's models can be called."),
    Setting(
        "heartbeat_s", "server", "heartbeat_s", float, 15.0, "Seconds of silence before a comment is sent.", least=0.01
    ),
    Setting("max_body_bytes", "limits", "max_body_bytes", int, 64 << 20, "Largest request body in bytes.", least=1),
    Setting(
        "max_bodies_bytes",
        "limits",
        "max_bodies_bytes",
        int,
        512 << 20,
        "Request bodies, and what they continue, that one process holds at once, in bytes.",
        least=1,
    ),
    Setting(
        "max_context_bytes",
        "limits",
        "max_context_bytes",
        int,
        256 << 20,
        "What may be stored of all that one request continues, in bytes; at most half of max_bodies_bytes.",
        least=1,
    ),
    Setting(
        "max_known_bytes",
        "limits",
        "max_known_bytes",
        int,
        128 << 20,
        "What one process keeps in memory to go on with conversations, in bytes: half for chains.",
        least=0,
    ),
    Setting(
        "max_responses", "limits", "max_responses", int, 4_000, "Responses that one process makes at once.", least=1
    ),
    Setting("connect_s", "timeouts", "connect_s", float, 10.0, "Seconds to connect to a provider.", least=0.01),
    Setting("first_byte_s", "timeouts", "first_byte_s", float, 120.0, "Seconds until it must answer.", least=0.01),
    Setting("idle_s", "timeouts", "idle_s", float, 120.0, "Longest silence within an answer, seconds.", least=0.01),
    Setting("total_s", "timeouts", "total_s", float, 1800.0, "Longest whole answer, seconds.", least=0.01),
    Setting(
        "store",
        "store",
        "url",
        str,
        None,
        "sqlite:///PATH or postgresql://...; by default DATA/antiphon.db.",
    ),
    Setting("retention_days", "store", "retention_days", int, 30, "Days that responses are kept; 0 is forever."),
    Setting(
        "background_concurrency",
        "background",
        "concurrency",
        int,
        100,
        "Background responses that one process works on at once.",
        least=1,
    ),
    Setting("background_queue", "background", "queue", int, 1000, "Background responses of a project that may wait."),
    Setting(
        "background_queue_age_s", "background", "queue_age_s", float, 3600.0, "Longest wait of one, seconds.", least=1
    ),
    Setting("background_attempts", "background", "attempts", int, 3, "Workers that may try one.", least=1),
    Setting("lease_s", "background", "lease_s", float, 15.0, "Silence that loses a worker, seconds.", least=0.1),
    Setting("events_hours", "background", "events_hours", float, 24.0, "Hours that streams can be resumed."),
    Setting(
        "webhooks_allow_private",
        "webhooks",
        "allow_private",
        bool,
        False,
        "Whether webhooks may go to private addresses, and over http.",
    ),
    Setting("compat_api_prefix", "compat", "api_prefix", bool, True, "Whether /api/v1 is /v1 too."),
    Setting("compat_max_tokens", "compat", "max_tokens", bool, True, "Whether max_tokens is max_output_tokens."),
    Setting("compat_reasoning_effort", "compat", "reasoning_effort", bool, True, "Whether it is reasoning.effort."),
    Setting(
        "compat_nested_format", "compat", "nested_format", bool, True, "Whether text.format may have Chat's shape."
    ),
    Setting(
        "compat_include_usage", "compat", "include_usage", bool, False, "Whether stream_options.include_usage is taken."
    ),
    Setting(
        "compat_project_header", "compat", "project_header", bool, False, "Whether X-Project-ID chooses the project."
    ),
    Setting("media_allow_private", "media", "allow_private", bool, False, "Whether URLs of media may be private."),
    Setting("media_max_bytes", "media", "max_bytes", int, 20 << 20, "Largest image or file fetched by URL.", least=1),
    Setting(
        "log_level",
        "log",
        "level",
        str,
        "info",
        "Least level that is logged.",
        choices=("debug", "info", "warning", "error"),
    ),
    Setting(
        "log_format",
        "log",
        "format",
        str,
        "auto",
        "auto is text on a terminal and JSON elsewhere.",
        choices=("auto", "json", "text"),
    ),
    Setting("log_content", "log", "content", bool, False, "Whether logs may hold prompts and answers."),
)
TABLES: Final = tuple(dict.fromkeys(setting.table for setting in SETTINGS))


class VendorRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A `[[vendor]]` table. An absent field keeps the built-in row's value, where there is one of this name."""

    name: str
    dialect: str | None = None
    base_url: str | None = None
    auth: str | None = None
    api_key_env: str | None = None
    api_key_file: str | None = None
    headers: dict[str, str] = {}
    models: list[str] = []
    quirks: dict[str, object] = {}
    is_local: bool | None = None
    service: str | None = None


class ModelAlias(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[[model]]` table: a name of the operator's own for one or more `vendor/model` targets, tried in order."""

    name: str
    targets: list[str]


class ProjectRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[[project]]` table; `*` stands for every project that has none of its own.

    `strict`: what a target cannot honour is refused, never left out. The limits are for all its keys together.
    """

    name: str
    strict: bool = False
    requests_per_minute: Annotated[int, msgspec.Meta(ge=1)] | None = None
    tokens_per_minute: Annotated[int, msgspec.Meta(ge=1)] | None = None


class PriceRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[[price]]` table: USD per million tokens of models (shell patterns over `vendor/model`)."""

    models: list[str]
    input: float
    output: float
    cached: float | None = None
    cache_write: float | None = None


_LISTS: Final[dict[str, type[msgspec.Struct] | None]] = {
    "vendor": VendorRow,
    "model": ModelAlias,
    "project": ProjectRow,
    "price": PriceRow,
    "capability": None,
}
"""The tables that there can be several of; the fields of capabilities are those of `providers.capabilities`."""


class _Lists(msgspec.Struct, frozen=True):
    vendor: list[VendorRow] = []
    model: list[ModelAlias] = []
    project: list[ProjectRow] = []
    price: list[PriceRow] = []
    capability: list[dict[str, object]] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an installation can be told. Names with `_s` are seconds."""

    host: str = "127.0.0.1"
    port: int = 8484
    data_dir: Path = Path(_DATA_NAME)
    config_path: Path | None = None
    store_url: str = f"sqlite:///{_DATA_NAME}/antiphon.db"
    workers: int = 1
    max_body_bytes: int = 64 << 20
    max_bodies_bytes: int = 512 << 20
    max_context_bytes: int = 256 << 20
    max_known_bytes: int = 128 << 20
    max_responses: int = 4_000
    heartbeat_s: float = 15.0
    retention_days: int = 30
    connect_s: float = 10.0
    first_byte_s: float = 120.0
    idle_s: float = 120.0
    total_s: float = 1800.0
    drain_s: float = 30.0
    background_concurrency: int = 100
    background_queue: int = 1000
    background_queue_age_s: float = 3600.0
    background_attempts: int = 3
    lease_s: float = 15.0
    events_hours: float = 24.0
    webhooks_allow_private: bool = False
    media_allow_private: bool = False
    media_max_bytes: int = 20 << 20
    compat_api_prefix: bool = True
    compat_max_tokens: bool = True
    compat_reasoning_effort: bool = True
    compat_nested_format: bool = True
    compat_include_usage: bool = False
    compat_project_header: bool = False
    log_level: str = "info"
    log_format: LogFormat = "auto"
    log_content: bool = False
    bootstrap_key: str | None = field(default=None, repr=False)
    vendors: tuple[VendorRow, ...] = ()
    models: tuple[ModelAlias, ...] = ()
    projects: tuple[ProjectRow, ...] = ()
    prices: tuple[PriceRow, ...] = ()
    capabilities: tuple[dict[str, object], ...] = ()
    is_sim_enabled: bool = True


def load_settings(overrides: Overrides, environ: Mapping[str, str]) -> Settings:
    """The settings of this installation.

    `overrides` come from the command line by Setting name, and `config`; None means not given. Raises ConfigError.
    """
    path = _config_path(overrides, environ)
    document = {} if path is None else _read(path)
    values: dict[str, Value] = {}
    for setting in SETTINGS:
        value = _value(setting, overrides, environ, document, path)
        if value is not None:
            values[setting.name] = value
    _reject_unknown_variables(environ)
    lists = _lists(document, path)
    return _settings(values, path, lists, environ)


def _settings(values: dict[str, Value], path: Path | None, lists: _Lists, environ: Mapping[str, str]) -> Settings:
    data_dir = Path(str(values.pop("data"))).expanduser().absolute()
    store_url = str(values.pop("store", "") or f"sqlite:///{data_dir}/antiphon.db")
    if not store_url.startswith(("sqlite:///", "postgresql://", "postgres://")) or store_url == "sqlite:///":
        raise ConfigError(
            f"ANTIPHON_STORE or [store] url is {store_url!r}: write sqlite:///PATH or "
            f"postgresql://USER:PASSWORD@HOST/DATABASE; leave it out to use {data_dir}/antiphon.db"
        )
    if int(values["max_bodies_bytes"]) < int(values["max_body_bytes"]):
        raise ConfigError(
            f"ANTIPHON_MAX_BODIES_BYTES or [limits] max_bodies_bytes is {values['max_bodies_bytes']} and "
            f"max_body_bytes is {values['max_body_bytes']}: one body must fit; raise the first or lower the second"
        )
    settings: dict[str, object] = {
        **values,
        "data_dir": data_dir,
        "store_url": store_url,
        "config_path": path,
        "bootstrap_key": _bootstrap_key(environ),
        "vendors": tuple(lists.vendor),
        "models": tuple(lists.model),
        "projects": tuple(lists.project),
        "prices": tuple(lists.price),
        "capabilities": tuple(lists.capability),
        "is_sim_enabled": values.pop("sim"),
    }
    del settings["sim"]
    return msgspec.convert(settings, Settings, strict=False)


def _bootstrap_key(environ: Mapping[str, str]) -> str | None:
    key = environ.get("ANTIPHON_BOOTSTRAP_KEY") or None
    if key is not None and (len(key) < 16 or not key.isascii() or not key.isprintable() or " " in key):
        raise ConfigError(
            "ANTIPHON_BOOTSTRAP_KEY: a key has at least 16 printable ASCII characters without blanks; "
            "make one with `openssl rand -hex 24`"
        )
    return key


def _config_path(overrides: Overrides, environ: Mapping[str, str]) -> Path | None:
    named = overrides.get("config") or environ.get("ANTIPHON_CONFIG")
    if named:
        path = Path(str(named)).expanduser()
        if not path.is_file():
            raise ConfigError(f"{path}: no such configuration file; check --config and ANTIPHON_CONFIG")
        return path
    path = Path(_CONFIG_NAME)
    return path if path.is_file() else None


def _read(path: Path) -> dict[str, object]:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    for table in document:
        if table not in {*TABLES, *_LISTS}:
            _unknown(f"{path}: unknown table [{table}]", table, [*TABLES, *_LISTS])
    for table in TABLES:
        section = document.get(table, {})
        if not isinstance(section, dict):
            raise ConfigError(f"{path}: {table} must be a table; write [{table}] and its keys below")
        known = [setting.key for setting in SETTINGS if setting.table == table]
        for key in msgspec.convert(section, dict[str, object]):
            if key not in known:
                _unknown(f"{path}: unknown key {key!r} in [{table}]", key, known)
    return document


def _unknown(what: str, name: str, known: list[str]) -> None:
    close = difflib.get_close_matches(name, known, n=1)
    way = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
    raise ConfigError(f"{what}: {way}")


_OWN_VARIABLES: Final = (
    "ANTIPHON_CONFIG",
    "ANTIPHON_BOOTSTRAP_KEY",
    "ANTIPHON_SECRET",
    "ANTIPHON_SECRET_OLD",
    "ANTIPHON_REDIS",
    "ANTIPHON_BASE_URL",
    "ANTIPHON_API_KEY",
)


def _reject_unknown_variables(environ: Mapping[str, str]) -> None:
    """A misspelt variable that nearly names a setting is an error; other ANTIPHON_ names are left to their owners."""
    known = [*_OWN_VARIABLES, *(setting.variable for setting in SETTINGS)]
    for name in environ:
        if name.startswith(_PREFIX) and name not in known and difflib.get_close_matches(name, known, 1, 0.9):
            _unknown(f"unknown environment variable {name}", name, known)


def _value(
    setting: Setting,
    overrides: Overrides,
    environ: Mapping[str, str],
    document: Mapping[str, object],
    path: Path | None,
) -> Value | None:
    given = overrides.get(setting.name)
    if given is not None:
        return _checked(setting, given, f"--{setting.name.replace('_', '-')}")
    if text := environ.get(setting.variable):
        return _checked(setting, text, setting.variable)
    section = msgspec.convert(document.get(setting.table, {}), dict[str, object])
    if setting.key in section:
        return _checked(setting, section[setting.key], f"{path}: [{setting.table}] {setting.key}")
    return setting.default


def _checked(setting: Setting, given: object, where: str) -> Value:
    is_text = isinstance(given, str) and not where.endswith(f"] {setting.key}")
    value = _parsed(setting, given) if is_text and isinstance(given, str) else given
    if setting.kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    if not isinstance(value, str | int | float) or type(value) is not setting.kind:
        raise ConfigError(f"{where} is {given!r}: must be {words[setting.kind]}")
    if setting.choices and value not in setting.choices:
        raise ConfigError(f"{where} is {given!r}: must be one of {', '.join(setting.choices)}")
    if isinstance(value, int | float) and not value >= setting.least:
        raise ConfigError(f"{where} is {given!r}: must be at least {setting.least:g}")
    if setting.name == "port" and isinstance(value, int) and value > 65535:
        raise ConfigError(f"{where} is {given!r}: must be at most 65535")
    return value


def _parsed(setting: Setting, text: str) -> object:
    """The text of a variable or an option as the setting's kind; the text itself where it is none."""
    if setting.kind is bool:
        return _TRUTH.get(text.lower(), text)
    if setting.kind is str:
        return text
    try:
        return int(text) if setting.kind is int else float(text)
    except ValueError:
        return text


def _lists(document: Mapping[str, object], path: Path | None) -> _Lists:
    found = {name: document.get(name, []) for name in _LISTS}
    for name, kind in _LISTS.items():
        rows = found[name]
        if not isinstance(rows, list):
            raise ConfigError(f"{path}: write [[{name}]] with two brackets: there can be several")
        for row in msgspec.convert(rows, list[object]):
            if kind is not None:
                _known_keys(row, [f.name for f in msgspec.structs.fields(kind)], f"{path}: [[{name}]]")
    try:
        lists = msgspec.convert(found, _Lists)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
    _check_names(path, "vendor", [row.name for row in lists.vendor])
    _check_names(path, "model", [alias.name for alias in lists.model])
    _check_names(path, "project", [row.name for row in lists.project])
    for row in lists.vendor:
        _check_vendor(path, row)
    for alias in lists.model:
        if not alias.targets:
            raise ConfigError(f'{path}: model {alias.name!r}: targets is empty; name at least one "vendor/model"')
    return lists


def _known_keys(row: object, known: list[str], where: str) -> None:
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: must be a table")
    keys = msgspec.convert(row, dict[str, object])
    for key in keys:
        if key not in known:
            _unknown(f"{where} {keys.get('name', '(no name)')}: unknown key {key!r}", key, known)


def _check_names(path: Path | None, kind: str, names: list[str]) -> None:
    for name in names:
        if not name.strip() or (kind == "vendor" and "/" in name):
            raise ConfigError(f"{path}: {kind} {name!r}: a name is not empty and a vendor's has no slash")
        if names.count(name) > 1:
            raise ConfigError(f"{path}: {kind} {name!r} is there {names.count(name)} times; rename or remove one")


def _check_vendor(path: Path | None, row: VendorRow) -> None:
    if row.base_url is not None:
        parts = urlsplit(row.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"{path}: vendor {row.name!r}: base_url {row.base_url!r} is not a URL; "
                'write it like "http://10.0.0.5:8000/v1"'
            )
    if row.api_key_env is not None and row.api_key_file is not None:
        raise ConfigError(f"{path}: vendor {row.name!r}: set api_key_env or api_key_file, not both")

"""Settings: what wins, and what every mistake says."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.config import SETTINGS, Settings, load_settings
from antiphon.protocol.errors import ConfigError


def from_file(folder: Path, text: str, **environ: str) -> Settings:
    path = folder / "antiphon.toml"
    path.write_text(text)
    return load_settings({"config": str(path)}, environ)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_set_gives_the_documented_defaults(tmp_path: Path) -> None:
    settings = load_settings({}, {})
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8484, 1)
    assert settings.data_dir == tmp_path / "data"
    assert settings.store_url == f"sqlite:///{tmp_path}/data/antiphon.db"
    assert settings.config_path is None
    assert settings.is_sim_enabled


def test_defaults_of_the_list_are_those_of_the_struct() -> None:
    fields = {"data": None, "store": None, "sim": "is_sim_enabled"}
    loaded = load_settings({}, {})
    plain = Settings()
    for setting in SETTINGS:
        if name := fields.get(setting.name, setting.name):
            assert getattr(loaded, name) == getattr(plain, name) == setting.default, setting.name


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "antiphon.toml").write_text("[server]\nport = 1\nworkers = 2\nhost = 'a'\n")
    settings = load_settings({"port": 3}, {"ANTIPHON_PORT": "2", "ANTIPHON_WORKERS": "4"})
    assert (settings.port, settings.workers, settings.host) == (3, 4, "a")


def test_the_file_in_the_folder_is_found_and_named(tmp_path: Path) -> None:
    (tmp_path / "antiphon.toml").write_text("")
    assert load_settings({}, {}).config_path == Path("antiphon.toml")


def test_an_empty_variable_is_as_if_it_were_not_set() -> None:
    assert load_settings({}, {"ANTIPHON_PORT": "", "ANTIPHON_STORE": ""}).port == 8484


def test_every_setting_has_a_variable_of_its_own() -> None:
    variables = [setting.variable for setting in SETTINGS]
    assert len(set(variables)) == len(variables)
    assert {"ANTIPHON_HOST", "ANTIPHON_PORT", "ANTIPHON_DATA", "ANTIPHON_STORE"} <= set(variables)


def test_a_whole_number_is_taken_where_seconds_are_asked_for(tmp_path: Path) -> None:
    assert from_file(tmp_path, "[timeouts]\nidle_s = 5").idle_s == 5.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[servr]\nport = 1", "did you mean 'server'"),
        ("[server]\nprot = 1", "unknown key 'prot' in [server]: did you mean 'port'"),
        ('[server]\nport = "8484"', "[server] port is '8484': must be a whole number"),
        ("[server]\nport = true", "must be a whole number"),
        ("[server]\nport = 70000", "must be at most 65535"),
        ("[server]\nworkers = 0", "must be at least 1"),
        ("[timeouts]\nidle_s = nan", "must be at least 0.01"),
        ('[log]\nlevel = "loud"', "must be one of debug, info, warning, error"),
        ("server = 3", "write [server]"),
        ("[server", "not valid TOML"),
        ('[vendor]\nname = "x"', "write [[vendor]]"),
        ('[[vendor]]\nname = "x"\nbaseurl = "http://h"', "x: unknown key 'baseurl': did you mean 'base_url'"),
        ('[[vendor]]\nname = "a"\n[[vendor]]\nname = "a"', "vendor 'a' is there 2 times"),
        ('[[vendor]]\nname = "a/b"', "has no slash"),
        ('[[vendor]]\nname = "a"\nbase_url = "ftp://x"', "base_url 'ftp://x' is not a URL"),
        ('[[vendor]]\nname = "a"\nbase_url = "localhost:80"', "is not a URL"),
        ('[[vendor]]\nname = "a"\napi_key_env = "A"\napi_key_file = "b"', "not both"),
        ('[[model]]\nname = "m"\ntargets = []', "targets is empty"),
        ('[[model]]\nname = "m"', "targets"),
        ('[store]\nurl = "mysql://x"', "sqlite:///PATH"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_the_way_out(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_file(tmp_path, text)
    assert words in str(caught.value)
    assert "antiphon.toml" in str(caught.value) or "[store] url" in str(caught.value)


def test_one_body_must_fit_into_what_all_may_hold(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ANTIPHON_MAX_BODIES_BYTES or \[limits\] max_bodies_bytes is 8 .* is 9: "):
        from_file(tmp_path, "[limits]\nmax_body_bytes = 9\nmax_bodies_bytes = 8")
    assert from_file(tmp_path, "[limits]\nmax_body_bytes = 8\nmax_bodies_bytes = 8").max_bodies_bytes == 8


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"ANTIPHON_PORT": "x"}, "ANTIPHON_PORT is 'x': must be a whole number"),
        ({"ANTIPHON_SIM": "maybe"}, "must be true or false"),
        ({"ANTIPHON_WORKER": "2"}, "did you mean 'ANTIPHON_WORKERS'"),
        ({"ANTIPHON_CONFIG": "absent.toml"}, "absent.toml: no such configuration file"),
        ({"ANTIPHON_BOOTSTRAP_KEY": "short"}, "at least 16 printable"),
    ],
)
def test_a_mistake_in_the_environment_is_named(environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=r"ANTIPHON|absent") as caught:
        load_settings({}, environ)
    assert words in str(caught.value)


def test_variables_of_other_programs_are_left_alone() -> None:
    load_settings({}, {"ANTIPHON_EXPORTER_TOKEN": "x", "PORT": "x"})


def test_the_bootstrap_key_does_not_show_in_the_settings_text() -> None:
    key = "sk-antiphon-0123456789abcdef"
    settings = load_settings({}, {"ANTIPHON_BOOTSTRAP_KEY": key})
    assert settings.bootstrap_key == key
    assert key not in repr(settings)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("0", False), ("No", False)])
def test_truth_is_spelled_in_several_ways_in_a_variable(text: str, value: bool) -> None:
    assert load_settings({}, {"ANTIPHON_SIM": text}).is_sim_enabled is value

"""The catalog: rows that are right, activation by variables, and the operator's rows over ours."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from antiphon.config import Settings, VendorRow
from antiphon.protocol.errors import ConfigError
from antiphon.providers import catalog
from antiphon.providers.base import Credential, Vendor
from antiphon.providers.catalog import known_models, lacking_extras, load_capabilities, load_vendors, serving
from antiphon.providers.catalog_rows import built_in_rows


def load(rows: tuple[VendorRow, ...] = (), **environ: str) -> dict[str, Vendor]:
    settings = Settings(vendors=rows, config_path=Path("antiphon.toml"))
    return {vendor.name: vendor for vendor in load_vendors(settings, environ)}


def test_there_are_at_least_thirty_vendors_with_names_of_their_own() -> None:
    names = [row.name for row in built_in_rows()]
    assert len(names) >= 30
    assert len(set(names)) == len(names)


def test_every_row_says_how_it_is_found_and_where_it_is_documented() -> None:
    for row in built_in_rows():
        assert row.env or row.chain_env, row.name
        assert urlsplit(row.docs).scheme == "https", row.name
        assert row.is_local == bool(row.url_env), row.name
        assert not row.base_url.endswith("/"), row.name


def test_without_keys_only_local_engines_and_the_simulator_are_there() -> None:
    vendors = load()
    assert {name for name, vendor in vendors.items() if not vendor.is_local} == {"sim"}
    assert {"ollama", "vllm", "sglang", "llamacpp", "lmstudio"} <= vendors.keys()


def test_a_variable_activates_its_vendor() -> None:
    vendor = load(OPENAI_API_KEY="k")["openai"]
    assert (vendor.dialect, vendor.api_key, vendor.auth) == ("responses", "k", "bearer")


def test_an_address_with_a_hole_needs_its_variable_too() -> None:
    assert "azure" not in load(AZURE_OPENAI_API_KEY="k")
    vendors = load(AZURE_OPENAI_API_KEY="k", AZURE_OPENAI_ENDPOINT="https://me.openai.azure.com/")
    assert vendors["azure"].base_url == "https://me.openai.azure.com/openai/v1"


def test_a_host_without_a_scheme_becomes_https() -> None:
    vendors = load(DATABRICKS_TOKEN="k", DATABRICKS_HOST="me.cloud.databricks.com")
    assert vendors["databricks"].base_url == "https://me.cloud.databricks.com/serving-endpoints"


@pytest.mark.parametrize("value", ["0.0.0.0:9", "http://127.0.0.1:9", "127.0.0.1:9/v1/"])
def test_ollama_is_looked_for_where_its_own_variable_says(value: str) -> None:
    assert load(OLLAMA_HOST=value)["ollama"].base_url == "http://127.0.0.1:9/v1"


def test_the_scope_tells_accounts_apart_without_showing_the_key() -> None:
    one, other = load(OPENAI_API_KEY="key-one")["openai"], load(OPENAI_API_KEY="key-two")["openai"]
    assert one.scope != other.scope
    assert one.scope.startswith("openai#")
    assert len(one.scope) == len("openai#") + 8
    assert "key-one" not in repr(one)


def test_a_row_of_the_operators_changes_only_what_it_sets() -> None:
    row = VendorRow(name="mistral", base_url="http://proxy/v1/", quirks={"chat_completions": {"single_system": True}})
    vendor = load((row,), MISTRAL_API_KEY="k")["mistral"]
    assert (vendor.base_url, vendor.api_key, vendor.dialect) == ("http://proxy/v1", "k", "chat_completions")
    assert vendor.quirks.chat_completions.single_system
    assert vendor.quirks.chat_completions.tool_call_id_length == 9


def test_a_new_vendor_needs_no_key() -> None:
    row = VendorRow(name="lab", dialect="chat_completions", base_url="http://10.0.0.5/v1", models=["qwen"])
    vendor = load((row,))["lab"]
    assert (vendor.api_key, known_models(vendor)) == ("", ("qwen",))


def test_an_anthropic_row_sends_its_key_as_anthropic_does() -> None:
    row = VendorRow(name="lab", dialect="anthropic", base_url="http://h/v1", api_key_env="K")
    assert load((row,), K="k")["lab"].auth == "x-api-key"


def test_a_key_is_read_from_a_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    row = VendorRow(name="lab", dialect="responses", base_url="http://h/v1", api_key_file=str(tmp_path / "key"))
    assert load((row,))["lab"].api_key == "secret"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (VendorRow(name="lab"), "set base_url"),
        (VendorRow(name="sim", base_url="http://h", dialect="responses"), "choose another name"),
        (VendorRow(name="opnai"), "did you mean the built-in vendor 'openai'"),
        (VendorRow(name="lab", base_url="http://h"), "set dialect"),
        (VendorRow(name="lab", base_url="http://h", dialect="soap"), "dialect is 'soap'"),
        (VendorRow(name="lab", base_url="http://h", dialect="responses", auth="basic"), "auth is 'basic'"),
        (VendorRow(name="lab", base_url="http://h", dialect="responses", api_key_env="NOPE"), "NOPE, which is not set"),
        (VendorRow(name="lab", base_url="http://h", dialect="responses", api_key_file="/nope"), "cannot be read"),
        (VendorRow(name="lab", base_url="http://h", dialect="responses", quirks={"responses": {"x": 1}}), "quirks"),
        (VendorRow(name="lab", base_url="http://h", dialect="responses", quirks={"soap": {}}), "quirks"),
    ],
)
def test_a_wrong_row_names_the_file_the_vendor_and_the_way_out(row: VendorRow, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load((row,))
    assert words in str(caught.value)
    assert f"antiphon.toml: vendor {row.name!r}" in str(caught.value)


def test_the_simulator_can_be_switched_off() -> None:
    assert all(vendor.name != "sim" for vendor in load_vendors(Settings(is_sim_enabled=False), {}))


AWS = {"AWS_BEARER_TOKEN_BEDROCK": "k", "AWS_REGION": "eu-west-1"}


@pytest.mark.parametrize(
    ("model", "dialect", "base_url"),
    [
        ("us.amazon.nova-pro-v1:0", "bedrock", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
        ("us.anthropic.claude-opus-4-6-v1", "bedrock", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
        ("anthropic.claude-opus-5-5", "anthropic", "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1"),
        ("openai.gpt-oss-120b", "responses", "https://bedrock-mantle.eu-west-1.api.aws/v1"),
        ("openai.gpt-5.4", "responses", "https://bedrock-mantle.eu-west-1.api.aws/openai/v1"),
    ],
)
def test_a_clouds_models_are_called_on_the_surface_that_serves_them(model: str, dialect: str, base_url: str) -> None:
    surface = serving(load(**AWS)["bedrock"], model)
    assert (surface.dialect, surface.base_url) == (dialect, base_url)
    assert (surface.auth, surface.api_key, surface.name) == ("bearer", "k", "bedrock")


def test_without_a_bearer_key_bedrock_signs_for_service_and_region() -> None:
    vendor = load(AWS_PROFILE="work", AWS_DEFAULT_REGION="ap-south-1")["bedrock"]
    assert vendor.credential == Credential("aws", "bedrock", "ap-south-1")
    assert serving(vendor, "openai.gpt-5.4").credential == Credential("aws", "bedrock-mantle", "ap-south-1")
    assert "bedrock" not in load()


@pytest.mark.parametrize(
    ("location", "host"),
    [
        (None, "aiplatform.googleapis.com/v1/projects/p/locations/global"),
        ("eu", "aiplatform.eu.rep.googleapis.com/v1/projects/p/locations/eu"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4"),
    ],
)
def test_vertex_has_a_host_for_each_location(location: str | None, host: str) -> None:
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": "x.json", "GOOGLE_CLOUD_PROJECT": "p"}
    vendor = load(**environ | ({"GOOGLE_CLOUD_LOCATION": location} if location else {}))["vertex"]
    assert vendor.base_url == f"https://{host}"
    assert vendor.credential is not None
    claude, maas = serving(vendor, "claude-opus-5-5"), serving(vendor, "meta/llama-4")
    assert (claude.dialect, claude.quirks.anthropic.transport) == ("anthropic", "vertex")
    assert (maas.dialect, maas.base_url) == ("chat_completions", f"https://{host}/endpoints/openapi")


def test_azures_dated_surface_needs_its_version_and_entra_stands_in_for_a_key() -> None:
    environ = {"AZURE_OPENAI_ENDPOINT": "https://me.openai.azure.com", "AZURE_CLIENT_ID": "id"}
    vendors = load(**environ)
    assert "azure-dated" not in vendors
    assert vendors["azure"].credential == Credential("entra", scope="https://cognitiveservices.azure.com/.default")
    dated = load(**environ, OPENAI_API_VERSION="2025-04-01-preview")["azure-dated"]
    assert dated.quirks.responses.query == "api-version=2025-04-01-preview"


def test_an_operators_row_signs_where_it_has_no_key_and_serves_every_model_at_its_own_address() -> None:
    row = VendorRow(name="bedrock", base_url="https://vpce-1.bedrock-runtime.us-west-2.vpce.amazonaws.com", auth="aws")
    vendor = load((row,))["bedrock"]
    assert vendor.credential == Credential("aws", "bedrock", "us-west-2")
    assert serving(vendor, "anthropic.claude-opus-5-5") is vendor


def test_a_chain_that_is_not_installed_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'antiphon\[bedrock\]'"):
        load((VendorRow(name="x", base_url="https://a.example", dialect="bedrock", auth="aws"),))
    assert "bedrock" not in load(AWS_PROFILE="work")
    assert lacking_extras({"AWS_PROFILE": "work"}) == (("bedrock", "bedrock"),)


def test_operators_capabilities_are_read_and_wrong_ones_named() -> None:
    settings = Settings(capabilities=({"models": ["lab/*"], "context_window": 7},))
    (row,) = load_capabilities(settings)
    assert row.fits("lab/x")
    with pytest.raises(ConfigError, match="capability"):
        load_capabilities(Settings(capabilities=({"models": ["lab/*"], "window": 7},)))

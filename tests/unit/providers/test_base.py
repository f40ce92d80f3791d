"""The values that cross between the engine and a dialect."""

from __future__ import annotations

import pytest

from antiphon.providers.base import AuthStyle, Vendor, call_headers


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        ("bearer", "authorization", "Bearer k"),
        ("x-api-key", "x-api-key", "k"),
        ("api-key", "api-key", "k"),
    ],
)
def test_credential_goes_where_the_vendor_wants_it(auth: AuthStyle, name: str, value: str) -> None:
    vendor = Vendor("v", "responses", "http://v", auth=auth, api_key="k")
    assert dict(call_headers(vendor))[name] == value


def test_vendor_without_a_credential_gets_none() -> None:
    sent = {name for name, _ in call_headers(Vendor("v", "responses", "http://v"))}
    assert sent == {"content-type", "accept"}
    sent = {name for name, _ in call_headers(Vendor("v", "responses", "http://v", auth="none", api_key="k"))}
    assert sent == {"content-type", "accept"}


def test_operators_own_headers_win() -> None:
    vendor = Vendor("v", "responses", "http://v", api_key="k", headers={"Authorization": "Basic x", "X-Extra": "1"})
    sent = dict(call_headers(vendor))
    assert sent["authorization"] == "Basic x"
    assert sent["x-extra"] == "1"

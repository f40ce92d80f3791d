"""AWS event streams: whole frames out of any pieces, and nothing out of damaged ones."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.upstream.converse_wire import event, frame

from antiphon.protocol.errors import UpstreamFault
from antiphon.providers.eventstream import FrameDecoder

STREAM = (
    event("messageStart", {"role": "assistant"}) + frame({":message-type": "error", "x": "ü"}, b"") + event("e", {})
)


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_pieces_of_any_size_give_the_same_frames(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(STREAM)]
    decoder = FrameDecoder()
    frames = [one for start, end in pairwise(ends) for one in decoder.feed(STREAM[start:end])]
    assert [one.headers.get(":event-type") for one in frames] == ["messageStart", None, "e"]
    assert frames[0].payload == b'{"role":"assistant"}'
    assert frames[1].headers == {":message-type": "error", "x": "ü"}
    assert not decoder.is_partial


def test_headers_of_other_types_are_skipped() -> None:
    inner = b"\x01a\x00" + b"\x01b\x08" + bytes(8) + b"\x01c\x06\x00\x02xy" + b"\x01d\x07\x00\x02ok"
    decoder = FrameDecoder()
    (found,) = decoder.feed(_framed(inner, b"{}"))
    assert found.headers == {"d": "ok"}


@pytest.mark.parametrize("place", [0, 5, 9, 14, len(STREAM) // 2])
def test_a_changed_byte_is_no_event_stream(place: int) -> None:
    damaged = bytearray(STREAM)
    damaged[place] ^= 0x5A
    with pytest.raises(UpstreamFault) as caught:
        FrameDecoder().feed(bytes(damaged))
    assert caught.value.kind == "transport"


@pytest.mark.parametrize("headers", [b"\x05a", b"\x01a\x63", b"\x01a\x07\x00", b"\x01\xff\x07\x00\x01a"])
def test_headers_that_cannot_be_read_are_no_event_stream(headers: bytes) -> None:
    with pytest.raises(UpstreamFault):
        FrameDecoder().feed(_framed(headers, b""))


def test_json_in_place_of_a_stream_is_refused_at_once() -> None:
    with pytest.raises(UpstreamFault):
        FrameDecoder().feed(b'{"message":"this is no event stream"}')


def _framed(headers: bytes, payload: bytes) -> bytes:
    import zlib
    from struct import pack

    prelude = pack(">II", 16 + len(headers) + len(payload), len(headers))
    whole = prelude + pack(">I", zlib.crc32(prelude)) + headers + payload
    return whole + pack(">I", zlib.crc32(whole))

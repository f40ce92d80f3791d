"""Where an answer comes from, as annotations, and how sure the model was, as log probabilities.

Google counts bytes of UTF-8 into one part; the Responses API counts code points of the message's text.
Source: Gemini API reference, GroundingMetadata, CitationMetadata, LogprobsResult.
"""

from __future__ import annotations

from typing import Final

import msgspec

from . import gemini_wire as wire
from .native_items import url_citation

Raw = msgspec.Raw
_encode: Final = msgspec.json.Encoder().encode


def citations_of(text: str, grounding: wire.Grounding | None, citations: wire.Citations | None) -> list[Raw]:
    """The url_citations of a message, in the order in which its text needs them."""
    places = _Places(text)
    rows: list[Raw] = []
    chunks = (grounding.grounding_chunks or ()) if grounding is not None else ()
    for support in (grounding.grounding_supports or ()) if grounding is not None else ():
        segment = support.segment or wire.Segment()
        start, end = places.of(segment.start_index or 0), places.of(segment.end_index or 0)
        for index in support.grounding_chunk_indices or ():
            source = (chunks[index].web or chunks[index].retrieved_context) if index < len(chunks) else None
            if source is not None and source.uri:
                rows.append(url_citation(source.uri, source.title or source.uri, start, end))
    said = (citations.citations or citations.citation_sources or ()) if citations is not None else ()
    for cited in said:
        if cited.uri:
            start, end = places.of(cited.start_index or 0), places.of(cited.end_index or 0)
            rows.append(url_citation(cited.uri, cited.title or cited.uri, start, end))
    return rows


class _Places:
    """Byte offsets to code points of one text; one inside of a character, or beyond the end, gives the nearest."""

    def __init__(self, text: str) -> None:
        self._bytes = text.encode("utf-8", "surrogatepass")
        self._is_ascii = text.isascii()

    def of(self, offset: int) -> int:
        bounded = max(0, min(offset, len(self._bytes)))
        return bounded if self._is_ascii else len(self._bytes[:bounded].decode("utf-8", "ignore"))


def logprobs(result: wire.Logprobs | None) -> Raw | None:
    """A chunk's log probabilities in OpenAI's shape, or None where there are none."""
    if result is None or not result.chosen_candidates:
        return None
    tops = result.top_candidates or ()
    rows: list[dict[str, object]] = []
    for index, chosen in enumerate(result.chosen_candidates):
        top = tops[index].candidates or () if index < len(tops) else ()
        rows.append(_row(chosen) | {"top_logprobs": [_row(one) for one in top]})
    return Raw(_encode(rows))


def _row(candidate: wire.LogprobCandidate) -> dict[str, object]:
    return {
        "token": candidate.token,
        "logprob": candidate.log_probability or 0.0,
        "bytes": list(candidate.token.encode("utf-8", "surrogatepass")),
    }

"""What a row of a vendor's own model list says of a model, as fields of `Capabilities`.

Vendors spell limits differently and most say no more than that; Anthropic says what a model thinks and reads.
Source: Anthropic Models API; Gemini models.list; OpenRouter, Groq, Mistral, Cohere and vLLM model lists.
"""

from __future__ import annotations

import msgspec

from .capabilities import ALL_MEDIA, Capabilities, Fields


class _Supported(msgspec.Struct, frozen=True):
    supported: bool = False


class _ThinkingTypes(msgspec.Struct, frozen=True):
    adaptive: _Supported = _Supported()
    enabled: _Supported = _Supported()
    disabled: _Supported = _Supported()
    between_tools: _Supported = _Supported()


class _Thinking(msgspec.Struct, frozen=True):
    supported: bool = False
    types: _ThinkingTypes = _ThinkingTypes()


class _Effort(msgspec.Struct, frozen=True):
    xhigh: _Supported | None = None


class _Claude(msgspec.Struct, frozen=True):
    thinking: _Thinking | None = None
    effort: _Effort | None = None
    image_input: _Supported | None = None
    pdf_input: _Supported | None = None


class _Architecture(msgspec.Struct, frozen=True):
    input_modalities: list[str] | None = None


class _Provider(msgspec.Struct, frozen=True):
    max_completion_tokens: int | None = None


class _Row(msgspec.Struct, frozen=True):
    """Every vendor's words in one shape."""

    max_input_tokens: int | None = None
    max_tokens: int | None = None
    capabilities: msgspec.Raw = msgspec.Raw(b"null")
    input_token_limit: int | None = msgspec.field(name="inputTokenLimit", default=None)
    output_token_limit: int | None = msgspec.field(name="outputTokenLimit", default=None)
    context_length: float | None = None
    context_window: int | None = None
    max_context_length: int | None = None
    max_model_len: int | None = None
    max_completion_tokens: int | None = None
    top_provider: _Provider | None = None
    architecture: _Architecture | None = None
    supported_parameters: list[str] | None = None


def facts(row: msgspec.Raw) -> Fields:
    """The fields that a row tells; nothing for one that cannot be read."""
    try:
        said = msgspec.json.decode(row, type=_Row)
        found = _limits(said) | _claude(said) | _routed(said)
        msgspec.convert(found, Capabilities)
    except msgspec.MsgspecError:
        return {}
    return found


def _limits(row: _Row) -> dict[str, object]:
    windows = (
        row.max_input_tokens,
        row.input_token_limit,
        row.context_length,
        row.context_window,
        row.max_context_length,
        row.max_model_len,
    )
    longest = (
        row.max_completion_tokens,
        row.output_token_limit,
        row.top_provider and row.top_provider.max_completion_tokens,
    )
    window = next((int(value) for value in windows if value), None)
    most = (row.max_tokens if row.max_input_tokens else None) or next((value for value in longest if value), None)
    found: dict[str, object] = {}
    if window:
        found["context_window"] = window
    if most:
        found["max_tokens"] = most
    return found


def _claude(row: _Row) -> dict[str, object]:
    if bytes(row.capabilities)[:1] != b"{":
        return {}
    said = msgspec.json.decode(row.capabilities, type=_Claude)
    if said.thinking is None:
        return {}
    types = said.thinking.types
    kinds = {"adaptive": types.adaptive.supported, "budget": types.enabled.supported}
    found: dict[str, object] = {"thinking": next((kind for kind, has in kinds.items() if has), "none")}
    offs = {"disabled": types.disabled.supported, "between_tools": types.between_tools.supported}
    found["off"] = next((off for off, has in offs.items() if has), "never")
    if said.effort is not None and said.effort.xhigh is not None:
        found["has_xhigh"] = said.effort.xhigh.supported
    media = {"image": said.image_input, "file": said.pdf_input}
    found["inputs"] = [kind for kind, has in media.items() if has is not None and has.supported]
    return found


def _routed(row: _Row) -> dict[str, object]:
    """OpenRouter lists what a model's requests may hold."""
    found: dict[str, object] = {}
    if row.supported_parameters is not None and row.architecture is not None:
        found["has_sampling"] = "temperature" in row.supported_parameters
        found["inputs"] = [kind for kind in row.architecture.input_modalities or () if kind in ALL_MEDIA]
    return found

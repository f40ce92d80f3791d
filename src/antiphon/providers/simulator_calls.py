"""Which tools the simulator calls, and with what.

    script word    the calls it names
    a fitting tool its words overlap the user's: one call for each thing that the text names
    forced         tool_choice demands a call: the fitting tool, or else the first

The calls that a user message leads to are a fixed list. With parallel calls all are made at once; without, one after
the other. Once they are made the simulator talks, unless tool_choice still demands a call: so no loop is without end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from . import simulator_wire as wire
from .simulator_grammar import text_of_grammar
from .simulator_hints import Hints
from .simulator_json import Impossible, Schema, is_schema
from .simulator_patterns import UnreadablePattern
from .simulator_scene import Scene, words
from .simulator_schema import value_for
from .simulator_script import ScriptedCall

MAX_FITTING: Final = 8
_NAME_WEIGHT: Final = 3
_FITS_FROM: Final = 2


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A call to make: a declared tool, and the arguments or the input as text."""

    tool: wire.SimTool
    text: str


def planned_calls(scene: Scene) -> tuple[PlannedCall, ...]:
    """The calls to make in this turn; none means that the simulator talks."""
    choice = scene.request.choice
    callable_tools = _callable(scene)
    if choice.mode == "none" or not callable_tools:
        return ()
    plan = _scripted(scene, callable_tools)
    if not plan and not scene.script.is_talk and scene.request.model != "echo":
        plan = _fitting(scene, callable_tools)
    made = len(scene.made_calls)
    found_tools = _has_just_searched(scene)
    if scene.request.is_parallel:
        due = plan if made == 0 or found_tools else []
    else:
        due = plan[:1] if found_tools else plan[made : made + 1]
    if not due and choice.mode == "required":
        due = plan[:1] or [_call(callable_tools[0], scene, 0)]
    return tuple(due)


def unknown_call(scene: Scene) -> ScriptedCall | None:
    """A scripted call to a tool that may not be called, before any was made."""
    names = {tool.name for tool in _callable(scene)} if scene.request.choice.mode != "none" else set[str]()
    unknown = (call for call in scene.script.calls if call.name not in names)
    return next(unknown, None) if not scene.made_calls else None


def _callable(scene: Scene) -> list[wire.SimTool]:
    allowed = scene.request.choice.names
    return [
        tool
        for tool in scene.request.tools
        if not tool.is_deferred
        and (allowed is None or tool.name in allowed)
        and not (tool.is_search and _has_just_searched(scene))
    ]


def _has_just_searched(scene: Scene) -> bool:
    """Nothing but a tool search was called since the user spoke."""
    searches = {tool.name for tool in scene.request.tools if tool.is_search}
    made = scene.made_calls
    return bool(made) and all(call.name in searches for call in made)


def _scripted(scene: Scene, tools: Sequence[wire.SimTool]) -> list[PlannedCall]:
    script = scene.script
    by_name = {tool.name: tool for tool in tools}
    calls = [
        PlannedCall(by_name[call.name], call.text) if call.text else _call(by_name[call.name], scene, index)
        for index, call in enumerate(script.calls)
        if call.name in by_name
    ]
    if script.call_count is not None:
        tool = _ranked(scene, tools)[0]
        calls += [_call(tool, scene, index) for index in range(script.call_count)]
    return calls


def _fitting(scene: Scene, tools: Sequence[wire.SimTool]) -> list[PlannedCall]:
    """Calls to the tools that the user's words are about."""
    asked = words(scene.text)
    chosen: list[wire.SimTool] = []
    covered: set[str] = set()
    for tool in _ranked(scene, tools):
        named = words(tool.name) & asked
        is_first = not chosen and _score(tool, asked) >= _FITS_FROM
        if is_first or (chosen and named - covered):
            chosen.append(tool)
            covered |= named
    if not chosen:
        return _search(scene, asked)
    if len(chosen) == 1:
        count = _thing_count(chosen[0], scene)
        return [_call(chosen[0], scene, index) for index in range(count)]
    return [_call(tool, scene, 0) for tool in chosen[:MAX_FITTING]]


def _search(scene: Scene, asked: frozenset[str]) -> list[PlannedCall]:
    """A tool search, where the words are about a tool that is not loaded yet."""
    search = next((tool for tool in _callable(scene) if tool.is_search), None)
    deferred = (tool for tool in scene.request.tools if tool.is_deferred)
    if search is not None and any(_score(tool, asked) >= _FITS_FROM for tool in deferred):
        return [_call(search, scene, 0)]
    return []


def _ranked(scene: Scene, tools: Sequence[wire.SimTool]) -> list[wire.SimTool]:
    """Best first; of equals the one declared first."""
    asked = words(scene.text)
    return sorted(tools, key=lambda tool: -_score(tool, asked))


def _score(tool: wire.SimTool, asked: frozenset[str]) -> int:
    named = words(tool.name)
    return _NAME_WEIGHT * len(named & asked) + len((_own_words(tool) - named) & asked)


def _own_words(tool: wire.SimTool) -> frozenset[str]:
    return words(f"{tool.name} {tool.description} {' '.join(_properties(tool))}")


def _properties(tool: wire.SimTool) -> Schema:
    schema = msgspec.json.decode(tool.parameters)
    found = schema.get("properties") if is_schema(schema) else None
    return found if is_schema(found) else {}


def _thing_count(tool: wire.SimTool, scene: Scene) -> int:
    """How many calls one tool gets: one for each name in the text, if it takes one name at a time."""
    plain = [
        name
        for name, schema in _properties(tool).items()
        if is_schema(schema) and schema.get("type") == "string" and not {"enum", "const", "format"} & set(schema)
    ]
    if tool.kind == "custom" or len(plain) != 1:
        return 1
    hints = Hints(scene.text, besides=_own_words(tool))
    takes_names = hints.string(plain[0]) != scene.text.strip() and hints.used_entities > 0
    return min(hints.entity_count, MAX_FITTING) if takes_names else 1


def _call(tool: wire.SimTool, scene: Scene, index: int) -> PlannedCall:
    hints = Hints(scene.text, index, _own_words(tool))
    if tool.kind == "custom":
        return PlannedCall(tool, _custom_input(tool, scene))
    try:
        arguments = value_for(tool.parameters, hints)
    except Impossible:
        arguments = {}
    return PlannedCall(tool, msgspec.json.encode(arguments if is_schema(arguments) else {}).decode())


def _custom_input(tool: wire.SimTool, scene: Scene) -> str:
    """The user's words, or what the grammar allows; the words too where the grammar cannot be read."""
    if tool.grammar is not None:
        try:
            return text_of_grammar(tool.grammar.syntax, tool.grammar.definition)
        except UnreadablePattern:
            pass
    return scene.text or "simulated input"

"""Numbers that a JSON Schema accepts: bounds, open and closed, and multiples."""

from __future__ import annotations

import math

from .simulator_json import Impossible, Schema


def nearest_one(low: float, high: float) -> float:
    """1 where the bounds allow it, else a plain number within them."""
    number = min(max(1.0, low), high)
    if number.is_integer():
        return number
    if math.isfinite(low) and math.isfinite(high):
        return (low + high) / 2
    return math.ceil(low) + 0.0 if math.isfinite(low) else math.floor(high) + 0.0


def multiple_of(number: float, low: float, high: float, step: float) -> int | float:
    """The multiple of `step` nearest to `number` within the bounds."""
    for count in (round(number / step), math.ceil(low / step) if math.isfinite(low) else 0):
        multiple = count * step
        if low <= multiple <= high:
            return int(multiple) if float(multiple).is_integer() else multiple
    if math.isfinite(high) and low <= (multiple := math.floor(high / step) * step):
        return int(multiple) if float(multiple).is_integer() else multiple
    raise Impossible(f"no multiple of {step} between {low} and {high}")


def bounds(schema: Schema, *, is_whole: bool) -> tuple[float, float]:
    """The least and the greatest number, both allowed."""
    mirrored = {"minimum": schema.get("maximum"), "exclusiveMinimum": schema.get("exclusiveMaximum")}
    high = -_least({key: -bound for key, bound in mirrored.items() if bound is not None}, is_whole=is_whole)
    return _least(schema, is_whole=is_whole), high


def _least(schema: Schema, *, is_whole: bool) -> float:
    """The least number that `minimum` and `exclusiveMinimum` allow."""
    low = float(schema.get("minimum", -math.inf))
    above = float(schema.get("exclusiveMinimum", -math.inf))
    if above >= low and math.isfinite(above):
        low = math.floor(above) + 1.0 if is_whole else math.nextafter(above, math.inf)
    return float(math.ceil(low)) if is_whole and math.isfinite(low) else low

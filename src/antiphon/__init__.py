"""Antiphon: one Responses API for every model.

A request becomes a run, a run appends events to a log, readers follow the log.
"""

__version__ = "0.1.0"

"""Say clearly that the Python is too old, before anything else fails less clearly. Runs on any Python 3."""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "Antiphon needs Python 3.11 or newer; %s is %d.%d. Name another one: make serve PYTHON=python3.12"
        % (sys.executable, sys.version_info[0], sys.version_info[1])
    )

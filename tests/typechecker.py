"""What checks the package's annotations while tests run."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

# As PEP 484 has it, an int will do where a float is asked for.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))

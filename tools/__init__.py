"""The commands behind the Makefile."""

import sys
from pathlib import Path

__all__ = ["ROOT"]

ROOT = Path(__file__).resolve().parents[1]
"""The checkout: lessons, tests, results. The package may be installed elsewhere, the tools not."""

# jsonschema, with which papermill checks a notebook, would build a grammar of URLs at each start,
# for two seconds. A notebook has no format that needs it, and jsonschema does without.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # None: not to be imported

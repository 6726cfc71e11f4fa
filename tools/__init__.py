"""The commands behind the Makefile."""

import sys

# jsonschema, with which papermill checks a notebook, would build a grammar of URLs for two seconds at each start.
# A notebook has no format that needs it, and jsonschema does without.
sys.modules.setdefault("rfc3987_syntax", None)

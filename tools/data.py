"""`python -m tools.data NAME`: fetch a full data set, print its terms and where it is."""

import sys

from course_utils.data import DataError, get_data
from course_utils.data.registry import load

name = " ".join(sys.argv[1:])
try:
    folder = get_data(name, "full")
except (DataError, ValueError) as error:
    sys.exit(str(error))
entry = load()[name]
print(entry.title)
print(f"Licence: {entry.licence}")
print(f"Cite: {entry.citation}")
print(folder)

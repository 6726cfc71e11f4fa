"""`python -m tools.data NAME`: fetch a full data set, print its terms and where it is."""

import sys

from course_utils.data import DataError, get_data, load

name = " ".join(sys.argv[1:])
try:
    folder = get_data(name, "full")
except (DataError, ValueError) as error:
    sys.exit(str(error))
entry = load()[name]
print(f"{entry.title}\nLicence: {entry.licence}\nCite: {entry.citation}\n{folder}")

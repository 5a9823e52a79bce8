#!/bin/sh
# Runs every measurement whose tools are there and prints one table of ratios; called by `make bench`. With --membership
# that of the cluster's membership instead, for `make bench-membership`.
# What is measured, and the settings: docs/benchmarks.md.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

python=${BENCH_PYTHON:-}
if [ -z "$python" ]; then
    for candidate in python3 /usr/bin/python3; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
fi
if [ -z "$python" ]; then
    echo "bench: python3 (3.9 or newer) is not installed: run scripts/install-packages.sh bench" >&2
    exit 69
fi
program=bench.py
if [ "${1:-}" = --membership ]; then
    program=membership.py
    shift
fi
exec "$python" -B "$here/$program" "$@"

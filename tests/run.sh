#!/usr/bin/env bash
# Runs the tests on a fresh machine, set-up included.
#
#   tests/run.sh            the quick tier: what CI runs
#   tests/run.sh --full     also the larger row counts and longer runs
#   tests/run.sh ARGS...    arguments of pytest, such as -k coalesce
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/environment.sh
prepare_environment dev
exec "$PYTHON" -m pytest "$@"

#!/usr/bin/env bash
# Writes mkrpc/v1 anew from proto/. Needs the pinned generator: pip install -e '.[dev]'.
# With --check DIR it writes there instead, for the test that compares.
set -euo pipefail
cd "$(dirname "$0")/.."
out=.
if [ "${1:-}" = --check ]; then out=$2; fi
"${PYTHON:-python3}" -m grpc_tools.protoc -I proto \
    --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" proto/mkrpc/v1/*.proto

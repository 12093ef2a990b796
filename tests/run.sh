#!/usr/bin/env bash
# Runs the tests on a fresh machine, set-up included.
#
#   tests/run.sh            the quick tier: what CI runs
#   tests/run.sh --full     also the larger row counts and longer runs
#   tests/run.sh --compiled the model compiled, in a place of its own, and the tests of its rooms
#   tests/run.sh ARGS...    arguments of pytest, such as -k coalesce; paths are those of the clone
set -euo pipefail
script=$(readlink -f "${BASH_SOURCE[0]}")
. "$(dirname "$script")/../deploy/environment.sh"

for argument in "$@"; do
    case $argument in
    -h | --help)
        print_help "$script"
        exit 0
        ;;
    esac
done

compiled=
if [ "${1-}" = --compiled ]; then
    compiled=1
    shift
fi
prepare_environment dev
cd "$clone"
code=0
if [ -n "$compiled" ]; then
    MKRPC_COMPILED=$(mktemp -d)/model
    export MKRPC_COMPILED
    trap 'rm -rf "${MKRPC_COMPILED%/model}"' EXIT
    "$PYTHON" -m mkrpc.compiled build
    set -- tests/x86 tests/link tests/instance tests/interconnect tests/conformance tests/simulation \
        tests/replay tests/transport tests/test_frame_codec.py tests/test_frames_past_protobuf.py \
        tests/test_legs_codec.py tests/test_frame_sizes.py "$@"
fi
# The quick tier takes all cores, up to 8, and has one cluster at a time (tests/one_cluster.py).
[ "$#" -gt 0 ] || set -- --numprocesses auto --maxprocesses 8
"$PYTHON" -m pytest "$@" || code=$?
# pytest says 4 where every other command here says 2: wrong usage.
[ "$code" -ne 4 ] || code=2
exit "$code"

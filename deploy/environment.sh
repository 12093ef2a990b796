# Sourced by deploy/launch.sh and tests/run.sh: a private Python environment for this clone.
#
#   prepare_environment EXTRA    installs mkrpc with the extra ("" or "dev") into .venv, once, and
#                                sets PYTHON to its interpreter
#
# MKRPC_PYTHON names the interpreter to start from, MKRPC_VENV the place of the environment. A
# relative place is one within this clone; the caller's directory does not matter and is kept.

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

prepare_environment() {
    local extra=$1 base venv stamp wanted candidate
    venv=${MKRPC_VENV:-.venv}
    case $venv in
    /*) ;;
    *) venv=$clone/$venv ;;
    esac
    for candidate in "${MKRPC_PYTHON:-}" python3.11 python3.12 python3.13 python3; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            base=$candidate
            break
        fi
    done
    if [ -z "${base:-}" ]; then
        echo "mkrpc: found no Python 3.11 or newer" >&2
        echo "  → install one, or name it: MKRPC_PYTHON=/path/to/python3.11 $0" >&2
        return 3
    fi
    PYTHON=$venv/bin/python
    stamp=$venv/.mkrpc-installed${extra:+-$extra}
    wanted=$(cksum <"$clone/pyproject.toml")
    if [ -x "$PYTHON" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    echo "preparing a private environment in $venv (once)" >&2
    # An environment that works is kept, whichever interpreter made it: a second one on top of it
    # would leave a mixture of both.
    if ! "$PYTHON" -c 'import ensurepip, pip, ssl' 2>/dev/null &&
        ! "$base" -m venv --clear "$venv"; then
        echo "mkrpc: cannot make a virtual environment in $venv" >&2
        echo "  → on Debian and Ubuntu: apt install python3-venv" >&2
        return 3
    fi
    if ! "$PYTHON" -m pip install --quiet --disable-pip-version-check \
        --editable "$clone${extra:+[$extra]}" >&2; then
        echo "mkrpc: could not install its dependencies" >&2
        echo "  → see pip's message above; a proxy or mirror is set as for any pip install" >&2
        return 3
    fi
    echo "$wanted" >"$stamp"
}

# print_help SCRIPT: the comment at its head.
print_help() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$1"
}

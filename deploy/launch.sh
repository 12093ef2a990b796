#!/usr/bin/env bash
# A multikernel in one command: prepares a private environment, starts a cluster of 4 instances
# with 2 CPUs each, rings every instance from every other, prints each instance's
# /proc/interrupts and the ledger. Needs Python 3.11 with venv, and a package index that pip reaches.
#
#   deploy/launch.sh                 and stay up; stop it with: mkrpc down --name launch
#   deploy/launch.sh --once          and stop again; exit code 0 only if the books balance
#   deploy/launch.sh --topology F    another machine (see deploy/topologies)
#   deploy/launch.sh --name NAME     under another name
set -euo pipefail
script=$(readlink -f "${BASH_SOURCE[0]}")
. "$(dirname "$script")/environment.sh"

wrong() {
    echo "launch.sh: $1" >&2
    echo "  → see deploy/launch.sh --help" >&2
    exit 2
}

once=no
name=launch
shape=(--instances 4 --cpus 2)
while [ $# -gt 0 ]; do
    case $1 in
    --once) once=yes ;;
    --name)
        [ -n "${2:-}" ] || wrong "--name needs a name"
        name=$2
        shift
        ;;
    --topology)
        [ -n "${2:-}" ] || wrong "--topology needs a file"
        shape=(--topology "$2")
        shift
        ;;
    -h | --help)
        print_help "$script"
        exit 0
        ;;
    *) wrong "unknown argument $1" ;;
    esac
    shift
done

prepare_environment ""
mkrpc=$(dirname "$PYTHON")/mkrpc

"$mkrpc" up --name "$name" --detach "${shape[@]}"
if [ "$once" = yes ]; then
    trap '"$mkrpc" down --name "$name"' EXIT
fi

echo
echo "every instance rings every other:"
"$PYTHON" "$clone/deploy/ring_everyone.py" --name "$name"
echo
"$mkrpc" interrupts --name "$name"
echo
"$mkrpc" ledger --name "$name"

if [ "$once" = no ]; then
    cat <<TEXT

The cluster stays up. Try:
  $mkrpc ipi --name $name --to 5                 inject MULTIKERNEL_VECTOR into the CPU with APIC id 5
  $mkrpc ipi --name $name --from 0 --to others   CPU 0 rings all the others by shorthand
  $mkrpc dmesg --name $name mk2                  what the kernel of instance mk2 printed
  $mkrpc down --name $name                       stop it
TEXT
fi

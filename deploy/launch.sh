#!/usr/bin/env bash
# A multikernel in one command: prepares a private environment, starts a cluster of 4 instances
# with 2 CPUs each, rings every instance from every other, prints each instance's
# /proc/interrupts and the ledger. Needs Python 3.11 and nothing else.
#
#   deploy/launch.sh                 and stay up; stop it with: mkrpc down --name launch
#   deploy/launch.sh --once          and stop again; exit code 0 only if the books balance
#   deploy/launch.sh --topology F    another machine (see deploy/topologies)
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/environment.sh

once=no
name=launch
shape=(--instances 4 --cpus 2)
while [ $# -gt 0 ]; do
    case $1 in
    --once) once=yes ;;
    --name) name=${2:?--name needs a name} && shift ;;
    --topology) shape=(--topology "${2:?--topology needs a file}") && shift ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
    *) echo "launch.sh: unknown argument $1" >&2 && echo "  → see deploy/launch.sh --help" >&2 && exit 2 ;;
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
"$PYTHON" deploy/ring_everyone.py --name "$name"
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

#!/bin/sh
# One seed is one story: two runs of it have the same trace, line by line, and
# other seeds have others.
#
#   sh tests/sim/replay.sh WEIR-SIM
set -u
sim=$1
first=$("$sim" --seed 900 --runs 30 --hash) || { printf '%s\n0 passed, 1 failed\n' "$first"; exit 1; }
second=$("$sim" --seed 900 --runs 30 --hash)
different=$(printf '%s\n' "$first" | grep '^seed ' | awk '{ print $4 }' | sort -u | wc -l)
if [ "$first" = "$second" ] && [ "$different" -eq 30 ]; then
    echo '1 passed, 0 failed'
else
    echo "30 seeds have $different traces, or a seed has two"
    echo '0 passed, 1 failed'
    exit 1
fi

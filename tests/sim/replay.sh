#!/bin/sh
# One seed is one story: two runs of it have the same trace, line by line, and
# other seeds have others. For both kinds of runs.
#
#   sh tests/sim/replay.sh WEIR-SIM
set -u
sim=$1

# one_story OPTION...: those that choose the kind.
one_story() {
    first=$("$sim" "$@" --seed 900 --runs 30 --hash) || { printf '%s\n' "$first"; return 1; }
    second=$("$sim" "$@" --seed 900 --runs 30 --hash)
    different=$(printf '%s\n' "$first" | grep '^seed ' | awk '{ print $4 }' | sort -u | wc -l)
    [ "$first" = "$second" ] && [ "$different" -eq 30 ] && return 0
    echo "30 seeds $* have $different traces, or a seed has two"
    return 1
}

if one_story && one_story --money; then
    echo '2 passed, 0 failed'
else
    echo '0 passed, 1 failed'
    exit 1
fi

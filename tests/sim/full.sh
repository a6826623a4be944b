#!/bin/sh
# The long run: optimised, a hundred thousand exchanges and a million payments,
# and every row of the table of phases and reasons must be reached; then some
# thousand payments at processors that are sick. Minutes at most: payments run on
# two processors at once.
#
#   sh tests/sim/full.sh [EXCHANGES [PAYMENTS [SEED]]]      builds in build-sim
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${SIM_BUILD:-build-sim}
exchanges=${1:-100000}
payments=${2:-1000000}
seed=${3:-1}
apart=10000000 # seeds between the halves
log=$(mktemp -d) || exit 1
trap 'rm -rf "$log"' EXIT
if ! { cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo "-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O2 -g" &&
    cmake --build "$build" --target weir-sim; } > "$log/build" 2>&1; then
    tail -n 30 "$log/build"
    echo '0 passed, 1 failed'
    exit 1
fi
sim=$build/tests/sim/weir-sim

ill=${SIM_SICK:-20000}
half() { "$sim" --seed "$1" --payments "$((payments / 2))" --complete --matrix > "$log/half.$1" 2>&1; }

status=0
"$sim" --seed "$seed" --exchanges "$exchanges" --complete --matrix || status=1
half "$seed" &
half "$((seed + apart))" || status=1
wait $! || status=1
for half in "$seed" "$((seed + apart))"; do
    grep -v '^simulated ' "$log/half.$half"
done
sick() { "$sim" --sick --seed "$1" --payments "$((ill / 2))" > "$log/sick.$1" 2>&1; }
sick "$seed" &
sick "$((seed + apart))" || status=1
wait $! || status=1
for half in "$seed" "$((seed + apart))"; do
    sed 's/^simulated payments/simulated payments at the sick/' "$log/sick.$half"
done
# What both halves counted, as one line.
awk '/^simulated payments: / {
         sum += $3
         for (i = 4; i < NF; i++) {
             if ($i ~ /^\(?[0-9]+$/) { n = $i; sub(/\(/, "", n); words = $(i + 1); sub(/[,)]$/, "", words)
                                       if (!(words in counts)) order[++kinds] = words
                                       counts[words] += n }
         }
     }
     END { printf "simulated payments: %d", sum
           for (i = 1; i <= kinds; i++) printf "%s%d %s", i == 1 ? " (" : ", ", counts[order[i]], order[i]
           print ")" }' "$log"/half.*
exit "$status"

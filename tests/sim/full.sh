#!/bin/sh
# The long run: optimised, a hundred thousand exchanges, and every row of the
# table of phases and reasons must be reached. Minutes at most.
#
#   sh tests/sim/full.sh [EXCHANGES [SEED]]      builds in build-sim
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${SIM_BUILD:-build-sim}
exchanges=${1:-100000}
seed=${2:-1}
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
if ! { cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo "-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O2 -g" &&
    cmake --build "$build" --target weir-sim; } > "$log" 2>&1; then
    tail -n 30 "$log"
    echo '0 passed, 1 failed'
    exit 1
fi
exec "$build/tests/sim/weir-sim" --seed "$seed" --exchanges "$exchanges" --complete --matrix

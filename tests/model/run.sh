#!/bin/sh
# The idempotency protocol, checked by SPIN in the configurations of the table
# below: what must hold, and mistakes that must be found, or the model could not
# see them. One line each; the last one is 'N passed, M failed'.
#
#   sh tests/model/run.sh            all, some minutes on two cores
#   QUICK=1 sh tests/model/run.sh    a part (also --quick), in seconds
#   sh tests/model/run.sh --keep DIR NAME    one, and leaves SPIN's files and trail in DIR
set -u

here=$(cd "$(dirname "$0")" && pwd)
at_once=2
seconds=600
megabytes=2000

# name | quick or full | holds or violated | flags of idem.pml
table() {
    cat <<'END'
sticky-2x2                    | quick | holds    | -DTRIES=2 -DSENDS=2
sticky                        | full  | holds    | -DTRIES=3
sticky-evicted                | full  | holds    | -DTRIES=3 -DVANISH=1
sticky-unknown-vanishes       | full  | holds    | -DTRIES=2 -DSENDS=2 -DVANISH=2
sticky-receipt                | full  | holds    | -DTRIES=3 -DRECEIPT=1
sticky-pass                   | full  | holds    | -DTRIES=3 -DPASS=1
single-shot                   | full  | holds    | -DTRIES=3 -DDEDUP_A=0 -DACKED=1
single-shot-no-loss           | quick | holds    | -DTRIES=3 -DDEDUP_A=0 -DLOSS=0
single-shot-operator          | full  | holds    | -DTRIES=3 -DDEDUP_A=0 -DACKED=1 -DOPERATOR=1
failover-acked-2x2            | quick | holds    | -DTRIES=2 -DSENDS=2 -DFAILOVER=1 -DACKED=1
failover-acked                | full  | holds    | -DTRIES=3 -DFAILOVER=1 -DACKED=1
failover-acked-no-dedup       | full  | holds    | -DTRIES=3 -DFAILOVER=1 -DACKED=1 -DDEDUP_A=0 -DDEDUP_B=0
failover-acked-a-alone-dedups | full  | holds    | -DTRIES=3 -DFAILOVER=1 -DACKED=1 -DDEDUP_B=0
failover-no-loss              | full  | holds    | -DTRIES=3 -DFAILOVER=1 -DLOSS=0
failover-operator             | full  | holds    | -DTRIES=3 -DFAILOVER=1 -DACKED=1 -DOPERATOR=1
rebind-2x2                    | quick | holds    | -DTRIES=2 -DSENDS=2 -DREBIND=1 -DACKED=1
rebind                        | full  | holds    | -DTRIES=3 -DREBIND=1 -DACKED=1
rebind-no-dedup               | full  | holds    | -DTRIES=3 -DREBIND=1 -DACKED=1 -DDEDUP_A=0 -DDEDUP_B=0
rebind-operator               | full  | holds    | -DTRIES=3 -DREBIND=1 -DACKED=1 -DDEDUP_A=0 -DDEDUP_B=0 -DOPERATOR=1
failover-not-acked            | full  | violated | -DTRIES=2 -DSENDS=2 -DFAILOVER=1
failover-quarantine           | full  | violated | -DTRIES=3 -DFAILOVER=1 -DQUARANTINE=1
failover-b-alone-acked        | full  | violated | -DTRIES=3 -DFAILOVER=1 -DACKED=2 -DQUARANTINE=1
failover-evicted              | full  | violated | -DTRIES=3 -DFAILOVER=1 -DACKED=1 -DVANISH=1
failover-unknown-vanishes     | full  | violated | -DTRIES=2 -DFAILOVER=1 -DACKED=1 -DVANISH=2
single-shot-not-acked         | quick | violated | -DTRIES=2 -DDEDUP_A=0
single-shot-unknown-vanishes  | full  | violated | -DTRIES=2 -DDEDUP_A=0 -DACKED=1 -DVANISH=2
mutant-memory-in-record       | full  | violated | -DTRIES=2 -DSENDS=2 -DFAILOVER=1 -DACKED=1 -DMUTANT_MEMORY_IN_RECORD
mutant-lease-over-is-new      | quick | violated | -DTRIES=2 -DFAILOVER=1 -DACKED=1 -DMUTANT_LEASE_OVER_IS_NEW
mutant-any-owner              | full  | violated | -DTRIES=3 -DFAILOVER=1 -DACKED=1 -DMUTANT_ANY_OWNER
mutant-failover-after-timeout | full  | violated | -DTRIES=2 -DSENDS=2 -DFAILOVER=1 -DACKED=1 -DMUTANT_FAILOVER_AFTER_TIMEOUT
mutant-timeout-frees          | full  | violated | -DTRIES=2 -DFAILOVER=1 -DACKED=1 -DMUTANT_TIMEOUT_FREES
mutant-unpinned               | full  | violated | -DTRIES=2 -DFAILOVER=1 -DACKED=1 -DMUTANT_UNPINNED
mutant-takeover-unsent        | quick | violated | -DTRIES=3 -DFAILOVER=1 -DACKED=1 -DMUTANT_TAKEOVER_UNSENT
mutant-refusal-clears         | full  | violated | -DTRIES=3 -DFAILOVER=1 -DACKED=1 -DMUTANT_REFUSAL_CLEARS
mutant-receipt-no-dedup       | full  | violated | -DTRIES=2 -DDEDUP_A=0 -DACKED=1 -DRECEIPT=1 -DMUTANT_RECEIPT
mutant-pass-no-dedup          | full  | violated | -DTRIES=2 -DDEDUP_A=0 -DACKED=1 -DPASS=1 -DMUTANT_PASS
mutant-again-no-dedup         | full  | violated | -DTRIES=2 -DSENDS=2 -DDEDUP_A=0 -DACKED=1 -DMUTANT_AGAIN_NO_DEDUP
mutant-again-forgets          | full  | violated | -DTRIES=2 -DSENDS=2 -DFAILOVER=1 -DACKED=1 -DMUTANT_AGAIN_FORGETS
mutant-rebind-sent            | full  | violated | -DTRIES=2 -DSENDS=2 -DREBIND=1 -DACKED=1 -DMUTANT_REBIND_SENT
mutant-rebind-in-memory       | quick | violated | -DTRIES=2 -DREBIND=1 -DACKED=1 -DMUTANT_REBIND_IN_MEMORY
mutant-rebind-ambiguous       | full  | violated | -DTRIES=2 -DREBIND=1 -DACKED=1 -DMUTANT_REBIND_AMBIGUOUS
mutant-rebind-not-awaited     | full  | violated | -DTRIES=2 -DREBIND=1 -DACKED=1 -DMUTANT_REBIND_NOT_AWAITED
mutant-rebind-any-owner       | full  | violated | -DTRIES=3 -DREBIND=1 -DACKED=1 -DMUTANT_REBIND_ANY_OWNER
mutant-rebind-twice           | full  | violated | -DTRIES=2 -DREBIND=1 -DACKED=1 -DMUTANT_REBIND_TWICE
END
}

# row NAME: WHEN EXPECTED FLAGS...
row() {
    table | awk -F'|' -v name="$1" '{ gsub(/ /, "", $1); gsub(/ /, "", $2); gsub(/ /, "", $3) } $1 == name { print $2, $3, $4 }'
}

# check NAME DIRECTORY: prints its line; 1 when it is not as expected.
check() {
    name=$1
    # A name, a word, and a list of flags to be split.
    # shellcheck disable=SC2046
    set -- "$2" $(row "$1")
    folder=$1
    expected=$3
    shift 3
    mkdir -p "$folder"
    cd "$folder" || return 1
    began=$(date +%s)
    if ! { spin -a "$@" "$here/idem.pml" && gcc -O2 -w -DSAFETY -DMEMLIM="$megabytes" -o pan pan.c; } > build.log 2>&1; then
        printf '%-30s FAIL: SPIN or the compiler refused it\n' "$name"
        head -n 5 build.log
        return 1
    fi
    timeout "$seconds" ./pan -m100000 -n -E > out.log 2>&1
    status=$?
    states=$(awk '/states, stored/ { print $1; exit }' out.log)
    if grep -q 'assertion violated' out.log; then
        found=violated
    elif [ "$status" -eq 0 ] && grep -q 'errors: 0' out.log && ! grep -qE 'max search depth too small|out of memory|pan: reached' out.log; then
        found=holds
    else
        found="not exhausted"
    fi
    line=$(printf '%-30s %-9s %10s states %4ds' "$name" "$found" "${states:-?}" "$(($(date +%s) - began))")
    if [ "$found" = "$expected" ]; then
        printf '%s\n' "$line"
        return 0
    fi
    printf '%s  FAIL: expected %s\n' "$line" "$expected"
    return 1
}

if [ "${1:-}" = --keep ]; then
    check "$3" "$2"
    exit
fi
[ "${1:-}" = --quick ] && QUICK=1
command -v spin > /dev/null || { printf 'model: spin is missing\n0 passed, 1 failed\n'; exit 1; }

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
names=$(table | awk -F'|' -v quick="${QUICK:-}" '{ gsub(/ /, "", $1); gsub(/ /, "", $2) } quick == "" || $2 == "quick" { print $1 }')

# Each in its own shell, so many at once; what each says is one line.
for name in $names; do
    printf '%s\n' "$name"
done | xargs -P "$at_once" -I '{}' sh "$0" --keep "$folder/{}" '{}' | tee "$folder/lines"
failed=$(grep -c 'FAIL' "$folder/lines")
asked=$(printf '%s\n' "$names" | wc -l)
said=$(grep -cE 'states|FAIL' "$folder/lines")
passed=$((said - failed))
failed=$((failed + asked - said))
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]

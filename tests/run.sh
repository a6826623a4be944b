#!/bin/sh
# Everything that can be tested, from a bare Debian 12 machine: installs what is
# missing (as root), builds with sanitizers, runs the suites of the table below.
# The last line is 'N passed, N failed'; the exit status is 1 when any failed.
#
#   sh tests/run.sh            all, under thirty minutes on two cores
#   sh tests/run.sh --quick    under two minutes once set up and built
#   sh tests/run.sh NAME...    these suites only
set -u

cd "$(dirname "$0")/.." || exit 1
build="build-dev"
logs=$build/test-logs

# NAME | quick or full | a file without which there is no such suite | command
# A new suite is one line here. It says 'N passed, N failed' in its output
# (cmocka's and ctest's own words are understood too) and exits with 1 when
# something failed. $QUICK is 1 in a quick run.
suites() {
    cat <<'END'
unit         | quick | tests/unit                  | ctest_run '^unit/'
lint         | quick | tests/lint/layers.py        | ctest_run '^lint/'
model        | quick | tests/model/idem.pml        | sh tests/model/run.sh
stores       | quick | tests/differential/CMakeLists.txt | stores_run
sim          | quick | tests/sim/CMakeLists.txt    | ctest_run '^sim'
metrics      | quick | tests/lint/promtool.py      | /usr/bin/python3 tests/lint/promtool.py --build build-dev
e2e          | quick | tests/e2e/run.py            | e2e_run
sdk          | quick | tests/sdk/package.json      | /usr/bin/python3 tests/e2e/run.py --build build-dev -k "test_sdk_${QUICK:+stripe.test_a_payment}"
testssl      | full  | tests/e2e/test_testssl.py   | /usr/bin/python3 tests/e2e/run.py --build build-dev -k test_testssl
sim-full     | full  | tests/sim/full.sh           | sh tests/sim/full.sh
fuzz         | full  | tests/fuzz/CMakeLists.txt   | fuzz_run
differential | full  | tests/fuzz/differential.py  | differential_run
campaign     | full  | tests/campaign/run.py       | /usr/bin/python3 tests/campaign/run.py --build build-dev --seconds "${CAMPAIGN_SECONDS:-90}" --logs "$logs"
quickstart   | full  | deploy/quickstart.sh        | quickstart_run
END
}

# --- setting up ---------------------------------------------------------------

say() { printf '%s\n' "$*"; }
die() { printf 'run.sh: %s\n\n0 passed, 1 failed\n' "$*"; exit 1; }

packages_missing() {
    cat deploy/packages.txt tests/packages.txt | sort -u | while read -r package; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || printf ' %s' "$package"
    done
    # Any Node that is there will do; Debian's npm brings hundreds of packages.
    command -v node > /dev/null || printf ' nodejs'
    command -v npm > /dev/null || printf ' npm'
}

packages_install() {
    missing=$(packages_missing)
    [ -z "$missing" ] && return 0
    [ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get update && apt-get install -y --no-install-recommends$missing"
    say "installing:$missing"
    # $missing is a list of names, to be split.
    # shellcheck disable=SC2086
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
        > "$logs/apt.log" 2>&1 < /dev/null; then
        tail -n 20 "$logs/apt.log"
        die "apt-get failed: $logs/apt.log"
    fi
}

# The SDKs that merchants use, wherever a suite keeps its lock file. Installed again only when that changed.
sdk_install() {
    node -e 'const [a, b] = process.versions.node.split("."); process.exit(+a < 18 || (+a === 18 && +b < 20) ? 1 : 0)' ||
        die "the SDKs want Node 18.20 or later, this is $(node --version)"
    find tests -name package-lock.json -not -path '*/node_modules/*' > "$logs/locks"
    while read -r lock <&4; do
        folder=$(dirname "$lock")
        stamp=$folder/node_modules/.installed
        cmp -s "$lock" "$stamp" 2>/dev/null && continue
        say "installing the SDKs of $folder"
        if ! (cd "$folder" && npm ci --prefer-offline --no-audit --no-fund --ignore-scripts) > "$logs/npm.log" 2>&1 < /dev/null; then
            tail -n 20 "$logs/npm.log"
            die "npm ci failed: $logs/npm.log"
        fi
        cp "$lock" "$stamp"
    done 4< "$logs/locks"
}

# preset_build PRESET: configures and builds.
preset_build() {
    say "building $1"
    if ! { cmake --preset "$1" && cmake --build --preset "$1"; } > "$logs/build-$1.log" 2>&1 < /dev/null; then
        grep -E 'error|FAILED' "$logs/build-$1.log" | head -n 30
        return 1
    fi
}

# --- suites that need more than a line -------------------------------------------

# ctest_run PATTERN: what the programs printed counts, not the number of programs.
ctest_run() {
    ctest --test-dir "$build" --no-tests=error -j 2 --output-on-failure -R "$1"
    status=$?
    # The log has every program's output, also of those that passed.
    cat "$build/Testing/Temporary/LastTest.log"
    return "$status"
}

# What has a row of its own is left out. A quick run's choice is run.py's.
e2e_run() {
    names=
    if [ -n "$QUICK" ]; then
        /usr/bin/python3 tests/e2e/run.py --build "$build"
        return
    fi
    for file in tests/e2e/test_*.py; do
        name=$(basename "$file" .py)
        case "$name" in test_sdk_* | test_testssl) continue ;; esac
        names="$names${names:+ or }$name."
    done
    /usr/bin/python3 tests/e2e/run.py --build "$build" -k "$names"
}

# Each fuzz target for a bounded time, from its corpus.
fuzz_run() {
    preset_build fuzz || { say "the fuzz targets do not build"; return 1; }
    passed=0
    failed=0
    for target in $(find build-fuzz -type f -name 'fuzz_*' -perm -u+x | sort); do
        name=$(basename "$target")
        corpus=$logs/corpus-$name
        mkdir -p "$corpus"
        seeds=tests/fuzz/corpus/${name#fuzz_}
        [ -d "$seeds" ] || seeds=
        if LSAN_OPTIONS="suppressions=$PWD/tests/fuzz/lsan.supp:print_suppressions=0" "$target" -max_total_time="${FUZZ_SECONDS:-30}" -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
            -artifact_prefix="$logs/$name-" "$corpus" ${seeds:+"$seeds"} 2>&1; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
        fi
    done
    [ "$((passed + failed))" -gt 0 ] || { say "there is no fuzz target"; return 1; }
    say "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}

# What weir accepts, h11 and Node's parser frame in the same way.
differential_run() {
    frames=$(find "$build" -type f -name http_frames -perm -u+x | head -n 1)
    [ -n "$frames" ] || { say "http_frames is missing in $build"; return 1; }
    /usr/bin/python3 tests/fuzz/differential.py --frames "$frames" --cases "${DIFFERENTIAL_CASES:-20000}"
}

# Both stores say of a record what idem_apply says.
stores_run() {
    "$build/tests/differential/store-differential" --sequences "${STORE_SEQUENCES:-$([ -n "$QUICK" ] && echo 2000 || echo 100000)}"
}

# On other ports than by hand, so that a running quickstart is not in the way.
quickstart_run() {
    QUICKSTART_PORT=28443 QUICKSTART_MONITOR_PORT=29901 QUICKSTART_ACME_PORT=29911 QUICKSTART_STANDBY_PORT=29912 \
        sh deploy/quickstart.sh --smoke
}

# --- counting ------------------------------------------------------------------

# counts LOG STATUS: 'PASSED FAILED' of one suite's output.
counts() {
    awk -v status="$2" '
        # ctest repeats the output of what failed; its log, which begins here, has all of it once.
        /^Start testing: / { c_ok = c_bad = p_ok = p_bad = 0 }
        /\[  PASSED  \] [0-9]+ test/ { match($0, /\] [0-9]+/); c_ok += substr($0, RSTART + 2, RLENGTH - 2) }
        /\[  FAILED  \] [0-9]+ test/ { match($0, /\] [0-9]+/); c_bad += substr($0, RSTART + 2, RLENGTH - 2) }
        /^([a-z0-9]+: )?[0-9]+ passed, [0-9]+ failed/ {
            match($0, /[0-9]+ passed/); p_ok += substr($0, RSTART, RLENGTH - 7)
            match($0, /[0-9]+ failed/); p_bad += substr($0, RSTART, RLENGTH - 7)
        }
        /tests failed out of [0-9]+/ { match($0, /[0-9]+ tests failed/); t_bad = substr($0, RSTART, RLENGTH - 13)
                                       match($0, /out of [0-9]+/); t_all = substr($0, RSTART + 7, RLENGTH - 7) }
        END {
            ok = c_ok + p_ok; bad = c_bad + p_bad
            if (ok + bad == 0 && t_all > 0) { ok = t_all - t_bad; bad = t_bad }
            if (ok + bad == 0) { ok = (status == 0); bad = (status != 0) }
            # A suite that failed without a count (a crash, a time-out) is one failure.
            if (status != 0 && bad == 0) bad = (t_bad > 0 ? t_bad : 1)
            printf "%d %d\n", ok, bad
        }' "$1"
}

# What a suite says of its size, such as 'simulated exchanges: 20000'.
boast() {
    grep -E '^(simulated exchanges|simulated payments|differential|fuzzed|campaign): ' "$1" | sed '/^simulated/s/ (.*//' | tail -n 3 | tr '\n' ' '
}

# suite_run NAME FILE COMMAND
suite_run() {
    log=$logs/$1.log
    began=$(date +%s)
    if [ ! -e "$2" ]; then
        say "$2 is missing" > "$log"
        status=1
    else
        (eval "$3") > "$log" 2>&1 < /dev/null
        status=$?
    fi
    read -r ok bad <<END
$(counts "$log" "$status")
END
    total_ok=$((total_ok + ok))
    total_bad=$((total_bad + bad))
    printf '%-13s %6d passed %4d failed %5ds  %s\n' "$1" "$ok" "$bad" "$(($(date +%s) - began))" "$(boast "$log")"
    if [ "$bad" -gt 0 ] || [ "$status" -ne 0 ]; then
        say "--- of $log:"
        # What failed is told before ctest's log of everything.
        sed '/^Start testing: /,$d' "$log" > "$logs/told"
        grep -nE 'FAIL|ERROR|[Ee]rror:|SUMMARY: |missing' "$logs/told" | head -n 40
        say "..."
        tail -n 20 "$logs/told"
        say "---"
    fi
}

QUICK=
only=
for argument in "$@"; do
    case "$argument" in
        --quick) QUICK=1 ;;
        -*) say "usage: sh tests/run.sh [--quick] [SUITE...]" >&2; exit 64 ;;
        *) only="$only $argument " ;;
    esac
done
export QUICK
mkdir -p "$logs"
rm -f "$logs"/*.log
packages_install
sdk_install
preset_build dev || die "the build failed: $logs/build-dev.log"

total_ok=0
total_bad=0
suites > "$logs/suites"
while IFS='|' read -r name when file command <&3; do
    name=$(printf %s "$name" | tr -d ' ')
    when=$(printf %s "$when" | tr -d ' ')
    file=$(printf %s "$file" | tr -d ' ')
    if [ -n "$only" ]; then
        case "$only" in *" $name "*) ;; *) continue ;; esac
    elif [ -n "$QUICK" ] && [ "$when" = full ]; then
        continue
    fi
    suite_run "$name" "$file" "$command"
done 3< "$logs/suites"

[ "$((total_ok + total_bad))" -gt 0 ] || total_bad=1
say ""
say "$total_ok passed, $total_bad failed"
[ "$total_bad" -eq 0 ]

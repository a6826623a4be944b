#!/bin/sh
# weir against a bare pump, nginx and HAProxy, from a bare Debian 12 machine:
# installs what is missing (as root), builds the release into build/, measures,
# prints the table and writes build/bench/results.json, results.md and *.svg.
# All that it starts listens on 127.0.0.1, lives in build/bench and ends with it.
#
#   sh bench/run.sh                          about a quarter of an hour on two cores
#   sh bench/run.sh --quick                  about four minutes, 64 connections
#   sh bench/run.sh --only plain|tls|payment|memory|limits|overload|sick   one part; more options: --help
set -eu

cd "$(dirname "$0")/.."
mkdir -p build

say() { printf '%s\n' "$*"; }
fail() { printf 'bench: %s\n' "$*" >&2; exit 1; }

packages_missing() {
    cat deploy/packages.txt bench/packages.txt | sort -u | while read -r package; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || printf ' %s' "$package"
    done
}

# The peers are run by hand here; their packages must not start services of their own.
services_hold() {
    [ -e /usr/sbin/policy-rc.d ] && return 0
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT INT TERM
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
}

packages_install() {
    missing=$(packages_missing)
    [ -z "$missing" ] && return 0
    [ "$(id -u)" = 0 ] || fail "missing packages; as root: apt-get update && apt-get install -y --no-install-recommends$missing"
    say "installing:$missing"
    # $missing is a list of names, to be split.
    # shellcheck disable=SC2086
    if ! (services_hold && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing) \
        > build/apt.log 2>&1 < /dev/null; then
        tail -n 20 build/apt.log >&2
        fail "apt-get failed; the whole output is in build/apt.log"
    fi
}

# The tools are needed; without weir its rows are left out and the rest is still measured.
build() {
    say "building (release)"
    if ! { cmake --preset release && cmake --build build --target bench_tools; } > build/build.log 2>&1; then
        tail -n 40 build/build.log >&2
        fail "the build failed; the whole output is in build/build.log"
    fi
    if ! cmake --build build --target weir >> build/build.log 2>&1; then
        tail -n 20 build/build.log >&2
        say "weir does not build: IT HAS NO ROWS below; the whole output is in build/build.log"
        rm -f build/weir
    fi
}

packages_install
case " $* " in
    *" --help "* | *" -h "*) ;;
    *) build ;;
esac
exec /usr/bin/python3 bench/run.py "$@"

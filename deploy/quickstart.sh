#!/bin/sh
# From a bare Debian 12 machine to a running weir with two stand-in processors.
# Everything it makes is under build/; everything it starts ends with it.
set -eu

usage() {
    cat <<END
usage: sh deploy/quickstart.sh [--smoke]

  Installs what is missing (as root), builds weir into build/, starts two
  stand-in processors and weir, prints a payment to try, runs until Ctrl-C.

  --smoke   makes one payment, repeats it, checks that it was executed once
            and asked for once; stops each processor in turn and pays again;
            stops everything; exit status 0 or 1

  Ports, if these are taken: QUICKSTART_PORT=8443 QUICKSTART_MONITOR_PORT=9901
  QUICKSTART_ACME_PORT=9911 QUICKSTART_STANDBY_PORT=9912
END
}

smoke=no
case "${1-}" in
    "") ;;
    --smoke) smoke=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 64 ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
port=${QUICKSTART_PORT:-8443}
monitor_port=${QUICKSTART_MONITOR_PORT:-9901}
acme_port=${QUICKSTART_ACME_PORT:-9911}
standby_port=${QUICKSTART_STANDBY_PORT:-9912}
dir=build/quickstart
weir=build/weir
sandbox=build/weir-sandbox
pids=

say() { printf '%s\n' "$*"; }
fail() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }

# --- what it stands on -------------------------------------------------------

packages_missing() {
    while read -r package; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || printf ' %s' "$package"
    done < deploy/packages.txt
}

packages_install() {
    missing=$(packages_missing)
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" != 0 ]; then
        say "quickstart: these packages are missing. As root:" >&2
        say "" >&2
        say "    apt-get update && apt-get install -y --no-install-recommends$missing" >&2
        say "" >&2
        say "and then this script again, as any user." >&2
        exit 1
    fi
    say "installing:$missing"
    mkdir -p build
    # $missing is a list of names, to be split.
    # shellcheck disable=SC2086
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } \
        > build/apt.log 2>&1 < /dev/null; then
        tail -n 20 build/apt.log >&2
        fail "apt-get failed; the whole output is in build/apt.log"
    fi
}

build() {
    say "building weir (release, a minute or two the first time)"
    mkdir -p build
    if ! { cmake --preset release && cmake --build --preset release; } > build/build.log 2>&1; then
        tail -n 40 build/build.log >&2
        fail "the build failed; the whole output is in build/build.log"
    fi
}

# --- certificates and configuration ------------------------------------------

certificates() {
    mkdir -p "$dir" "$dir/secret"
    if [ -s "$dir/ca.crt" ] && openssl verify -CAfile "$dir/ca.crt" "$dir/server.crt" > /dev/null 2>&1 \
        && openssl x509 -checkend 2592000 -noout -in "$dir/server.crt" > /dev/null 2>&1; then
        return 0
    fi
    cat > "$dir/openssl.cnf" <<'END'
[req]
distinguished_name = name
prompt = no
[name]
CN = weir quickstart CA
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, DNS:standby.localhost, IP:127.0.0.1
authorityKeyIdentifier = keyid
END
    if ! (
        umask 077
        openssl ecparam -name prime256v1 -genkey -noout -out "$dir/ca.key" &&
            openssl req -x509 -new -key "$dir/ca.key" -days 365 -sha256 -config "$dir/openssl.cnf" -extensions ca \
                -out "$dir/ca.crt" &&
            openssl ecparam -name prime256v1 -genkey -noout -out "$dir/server.key" &&
            openssl req -new -key "$dir/server.key" -config "$dir/openssl.cnf" -subj "/CN=localhost" \
                -out "$dir/server.csr" &&
            openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 365 \
                -sha256 -extfile "$dir/openssl.cnf" -extensions server -out "$dir/server.crt"
    ) > "$dir/openssl.log" 2>&1; then
        cat "$dir/openssl.log" >&2
        fail "the certificates could not be made"
    fi
    chmod 644 "$dir/ca.crt" "$dir/server.crt"
}

# What weir remembers of payments ends with the stand-in processors, which forget theirs, too.
store_forget() { rm -rf "$dir/store"; }

# A socket's path may have 107 bytes; in a deeper folder there is no admin socket.
admin_section() {
    [ "$(printf '%s' "$root/$dir/admin.sock" | wc -c)" -le 107 ] || return 0
    printf 'admin: {socket: "%s"}\n' "$root/$dir/admin.sock"
}

configuration() {
    cat > "$dir/weir.yaml" <<END
# Made by deploy/quickstart.sh; deploy/weir.yaml is the one to start from.
version: 1
listeners:
  - name: public
    address: "127.0.0.1:$port"
    tls:
      certificates: [{cert: "$root/$dir/server.crt", key: "$root/$dir/server.key"}]
processors:
  acme:
    profile: stripe
    url: http://127.0.0.1:$acme_port
    timeouts: {connect: 1s, response: 10s, total: 12s}
  acme-standby:
    profile: stripe
    url: http://127.0.0.1:$standby_port
    timeouts: {connect: 1s, response: 10s, total: 12s}
routes:
  - name: standby
    match: {host: standby.localhost}
    to: acme-standby
  - name: create-payment
    match: {method: POST, path: /v1/payments}
    to: acme
    failover: acme-standby              # a payment of which nothing was sent to acme; its record moves along
    idempotency: {mode: failover}
  - name: everything-else               # no failover: what acme executed is not to be found at another processor
    match: {path: /*}
    to: acme
store:
  type: embedded
  path: "$root/$dir/store"
  size: 256MiB
  single_machine: true                  # promised: no second weir serves these callers
  secret_file: "$root/$dir/secret/keys"
monitor: {address: "127.0.0.1:$monitor_port"}
logging:
  access: {to: "$root/$dir/access.log", format: json}
  events: {to: "$root/$dir/events.log", level: info}
shutdown: {announce: 0s, drain: 15s}
$(admin_section)
END
    "$weir" check -c "$dir/weir.yaml" > "$dir/check.log" 2>&1 && return 0
    cat "$dir/check.log" >&2
    fail "weir refused the configuration in $dir/weir.yaml"
}

# --- processes ---------------------------------------------------------------

# Whether something listens on this TCP port; reads the kernel's table, so it needs no tool.
port_taken() {
    awk -v want="$(printf ':%04X' "$1")" \
        '$4 == "0A" && substr($2, length($2) - 4) == want { found = 1 } END { exit !found }' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

ports_check() {
    for pair in "QUICKSTART_PORT $port" "QUICKSTART_MONITOR_PORT $monitor_port" \
        "QUICKSTART_ACME_PORT $acme_port" "QUICKSTART_STANDBY_PORT $standby_port"; do
        number=${pair#* }
        if port_taken "$number"; then
            fail "port $number is taken by another program (another quickstart?); stop it or choose another: ${pair%% *}=$((number + 10000)) sh deploy/quickstart.sh"
        fi
    done
}

alive() { kill -0 "$1" 2>/dev/null; }

# Every process is known by its number; TERM first, KILL for what is left after eight seconds.
stop_all() {
    trap - EXIT INT TERM HUP
    for pid in $pids; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    tries=0
    for pid in $pids; do
        while alive "$pid" && [ "$tries" -lt 80 ]; do
            sleep 0.1
            tries=$((tries + 1))
        done
        alive "$pid" && kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null || true
    done
    pids=
}

# The end of a run is part of what --smoke tries.
stop_weir() {
    kill -TERM "$weir_pid"
    tries=0
    while alive "$weir_pid" && [ "$tries" -lt 80 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    alive "$weir_pid" && fail "weir did not stop within eight seconds of TERM"
    status=0
    wait "$weir_pid" || status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 5 "$dir/weir.log" >&2
        fail "weir ended with status $status when it was told to stop"
    fi
}

on_exit() {
    status=$?
    stop_all
    exit "$status"
}

on_signal() {
    say ""
    say "stopping"
    stop_all
    exit 0
}

# wait_ready NAME PID URL LOG
wait_ready() {
    tries=0
    until curl -sf -o /dev/null --max-time 1 "$3"; do
        tries=$((tries + 1))
        if ! alive "$2" || [ "$tries" -gt 150 ]; then
            tail -n 20 "$4" >&2
            fail "$1 did not start; its output is in $4"
        fi
        sleep 0.1
    done
}

start_sandbox() {
    "$sandbox" --listen "127.0.0.1:$2" --name "$1" --dedup header:Idempotency-Key > "$dir/$1.log" 2>&1 &
    started=$!
    pids="$started $pids"
    wait_ready "weir-sandbox $1" "$started" "http://127.0.0.1:$2/_ledger" "$dir/$1.log"
}

stop_sandbox() {
    kill -TERM "$1"
    wait "$1" 2>/dev/null || true
}

start_weir() {
    "$weir" run -c "$dir/weir.yaml" > "$dir/weir.log" 2>&1 &
    weir_pid=$!
    pids="$weir_pid $pids"
    wait_ready weir "$weir_pid" "http://127.0.0.1:$monitor_port/readyz" "$dir/weir.log"
}

# --- what the user sees ------------------------------------------------------

# pay KEY NAME: one payment; prints the status, leaves head and body in $dir/NAME.head and .json.
pay() {
    curl -s --max-time 15 --cacert "$dir/ca.crt" -D "$dir/$2.head" -o "$dir/$2.json" -w '%{http_code}' \
        "https://127.0.0.1:$port/v1/payments" \
        -H 'Authorization: Bearer sk_test_smoke' -H "Idempotency-Key: $1" \
        -H 'Content-Type: application/json' -d '{"amount": 1999, "currency": "eur"}' || true
}

new_key() { printf '%s-' "$1"; od -An -N8 -tx1 /dev/urandom | tr -d ' \n'; }

# The part of an answer's head that this is about, and its body.
print_answer() {
    grep -iE '^(HTTP/|Weir-Outcome:|Idempotent-Replayed:)' "$dir/$1.head" | tr -d '\r' | sed 's/^/  /'
    printf '  %s\n' "$(cat "$dir/$1.json")"
}

show_payment() {
    key=$(new_key demo)
    pay "$key" first > /dev/null
    pay "$key" again > /dev/null
    say ""
    say "A payment with the key $key:"
    say ""
    print_answer first
    say ""
    say "and the same once more, as after an answer that was lost; the processor is not asked again:"
    say ""
    print_answer again
}

print_welcome() {
    cat <<END

weir is running.

  payments   https://127.0.0.1:$port      (CA: $dir/ca.crt)
  monitor    http://127.0.0.1:$monitor_port      /livez /readyz /metrics
  acme       http://127.0.0.1:$acme_port      its executed payments: /_ledger, what it was asked: /_requests
  standby    http://127.0.0.1:$standby_port
  logs       $dir/access.log  $dir/events.log

A payment of your own:

  curl -i --cacert $dir/ca.crt https://127.0.0.1:$port/v1/payments \\
    -H 'Authorization: Bearer sk_test_demo' -H 'Idempotency-Key: order-1001' \\
    -H 'Content-Type: application/json' -d '{"amount": 1999, "currency": "eur"}'

Its retry, after an answer that was lost, is the same line again: weir answers it
with what the processor said (Idempotent-Replayed: true), and the money moves
once. See for yourself:

  curl http://127.0.0.1:$acme_port/_ledger

A processor that is silent after it took the money, and what the merchant reads:

  curl -i --cacert $dir/ca.crt https://127.0.0.1:$port/v1/payments \\
    -H 'Authorization: Bearer sk_test_demo' -H 'Idempotency-Key: order-1002' \\
    -H 'Sandbox-Fault: reset-after' \\
    -H 'Content-Type: application/json' -d '{"amount": 500, "currency": "eur"}'

Its retry, without the Sandbox-Fault line, finds out what happened. Until then it
is one of the payments whose outcome nobody knows:

  $weir idempotency list --unknown -c $dir/weir.yaml

A processor that dies: payments go on with acme-standby while acme is away. One
of which a byte went to acme never goes anywhere else.

  kill $acme_pid
  curl -i --cacert $dir/ca.crt https://127.0.0.1:$port/v1/payments \\
    -H 'Authorization: Bearer sk_test_demo' -H 'Idempotency-Key: order-1003' \\
    -H 'Content-Type: application/json' -d '{"amount": 700, "currency": "eur"}'
  $weir processors -c $dir/weir.yaml

and acme comes back, in a terminal of its own, with

  $sandbox --listen 127.0.0.1:$acme_port --name acme --dedup header:Idempotency-Key

What weir says of itself:

  $weir status -c $dir/weir.yaml
  $weir explain response_timeout

Ctrl-C stops everything.
END
}

# count PORT PAGE KEY: how often a processor's page has this key.
count() { curl -sf --max-time 5 "http://127.0.0.1:$1/$2" | grep -o "\"$3\"" | wc -l; }

smoke_test() {
    key=$(new_key smoke)
    first=$(pay "$key" first)
    case "$first" in
        2??) ;;
        *) cat "$dir/first.json" >&2 2>/dev/null || true; fail "the payment was answered with '$first', expected 2xx" ;;
    esac
    again=$(pay "$key" again)
    [ "$again" = "$first" ] || fail "the repeated payment was answered with '$again', the first with '$first'"
    grep -qi '^Idempotent-Replayed: true' "$dir/again.head" || fail "the repeated payment is not marked as replayed"
    cmp -s "$dir/first.json" "$dir/again.json" || fail "the repeated payment had another answer than the first"
    executed=$(count "$acme_port" _ledger "$key")
    [ "$executed" -eq 1 ] || fail "the payment was executed $executed times, expected once"
    asked=$(count "$acme_port" _requests "$key")
    [ "$asked" -eq 1 ] || fail "the processor was asked $asked times, expected once"
    standby=$(count "$standby_port" _requests "$key")
    [ "$standby" -eq 0 ] || fail "the payment also reached the standby processor"
    smoke_stop
    stop_weir
    say "smoke: paid ($first), replayed ($again), asked for once, executed once, paid on with either processor stopped, stopped in order"
}

# paid_by NAME STATUS PROCESSOR: whether this answer is that of a payment which this processor executed.
paid_by() {
    case "$2" in
        2??) ;;
        *) cat "$dir/$1.json" >&2 2>/dev/null || true; fail "the payment that $3 should execute was answered with '$2'" ;;
    esac
    grep -q "\"processor\":\"$3\"" "$dir/$1.json" || { cat "$dir/$1.json" >&2; fail "the payment was not executed by $3"; }
}

# Payments go on whichever of the processors is away; what was paid before is still answered from its record.
smoke_stop() {
    stop_sandbox "$standby_pid"
    paid_by alone "$(pay "$(new_key smoke)" alone)" acme
    start_sandbox acme-standby "$standby_port"
    stop_sandbox "$acme_pid"
    moved_key=$(new_key smoke)
    paid_by moved "$(pay "$moved_key" moved)" acme-standby
    paid_by replay "$(pay "$moved_key" replay)" acme-standby
    cmp -s "$dir/moved.json" "$dir/replay.json" || fail "the payment that moved was repeated with another answer"
    executed=$(count "$standby_port" _ledger "$moved_key")
    [ "$executed" -eq 1 ] || fail "the payment that moved was executed $executed times, expected once"
    paid_by replay "$(pay "$key" replay)" acme
}

packages_install
build
[ -x "$weir" ] && [ -x "$sandbox" ] || fail "the build made no $weir or no $sandbox"
ports_check
certificates
store_forget
configuration
trap on_exit EXIT
trap on_signal INT TERM HUP
start_sandbox acme "$acme_port"
acme_pid=$started
start_sandbox acme-standby "$standby_port"
standby_pid=$started
start_weir
if [ "$smoke" = yes ]; then
    smoke_test
    exit 0
fi
show_payment
print_welcome
wait "$weir_pid" || true
fail "weir ended by itself; its last words are in $dir/weir.log and $dir/events.log"

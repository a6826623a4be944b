#!/bin/sh
# No real socket, clock, timer or random number can get into the simulator: the
# program has no symbol of libuv or libssl, and calls none of these.
#
#   sh tests/sim/seams.sh WEIR-SIM
set -u
sim=$1
symbols=$(nm "$sim") || { echo 'nm failed'; echo '0 passed, 1 failed'; exit 1; }
found=$(printf '%s\n' "$symbols" |
    grep -E ' (uv_|SSL_|SSL_CTX_)|^ +U (socket|accept4?|connect|bind|listen|getaddrinfo|clock_gettime|RAND_bytes|getrandom|pthread_create)(@|$)')
if [ -z "$found" ]; then
    echo '1 passed, 0 failed'
else
    printf 'these must not be in the simulator:\n%s\n0 passed, 1 failed\n' "$found"
    exit 1
fi

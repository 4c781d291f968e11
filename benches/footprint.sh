#!/usr/bin/env bash
#
# How large kubectl-ado is: the binary on disk, and the resident memory of an idle `kubectl-ado serve` with ten agent
# pools. Prints one line for each with its limit; exit code 1 when one is over it, 2 when nothing could be measured.
#
#   benches/footprint.sh                     builds the profile `dist` and measures that
#   benches/footprint.sh BINARY              measures a binary that is there
#   KUBECONFIG=… benches/footprint.sh        against that cluster (it is only read) instead of the local host
#   SECONDS_OF_POLLING=60 benches/footprint.sh
#
# Azure DevOps is played by `kubectl-ado sandbox` on loopback. Needs bash, awk, curl and Linux's /proc.

# shellcheck disable=SC2329 # a trap is the one who calls clean_up

set -euo pipefail

binary_limit_mib=12
memory_limit_mib=20
pools=10
polling=${SECONDS_OF_POLLING:-20}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

(($# <= 1)) || die "usage: ${BASH_SOURCE[0]} [BINARY]"
[[ $polling =~ ^[1-9][0-9]{0,3}$ ]] || die "SECONDS_OF_POLLING is a number of seconds"
[[ -r /proc/self/status ]] || die "this needs Linux: there is no /proc here"

if (($# == 1)); then
    binary=$1
else
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    cargo build --locked --profile dist --bin kubectl-ado >&2
    binary=${CARGO_TARGET_DIR:-target}/dist/kubectl-ado
fi
[[ -f $binary && -x $binary ]] || die "$binary is no program"
binary=$(realpath "$binary")

folder=$(mktemp -d)
sandbox=
serve=

stop() {
    local pid=$1 tries=0
    kill "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do
        if ((++tries > 150)); then
            kill -s KILL "$pid" 2>/dev/null || true
        fi
        sleep 0.1
    done
    wait "$pid" 2>/dev/null || true
}

clean_up() {
    trap - EXIT
    trap '' HUP INT TERM
    [[ -z $serve ]] || stop "$serve"
    [[ -z $sandbox ]] || stop "$sandbox"
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# until_line FILE PID WHAT PATTERN: waits for a line that matches, and prints it.
until_line() {
    local tries=0 line
    until line=$(grep --max-count=1 -e "$4" "$1"); do
        kill -0 "$2" 2>/dev/null || die "$3 ended: $(tail -n 5 "$folder/errors" "$folder/log" 2>/dev/null)"
        ((++tries <= 150)) || die "$3 does not start: $(tail -n 5 "$folder/errors" "$folder/log" 2>/dev/null)"
        sleep 0.1
    done
    printf '%s\n' "$line"
}

# --- Start ------------------------------------------------------------------------------------------------------------
# Both get an environment of their own, so that proxies and ORG_… variables of this shell play no part.

names=()
flags=()
for ((i = 1; i <= pools; i++)); do
    names+=("Pool $i")
    flags+=(--pool "Pool $i")
done
list=$(IFS=,; printf '%s' "${names[*]}")

: >"$folder/url"
: >"$folder/log"
env -i PATH="$PATH" HOME="$folder" \
    "$binary" sandbox --listen 127.0.0.1:0 "${flags[@]}" --token-file "$folder/token" >"$folder/url" 2>"$folder/errors" &
sandbox=$!
url=$(until_line "$folder/url" "$sandbox" 'the sandbox' '^http')

host=local
variables=(HOST_TYPE=local AGENT_FOLDER="$folder/agents")
if [[ -n ${KUBECONFIG:-} ]]; then
    host=kubernetes
    variables=(HOST_TYPE=kubernetes KUBECONFIG="$KUBECONFIG" INITIALIZE_NAMESPACE=false)
fi
env -i PATH="$PATH" HOME="$folder" "${variables[@]}" \
    ORG_URL="$url" ORG_PAT_FILE="$folder/token" AGENT_POOLS="$list" LISTEN_ADDRESS=127.0.0.1:0 \
    "$binary" serve --log-format json 2>"$folder/log" &
serve=$!
address=$(until_line "$folder/log" "$serve" serve '"address":')
address=${address#*'"address":"'}
address=${address%%'"'*}
until_line "$folder/log" "$serve" serve '"message":"serving"' >/dev/null

# --- Measure ----------------------------------------------------------------------------------------------------------

sleep "$polling"
kill -0 "$serve" 2>/dev/null || die "serve ended: $(tail -n 5 "$folder/log")"

# A process that does not poll would be small for the wrong reason.
polled=$(curl -q --silent --show-error --noproxy '*' --max-time 10 "http://$address/metrics" |
    grep -c '^kubectl_ado_last_successful_poll_timestamp_seconds{' || true)
((polled == pools)) || die "only $polled of $pools agent pools were polled: $(tail -n 5 "$folder/log")"

kib() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/$serve/status"; }
mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }

size=$(stat --format=%s "$binary")
resident=$(($(kib VmRSS) * 1024))
anonymous=$(($(kib RssAnon) * 1024))
code=0

verdict() {
    if (($1 > $2 * 1048576)); then
        printf 'over the limit'
    else
        printf 'ok'
    fi
}

printf 'binary: %s, limit %d MiB: %s\n' "$(mib "$size")" "$binary_limit_mib" "$(verdict "$size" "$binary_limit_mib")"
printf 'memory: %s resident (VmRSS), of it %s its own (RssAnon), limit %d MiB: %s; serve, idle, %d pools, host %s\n' \
    "$(mib "$resident")" "$(mib "$anonymous")" "$memory_limit_mib" "$(verdict "$resident" "$memory_limit_mib")" \
    "$pools" "$host"
((size <= binary_limit_mib * 1048576 && resident <= memory_limit_mib * 1048576)) || code=1
exit "$code"

#!/usr/bin/env bash
#
# The life of one Azure Pipelines agent, in one of three ways:
#
#   with a token     get the agent package (unless it is here already), register, run, and take the registration back
#   with files       somebody has registered the agent and gives it its files: run. No token, here or in the job's reach;
#                    whoever registered it removes it
#   AZP_REGISTER_ONLY=1   register with a token, and leave the files for a container that has none
#
# This is the entry point of the agent image, and the local host starts it as a plain process in a folder of its own.
# It therefore assumes neither root nor /azp, and needs nothing but bash (3.2 or later), curl and tar with gzip.
# docs/decisions/0006-agent-entry-point.md has the reasons behind the less obvious parts.
#
#   AZP_AGENT_FILES  folder with the agent's files: `.agent`, `.credentials`, `.credentials_rsaparams`, and perhaps `.proxy`,
#                    `.proxybypass`, `.certificates`, `ca.pem` and `packages` (lines `PLATFORM URL SHA256`). Only read, so
#                    that it may be a mounted Secret. With AZP_REGISTER_ONLY=1: where to write them
#   AZP_URL          organization or collection URL; required with a token
#   AZP_TOKEN_FILE   file that holds the token; only ever read, and read anew for each use
#   AZP_TOKEN        the token itself, where there is no file; one of the two is required unless there are files
#   AZP_CA_FILE      certificates of private authorities (PEM), when registering with a token; with files it is `ca.pem`
#   AZP_POOL         agent pool (Default)
#   AZP_AGENT_NAME   the agent's name (the host's name)
#   AZP_AGENT_ROOT   folder of the agent package (/azp where that can be written, else the current folder)
#   AZP_WORK         work folder (_work in the agent's root)
#   TARGETARCH       package platform, as Azure DevOps (linux-x64) or Docker (amd64) calls it (this machine's)
#   VSO_AGENT_IGNORE variables that are not to become capabilities; ours are added to it
#
# A proxy needs no argument of ours: without a file `.proxy` the agent reads VSTS_HTTP_PROXY or http_proxy itself.
#
# Arguments go to the agent's run.sh; without any it gets --once.
# Exit codes: run.sh's own; 1 for a failure and 2 for bad settings, each with one `error:` line; 129, 130 or 143 when
# HUP, INT or TERM found the agent without a job.

# shellcheck disable=SC2329 # functions are handed to others by name

set -euo pipefail

say() { printf 'agent: %s\n' "$*"; }

# fail CODE WHAT HOW-TO-MEND
fail() {
    printf 'error: %s; fix: %s\n' "$2" "$3" >&2
    exit "$1"
}

# --- The token leaves the environment ---------------------------------------------------------------------------------
# `unset` alone would keep it out of our children, but /proc/PID/environ shows what a process was started with: so start
# anew without it, and hand it over through a pipe.

if [[ -n ${AZP_TOKEN:-}${VSTS_AGENT_INPUT_TOKEN:-} && -f ${BASH_SOURCE[0]:-} ]]; then
    token=${AZP_TOKEN:-}
    unset AZP_TOKEN VSTS_AGENT_INPUT_TOKEN
    export AZP_TOKEN_FD=9
    exec "$BASH" "${BASH_SOURCE[0]}" "$@" 9< <(printf '%s' "$token")
fi

given_token=${AZP_TOKEN:-}
if [[ ${AZP_TOKEN_FD:-} == 9 ]]; then
    IFS= read -r -d '' given_token <&9 || true
    exec 9<&-
fi
token_file=${AZP_TOKEN_FILE:-}
if [[ -n $token_file && $token_file != /* ]]; then
    token_file=$PWD/$token_file
fi
unset AZP_TOKEN AZP_TOKEN_FD AZP_TOKEN_FILE VSTS_AGENT_INPUT_TOKEN

# What is to be done: `token`, `files` or `register`.
mode=token
if [[ ${AZP_REGISTER_ONLY:-} == 1 ]]; then
    mode=register
elif [[ -n ${AZP_AGENT_FILES:-} ]]; then
    mode=files
    # An image or a template may still give one. Nothing here may ever use it.
    given_token=
    token_file=
fi

# The agent shows every variable of its environment as a capability, to all who may see the pool.
VSO_AGENT_IGNORE="AZP_TOKEN,AZP_TOKEN_FILE,AZP_AGENT_FILES,VSTS_AGENT_INPUT_TOKEN${VSO_AGENT_IGNORE:+,$VSO_AGENT_IGNORE}"
export VSO_AGENT_IGNORE

# Prints the token. A mounted Secret may have been renewed since the last time, so the file is never remembered.
read_token() {
    local token=$given_token
    if [[ -n $token_file ]]; then
        [[ -f $token_file && -r $token_file ]] ||
            fail 2 "AZP_TOKEN_FILE: $token_file cannot be read" "mount the token there, readable for uid $EUID"
        token=$(<"$token_file")
    fi
    token=${token#"${token%%[![:space:]]*}"}
    token=${token%"${token##*[![:space:]]}"}
    if [[ -z $token ]]; then
        fail 2 "there is no token${token_file:+ in $token_file}" \
            "set AZP_TOKEN_FILE to a file that holds one, or AZP_TOKEN to the token"
    fi
    if [[ $token == *[[:space:]]* ]]; then
        fail 2 "the token holds blanks or line breaks" "give the token alone, without a name or quotes around it"
    fi
    printf '%s' "$token"
}

# Runs a command with the token in its environment, and in no other's. The agent reads VSTS_AGENT_INPUT_TOKEN as it
# reads --token; the difference is that the whole machine can see an argument.
with_token() {
    local token
    token=$(read_token) || return
    VSTS_AGENT_INPUT_TOKEN=$token "$@"
}

# --- Processes --------------------------------------------------------------------------------------------------------

# One line for each process: id, parent's id, name.
processes() {
    local file stat rest name
    if [[ ! -r /proc/self/stat ]]; then
        ps -A -o pid= -o ppid= -o args=
        return
    fi
    for file in /proc/[0-9]*/stat; do
        { IFS= read -r stat <"$file"; } 2>/dev/null || continue
        [[ $stat == *') '* ]] || continue
        name=${stat#*\(}
        rest=${stat##*') '}
        rest=${rest#* }
        printf '%s %s %s\n' "${stat%% *}" "${rest%% *}" "${name%)*}"
    done
}

# One line for each process that descends from process $1: id, name.
descendants() {
    local pid parent name ancestor
    local -a parents=() names=()
    while read -r pid parent name; do
        parents[pid]=$parent
        names[pid]=$name
    done < <(processes)
    for pid in ${parents[@]+"${!parents[@]}"}; do
        ancestor=${parents[pid]}
        while ((ancestor != $1 && ancestor > 1)); do
            ancestor=${parents[ancestor]:-0}
        done
        if ((ancestor == $1)); then
            printf '%s %s\n' "$pid" "${names[pid]}"
        fi
    done
}

alive() { kill -0 "$1" 2>/dev/null; }

# Sends signal $1 to all that descends from process $2.
signal_descendants() {
    local pid name
    while read -r pid name; do
        kill -s "$1" "$pid" 2>/dev/null || true
    done < <(descendants "$2")
}

kill_tree() {
    signal_descendants KILL "$1"
    kill -s KILL "$1" 2>/dev/null || true
}

# Runs a command for at most $1 seconds.
bounded() {
    local deadline=$((SECONDS + $1)) pid
    shift
    "$@" &
    pid=$!
    while alive "$pid"; do
        if ((SECONDS > deadline)); then
            kill_tree "$pid"
        fi
        sleep 0.2
    done
    wait "$pid"
}

# Runs a command that a signal may cut short, because nothing is registered yet.
cancellable() {
    local code=0
    [[ -z $stop ]] || exit "$stop"
    "$@" &
    task=$!
    if [[ -n $stop ]]; then
        kill_tree "$task"
    fi
    wait "$task" || code=$?
    [[ -z $stop ]] || exit "$stop"
    task=
    return "$code"
}

# --- The end ----------------------------------------------------------------------------------------------------------

stop=        # exit code of the signal that asked us to stop
task=        # process that may be killed when that happens
agent=       # process of run.sh
draining=    # such a signal is being dealt with
interrupted= # the agent ended because we stopped it, not because it was done
registered=  # there is a registration to take back

# One attempt to take the registration back: 0 when it is gone, 1 when the service says a job runs here, else 2.
unregister() {
    local output
    if output=$(bounded 30 with_token ./config.sh remove --unattended --auth PAT 2>&1); then
        registered=
        say "the registration of $name is removed"
        return 0
    fi
    case $output in
    *[Rr]'unning a job'*) return 1 ;;
    esac
    say "config.sh remove failed: ${output:-no answer within 30 s}"
    return 2
}

# Ends an agent that has no job. The signal goes to the listener rather than to run.sh, a shell that would die of it
# and leave the listener behind.
stop_agent() {
    local deadline=$((SECONDS + 10))
    if [[ -n $(descendants "$agent") ]]; then
        signal_descendants TERM "$agent"
    else
        kill -s TERM "$agent" 2>/dev/null || true
    fi
    while alive "$agent"; do
        if ((SECONDS > deadline)); then
            kill_tree "$agent"
        fi
        sleep 0.2
    done
}

# The agent has an Agent.Worker process as long as it runs a job.
busy() {
    local pid name
    while read -r pid name; do
        if [[ $name == *Agent.Worker* ]]; then
            return 0
        fi
    done < <(descendants $$)
    return 1
}

# Waits for a running job, and ends an agent that has none.
#
# A listener that gets TERM cancels its job. Someone's pipeline would fail because a node is drained, so a busy listener
# gets no signal: it finishes its job, for as long as terminationGracePeriodSeconds lets it, and leaves by itself.
# An idle one might get a job at any moment. Therefore its registration goes first: the service refuses to remove an
# agent that it has given a job to, and gives no job to an agent that is removed. Without a token that cannot be done
# from here; the orchestrator disables an agent before it ends one, so that only a drained node can hit the moment between
# a job's arrival and its worker.
drain() {
    local patience=0 result
    [[ -z $draining ]] || return 0
    draining=1
    while alive "$agent"; do
        if busy; then
            if ((patience == 0)); then
                say "asked to stop: waiting for the running job"
            fi
            # A worker that is gone leaves its listener some reporting to do; only one that is still there after
            # this time waits for another job.
            patience=$((SECONDS + 30))
        elif ((SECONDS >= patience)); then
            result=0
            if [[ $mode == token ]]; then
                unregister || result=$?
            fi
            if ((result == 1)); then
                patience=$((SECONDS + 5))
            else
                say "asked to stop: $name has no job"
                interrupted=1
                stop_agent
            fi
        fi
        sleep 0.2
    done
}

on_signal() {
    stop=$1
    if [[ -n $agent ]]; then
        drain
    elif [[ -n $task ]]; then
        kill_tree "$task"
    fi
}

on_exit() {
    local code=$? tries=3
    trap - EXIT
    trap '' HUP INT TERM
    set +e
    if [[ -n $agent ]] && alive "$agent"; then
        kill_tree "$agent"
    fi
    while [[ -n $registered ]]; do
        if unregister; then
            break
        fi
        if ((--tries == 0)); then
            printf 'error: %s stays registered in pool %s; fix: %s\n' "$name" "$pool" \
                "delete it there once it is offline, and look above for what config.sh said" >&2
            break
        fi
        sleep 3
    done
    exit "$code"
}

# Set before the agent is configured: whatever happens from there on, the registration is taken back.
trap on_exit EXIT
trap 'on_signal 129' HUP
trap 'on_signal 130' INT
trap 'on_signal 143' TERM

# --- Settings ---------------------------------------------------------------------------------------------------------

name=${AZP_AGENT_NAME:-$HOSTNAME}

# An absolute path, as the agent's root will be the current folder.
absolute() {
    case $1 in
    '' | /*) printf '%s' "$1" ;;
    *) printf '%s/%s' "$PWD" "$1" ;;
    esac
}
files=$(absolute "${AZP_AGENT_FILES:-}")
authorities=$(absolute "${AZP_CA_FILE:-}")

# The files that an agent is by, and those that tell it its way through the network.
identity=(.agent .credentials .credentials_rsaparams)
network=(.proxy .proxybypass .certificates)

if [[ $mode == files ]]; then
    for file in "${identity[@]}"; do
        [[ -f $files/$file && -r $files/$file ]] ||
            fail 2 "AZP_AGENT_FILES: $files/$file cannot be read" \
                "mount the agent's files there, readable for uid $EUID; without AZP_AGENT_FILES the agent registers itself with a token"
    done
    # Whoever registered the agent has said how it gets there.
    authorities=
    if [[ -f $files/ca.pem ]]; then
        authorities=$files/ca.pem
    fi
else
    url=${AZP_URL:-}
    url=${url%"${url##*[!/]}"}
    case $url in
    http://?* | https://?*) ;;
    '') fail 2 "AZP_URL is not set" "set it to the organization's URL, such as https://dev.azure.com/contoso" ;;
    *) fail 2 "AZP_URL is not a URL: $url" "give it as https://dev.azure.com/contoso" ;;
    esac
    pool=${AZP_POOL:-Default}
    read_token >/dev/null
fi
if [[ $mode == register ]]; then
    [[ -n $files ]] && mkdir -p "$files" 2>/dev/null && [[ -w $files ]] ||
        fail 2 "AZP_REGISTER_ONLY: ${files:-AZP_AGENT_FILES, which is not set,} is no folder that uid $EUID can write" \
            "set AZP_AGENT_FILES to a volume that the agent's container has too"
fi
if [[ -n $authorities ]]; then
    [[ -f $authorities && -r $authorities ]] ||
        fail 2 "AZP_CA_FILE: $authorities cannot be read" "mount the certificates there (PEM), readable for uid $EUID"
fi

root=${AZP_AGENT_ROOT:-}
if [[ -z $root ]]; then
    root=$PWD
    if [[ -d /azp && -w /azp ]]; then
        root=/azp
    fi
fi
mkdir -p "$root" 2>/dev/null && cd "$root" && [[ -w . ]] ||
    fail 2 "the agent's folder $root cannot be written by uid $EUID" "set AZP_AGENT_ROOT to a folder that can be"
root=$PWD

work=${AZP_WORK:-$root/_work}
mkdir -p "$work" 2>/dev/null && [[ -w $work ]] ||
    fail 2 "the work folder $work cannot be written by uid $EUID" \
        "set AZP_WORK to a folder that can be, or fsGroup where it is a volume"

# --- Files ------------------------------------------------------------------------------------------------------------

# put_file FROM TO: copies a file for us alone, whatever modes FROM has and wherever it is linked to. There is never half
# a file, and what was at TO before keeps neither its mode nor its link.
put_file() {
    if ! { rm -f "$2.draft" && (umask 077 && cat "$1" >"$2.draft") && mv -f "$2.draft" "$2"; }; then
        fail 1 "cannot copy $1 to $2" "check the free space, and what uid $EUID may read and write there"
    fi
}

# put_text TO TEXT
put_text() {
    if ! { rm -f "$1.draft" && (umask 077 && printf '%s\n' "$2" >"$1.draft") && mv -f "$1.draft" "$1"; }; then
        fail 1 "cannot write $1" "check the free space, and what uid $EUID may write there"
    fi
}

# Prints a text as it stands in a JSON string.
json_text() {
    local text=$1
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    printf '%s' "$text"
}

# Lets everything here trust the private authorities besides the public ones: curl, the agent's .NET runtime and most of
# what jobs call by SSL_CERT_FILE, which therefore has to hold all of them; Node.js by a variable of its own.
trust_authorities() {
    local all
    export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-$root/ca.pem}
    [[ -z ${SSL_CERT_FILE:-} ]] || return 0
    for all in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
        if [[ -f $all && -r $all ]]; then
            cat "$all" ca.pem >ca-all.pem || fail 1 "cannot write $root/ca-all.pem" "check the free space"
            export SSL_CERT_FILE=$root/ca-all.pem
            return 0
        fi
    done
    export SSL_CERT_FILE=$root/ca.pem
}

if [[ -n $authorities ]]; then
    put_file "$authorities" ca.pem
    trust_authorities
fi

# --- The agent package ------------------------------------------------------------------------------------------------

# The name Azure DevOps has for what this machine runs.
platform() {
    local system=linux arch=${TARGETARCH:-$HOSTTYPE}
    case $OSTYPE in
    linux-musl*) system=linux-musl ;;
    darwin*) system=osx ;;
    esac
    case $arch in
    amd64 | x86_64) arch=$system-x64 ;;
    arm64 | aarch64) arch=$system-arm64 ;;
    arm) arch=$system-arm ;;
    esac
    printf '%s' "$arch"
}

# curl with what all our requests have in common; the last argument is the URL. A proxy never leads to this machine itself,
# and what is asked for over TLS comes over TLS, wherever it is redirected.
fetch() {
    local redirects='=http,https'
    if [[ ${*: -1} == [Hh][Tt][Tt][Pp][Ss]://* ]]; then
        redirects='=https'
    fi
    local -x no_proxy=${no_proxy:-${NO_PROXY:-}}
    # The agent's own variable for its proxy, where curl is told of no other one.
    local -x https_proxy=${https_proxy:-${HTTPS_PROXY:-${VSTS_HTTP_PROXY:-}}} http_proxy=${http_proxy:-${VSTS_HTTP_PROXY:-}}
    no_proxy=${no_proxy:+$no_proxy,}localhost,127.0.0.1,::1
    curl -q --silent --show-error --proto '=http,https' --proto-redir "$redirects" --connect-timeout 20 --retry 4 \
        --user-agent kubectl-ado-agent "$@"
}

# Asks Azure DevOps $1 with the token, which reaches curl on a pipe. Body, "status type" and complaints go into files.
ask() {
    local token
    token=$(read_token)
    token=${token//\\/\\\\}
    token=${token//\"/\\\"}
    printf 'user = ":%s"\n' "$token" |
        fetch --config - --max-time 60 --header 'Accept: application/json' --header 'X-TFS-FedAuthRedirect: Suppress' \
            --output .package.json --write-out '%{http_code} %{content_type}' "$1" >.package.status 2>.package.errors
}

last_line() {
    local text
    text=$(<"$1")
    printf '%s' "${text##*$'\n'}"
}

# Prints the string value of key $2 in JSON object $1; nothing when there is none.
field() {
    local pattern="\"$2\"[[:space:]]*:[[:space:]]*\"([^\"]*)\"" value escape
    [[ $1 =~ $pattern ]] || return 0
    value=${BASH_REMATCH[1]}
    value=${value//\\\///}
    pattern='\\u00([2-7][0-9a-fA-F])'
    while [[ $value =~ $pattern ]]; do
        escape=${BASH_REMATCH[0]}
        # shellcheck disable=SC2059 # the format is the character itself, written as \xNN
        value=${value%%"$escape"*}$(printf "\\x${BASH_REMATCH[1]}")${value#*"$escape"}
    done
    printf '%s' "$value"
}

# Prints the SHA-256 of file $1; fails where there is no program for it.
sha256() {
    local sum
    if command -v sha256sum >/dev/null; then
        sum=$(sha256sum <"$1")
    elif command -v shasum >/dev/null; then
        sum=$(shasum -a 256 <"$1")
    else
        return 1
    fi
    printf '%s' "${sum%% *}"
}

# Sets package_url and package_hash to what the organization offers for this platform.
find_package() {
    local query status type json object='\{([^{}]|\{[^{}]*\})*\}' code=0
    query="$url/_apis/distributedtask/packages/agent?platform=$platform&top=1"
    cancellable ask "$query" || code=$?
    ((code == 0)) ||
        fail 1 "cannot reach $url ($(last_line .package.errors))" "check AZP_URL, the network, proxy and CA certificates"
    read -r status type <.package.status || true
    json=$(<.package.json)
    if [[ $type == text/html* || $json == *'<html'* ]] && ((status == 200)); then
        status='200, a sign-in page'
    fi
    case $status in
    200) ;;
    200,* | 203 | 30? | 401)
        fail 1 "$url refused the token (HTTP $status)" \
            "renew it, with the scope Agent Pools (read, manage), for this organization" ;;
    403)
        fail 1 "the token may not read agent packages at $url (HTTP 403)" \
            "give it the scope Agent Pools (read, manage)" ;;
    404)
        fail 1 "there is no Azure DevOps organization or collection at $url (HTTP 404)" "correct AZP_URL" ;;
    *)
        fail 1 "$url answered HTTP $status when asked for the agent package" "try again later" ;;
    esac
    json=${json#*\"value\"}
    [[ $json =~ $object ]] && json=${BASH_REMATCH[0]}
    package_url=$(field "$json" downloadUrl)
    package_hash=$(field "$json" hashValue)
    [[ -n $package_url ]] ||
        fail 1 "$url offers no agent package for the platform $platform" \
            "set TARGETARCH to one it offers, such as linux-x64 or linux-arm64, or use an image that has the agent built in"
}

# Sets package_url and package_hash to what came with the agent's files for this platform: nobody can be asked without a
# token.
read_package() {
    local line known=''
    local -a fields=()
    package_url=
    package_hash=
    if [[ -f $files/packages ]]; then
        while IFS= read -r line || [[ -n $line ]]; do
            read -r -a fields <<<"$line" || true
            ((${#fields[@]} > 1)) || continue
            known="$known ${fields[0]}"
            if [[ ${fields[0]} == "$platform" ]]; then
                package_url=${fields[1]}
                package_hash=${fields[2]:-}
                return 0
            fi
        done <"$files/packages"
    fi
    fail 1 "$root has no agent, and $files/packages names no package for the platform $platform (but:${known:- none})" \
        "use an image that has the agent built in, or set TARGETARCH to one of those"
}

# Downloads, checks and unpacks the agent package.
get_package() {
    local platform sum
    platform=$(platform)
    if [[ $mode == files ]]; then
        read_package
    else
        find_package
    fi
    # An older Azure DevOps Server gives none. What is none was changed on its way, or we do not understand it.
    if [[ -n $package_hash && ! $package_hash =~ ^[0-9a-fA-F]{64}$ ]]; then
        fail 1 "the SHA-256 that was given for the package $package_url is none" \
            "find out what changes answers on their way here (a proxy, perhaps), or build the agent into the image"
    fi
    if [[ -n $package_hash ]] && ! sha256 /dev/null >/dev/null; then
        fail 1 "there is neither sha256sum nor shasum here, and the package $package_url cannot be checked" \
            "install coreutils in the image, or build the agent into it"
    fi
    say "downloading $package_url"
    cancellable fetch --fail --location --speed-limit 1024 --speed-time 60 --output .package.tar.gz "$package_url" \
        2>.package.errors ||
        fail 1 "cannot download $package_url ($(last_line .package.errors))" \
            "allow this host to be reached from here, or use an image that has the agent built in"
    if [[ -z $package_hash ]]; then
        say "warning: the package is not checked, because no SHA-256 was given for it"
    else
        sum=$(sha256 .package.tar.gz)
        shopt -s nocasematch
        [[ $sum == "$package_hash" ]] ||
            fail 1 "the package $package_url has the SHA-256 $sum instead of $package_hash" \
                "find out what changes downloads on their way here (a proxy, perhaps), or build the agent into the image"
        shopt -u nocasematch
    fi
    cancellable tar -x -z -o -f .package.tar.gz 2>.package.errors ||
        fail 1 "cannot unpack the agent package ($(last_line .package.errors))" "check the free space in $root"
    rm -f .package.tar.gz .package.json .package.status .package.errors
}

# Set where the package had to be looked for.
package_url=
package_hash=

entry=config.sh
if [[ $mode == files ]]; then
    entry=run.sh
fi
if [[ ! -f $entry ]]; then
    get_package
fi
[[ -f $entry && -f run.sh ]] ||
    fail 1 "$root has no config.sh and run.sh" "give AZP_AGENT_ROOT an empty folder, or one with a whole agent package"
chmod +x config.sh run.sh 2>/dev/null || true

# --- Register ---------------------------------------------------------------------------------------------------------

register() {
    local code=0 mend
    local -a more=()
    if [[ -e .agent ]]; then
        say "removing the registration that an earlier run left in $root"
        unregister || true
    fi
    if [[ -n $authorities ]]; then
        more=(--sslcacert "$root/ca.pem")
    fi
    say "registering $name in pool $pool of $url"
    registered=1
    # A signal waits until this is over: half a registration could not be taken back.
    bounded 300 with_token ./config.sh --unattended --agent "$name" --url "$url" --auth PAT --pool "$pool" \
        --work "$work" --replace --acceptTeeEula ${more[@]+"${more[@]}"} || code=$?
    if ((code != 0)); then
        [[ -e .agent ]] || registered=
        mend="see config.sh's message above; the token needs Agent Pools (read, manage), its owner the Administrator role of the pool"
        if ((EUID == 0)) && [[ -z ${AGENT_ALLOW_RUNASROOT:-} ]]; then
            mend="the agent refuses to run as root: use another user, or set AGENT_ALLOW_RUNASROOT=1"
        fi
        fail 1 "cannot register $name in pool $pool of $url (config.sh ended with $code)" "$mend"
    fi
}

# What another container needs to be the agent that was registered here.
give_files() {
    local file
    for file in "${identity[@]}"; do
        put_file "$file" "$files/$file"
    done
    for file in "${network[@]}"; do
        if [[ -f $file ]]; then
            put_file "$file" "$files/$file"
        fi
    done
    if [[ -n $authorities ]]; then
        put_file ca.pem "$files/ca.pem"
    fi
    # That container has no token to ask for the package with.
    if [[ -n $package_url ]]; then
        put_text "$files/packages" "$(platform) $package_url $package_hash"
    fi
}

# Becomes the agent that somebody else has registered. An earlier run's files in the root are overwritten.
take_files() {
    local file settings plain='"workFolder":"_work"'
    for file in "${identity[@]}" "${network[@]}"; do
        if [[ -f $files/$file ]]; then
            put_file "$files/$file" "$file"
        fi
    done
    # Whoever wrote it could not know where this container has its work folder.
    if [[ $work != "$root/_work" ]]; then
        settings=$(<.agent)
        if [[ $settings == *"$plain"* ]]; then
            put_text .agent "${settings%%"$plain"*}\"workFolder\":\"$(json_text "$work")\"${settings#*"$plain"}"
        fi
    fi
    if [[ -n $authorities ]]; then
        put_text .certificates "{\"skipServerCertValidation\":false,\"caCert\":\"$(json_text "$root/ca.pem")\"}"
    fi
}

[[ -z $stop ]] || exit "$stop"
if [[ $mode == files ]]; then
    take_files
    say "$name is registered already: no token is needed"
else
    register
fi
[[ -z $stop ]] || exit "$stop"

if [[ $mode == register ]]; then
    give_files
    # Until here it is taken back, whatever happens; from here on it is the other container's.
    [[ -z $stop ]] || exit "$stop"
    registered=
    say "$name is registered; its files are in $files"
    exit 0
fi

# --- Run --------------------------------------------------------------------------------------------------------------

(($# > 0)) || set -- --once

# An update brings a new `bin` and `externals` and leaves the rest of the root as it is: the files that the agent is by are
# copied or registered once, before the loop, and serve the new version too.
for updates in 1 2 3 4 5 6; do
    code=0
    ./run.sh "$@" &
    agent=$!
    if [[ -n $stop ]]; then
        drain
    fi
    wait "$agent" || code=$?
    if [[ -n $stop ]] && ((code > 128)); then
        # The signal ended the first `wait`, not the agent; the second one has the agent's own code.
        code=0
        wait "$agent" || code=$?
        # bash forgets the code of a child that ends while the trap runs, and says -1 or 127.
        ((code >= 0 && code != 127)) || code=$stop
    fi
    agent=
    # 3 and 4: the agent updates itself and wants to be started again.
    if ((code != 3 && code != 4)) || [[ -n $stop ]]; then
        break
    fi
    ((updates < 6)) ||
        fail "$code" "$name updates itself again and again and takes no job" "build the image with a newer AGENT_VERSION"
    say "the agent updates itself: starting it again"
    sleep 5
    [[ -z $stop ]] || exit "$stop"
done

if [[ -n $interrupted ]]; then
    code=$stop
fi
exit "$code"

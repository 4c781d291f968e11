# The frame around a run of the local host: `bash -c THIS NAME FOLDER`, as the leader of a process group of its own.
#
# It leaves in the folder what an orchestrator needs to find the run again: `process` as the first act, `exit` as the
# last one. The orchestrator may die at any moment in between without anything being lost.

run=$1

# Prints when this process started, in the words of process.rs.
started() {
    local stat boot
    if [[ -r /proc/self/stat ]]; then
        IFS= read -r stat <"/proc/$$/stat" || return
        IFS= read -r boot </proc/sys/kernel/random/boot_id
        # shellcheck disable=SC2086 # fields
        set -- ${stat##*') '}
        printf '%s@%s' "${20}" "$boot"
    else
        # shellcheck disable=SC2046 # fields
        set -- $(LC_ALL=C TZ=UTC0 ps -o lstart= -p $$)
        printf '%s' "$*"
    fi
}

# leave FILE TEXT: there is never half a file.
leave() {
    printf '%s\n' "$2" >"$run/.$1.draft" && mv -f "$run/.$1.draft" "$run/$1"
}

# The second time round: become the agent's script. The one who stops the run tells the script itself, by this file; a
# signal that this frame had to hand on would disturb its `wait`, and bash 5.2 then loses the exit code now and then.
if [[ ${2:-} == script ]]; then
    leave script "$$ $(started)" || exit 1
    exec "$BASH" "$run/start.sh"
fi

# Outlive the script, whoever signals the whole group. Not ignored, which the script would inherit.
trap : HUP INT TERM
# A run has one process. A second one, should there ever be one, finds the link there and leaves all as it is.
draft=$run/.process.$$.draft
printf '%s\n' "$$ $(started)" >"$draft" || exit 1
ln "$draft" "$run/process"
first=$?
rm -f "$draft"
((first == 0)) || exit 1
"$BASH" -c "$BASH_EXECUTION_STRING" "$0" "$run" script
code=$?
rm -rf "$run/token" "$run/files"
leave exit "$code"
# Whatever the agent left running in the group goes with it, as with a container.
kill -s KILL -- "-$$"
exit "$code"

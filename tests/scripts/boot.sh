#!/bin/sh
# Stands in for boot: holds the pid file that -P names, and where a plan below
# -H is under way says that it works, or does something worse.
version=@VERSION@
kind=@KIND@

while [ $# -gt 0 ]; do
    case $1 in
        -P) pid_file=$2; shift ;;
        -H) home=$2; shift ;;
        -t) test=1 ;;
    esac
    shift
done
if [ -n "${test-}" ]; then
    [ "$kind" != alien ] || { echo "it does not run here" >&2; exit 1; }
    exit 0
fi

pause() {
    sleep 0.02 9>&-
}

case $kind in
    exits) exit 3 ;;
    hangs)
        trap '' TERM
        while :; do pause; done
        ;;
    silent) trap '' TERM ;;
esac
exec 9<>"$pid_file"
flock -n 9 || { echo "it runs already" >&2; exit 1; }
echo $$ >"$pid_file"
echo "$version" >"$home/version.$$"

# Whether a helper is at work, and not to end this very process.
is_under_way() {
    plan=$(cat "$home/.self/plan.json" 2>/dev/null) || return 1
    case $plan in
        *"\"pid\": $$,"*) return 1 ;;
        *'"stage": "prepared"'* | *'"stage": "done"'* | *'"stage": "rolled_back"'*) return 1 ;;
    esac
}

confirm() {
    boot=$(cat /proc/sys/kernel/random/boot_id)
    # Its name has no spaces.
    read -r stat </proc/$$/stat
    start=$(echo "$stat" | cut -d ' ' -f 22)
    printf '{"life": {"pid": %s, "start": %s, "boot": "%s"}, "program": "%s"}' \
        $$ "$start" "$boot" "$0" >"$home/.self/confirmed.$$"
    mv "$home/.self/confirmed.$$" "$home/.self/confirmed"
}

while :; do
    if [ "$kind" != silent ] && is_under_way; then
        confirm
        [ "$kind" != dies ] || exit 4
    fi
    pause
done

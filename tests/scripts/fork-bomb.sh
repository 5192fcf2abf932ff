#!/bin/sh
# A fork bomb that somebody waits for. It does not go off where no limit of
# processes would hold it: that of the request is all there is between it and
# the machine, and root has none.
limit=$(awk '/^Max processes/ { print $3 }' /proc/self/limits)
if [ "$(id -u)" -eq 0 ] || ! [ "${limit:-unlimited}" -le 64 ]; then
    echo "not without a limit: ${limit:-none}"
    exit 99
fi
# shellcheck disable=SC2264
bomb() {
    bomb | bomb
}
bomb

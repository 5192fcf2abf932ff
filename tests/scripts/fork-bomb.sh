#!/bin/sh
# A fork bomb that fills its limit and stays. It does not go off where there is
# no limit to hold it: that of the request is all there is between it and the
# machine, and root has none.
limit=$(awk '/^Max processes/ { print $3 }' /proc/self/limits)
if [ "$(id -u)" -eq 0 ] || ! [ "${limit:-unlimited}" -le 64 ]; then
    echo "not without a limit: ${limit:-none}"
    exit 99
fi
bomb() {
    sleep 600 &
    bomb &
    bomb &
    wait
}
# Both are started before anybody can be short of processes.
sleep 601 &
bomb &
wait

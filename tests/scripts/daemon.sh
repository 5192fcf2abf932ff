#!/bin/sh
# Starts a daemon by the book: two forks, a session of its own, no output of
# its starter's. Nothing but its cgroup shows where it came from.
(
    cd / || exit
    umask 027
    setsid sleep 600 </dev/null >/dev/null 2>&1 &
)

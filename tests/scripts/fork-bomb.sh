#!/bin/sh
# A fork bomb that is waited for. It sets itself a limit of processes, well above
# the one that the test asks for: where that one fails, the test does, and not
# the machine. (dash knows it as -p, bash as -u.)
# shellcheck disable=SC2264,SC3045
ulimit -u 400 2>/dev/null || ulimit -p 400 || exit 1
bomb() {
    bomb | bomb
}
bomb

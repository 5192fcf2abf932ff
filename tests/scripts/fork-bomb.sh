#!/bin/sh
# A fork bomb that is waited for. Only with a limit of processes!
# shellcheck disable=SC2264
bomb() {
    bomb | bomb
}
bomb

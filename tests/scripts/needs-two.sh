#!/bin/sh
# Cleans up at the first SIGINT and ends at the second.
trap 'echo once; trap "exit 7" INT' INT
while :; do
    sleep 0.1
done

#!/bin/sh
# Hears that it is to end, says so, and goes on.
trap 'echo INT' INT
trap 'echo TERM' TERM
while :; do
    sleep 0.1
done

#!/bin/sh
# Starts one child after the other, each in a session of its own.
while :; do
    setsid sleep 600 &
    sleep 0.01
done

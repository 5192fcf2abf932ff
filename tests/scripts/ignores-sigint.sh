#!/bin/bash
# Never ends, and does not hear SIGINT: only SIGKILL helps.
trap '' 2
echo "begins"
while :; do
    sleep 0.1
done

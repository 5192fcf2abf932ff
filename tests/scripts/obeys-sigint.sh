#!/bin/bash
# Never ends, but for the first SIGINT.
echo "begins"
while :; do
    sleep 0.1
done

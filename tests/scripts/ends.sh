#!/bin/bash
# Ends by itself, well within its time.
echo "begins"
sleep 0.1
echo "ends"

#!/bin/sh
# A daemon as they used to be: whoever started it sees an end at once, and it goes
# on in a session of its own. Its number is written to the file $1.
setsid sh -c 'sleep 600 & echo "$!" >"$1.new" && mv "$1.new" "$1"' sh "$1"

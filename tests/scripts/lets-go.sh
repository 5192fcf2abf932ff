#!/bin/sh
# A daemon as they used to be: whoever started it sees an end at once, and it goes
# on in a session of its own. Its number is written to the file $1.
if [ "$2" = again ]; then
    sleep 600 &
    echo "$!" >"$1.new" && mv "$1.new" "$1"
else
    setsid "$0" "$1" again
fi

#!/bin/sh
# Asks a person for a password, past its standard input: as ssh and sudo do.
if (: </dev/tty) 2>/dev/null; then
    read -r password </dev/tty
    echo "got ${#password}"
else
    echo "no terminal"
    exit 3
fi

#!/bin/sh
# Asks before it goes on, as package managers do, and takes silence for a no.
printf 'Do you want to continue? [Y/n] '
read -r answer || answer=n
case $answer in
    [Yy]*) echo "goes on" ;;
    *)
        echo "Abort."
        exit 1
        ;;
esac

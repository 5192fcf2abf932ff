#!/bin/sh
# A daemon of the kind that $1 says. Every main process says in $HERE that it began and which signals
# it was sent; and that there were two at once, if it finds that somebody of its daemon still lives.
# Whoever comes from it holds its lock as well.

note() {
    file=$1
    shift
    echo "$NAME $*" >> "$HERE/$file"
}

alone() {
    exec 9>> "$HERE/$NAME.lock"
    flock -n 9 || { note doubles "$$"; exit 9; }
}

begun() {
    for signal in HUP INT QUIT USR1 USR2 TERM; do
        # shellcheck disable=SC2064 # It is this signal that is meant.
        trap "told $signal" "$signal"
    done
    note starts "${GENERATION:-1} $$"
}

told() {
    note "${SIGNALS:-signals}" "$$ $1"
    [ -z "$DEAF" ] || return 0
    kill "$sleeper" 2> /dev/null
    exit 0
}

stays() {
    while :; do
        sleep 1000000 &
        sleeper=$!
        wait "$sleeper"
    done
}

# Leaves its starter twice, and says late which process it is: the one that $1 names, or it itself.
forks() {
    (setsid "$0" forked "$1" &)
    sleep "${LINGERS:-0}"
}

alone_and() {
    alone
    begun
    "$@"
    stays
}

helpers() {
    setsid sleep 1000000 &
    (setsid sleep 1000000 &)
}

speaks() {
    # shellcheck disable=SC2016 # What perl is to see.
    perl -MIO::Socket::UNIX -e '
        while (1) {
            my $to = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ENV{NOTIFY_SOCKET});
            print {$to} "WATCHDOG=1" if $to;
            select undef, undef, undef, 0.2;
        }' &
}

listens() {
    # shellcheck disable=SC2016 # What perl is to see.
    perl -MIO::Socket::UNIX -e '
        unlink $ENV{SOCKET};
        my $at = IO::Socket::UNIX->new(Local => $ENV{SOCKET}, Listen => 5) or die;
        while (1) { my $caller = $at->accept; close $caller if $caller }' &
}

case $1 in
stays) alone_and : ;;
helped) alone_and helpers ;;
speaks) alone_and speaks ;;
listens) alone_and listens ;;
forks)
    alone
    forks "$2"
    ;;
forked)
    begun
    sleep "${LATE:-0}"
    if [ -n "$PIDFILE" ]; then
        echo "${2:-$$}" > "$PIDFILE.new"
        mv "$PIDFILE.new" "$PIDFILE"
    fi
    stays
    ;;
crashes)
    alone
    begun
    sleep "0.$(($$ % 10))"
    [ "$(($$ % 2))" = 0 ] || kill -KILL "$$"
    exit 3
    ;;
litters)
    alone
    begun
    helpers
    sleep "0.$(($$ % 10))"
    kill -KILL "$$"
    ;;
never)
    alone
    exit 1
    ;;
bystander)
    begun
    echo "$$" > "$HERE/$NAME.ready"
    stays
    ;;
esac

# What packaging/quickstart and tests/run have in common; to be sourced by bash.
# shellcheck shell=bash

say() { printf '==> %s\n' "$*"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Whether a C program can be built: the compiler and the C library's headers are there.
can_compile() {
    printf '#include <stdio.h>\nint main(void) { return 0; }\n' | cc -x c - -o /dev/null 2>/dev/null
}

# What Debian calls what is missing to build both halves and to speak HTTP.
missing_packages() {
    can_compile || printf 'gcc libc6-dev '
    command -v curl >/dev/null || printf 'curl '
}

# Installs packages, as root and where there is apt-get.
install_packages() {
    say "installing with apt-get: $*"
    export DEBIAN_FRONTEND=noninteractive
    # Lists that are out of date may still do; what matters is whether the packages arrive.
    apt-get update --quiet --quiet || true
    apt-get install --quiet --quiet --yes --no-install-recommends "$@"
}

# Rust must be there already; the rest is installed where that is possible.
prepare_machine() {
    local missing
    if ! command -v cargo >/dev/null && [ -x "${HOME:-}/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    command -v cargo >/dev/null || die "Rust is not installed: install it with rustup, then run this again"
    missing=$(missing_packages)
    # An ordinary user can do without curl: polarisctl speaks HTTP, too.
    [ "$(id -u)" -eq 0 ] || missing=${missing/curl /}
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        die "building needs what only root can install: apt-get install $missing"
    fi
    # shellcheck disable=SC2086 # one word a package
    install_packages $missing || die "apt-get could not install $missing(is the network there?)"
    can_compile || die "a C program still cannot be built after installing $missing"
}

# Brings the crates of both halves to this machine; quick where they are.
fetch_crates() {
    local manifest
    for manifest in Cargo.toml server/Cargo.toml; do
        cargo fetch --locked --manifest-path "$manifest" ||
            die "cargo could not get the crates that $manifest names (is the network there?)"
    done
}

# The getinfo plugins: their crates, and their files without the ending.
plugins=(diskinfo hostinfo packageinfo processinfo userinfo)

# install_plugins BUILT FOLDER: brings what cargo built to a plugin folder.
install_plugins() {
    local plugin
    install -d -m 755 -- "$2"
    for plugin in "${plugins[@]}"; do
        install -m 755 -- "$1/lib$plugin.so" "$2/$plugin.so"
    done
}

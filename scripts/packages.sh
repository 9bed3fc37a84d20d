#!/bin/sh
# Installs the system packages that are missing, or says how to.
#
#   packages.sh          what building and running takes
#   packages.sh tests    and what the tests take beyond that
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/steps.sh
. scripts/steps.sh

missing=

# need PACKAGE REASON COMMAND...: the package is missing if the command fails.
need() {
    package=$1 reason=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        printf 'missing: %-16s %s\n' "$package" "$reason"
        missing="$missing $package"
    fi
}

# One of the patterns matches a file.
any() {
    for file in "$@"; do
        [ -e "$file" ] && return 0
    done
    return 1
}

# Python can make environments of its own, into which a test installs its client.
has_venv() {
    python3 -c 'import ensurepip, venv'
}

need ca-certificates "cargo downloads over TLS" any /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/cert.pem
need cmake "builds BoringSSL, the TLS library" command -v cmake
need make "builds BoringSSL" command -v make
need g++ "builds BoringSSL" command -v g++
need clang "reads BoringSSL's headers" command -v clang
need libclang-dev "reads BoringSSL's headers" any "${LIBCLANG_PATH:-/nowhere}" \
    /usr/lib/llvm-*/lib/libclang.so /usr/lib/llvm-*/lib/libclang-*.so* /usr/lib/*/libclang*.so* /usr/lib64/libclang.so*
need git "patches BoringSSL while it is built" command -v git
need softhsm2 "the hardware security module of the demo and the tests" \
    any /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so
need openssl "makes the certificates of the demo" command -v openssl
need curl "is the merchant of the demo" command -v curl
if [ "${1:-}" = tests ]; then
    need python3 "runs the generated client against the API" command -v python3
    need python3-venv "keeps that client apart from the system" has_venv
    need shellcheck "checks these scripts" command -v shellcheck
fi
[ -n "$missing" ] || exit 0

install="apt-get update && apt-get install -y --no-install-recommends$missing"
command -v apt-get >/dev/null 2>&1 ||
    fail "there is no apt-get here: install what is missing with the system's own tool"
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || fail "installing takes root; run this as root:  $install"
    echo "Installing takes root: sudo may ask for your password."
fi
step "installing$missing"
# shellcheck disable=SC2086 # the packages are words
if ! { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends $missing; }; then
    fail "that did not work; run this as root, and see what it says:  $install"
fi

# shellcheck shell=sh
# Read in by the other scripts: what they do is announced, and they end with one clear line.

began=$(date +%s)

# Announces what comes next, with the time since the start.
step() {
    now=$(date +%s)
    printf '\n== [%3d s] %s\n' "$((now - began))" "$*"
}

# Ends the script with an error.
fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Where cargo puts what it builds.
# shellcheck disable=SC2034 # the other scripts use it
target=${CARGO_TARGET_DIR:-target}

# Finds cargo, also where rustup put it in a shell that was not started anew since.
need_cargo() {
    if ! command -v cargo >/dev/null 2>&1 && [ -r "${CARGO_HOME:-$HOME/.cargo}/env" ]; then
        # shellcheck source=/dev/null
        . "${CARGO_HOME:-$HOME/.cargo}/env"
    fi
    command -v cargo >/dev/null 2>&1 ||
        fail "cargo is missing: install it with rustup (https://rustup.rs), then run this again"
}

#!/bin/sh
# Everything that CI runs, cheapest first, in one profile and one target directory.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/steps.sh
. scripts/steps.sh

scripts/packages.sh tests
need_cargo
# Flags from outside would make cargo build everything a second time.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTDOCFLAGS 2>/dev/null || :

step "the scripts"
shellcheck -x scripts/*.sh .ci/run
for script in tests/*.sh; do
    if [ -e "$script" ]; then shellcheck -x "$script"; fi
done

step "formatting"
cargo fmt --all --check

step "building"
cargo build --release --locked --workspace --bins --tests

step "lints"
cargo clippy --release --locked --workspace --all-targets -- -D warnings

step "tests"
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
# The status goes through a file, because that of a pipe is the last program's.
{
    status=0
    cargo test --release --locked --workspace || status=$?
    echo "$status" >"$directory/status"
} 2>&1 | tee "$directory/log"
[ "$(cat "$directory/status")" = 0 ] || fail "tests failed"

if [ -x tests/schemathesis.sh ]; then
    step "a generated client against the API"
    tests/schemathesis.sh
fi

step "the demo"
BUILD_ALSO=--tests ONCE=1 ORCHESTRA_VAR=$directory/demo ORCHESTRA_PORT_BASE=${TEST_PORT_BASE:-23460} scripts/demo.sh

step "all passed"
awk '/^test result: / { passed += $4; failed += $6; ignored += $8 }
     END { printf "test result: ok. %d passed; %d failed; %d ignored, in all\n", passed, failed, ignored
           exit !(passed > 0 && failed == 0) }' "$directory/log"

#!/bin/sh
# Builds everything and measures it. Arguments go to the program, such as --rounds 3.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/steps.sh
. scripts/steps.sh

scripts/packages.sh
need_cargo
step "building"
cargo build --release --locked --workspace --bins
step "measuring; leave the machine alone meanwhile"
exec "$target/release/bench" "$@"

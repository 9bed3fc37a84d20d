#!/bin/sh
# The long forms of what `make test` has in short. First histories of payments in which a number decides
# everything; then the storm: faults at the providers and kills of the program for ten minutes, then the
# journal beside the ledgers. Afterwards nothing may be in doubt, which takes up to 25 minutes more:
# Stripe's silence is believed after ten, then all that the storm left is asked about, and a person may
# say a quarter of an hour after the last payment that Adyen never got it.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/steps.sh
. scripts/steps.sh

scripts/packages.sh tests
need_cargo
step "building"
cargo build --release --locked --workspace --bins --tests
step "histories"
HISTORIES=${HISTORIES:-50000} cargo test --release --locked --workspace --lib -- --nocapture \
    no_history_moves_money_twice
step "the storm"
ORCHESTRA_SOAK_S=${ORCHESTRA_SOAK_S:-600}
export ORCHESTRA_SOAK_S
cargo test --release --locked --workspace --test e2e -- --nocapture in_a_storm_of_faults_and_kills

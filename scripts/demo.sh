#!/bin/sh
# From nothing to a charge: packages, programs, a token, certificates, a merchant, a card.
#
# ONCE=1                  end after the charge, with status 0 only if it was approved
# ORCHESTRA_VAR=DIR       keep the files in DIR instead of var/demo
# ORCHESTRA_PORT_BASE=N   use the ports N to N+3 instead of 8443, 8080, 9464 and 9500
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/steps.sh
. scripts/steps.sh
umask 077

ports() {
    case ${ORCHESTRA_PORT_BASE:-} in
    '') tls=8443 plain=8080 metrics=9464 sandbox=9500 ;;
    *[!0-9]* | ??????*) fail "ORCHESTRA_PORT_BASE is a number from 1024 to 65532" ;;
    *)
        if [ "$ORCHESTRA_PORT_BASE" -lt 1024 ] || [ "$ORCHESTRA_PORT_BASE" -gt 65532 ]; then
            fail "ORCHESTRA_PORT_BASE is a number from 1024 to 65532"
        fi
        tls=$ORCHESTRA_PORT_BASE plain=$((tls + 1)) metrics=$((tls + 2)) sandbox=$((tls + 3))
        ;;
    esac
}

# Another demo in the same directory, or anything else on its ports, would be mistaken for this one.
check_free() {
    for file in "$var/orchestra.pid" "$var/sandbox.pid"; do
        [ -s "$file" ] || continue
        pid=$(cat "$file")
        case $(readlink "/proc/$pid/exe" 2>/dev/null || tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null || :) in
        */orchestra* | */sandbox*)
            fail "a demo is running in $var already (process $pid): end it with Ctrl-C, or with kill $pid"
            ;;
        esac
        rm -f "$file"
    done
    for port in "$tls" "$plain" "$metrics" "$sandbox"; do
        status=0
        curl -s -o "$var/probe" --max-time 1 "http://127.0.0.1:$port/" || status=$?
        rm -f "$var/probe"
        # 7 is: nobody listens there.
        [ "$status" = 7 ] || fail "port $port is in use: end what uses it, or choose others with" \
            "ORCHESTRA_PORT_BASE=20000"
    done
}

# Every provider is the sandbox.
each_provider() {
    "$target/release/sandbox" --list | while read -r provider _; do
        printf '  %s: {connect: "127.0.0.1:%s", ca: ca.pem}\n' "$provider" "$sandbox"
    done
}

configure() {
    cat >"$var/orchestra.yaml" <<END
# Written by scripts/demo.sh at every start. conf/orchestra.yaml has every field with a comment.
listen:
  tls:
    address: 127.0.0.1:$tls
    certificates:
      - {chain: server.pem, key: server-key.pem}
  plain: 127.0.0.1:$plain
  metrics: 127.0.0.1:$metrics
  admin: admin.sock
vault:
  directory: vault
  cache_bytes: 67108864
  module: $module
  token_label: orchestra-demo
  pin: file:pin
providers:
$(each_provider)
grace_s: 35
log: {access: access.log}
END
    cat >"$var/softhsm2.conf" <<END
directories.tokendir = $var/tokens
objectstore.backend = file
log.level = ERROR
END
}

find_module() {
    for module in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so; do
        [ -e "$module" ] && return
    done
    fail "libsofthsm2.so is not where Debian puts it"
}

# The token and the vault belong together, so what was made in part is made again in whole.
make_vault() {
    [ -e "$var/made" ] && return
    step "a SoftHSM2 token and a vault"
    rm -rf "$var/vault" "$var/tokens" "$var/api-key"
    mkdir "$var/tokens"
    openssl rand -hex 8 >"$var/pin"
    openssl rand -hex 8 >"$var/so-pin"
    orchestra vault init --create-token --so-pin "file:$var/so-pin"
    touch "$var/made"
}

orchestra() {
    "$target/release/orchestra" "$@" --conf "$var/orchestra.yaml"
}

start() {
    step "starting the sandbox and orchestra"
    rm -f "$var/sandbox.log" "$var/orchestra.log"
    "$target/release/sandbox" --listen "127.0.0.1:$sandbox" --certificate "$var/sandbox.pem" \
        --key "$var/sandbox-key.pem" >"$var/sandbox.log" 2>&1 &
    sandbox_pid=$!
    echo "$sandbox_pid" >"$var/sandbox.pid"
    "$target/release/orchestra" serve --conf "$var/orchestra.yaml" >"$var/orchestra.log" 2>&1 &
    orchestra_pid=$!
    echo "$orchestra_pid" >"$var/orchestra.pid"
    wait_until sandbox "$sandbox_pid" --cacert "$var/ca.pem" "https://127.0.0.1:$sandbox/_sandbox/ready"
    wait_until orchestra "$orchestra_pid" "http://127.0.0.1:$metrics/readyz"
}

# wait_until NAME PID CURL-ARGUMENTS...: until curl gets a good answer.
wait_until() {
    name=$1 pid=$2
    shift 2
    tries=0
    until curl -fs -o "$var/probe" --max-time 2 "$@"; do
        kill -0 "$pid" 2>/dev/null || fail "$name ended instead of getting ready"
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || fail "$name is not ready after $tries tries"
        sleep 0.1
    done
    rm -f "$var/probe"
}

# Ends both programs, and shows the ends of their logs if something went wrong.
# shellcheck disable=SC2317 # a trap calls it
stop() {
    status=$?
    trap - EXIT INT TERM HUP
    for pid in $orchestra_pid $sandbox_pid; do
        kill -TERM "$pid" 2>/dev/null || :
    done
    for pid in $orchestra_pid $sandbox_pid; do
        wait "$pid" 2>/dev/null || :
    done
    rm -f "$var/orchestra.pid" "$var/sandbox.pid" "$var/probe"
    if [ "$status" != 0 ] && [ "$interrupted" = no ]; then
        for log in "$var/orchestra.log" "$var/sandbox.log"; do
            [ -s "$log" ] || continue
            printf '\n-- the end of %s\n' "$log" >&2
            tail -n 20 "$log" >&2
        done
    fi
    [ "$interrupted" = no ] || status=0
    exit "$status"
}

# shellcheck disable=SC2317 # a trap calls it
interrupt() {
    interrupted=yes
    echo
    echo "Ending."
    exit 0
}

make_merchant() {
    step "a merchant, an API key and five accounts"
    orchestra merchants create demo
    if [ ! -s "$var/api-key" ]; then
        orchestra keys create --merchant demo --name "the demo" --test \
            --scopes payments,tokens,accounts,reveal >"$var/api-key.new" 2>"$var/probe"
        mv "$var/api-key.new" "$var/api-key"
    fi
    # curl reads it from a file: everyone can see the arguments of a process.
    printf 'X-Api-Key: %s\n' "$(cat "$var/api-key")" >"$var/api-key.header"
    echo 'SecretKey=sk_test_demoOfOrchestra0123456789' |
        orchestra accounts put stripe-primary --merchant demo --gateway Stripe
    printf '%s\n' 'ApiKey=AQEdemoOfOrchestra0123456789abcdefghij' 'MerchantAccount=OrchestraDemoECOM' |
        orchestra accounts put adyen-backup --merchant demo --gateway Adyen
    printf '%s\n' 'Username=demo' 'Password=demo-of-orchestra' 'Entity=default' 'Narrative=Orchestra demo' |
        orchestra accounts put worldpay-fallback --merchant demo --gateway Worldpay
    orchestra accounts put null-success --merchant demo --gateway NULLSuccess
    orchestra accounts put null-failure --merchant demo --gateway NULLFailure
}

# post PATH BODY SHOWN-BODY: sends it as a merchant would, shows it, and leaves the answer in $answer.
post() {
    printf '\n> POST https://localhost:%s%s\n> X-Api-Key: %s...\n> %s\n\n' \
        "$tls" "$1" "$(cut -c 1-12 "$var/api-key")" "$3"
    answer=$(printf '%s' "$2" | curl -sS --max-time 60 --cacert "$var/ca.pem" \
        -H "@$var/api-key.header" -H 'Content-Type: application/json' --data-binary @- \
        -w '\n%{http_code}' "https://localhost:$tls$1") || fail "there was no answer"
    code=${answer##*
}
    answer=${answer%
*}
    printf '< %s\n< %s\n' "$code" "$answer"
}

charge() {
    step "a card becomes a token"
    post /StringTokens '{"payload":"4242424242424242"}' '{"payload":"4242********4242"}'
    token=$(printf '%s' "$answer" | sed -n 's/.*"token" *: *"\([A-Za-z0-9]\{32\}\)".*/\1/p')
    if [ "$code" != 201 ] || [ -z "$token" ]; then fail "the card was not tokenised"; fi

    step "the token is charged"
    body=$(printf '{"amount":12.50,"currency":"EUR","myRef":"demo-%s","paymentGatewayAccountName":"stripe-primary","card":{"cardNumber":"@%s","cardHolderName":"Ann Example","expirationMonth":12,"expirationYear":2030}}' \
        "$(date +%s)" "$token")
    post /PaymentGateway/charge "$body" "$body"
    case $code$answer in
    200*'"operationResultCode":"Success"'*) ;;
    *) fail "the charge was not approved" ;;
    esac

    step "what the provider has in its ledger"
    curl -sS --max-time 10 --cacert "$var/ca.pem" "https://localhost:$sandbox/_sandbox/ledger"
    echo
}

serve() {
    cat <<END

== serving until Ctrl-C
   merchants  https://localhost:$tls   (http://127.0.0.1:$plain without TLS)
   operators  http://127.0.0.1:$metrics/metrics   /healthz   /readyz
   sandbox    https://localhost:$sandbox/_sandbox/ledger
   files      $var: api-key, ca.pem, orchestra.yaml, orchestra.log, access.log

   curl --cacert $var/ca.pem -H "X-Api-Key: \$(cat $var/api-key)" https://localhost:$tls/Utils/apiKey
END
    while kill -0 "$orchestra_pid" 2>/dev/null && kill -0 "$sandbox_pid" 2>/dev/null; do
        sleep 1
    done
    fail "one of the programs ended"
}

ports
scripts/packages.sh
need_cargo
step "building (the first time takes a while; nothing is downloaded but crates)"
# The tests ask for --tests as well, since their crates switch on features of others: cargo would
# otherwise build half of the graph a second time.
# shellcheck disable=SC2086 # it is an option or nothing
cargo build --release --locked --workspace --bins ${BUILD_ALSO:-}

mkdir -p "${ORCHESTRA_VAR:-var/demo}"
var=$(cd "${ORCHESTRA_VAR:-var/demo}" && pwd)
SOFTHSM2_CONF=$var/softhsm2.conf
export SOFTHSM2_CONF
check_free
find_module
hosts=$("$target/release/sandbox" --list | cut -d" " -f2-)
# shellcheck disable=SC2086 # they are words, one a host
scripts/certificates.sh "$var" $hosts
configure
orchestra_pid='' sandbox_pid='' interrupted=no
trap stop EXIT
trap interrupt INT TERM HUP
make_vault
start
make_merchant
charge
if [ -n "${ONCE:-}" ] && [ "$ONCE" != 0 ]; then
    step "approved; ending, as ONCE=$ONCE asks"
    exit 0
fi
serve

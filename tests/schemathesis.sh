#!/bin/sh
# A client generated from /openapi.json asks the running demo for everything, and then each route is
# asked over HTTP/2. Nothing may fail: not one check, and no answer with a 5xx.
#
# tests/schemathesis.sh ARGUMENTS    hands the arguments on to schemathesis: --seed 1, -n 500
# SCHEMATHESIS_PORT_BASE=N   use the ports N to N+3 instead of 23470 to 23473
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/steps.sh
. scripts/steps.sh
umask 077

port=${SCHEMATHESIS_PORT_BASE:-23470}
here=$PWD/tests/schemathesis
python=$target/schemathesis/bin/python

# The client is kept from one run to the next, until what it is made of changes.
install_client() {
    made=$target/schemathesis/made-from
    if cmp -s "$here/requirements.txt" "$made"; then return; fi
    step "installing schemathesis (once)"
    rm -rf "$target/schemathesis"
    mkdir -p "$target"
    python3 -m venv "$target/schemathesis" ||
        fail "python cannot make a virtual environment: apt-get install python3-venv"
    "$python" -m pip install -q --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes -r "$here/requirements.txt" ||
        fail "schemathesis could not be installed; see what pip says"
    cp "$here/requirements.txt" "$made"
}

# Ends what was started here, and shows the demo's words if it is to blame.
# shellcheck disable=SC2317 # a trap calls it
stop() {
    status=$?
    trap - EXIT INT TERM HUP
    if [ -n "$demo" ]; then
        if [ "$status" != 0 ] && ! kill -0 "$demo" 2>/dev/null; then
            tail -n 40 "$directory/demo.log" >&2
        fi
        kill -TERM "$demo" 2>/dev/null || :
        wait "$demo" 2>/dev/null || :
    fi
    rm -rf "$directory"
    exit "$status"
}

start_demo() {
    step "starting the demo"
    : >"$directory/demo.log"
    BUILD_ALSO=--tests ORCHESTRA_VAR=$var ORCHESTRA_PORT_BASE=$port scripts/demo.sh >"$directory/demo.log" 2>&1 &
    demo=$!
    # It is complete when the demo says so: accounts and keys come after the program listens.
    until grep -q 'serving until' "$directory/demo.log"; do
        kill -0 "$demo" 2>/dev/null || fail "the demo did not start"
        sleep 0.2
    done
}

# A second merchant, from whom everything of the first must be hidden.
make_stranger() {
    "$target/release/orchestra" merchants create stranger --conf "$var/orchestra.yaml"
    "$target/release/orchestra" keys create --merchant stranger --name "the other" --test \
        --scopes payments,tokens,accounts,reveal --conf "$var/orchestra.yaml" \
        >"$directory/stranger" 2>"$directory/probe"
    sed 's/.*/{"auth":[{"name":"merchant","fixedHeaders":[{"name":"X-Api-Key","value":"&"}]},/' \
        "$var/api-key" >"$directory/keys.json"
    sed 's/.*/{"name":"stranger","fixedHeaders":[{"name":"X-Api-Key","value":"&"}]}]}/' \
        "$directory/stranger" >>"$directory/keys.json"
}

# The client leaves files where it runs.
generated_client() {
    step "the generated client"
    client=$(cd "$target/schemathesis/bin" && pwd)/schemathesis
    (
        cd "$directory"
        NO_PROXY=localhost PYTHONDONTWRITEBYTECODE=1 SCHEMATHESIS_HOOKS=$here/hooks.py ORCHESTRA_URL=$url \
            ORCHESTRA_CA=$var/ca.pem ORCHESTRA_KEY_FILE=$var/api-key \
            ORCHESTRA_KEYS=$directory/keys.json \
            "$client" --config-file "$here/schemathesis.toml" --no-color \
            run "$url/openapi.json" --checks all "$@"
    )
}

# ask METHOD ROUTE PATH STATUS TYPE [BODY]: over HTTP/2, and what is answered must be so. The answer is
# left in $directory/answer.
ask() {
    echo "$1 $2" >>"$directory/asked"
    set -- "$1" "$3" "2 $4 $5" "${6:-}"
    if [ -n "$4" ]; then
        got=$(printf '%s' "$4" | over_h2 "$1" "$2" -H 'Content-Type: application/json' --data-binary @-)
    else
        got=$(over_h2 "$1" "$2")
    fi
    # What the document names is the type without its parameters.
    [ "${got%%;*}" = "$3" ] ||
        fail "$1 $2 over HTTP/2: expected '$3', got '$got': $(head -c 300 "$directory/answer")"
}

# over_h2 METHOD PATH CURL-ARGUMENTS...: prints the version, the status and the type of the answer.
over_h2() {
    method=$1 path=$2
    shift 2
    : >"$directory/answer"
    curl -sS --http2 --max-time 60 --cacert "$var/ca.pem" -H "@$var/api-key.header" -X "$method" \
        -o "$directory/answer" -w '%{http_version} %{http_code} %{content_type}' "$@" "$url$path"
}

every_route_over_h2() {
    step "every route over HTTP/2"
    json=application/json
    account='"paymentGatewayAccountName":"stripe-primary"'
    money='"currency":"EUR","amount":12.50'
    card=$(printf '"card":{"cardHolderName":"Ann Example","cardNumber":"%s","expirationMonth":12,"expirationYear":%s}' \
        4242424242424242 "$(($(date +%Y) + 1))")
    payment="{$money,$card,$account}"

    ask GET /openapi.json /openapi.json 200 $json
    cp "$directory/answer" "$directory/openapi.json"
    ask GET /Utils/apiKey /Utils/apiKey 200 $json
    ask GET /PaymentGateway /PaymentGateway 200 $json
    ask POST /PaymentGateway/charge /PaymentGateway/charge 200 $json "$payment"
    ask POST /PaymentGateway/explain /PaymentGateway/explain 200 $json "$payment"
    ask POST /PaymentGateway/authorize /PaymentGateway/authorize 200 $json "$payment"
    held="{$money,\"refTransId\":\"$(answered gatewayReference)\",$account}"
    ask PUT /PaymentGateway/capture /PaymentGateway/capture 200 $json "$held"
    ask PUT /PaymentGateway/refund /PaymentGateway/refund 200 $json "$held"
    ask POST /PaymentGateway/authorize /PaymentGateway/authorize 200 $json "$payment"
    reference="\"refTransId\":\"$(answered gatewayReference)\",$account"
    ask DELETE /PaymentGateway/void /PaymentGateway/void 200 $json "{$money,$reference}"
    transaction=$(answered transactionId)
    ask GET '/Transactions/{id}' "/Transactions/$transaction" 200 $json
    ask GET /Transactions '/Transactions?state=Voided&account=stripe-primary' 200 $json
    ask POST /PaymentGateway/status /PaymentGateway/status 200 $json "{$reference}"
    ask POST /PaymentGateway/tokenize /PaymentGateway/tokenize 200 $json "{$card,$account}"
    ask PUT '/PaymentGatewayAccounts/{name}' /PaymentGatewayAccounts/over-h2 200 $json \
        '{"paymentGatewayName":"NULLSuccess"}'
    ask GET /PaymentGatewayAccounts /PaymentGatewayAccounts 200 $json
    ask GET '/PaymentGatewayAccounts/{name}' /PaymentGatewayAccounts/over-h2 200 $json
    over=/PaymentGatewayAccounts/over-h2
    ask POST '/PaymentGatewayAccounts/{name}/validate' $over/validate 200 $json
    ask GET '/PaymentGatewayAccounts/{name}/balance' $over/balance 200 $json
    # It is at another gateway.
    ask GET '/Webhooks/{merchant}/{name}' '/Webhooks/demo/over-h2?bt_challenge=20f9' 400 application/problem+json
    # Nobody signed it.
    ask POST '/Webhooks/{merchant}/{name}' /Webhooks/demo/over-h2 400 application/problem+json '{}'
    ask PUT '/PaymentGatewayAccounts/{name}/staged' $over/staged 200 $json '{"credentials":[]}'
    ask POST '/PaymentGatewayAccounts/{name}/staged/validate' $over/staged/validate 200 $json
    ask POST '/PaymentGatewayAccounts/{name}/staged/switch' $over/staged/switch 200 $json '{"percent":100}'
    ask POST '/PaymentGatewayAccounts/{name}/staged/retire' $over/staged/retire 200 $json
    ask DELETE '/PaymentGatewayAccounts/{name}/staged' $over/staged 200 ''
    ask DELETE '/PaymentGatewayAccounts/{name}' /PaymentGatewayAccounts/over-h2 200 ''
    ask GET '/PaymentGatewayAccounts/{name}' /PaymentGatewayAccounts/over-h2 404 application/problem+json
    ask POST /StringTokens /StringTokens 201 $json '{"payload":"4242424242424242"}'
    token=$(answered token)
    ask GET '/StringTokens/{token}' "/StringTokens/$token" 200 $json
    ask GET '/StringTokens/{token}/meta' "/StringTokens/$token/meta" 200 $json
    ask DELETE '/StringTokens/{token}' "/StringTokens/$token" 200 ''
    ask GET '/StringTokens/{token}' "/StringTokens/$token" 404 application/problem+json
    none_left_out
}

# answered NAME: the text of a field of the last answer.
answered() {
    "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' \
        "$directory/answer" "$1"
}

# Fails if the document has a route that was not asked.
none_left_out() {
    "$python" -c '
import json, sys
asked = {tuple(line.split()) for line in open(sys.argv[2])}
paths = json.load(open(sys.argv[1]))["paths"]
routes = {(m.upper(), path) for path, item in paths.items() for m in item if m != "parameters"}
assert routes == asked, f"not asked, or not documented: {routes ^ asked}"
print(len(routes), "routes answered as documented")' "$directory/openapi.json" "$directory/asked" ||
        fail "not every route was asked over HTTP/2"
}

install_client
directory=$(mktemp -d)
var=$directory/demo
url=https://localhost:$port
demo=''
trap stop EXIT
trap 'exit 130' INT TERM HUP
start_demo
make_stranger
generated_client "$@"
every_route_over_h2

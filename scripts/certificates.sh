#!/bin/sh
# certificates.sh DIR HOST...: a CA in DIR, and certificates from it for the listener and, under the
# names of these hosts, for the sandbox.
# What is there and good for another day is left alone.
set -eu
cd "$1"
shift
umask 077

fresh() {
    [ -s "$1" ] && openssl x509 -in "$1" -noout -checkend 86400 >/dev/null 2>&1
}

# key FILE: a new private key.
key() {
    openssl ecparam -name prime256v1 -genkey -noout -out "$1"
}

# leaf NAME SUBJECT NAMES: a certificate and its key, signed by the CA.
leaf() {
    key "$1-key.pem"
    openssl req -new -key "$1-key.pem" -subj "/CN=$2" -out "$1.csr"
    printf '%s\n' "subjectAltName=$3" "extendedKeyUsage=serverAuth" \
        "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 90 -sha256 \
        -extfile "$1.ext" -out "$1.pem" 2>"$1.log" || { cat "$1.log" >&2; exit 1; }
    rm -f "$1.csr" "$1.ext" "$1.log"
}

if ! fresh ca.pem || [ ! -s ca-key.pem ]; then
    rm -f server.pem sandbox.pem
    key ca-key.pem
    openssl req -x509 -new -key ca-key.pem -sha256 -days 365 -subj "/CN=Orchestra demo CA" \
        -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign \
        -out ca.pem
fi
fresh server.pem || leaf server localhost "DNS:localhost,IP:127.0.0.1"
names=''
for host in "$@"; do
    names="${names:+$names, }DNS:$host"
done
# One that was made when there were fewer providers is made again.
if ! fresh sandbox.pem || ! openssl x509 -in sandbox.pem -noout -ext subjectAltName | grep -qF "$names"; then
    leaf sandbox sandbox "$(printf '%s' "$names" | tr -d ' '),DNS:localhost,IP:127.0.0.1"
fi

#!/usr/bin/env bash
# Makes the certificates of the tests again. They prove nothing and protect
# nothing: their keys are public.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

key() { openssl genpkey -quiet -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# NAME SUBJECT
authority() {
    key "$work/$1.key"
    openssl req -x509 -key "$work/$1.key" -days 36500 -subj "/CN=$2" -out "$1.pem"
}

# NAME SUBJECT EXTENSIONS FROM TO
signed() {
    key "$1.key"
    openssl req -new -key "$1.key" -subj "/CN=$2" -out "$work/$1.csr"
    printf '[ca]\ndefault_ca=a\n[a]\ndatabase=%s/index\nserial=%s/serial\nnew_certs_dir=%s\npolicy=p\ndefault_md=sha256\n[p]\ncommonName=supplied\n[x]\n%s\n' \
        "$work" "$work" "$work" "$3" >"$work/config"
    openssl ca -batch -notext -config "$work/config" -extensions x -cert ca.pem -keyfile "$work/ca.key" \
        -startdate "$4" -enddate "$5" -in "$work/$1.csr" -out "$1.pem"
}

touch "$work/index"
echo 01 >"$work/serial"
long=(20200101000000Z 21200101000000Z)
authority ca "Test authority"
authority other-ca "Another test authority"
signed server "A test server" "subjectAltName=DNS:localhost,IP:127.0.0.1" "${long[@]}"
signed elsewhere "A test server elsewhere" "subjectAltName=DNS:elsewhere.test" "${long[@]}"
signed expired "A test server of old" "subjectAltName=DNS:localhost,IP:127.0.0.1" 20200101000000Z 20210101000000Z
signed client "A test client" "extendedKeyUsage=clientAuth" "${long[@]}"

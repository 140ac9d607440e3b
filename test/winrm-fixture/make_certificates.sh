#!/bin/sh
# Makes, in the current folder, the certificates of the fixture's TLS listeners and those for clients.
set -eu
san='subjectAltName=DNS:localhost,IP:127.0.0.1'
make() { # name, key options, signature options of the request
  openssl req -x509 -nodes -newkey $2 -keyout "$1.key" -out "$1.pem" -days 10 -subj '/CN=localhost' -addext "$san" $3 2>/dev/null
}
make sha256 'ec -pkeyopt ec_paramgen_curve:P-256' '-sha256'
make sha384 'ec -pkeyopt ec_paramgen_curve:P-384' '-sha384'
make pss 'rsa:2048' '-sha512 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1'
make client 'ec -pkeyopt ec_paramgen_curve:P-256' '-sha256'

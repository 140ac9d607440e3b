#!/bin/sh
# Makes a Kerberos realm in the current folder: make_realm.sh <port> <user> <password> <service principal>… Prints
# nothing; leaves krb5.conf, kdc.conf, host.keytab, user.keytab and the database there.
set -eu
port=$1 user=$2 password=$3
shift 3
cat > krb5.conf <<EOF
[libdefaults]
  default_realm = FIXTURE.TEST
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
[realms]
  FIXTURE.TEST = {
    kdc = 127.0.0.1:$port
  }
[domain_realm]
  127.0.0.1 = FIXTURE.TEST
  localhost = FIXTURE.TEST
EOF
cat > kdc.conf <<EOF
[kdcdefaults]
  kdc_listen = 127.0.0.1:$port
  kdc_tcp_listen = 127.0.0.1:$port
[realms]
  FIXTURE.TEST = {
    database_name = $PWD/principal
    key_stash_file = $PWD/stash
    acl_file = $PWD/acl
    max_life = 10h
  }
EOF
export KRB5_CONFIG="$PWD/krb5.conf" KRB5_KDC_PROFILE="$PWD/kdc.conf"
PATH=/usr/sbin:/usr/bin:$PATH
kdb5_util create -s -r FIXTURE.TEST -P master >/dev/null 2>&1
{
  printf 'addprinc -pw "%s" %s\n' "$password" "$user"
  # -norandkey keeps the password.
  printf 'ktadd -k %s -norandkey %s\n' "$PWD/user.keytab" "$user"
  for principal; do
    printf 'addprinc -randkey %s\nktadd -k %s %s\n' "$principal" "$PWD/host.keytab" "$principal"
  done
} | kadmin.local -r FIXTURE.TEST >kadmin.log 2>&1

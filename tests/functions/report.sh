# What a report masks, and what stays readable.
# shellcheck shell=bash

# Each line is TEXT~SECRET~REST: of TEXT, SECRET is masked and REST stays.
test_secrets_are_masked() {
  local text secret rest seen
  while IFS='~' read -r text secret rest; do
    seen=$(mask_secrets <<<"$text")
    lacks "$seen" "$secret"
    contains "$seen" "$rest"
  done <<'END'
url: https://me:se/cret@host/w~se/cret~@host/w
url: https://me:se@cret@host/w~cret~@host/w
url: "https://se%2Fcret@host:9090/api/v1/write"~cret~@host:9090/api/v1/write
level=error url=http://me:s3:cret/@[::1]:9090/x msg="not sent"~s3:cret~msg="not sent"
Post "https://12:3/cret@a.example/w": dial tcp: refused~cret~@a.example/w": dial tcp: refused
postgres://grafana:p?w#x@db/grafana~p?w#x~@db/grafana
dial me:hunter2@shop.example:9200~hunter2~dial
Authorization: Bearer abc~abc~Authorization:
"Authorization":["Basic bWU6c2VjcmV0"]~bWU6~Authorization
header="authorization: token abc"~abc~header=
Proxy-Authorization = Digest username="me", response="abc"~abc~Proxy-Authorization
curl -H 'bearer abcdef' http://h/~abcdef~curl
BEARER  ABCdef.x~ABCdef~BEARER
Basic bWU6c2VjcmV0~bWU6~Basic
basic_auth: {username: me, password: hunter2}~hunter2~basic_auth
  basic_auth = "me:hunter2"~hunter2~basic_auth
10 |     password = "hunter2 and more"~more~password
password: 'it is: hunter2'~hunter2~password
GF_SECURITY_ADMIN_PASSWORD=hunter2~hunter2~GF_SECURITY_ADMIN_PASSWORD
PGPASSWORD=hunter2 psql~hunter2~PGPASSWORD
MYSQL_PWD=hunter2~hunter2~MYSQL_PWD
DB_PASS=hunter2~hunter2~DB_PASS
AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY~wJalr~AWS_SECRET_ACCESS_KEY
secret_access_key: x/y+z~x/y~secret_access_key
key id AKIAIOSFODNN7EXAMPLE used~AKIAIOSFODNN7EXAMPLE~key
apiKey => abc~abc~apiKey
{"api_key":"abc","job":"x"}~abc~api_key
{\"password\":\"hunter2\"}~hunter2~password
client-secret="abc"~abc~client-secret
Cookie: grafana_session=abc; x=def~def~Cookie
Set-Cookie: a=b~a=b~Set-Cookie
grafana_session=abc~abc~grafana_session
GET /api/v1/write?token=abc&x=y~abc~GET /api/v1/write
GET /d/x?a=b&sig=abc HTTP/1.1~abc~HTTP/1.1
GET /x?key=abc&a=b HTTP~abc~GET /x
GET /x?access_token=abc~abc~GET /x
curl -u me:hunter2 http://h/~hunter2~curl -u
header="Basic YWxhZGRpbjpvcGVu"~YWxh~header=
api_keys=abc~abc~api_keys
db_pass1=abc~abc~db_pass1
token dop_v1_0123456789abcdef~0123~token
hvs.CAESIabcdef~CAES~…
tool --user me:hunter2~hunter2~tool --user
tool --api-token abc --verbose~abc~--api-token
tool --password hunter2~hunter2~--password
is glc_abc valid~glc_~valid
user = "me:hunter2"~hunter2~user
me:$2y$10$abcdefghijkl.mnop~abcdef~me:
STRIPE_KEY=abc~abc~STRIPE_KEY
is glsa_abcdefghijkl_12345678 valid~glsa_~valid
is eyJhbGciOiJIUzI1NiJ9.e30.abc-_ valid~e30~valid
is ghp_abcdefghij valid~ghp_~valid
is github_pat_11ABC_defghij valid~11ABC~valid
is glpat-abcdefghij valid~abcdefghij~valid
is xoxb-123-456-abc valid~xoxb~valid
is sk-abcdefghij0123456789 valid~sk-abc~valid
https://hooks.slack.com/services/T0/B0/abc~T0/B0~hooks.slack.com
signs with 8xLOfP0Wnq3v2Hq9bqz0Jb4mQxT1aYcK here~8xLOf~here
signs with wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY now~K7MDENG~signs with
key=-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----~MIIE~key=
credentials: abc~abc~credentials
machine h login me password hunter2~hunter2~machine h
sshpass -p hunter2 ssh me@h~hunter2~sshpass
passphrase: abc~abc~passphrase
SetCredential=central:abc~abc~SetCredential
END
}

test_blocks_are_masked() {
  local seen
  seen=$(printf '%s\n' 'before' 'Nov 28 host alloy[1]: -----BEGIN RSA PRIVATE KEY-----' \
    'Nov 28 host alloy[1]: MIIEow' 'abc=' '-----END RSA PRIVATE KEY-----' 'between' \
    'password: |' '  hunter2' 'token:' '    hunter3' '-----BEGIN EC PRIVATE KEY-----' 'MHcC' \
    '== verify' 'after' | mask_secrets)
  lacks "$seen" MIIEow
  lacks "$seen" abc
  lacks "$seen" hunter
  lacks "$seen" MHcC
  contains "$seen" before
  contains "$seen" between
  contains "$seen" $'\n== verify\nafter'
  seen=$(printf '%s\n' \
    '"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n" in a line' 'after' |
    mask_secrets)
  lacks "$seen" MIIE
  contains "$seen" $'in a line\nafter'
}

test_the_rest_stays_readable() {
  local line
  while IFS= read -r line; do
    equal "line" "$(mask_secrets <<<"$line")" "$line"
  done <<'END'
✗ https://a.example/w accepts remote write: does not accept remote write at this path (HTTP 404)
12 passed, 0 failed
✓ Grafana on 127.0.0.1:3001 answers
url=http://127.0.0.1:9090/api/v1/write level=warn err="server returned HTTP status 400 Bad Request"
/opt/metrics-stack/grafana store/grafana-13.2.3-6107ad27
/store/prometheus-3.13.4-87f21a66f96c597a189cef8d640e8921b621fc17a9feff707c332c4f3b3ddd56
InvocationID=5f3c1a9b0e8d4c7fa2b6d1e09c3f7a58
2026-11-28T19:25:26+0000 host systemd[1]: Started metrics-alloy.service - Grafana Alloy.
Id=user@1000.service
MemoryPeak=104857600
uid "metrics-service": /etc/metrics-stack/grafana/dashboards/service.json, /etc/a.json
msg="Done replaying WAL" component_path=/ component_id=prometheus.remote_write.local duration=7.8s
tcp LISTEN 0 4096 127.0.0.1:8000 0.0.0.0:*
END
}

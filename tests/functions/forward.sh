# What the check of a receiver makes of its answers, what is waited for before Alloy stops, and how
# hints repeat a command.
# shellcheck shell=bash

# A server that answers each path with the status and the text of a line `PATH STATUS TEXT`, and
# reads a write as Prometheus does at /reads. With a file NAME.pem in its directory, over TLS.
readonly SERVER='
import http.server, os, ssl, sys
answers = dict(line.rstrip("\n").split(" ", 1) for line in open(sys.argv[1]))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, _, text = answers[self.path].partition(" ")
        if self.path == "/reads" and body != b"\0":
            status, text = "400", "snappy: corrupt input"
        self.send_response(int(status))
        self.end_headers()
        self.wfile.write(text.replace("\\n", "\n").encode())
    do_GET = do_POST
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
open(sys.argv[2] + ".part", "w").write(str(server.server_address[1]))
os.rename(sys.argv[2] + ".part", sys.argv[2])
server.serve_forever()
'
# serve NAME [CERTIFICATE]: leaves its port in PORT. It ends with the test.
serve() {
  python3 -c "$SERVER" "$SCRATCH/answers" "$SCRATCH/port-$1" "${@:2}" >/dev/null 2>&1 &
  SERVERS+=($!)
  trap 'kill "${SERVERS[@]}"' EXIT
  for _ in {1..100}; do [[ -e $SCRATCH/port-$1 ]] || sleep 0.1; done
  PORT=$(<"$SCRATCH/port-$1")
}
SERVERS=()

# checked URL: what is wrong with it, and the hint.
checked() {
  SETTINGS=(["url"]=$1)
  check_endpoint
  printf '%s|%s|%s' "$ENDPOINT_ERROR" "$RETRYABLE" "$HINT"
}

test_only_a_receiver_takes_samples() {
  local path status text soon words seen
  while IFS='|' read -r path status text soon words; do
    echo "$path $status $text" >>"$SCRATCH/answers"
  done <<<"$CASES"
  serve plain
  while IFS='|' read -r path status text soon words; do
    seen=$(checked "http://127.0.0.1:$PORT$path")
    if [[ -z $words ]]; then
      equal "refusal of $path" "${seen%%|*}" ""
    else
      contains "$seen" "$words"
      contains "$seen" "|$soon|"
    fi
  done <<<"$CASES"
}
# path | status | body | may pass by itself | refusal, or nothing where it takes samples
# A backslash continues a line.
CASES='/prometheus|204||
/mimir|200||
/reads|200|accepted|
/content|400|snappy: decoded block is empty|
/none|400|no samples in the request|
/victoria|400|unsupported path requested: "/api/v1/push"||\
does not accept remote write at this path (HTTP 400: unsupported path requested: "/api/v1/push")
/vmauth|400|user fleet missing route for ""||\
does not accept remote write at this path (HTTP 400: user fleet missing route for "")
/cluster|400|cannot parse path "/insert/": cannot find {authToken}||(HTTP 400: cannot parse path
/api/v1/query|400|\
{"status":"error","errorType":"bad_data","error":"no expression found in input"}||\
does not accept remote write at this path
/bare|400|||does not accept remote write at this path (HTTP 400)
/receiver|404|remote write receiver needs to be enabled with --web.enable-remote-write-receiver||\
enable remote write there
/missing|404|404 page not found||\
does not accept remote write at this path (HTTP 404: 404 page not found)
/media|415|unsupported||does not accept remote write at this path (HTTP 415: unsupported)
/moved|302|<a href="/login">Found</a>||does not accept remote write at this path (HTTP 302
/health|200|OK||does not accept remote write at this path (HTTP 200: OK)
/page|200|\n  <!doctype html>\n<html>||\
does not accept remote write at this path (HTTP 200: <!doctype html>)
/login|401|Unauthorized||rejected the credentials (HTTP 401)
/busy|429|too many requests|1|returned HTTP 429: too many requests
/down|502|Bad Gateway|1|returned HTTP 502: Bad Gateway'
readonly CASES=${CASES//\\$'\n'/}

test_an_address_that_nobody_answers_is_named() {
  contains "$(checked http://127.0.0.1:1/api/v1/write)" "does not respond: curl: (7)"
  contains "$(checked 'http://[::1]:1/api/v1/write')" "does not respond: curl: (7)"
  contains "$(checked https://127.0.0.1:99999/api/v1/write)" "is not a URL||"
  echo '/ 204 ' >"$SCRATCH/answers"
  serve without_tls
  contains "$(checked "https://127.0.0.1:$PORT/")" "failed the TLS handshake: curl: (35)"
}

# Go does not look at the common name, curl does.
test_a_certificate_needs_its_name_as_alternative_name() {
  local host subject extension words name number=0
  echo '/ 204 ' >"$SCRATCH/answers"
  while IFS='|' read -r host subject extension words; do
    name=certificate-$((++number))
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
      -subj "/CN=$subject" ${extension:+-addext "subjectAltName=$extension"} \
      -keyout "$SCRATCH/$name.key" -out "$SCRATCH/$name.crt" 2>/dev/null
    cat "$SCRATCH/$name.key" "$SCRATCH/$name.crt" >"$SCRATCH/$name.pem"
    serve "$name" "$SCRATCH/$name.pem"
    SETTINGS=(["url"]="https://$host:$PORT/" ["ca"]=$SCRATCH/$name.crt)
    check_endpoint
    if [[ -z $words ]]; then
      equal "refusal of CN=$subject, $extension" "$ENDPOINT_ERROR" ""
    else
      contains "$ENDPOINT_ERROR" "$words"
    fi
  done <<'END'
localhost|localhost|DNS:localhost|
localhost|other|DNS:localhost|
127.0.0.1|other|IP:127.0.0.1|
localhost|localhost||has a certificate without subjectAltName
127.0.0.1|127.0.0.1||has a certificate without subjectAltName
localhost|localhost|email:a@b.example|has a certificate without subjectAltName
a.b.localhost|*.b.localhost|DNS:*.b.localhost|
a.b.localhost|*.b.localhost||has a certificate without subjectAltName
localhost|localhost|DNS:other.example|failed TLS verification
END
}

# Alloy's metrics have a queue for each receiver.
curl_local() {
  echo "$1" >>"$SCRATCH/asked"
  local host=http://127.0.0.1
  sed 's/^/prometheus_remote_storage_samples_pending/' <<END
{component_id="a",remote_name="local",url="$host:1/api/v1/write"} 327
{component_id="b",remote_name="forward",url="$host:$PORT/write"} 12
{component_id="c",remote_name="idle",url="$host:$PORT/idle"} 0
END
}
# drained: how often Alloy was asked until drain ended.
drained() {
  # shellcheck disable=SC2317  # drain calls it
  sleep() { :; }
  rm -f "$SCRATCH/asked"
  drain
  wc -l <"$SCRATCH/asked"
}
test_the_queue_of_a_receiver_that_does_not_answer_is_not_waited_for() {
  printf '%s\n' '/write 405 ' '/idle 204 ' >"$SCRATCH/answers"
  serve answering
  equal "looks at the queue of one that answers" "$(drained)" 101
  PORT=1
  equal "looks at the queues of none" "$(drained)" 1
  echo '/write 503 ' >"$SCRATCH/answers"
  serve failing
  equal "looks at the queue of one that fails" "$(drained)" 1
}

test_loopback_addresses_are_renamed() {
  local address regex
  SETTINGS=(["url"]=https://a.example/api/v1/write)
  regex=$(forward_alloy | sed -n 's/^\t*regex *= "\(.*\)"$/^\1$/p')
  is_renamed() {
    python3 -c 'import re, sys; sys.exit(not re.match(sys.argv[1], sys.argv[2]))' "$regex" "$1"
  }
  contains "$(forward_alloy)" "replacement   = constants.hostname + \"\$1\""
  for address in 127.0.0.1:9200 127.0.0.1 localhost:9200 LocalHost:80 localhost.localdomain:80 \
    ip6-localhost:80 '[::1]:9200' '[::1]' 127.0.1.1:80 127.255.255.254:80 0.0.0.0:80 \
    '[::]:80' '[0:0:0:0:0:0:0:1]:80' '[::ffff:127.0.0.1]:80' \
    '[0000:0000:0000:0000:0000:0000:0000:0001]:80'; do
    is_renamed "$address" || { echo "not renamed: $address" && return 1; }
  done
  for address in 10.0.0.1:9200 shop:9200 mylocalhost:80 localhost.example:80 127.example:80 \
    '[::2]:80' '[fe80::1]:80' 1270.0.0.1:80; do
    ! is_renamed "$address" || { echo "renamed: $address" && return 1; }
  done
}

test_urls_have_https_except_on_the_loopback() {
  local url
  for url in https://a.example/w 'https://[2001:db8::1]:8427/w' 'https://[::ffff:10.0.0.1]/w' \
    http://127.0.0.1:8428/w http://localhost/w 'http://[::1]:8428/api/v1/write' \
    https://a.example/@x/w; do
    OPTIONS=(["url"]=$url)
    merge_settings
  done
  for url in http://a.example/w http://10.0.0.1/w 'http://[2001:db8::1]/w' \
    http://127.0.0.1.example/w https://user:word@a.example/w ftp://a.example/w https:///w \
    http://localhost:x@evil/w https://me@a.example/w http://localhost:80:b/w; do
    OPTIONS=(["url"]=$url)
    fails merge_settings
    contains "$OUTPUT" \
      "invalid --forward-url (must be https:// unless on loopback, without a password)"
  done
}

test_hints_quote_what_they_repeat() {
  # As for a user who is not root.
  eval "$(declare -f require_root | sed 's/EUID -eq 0/EUID -lt 0/')"
  fails require_root --forward-url 'https://a.example/w?a=1&b=2' --from "/my files"
  contains "$OUTPUT" "--forward-url https://a.example/w\\?a=1\\&b=2 --from /my\\ files"
  equal "words" "$(shell_words a 'b c' "d'e" "\$f" '')" "a b\\ c d\\'e \\\$f ''"
  eval "set -- $(shell_words a 'b c' "d'e" "\$f" '')"
  equal "words that a shell reads" "$# $2 $3 $4" "5 b c d'e \$f"
}

# curl with GnuTLS prints the common name of every certificate.
test_a_common_name_counts_only_with_openssl() {
  local backend
  SETTINGS=(["url"]=https://a.example/w)
  remote_write() { echo '*   common name: a.example (matched)'; }
  for backend in OpenSSL/3.5.1 GnuTLS/3.8.9; do
    curl() { echo "curl 8.14.1 libcurl/8.14.1 $BACKEND zlib/1.3.1"; }
    BACKEND=$backend
    equal "with $backend" "$(has_common_name_only && echo refused)" \
      "$([[ $backend != OpenSSL* ]] || echo refused)"
  done
}

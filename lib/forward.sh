# Forwarding to a central server.

# forward: stores the credentials and checks the endpoint, before anything changes.
forward() {
  local key
  for key in password token ca; do
    [[ -z ${OPTIONS[$key]-} ]] || store_secret "$key" < <(text_of "${OPTIONS[$key]}")
  done
  check_endpoint
  if [[ -z $ENDPOINT_ERROR ]]; then
    say "    ${SETTINGS["url"]} accepts remote write"
  elif [[ -n $RETRYABLE ]]; then
    warn "${SETTINGS["url"]} $ENDPOINT_ERROR; samples wait on disk until it recovers"
  else
    die "${SETTINGS["url"]} $ENDPOINT_ERROR" "$HINT"
  fi
}

# remote_curl CURL-OPTION...: keeps Alloy's credentials out of the command line.
remote_curl() {
  curl --disable --globoff --noproxy '*' --silent --show-error --max-time 15 \
    --config <(curl_credentials) "$@"
}
curl_credentials() {
  # Without capath, a directory without certificates, curl would also accept the host's CAs; Alloy
  # does not.
  if has_secret ca; then
    printf 'cacert = "%s"\ncapath = "/run/systemd/system"\n' "${SETTINGS["ca"]}"
  fi
  if [[ -n ${SETTINGS["tenant"]-} ]]; then
    printf 'header = "X-Scope-OrgID: %s"\n' "${SETTINGS["tenant"]}"
  fi
  if has_secret password; then
    printf 'user = "%s:%s"\n' "${SETTINGS["user"]}" "$(quote_for_curl "${SETTINGS["password"]}")"
  elif has_secret token; then
    printf 'header = "Authorization: Bearer %s"\n' "$(quote_for_curl "${SETTINGS["token"]}")"
  fi
}
# Like Alloy, ignores trailing blanks.
quote_for_curl() { sed 's/[[:space:]]*$//; s/[\\"]/\\&/g' "$1"; }

# remote_write BYTES CURL-OPTION...
remote_write() {
  printf '%b' "$1" | remote_curl --data-binary @- --header 'Content-Type: application/x-protobuf' \
    --header 'Content-Encoding: snappy' --header 'X-Prometheus-Remote-Write-Version: 0.1.0' \
    "${@:2}" "${SETTINGS["url"]}"
}
# A compressed WriteRequest without samples, which is just its length, and an invalid body
readonly EMPTY='\0' UNREADABLE='\001\000x'

# check_endpoint: leaves in ENDPOINT_ERROR why it rejects samples, in HINT what to do, in RETRYABLE
# whether it might recover by itself.
check_endpoint() {
  local response code line status=0 option="rerun sudo $SCRIPTS/install.sh with"
  ENDPOINT_ERROR='' RETRYABLE='' HINT="check that it is running and reachable from this host"
  response=$(remote_write "$EMPTY" --write-out '\n%{http_code}' 2>&1 | tr '\0' '?') || status=$?
  code=${response##*$'\n'}
  line=$(grep --max-count=1 '[[:graph:]]' <<<"${response%$'\n'*}" |
    sed 's/[^[:print:]]//g; s/^ *\(.\{,200\}\).*/\1/') || :
  case $status:$code in
  0:401 | 0:403)
    ENDPOINT_ERROR="rejected the credentials (HTTP $code)"
    HINT="$option another --forward-password-file or --forward-token-file, or add --forward-tenant"
    ;;
  0:408 | 0:429 | 0:5??) ENDPOINT_ERROR="returned HTTP $code${line:+: $line}" RETRYABLE=1 ;;
  0:*) check_response "$code" "$line" ;;
  3:*) ENDPOINT_ERROR="is not a URL" HINT="$option another --forward-url" ;;
  6:*) ENDPOINT_ERROR="cannot be resolved" HINT="fix DNS, or $option another --forward-url" ;;
  35:*) ENDPOINT_ERROR="failed the TLS handshake: $line" ;;
  51:* | 60:* | 77:*)
    ENDPOINT_ERROR="failed TLS verification: $line"
    HINT="$option --forward-ca FILE, the endpoint's CA certificate"
    ;;
  *) ENDPOINT_ERROR="does not respond: $line" RETRYABLE=1 ;;
  esac
}

# check_response CODE FIRST-LINE
check_response() {
  if ! is_write_response "$1" "$2"; then
    ENDPOINT_ERROR="does not accept remote write at this path (HTTP $1${2:+: $2})"
    HINT="enable remote write there, or $option its remote-write URL as --forward-url"
  elif has_common_name_only; then
    ENDPOINT_ERROR="has a certificate without subjectAltName, which Alloy rejects"
    HINT="add the host of the URL to its certificate as subjectAltName"
  fi
}

# is_write_response CODE FIRST-LINE: whether that is a receiver's response to an empty write. Pages
# such as /health return 200 for any body, and servers without remote write a 400 not about it.
is_write_response() {
  case $1 in
  2??)
    [[ -z $2 ]] ||
      [[ $(remote_write "$UNREADABLE" --output /dev/null --write-out '%{http_code}') != 2?? ]]
    ;;
  400) [[ $2 =~ snappy|protobuf|WriteRequest|empty|no\ (samples|series|time\ ?series) ]] ;;
  *) return 1 ;;
  esac
}

# Go ignores the common name of a certificate. curl with OpenSSL accepts it, and reports so. With
# GnuTLS, curl always prints that line.
has_common_name_only() {
  [[ ${SETTINGS["url"]} == https:* && $(curl --version) == *OpenSSL/* ]] &&
    remote_write "$EMPTY" --verbose --output /dev/null 2>&1 |
    grep '^\* *common name: .*(matched)' >/dev/null
}

# queue_metric NAME: prints Alloy's value for the queue to the central server.
queue_metric() {
  curl_local 12345/metrics 2>/dev/null |
    awk -v name="prometheus_remote_storage_$1{" -v url="url=\"${SETTINGS["url"]-}\"" '
      index($0, name) == 1 && index($0, url) && /remote_name="forward"/ { printf "%d", $NF }'
}
# The queue's counters can't show it, because forward.alloy sends Alloy's own metrics in any case.
outputs_forward() {
  grep --quiet --recursive --include='*.alloy' --exclude=forward.alloy \
    '^[^/]*prometheus\.remote_write\.forward\.receiver' "$ETC/alloy" ||
    fail "your edited version does not"
}
# samples_sent TIME FAILED: rejected samples count as sent, so failed ones are compared as well.
samples_sent() {
  local last failed
  last=$(queue_metric queue_highest_sent_timestamp_seconds)
  failed=$(queue_metric samples_failed_total)
  ((failed <= ${2:-0})) || fail "the server rejected $((failed - ${2:-0})) samples" || return
  ((last >= $1)) || fail "nothing sent, $(queue_metric samples_pending) samples pending"
}

# can_authenticate: whether this user can read each credential.
can_authenticate() {
  local key
  for key in password token ca; do ! has_secret "$key" || [[ -r ${SETTINGS[$key]} ]] || return; done
}
# query_url: prints the base of the query API, derived from the paths of known servers.
query_url() {
  local url=${SETTINGS["url"]%%\?*}
  case ${SETTINGS["query-url"]-}:$url in
  http*:http*) echo "${SETTINGS["query-url"]%/}" ;;
  */api/prom/push) echo "${url%/push}" ;;
  */api/v1/push) echo "${url%/api/v1/push}/prometheus" ;;
  */insert/*) url=${url%/api/v1/write} && echo "${url/\/insert\//\/select\/}" ;;
  *) echo "${url%/api/v1/*}" ;;
  esac
}
remote_query() {
  remote_curl --fail --get --data-urlencode "query=$1" "$(query_url)/api/v1/query" 2>/dev/null
}
remote_answers() { remote_query 1 | grep '"status":"success"'; }
remote_value() { remote_query "$1" | sample_value; }

# stage_forwarding: adds the settings to the staged release, or removes forward.alloy.
stage_forwarding() {
  local key outputs=$STAGED/etc/alloy/outputs.alloy
  if [[ -z ${SETTINGS["url"]-} ]]; then
    rm -f "$STAGED/etc/alloy/forward.alloy"
    return
  fi
  forward_alloy >"$STAGED/etc/alloy/forward.alloy"
  if role_has prometheus; then
    sed -i 's/\(prometheus.*\)local\.receiver\]/\1local.receiver, \1forward.receiver]/' "$outputs"
  else
    sed -i -e 's/local\.receiver\]/forward.receiver]/' \
      -e '/^\/\/ The Prometheus of this host/,/^$/d' "$outputs"
  fi
  for key in password token ca; do
    if has_secret "$key"; then pass_secret alloy "$key" "forward-$key"; fi
  done
}

# forward_alloy: prints forward.alloy without the blocks that are not needed.
forward_alloy() {
  local text delete=(-e '') key
  local -A blocks=(["password"]=basic_auth ["token"]=authorization ["ca"]=tls_config)
  for key in "${!blocks[@]}"; do
    has_secret "$key" || delete+=(-e "/^\t\t${blocks[$key]}/,/^$/d")
  done
  [[ -n ${SETTINGS["tenant"]-} ]] || delete+=(-e '/^\t\theaders/,/^$/d')
  text=$(sed "${delete[@]}" "$ROOT/etc/alloy/forward.alloy")
  for key in url user tenant; do text=${text//"FORWARD_${key^^}"/"${SETTINGS[$key]-}"}; done
  say "$text"
}

# Forwarding to a central server, and the role of a host that stores no samples itself.

# SETTINGS: role (agent or nothing), url, user, tenant, query-url, and the files password, token,
# ca, admin-password (Grafana's) and notify (Alertmanager's configuration). The release keeps them
# in its file `options`. A changed file gets a new path, so a rollback restores the old one.
declare -A SETTINGS=() STORED=()
CREDENTIALS=$STATE/credentials
readonly FORWARD_NAMES=(url user tenant query-url password token ca)
readonly SETTING_NAMES=(role "${FORWARD_NAMES[@]}" admin-password notify)

# load_settings: from the pending release, the active one, or the last one before an uninstall.
load_settings() {
  local release key value
  # shellcheck disable=SC2046  # releases are words
  for release in "$OPT"/{pending,current} $(ls -d --sort=time "$RELEASES"/* 2>/dev/null); do
    [[ ! -d $release ]] || break
  done
  [[ -e $release/options ]] || return 0
  while read -r key value; do SETTINGS[$key]=$value STORED[$key]=$value; done <"$release/options"
}

# role_has NAME: NAME is or contains the name of a component. Alertmanager's files are named after
# it, except the directory alertmanagers.d, which is always there.
role_has() {
  [[ ${SETTINGS["role"]-} != agent || $1 != *@(prometheus|grafana)* ]] &&
    [[ -n ${SETTINGS["notify"]-}$NOTIFY || $1 != *alertmanager?(.*) ]]
}
# apply_role: removes what the role does not have from the lists.
apply_role() {
  local name components=() units=()
  for name in "${ARCHIVE_COMPONENTS[@]}"; do ! role_has "$name" || components+=("$name"); done
  for name in "${UNITS[@]}"; do ! role_has "$name" || units+=("$name"); done
  ARCHIVE_COMPONENTS=("${components[@]}") UNITS=("${units[@]}")
}

# merge_settings: applies this run's options to the stored settings. A new URL replaces those of
# forwarding, so no credentials are sent elsewhere.
merge_settings() {
  local key
  load_settings
  if [[ -n $DRY_RUN ]]; then CREDENTIALS=$RUN/credentials; fi
  if [[ -n $NO_NOTIFY ]]; then unset 'SETTINGS["notify"]'; fi
  if [[ -n ${OPTIONS["none"]-}${OPTIONS["url"]-} ]]; then
    for key in "${FORWARD_NAMES[@]}"; do unset "SETTINGS[$key]"; done
  fi
  if [[ -n ${OPTIONS["password"]-} ]]; then unset 'SETTINGS["token"]'; fi
  if [[ -n ${OPTIONS["token"]-} ]]; then unset 'SETTINGS["user"]' 'SETTINGS["password"]'; fi
  for key in role url user tenant query-url; do
    if [[ -n ${OPTIONS[$key]-} ]]; then SETTINGS[$key]=${OPTIONS[$key]}; fi
  done
  check_settings
  check_credentials
  check_password
  if [[ ${SETTINGS["role"]-} == full ]]; then unset 'SETTINGS["role"]'; fi
  apply_role
}

check_settings() {
  local key value url=${SETTINGS["url"]-} role=${SETTINGS["role"]-}
  local allowed='^(https://[^/@]+|http://(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?)(/.*)?$'
  for key in url query-url user tenant; do
    value=${SETTINGS[$key]-}
    # These would break Alloy's configuration, curl's, or the file `options`.
    [[ $value != *[[:space:][:cntrl:]\"\\]* ]] ||
      usage_error "invalid $key (contains a blank, quote, backslash or control character)"
    [[ $key != *url || -z $value || $value =~ $allowed ]] ||
      usage_error "invalid $key (must be https:// unless on loopback, without a password)"
  done
  [[ $role == @(|agent|full) ]] || usage_error "invalid role: $role (agent or full)"
  [[ -n $url || $role != agent ]] ||
    usage_error "an agent stores no samples: add --forward-url URL, or use --role full"
  [[ -z $PASSWORD_FILE || $role != agent ]] ||
    usage_error "an agent has no Grafana: omit --grafana-password-file, or use --role full"
  [[ -z ${SETTINGS["notify"]-}$NOTIFY || $role != agent ]] ||
    usage_error "an agent has no alerts, the central server notifies: use --no-notify"
  for key in "${!OPTIONS[@]}"; do
    [[ $key != @(role|none) ]] || continue
    [[ -z ${OPTIONS["none"]-} ]] ||
      usage_error "--no-forward and the other --forward options exclude each other"
    [[ -n $url ]] || usage_error "forwarding is not configured: add --forward-url URL"
  done
}

check_credentials() {
  # A text in UTF-16 begins with bytes that UTF-8 never has.
  local key user=${SETTINGS["user"]-} password=${OPTIONS["password"]-} token=${OPTIONS["token"]-}
  local line=$'[^[:space:]\xFE\xFF][^[:cntrl:]]*'
  [[ -z $token || -z ${OPTIONS["user"]-}$password ]] ||
    usage_error "use a password or a token, not both"
  if [[ -z $password$token ]] && has_secret password; then password=stored; fi
  [[ ${user:+1} == "${password:+1}" ]] ||
    usage_error "--forward-user needs --forward-password-file, and the other way round"
  for key in password token; do
    [[ -z ${OPTIONS[$key]-} || $(text_of "${OPTIONS[$key]}" | tr -d '\0') =~ ^$line$ ]] ||
      usage_error "${OPTIONS[$key]} is not one line with the $key, in UTF-8"
  done
  [[ -z ${OPTIONS["ca"]-} ]] || grep --quiet -e '-BEGIN CERTIFICATE-' "${OPTIONS["ca"]}" ||
    usage_error "${OPTIONS["ca"]} contains no certificate"
}

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

# store_secret SETTING: stores standard input in a root-only file, unless it is stored already.
store_secret() {
  local file
  mkdir -p "$CREDENTIALS"
  file=$(mktemp "$CREDENTIALS/XXXXXX")
  cat >"$file"
  sync "$CREDENTIALS" "$file"
  SETTINGS[$1]=$file
  if cmp --silent "${STORED[$1]-}" "$file"; then SETTINGS[$1]=${STORED[$1]}; fi
}
has_secret() { [[ -e ${SETTINGS[$1]-} ]]; }

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
# A compressed WriteRequest without samples is just its length; and a body that cannot be decoded.
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
  35:* | 51:* | 60:* | 77:*)
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
# Alloy's own metrics are forwarded in any case.
outputs_forward() {
  grep --quiet '^[^/]*prometheus\.remote_write\.forward\.receiver' "$ETC/alloy/outputs.alloy" ||
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
    ! grep --quiet '^[^/]*local' "$outputs" || die "cannot edit $outputs" "report a bug"
  fi
  grep --quiet '^[^/]*forward\.receiver\]' "$outputs" || die "cannot edit $outputs" "report a bug"
  for key in password token ca; do
    if has_secret "$key"; then pass_secret alloy "$key" "forward-$key"; fi
  done
}

# pass_secret COMPONENT SETTING NAME: adds a drop-in that passes the file to the unit.
pass_secret() {
  local directory=$STAGED/systemd/metrics-$1.service.d
  mkdir -p "$directory"
  printf '%s\n' "# A root-only file, for $1 as the credential $3" "[Service]" \
    "LoadCredential=$3:${SETTINGS[$2]}" >"$directory/$3.conf"
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

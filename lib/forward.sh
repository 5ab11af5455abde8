# Where else the samples go, and the role of a host that keeps none itself. What install.sh was told of both is in the release, in
# the file `options`, so that a later run without options keeps it. Credentials are not: there stands only the folder where they lie.

# A changed credential gets a folder of its own, which the release names: going back to a release goes back to its credentials.
CREDENTIALS=$STATE/credentials
# role (agent, or nothing), url, user, tenant, query-url, credentials: a folder with password, token, ca, as far as there are any.
declare -A SETTINGS=()

# load_settings: what the release says that is being activated, is active, or was left by an uninstall.
load_settings() {
  local release key value
  # shellcheck disable=SC2012  # ids are words
  release=$(readlink --canonicalize-existing "$OPT/pending" || readlink --canonicalize-existing "$OPT/current" || ls --directory --sort=time "$RELEASES"/* 2>/dev/null | sed -n 1p) || :
  while read -r key value; do SETTINGS[$key]=$value; done < <(cat "${release:-/nowhere}/options" 2>/dev/null)
}

role_has() { [[ ${SETTINGS["role"]-} != agent || $1 != *@(prometheus|grafana)* ]]; }
# apply_role: where the lists of what there is get shorter.
apply_role() {
  role_has prometheus && return
  ARCHIVE_COMPONENTS=(alloy)
  mapfile -t UNITS < <(printf '%s\n' "${UNITS[@]}" | grep -v -E 'prometheus|grafana')
}

# merge_settings: what this run was told, on top of what the host has. A receiver is told as a whole: nothing of another one goes to it.
OLD_CREDENTIALS=''
merge_settings() {
  local key role
  load_settings
  OLD_CREDENTIALS=${SETTINGS["credentials"]:-/nowhere} role=${SETTINGS["role"]-}
  [[ -z ${OPTIONS["none"]-}${OPTIONS["url"]-} ]] || SETTINGS=(["role"]=$role)
  for key in role url user tenant query-url; do [[ -z ${OPTIONS[$key]-} ]] || SETTINGS[$key]=${OPTIONS[$key]}; done
  [[ -z ${OPTIONS["token"]-} ]] || unset 'SETTINGS["user"]'
  [[ ${SETTINGS["role"]-} != full ]] || unset 'SETTINGS["role"]'
  check_options
  apply_role
}

check_options() {
  # A text in UTF-16 begins with bytes that UTF-8 never has.
  local key secret=$'[^[:space:]\xFE\xFF][^[:cntrl:]]*' host='([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])' loopback='(localhost|127\.[0-9.]+|\[::1\])' rest='(:[0-9]+)?(/[][A-Za-z0-9._~%/@:=+&?,-]*)?'
  local -A form=(["role"]='agent' ["user"]='[A-Za-z0-9._@+/-]+' ["tenant"]="[A-Za-z0-9!._*'()|-]+" ["url"]="(https://$host|http://$loopback)$rest")
  form["query-url"]=${form["url"]}
  for key in "${!form[@]}"; do
    [[ ${SETTINGS[$key]-} =~ ^(${form[$key]})?$ ]] || usage_error "what is given as $key has another form (an address begins with https://, but on the loopback, and has no password in it)"
  done
  for key in "${!OPTIONS[@]}"; do
    [[ $key != @(role|none) ]] || continue
    [[ -z ${OPTIONS["none"]-} ]] || usage_error "--no-forward and the other --forward options exclude each other"
    [[ -n ${SETTINGS["url"]-} ]] || usage_error "this host forwards nowhere yet: --forward-url URL is needed, too"
  done
  [[ -n ${SETTINGS["url"]-} || ${SETTINGS["role"]-} != agent ]] || usage_error "an agent keeps no samples, so it has to forward them: --forward-url URL, or --role full"
  [[ -z ${OPTIONS["token"]-} || -z ${OPTIONS["user"]-}${OPTIONS["password"]-} ]] || usage_error "a receiver takes a password or a token, not both"
  [[ -z ${SETTINGS["user"]-} || -n ${OPTIONS["password"]-} || (-z ${OPTIONS["url"]-} && -e $OLD_CREDENTIALS/password) ]] || usage_error "--forward-user needs --forward-password-file"
  [[ -n ${SETTINGS["user"]-} || -z ${OPTIONS["password"]-} ]] || usage_error "--forward-password-file needs --forward-user"
  for key in password token; do
    [[ -z ${OPTIONS[$key]-} || $(text_of "${OPTIONS[$key]}" | tr -d '\0') =~ ^$secret$ ]] || usage_error "${OPTIONS[$key]} is not one line with the $key, in UTF-8"
  done
  [[ -z ${OPTIONS["ca"]-} ]] || grep --quiet -e '-BEGIN CERTIFICATE-' "${OPTIONS["ca"]}" || usage_error "${OPTIONS["ca"]} has no certificate"
}

# forward: takes the credentials, and asks the receiver whether it does, too, before anything changes.
forward() {
  local folder name
  [[ -z $DRY_RUN ]] || CREDENTIALS=$RUN/credentials
  if [[ -n ${OPTIONS["password"]-}${OPTIONS["token"]-}${OPTIONS["ca"]-} ]]; then
    mkdir -p "$CREDENTIALS"
    folder=$(mktemp --directory "$CREDENTIALS/XXXXXX")
    for name in password token ca; do
      if [[ -n ${OPTIONS[$name]-} ]]; then
        (umask 077 && text_of "${OPTIONS[$name]}" >"$folder/$name")
      elif has_credential "$name" && [[ $name == ca || -z ${OPTIONS["password"]-}${OPTIONS["token"]-} ]]; then
        cp --preserve=mode "${SETTINGS["credentials"]}/$name" "$folder"
      fi
    done
    if diff --recursive --brief "$OLD_CREDENTIALS" "$folder" >/dev/null 2>&1; then rm -rf "$folder" && folder=$OLD_CREDENTIALS; fi
    SETTINGS["credentials"]=$folder
    sync "$CREDENTIALS" "$folder" "$folder"/*
  fi
  check_endpoint
  if [[ -z $ENDPOINT_ERROR ]]; then
    say "    ${SETTINGS["url"]} takes samples"
  elif [[ -n $RETRYABLE ]]; then
    warn "${SETTINGS["url"]} $ENDPOINT_ERROR; samples wait on this host's disk meanwhile"
  else
    die "${SETTINGS["url"]} $ENDPOINT_ERROR" "$HINT"
  fi
}

# remote_curl CURL-OPTION...: asks the far end as Alloy does. What it logs in with goes in by a descriptor, as anyone may read a command line.
remote_curl() { curl --disable --globoff --noproxy '*' --silent --show-error --max-time 15 --config <(curl_credentials) "$@"; }
curl_credentials() {
  local folder=${SETTINGS["credentials"]-/nowhere} secret
  # The folder without certificates keeps curl from those of the host, which do not count beside a CA of one's own.
  [[ ! -e $folder/ca ]] || printf 'cacert = "%s"\ncapath = "%s"\n' "$folder/ca" "$folder"
  [[ -z ${SETTINGS["tenant"]-} ]] || printf 'header = "X-Scope-OrgID: %s"\n' "${SETTINGS["tenant"]}"
  for secret in "$folder"/{password,token}; do
    [[ -r $secret ]] || continue
    case $secret in
    *password) printf 'user = "%s:%s"\n' "${SETTINGS["user"]}" "$(quote_for_curl "$secret")" ;;
    *) printf 'header = "Authorization: Bearer %s"\n' "$(quote_for_curl "$secret")" ;;
    esac
  done
}
# Without the blanks at its end, as Prometheus' and Alloy's clients read such a file.
quote_for_curl() { sed 's/[[:space:]]*$//; s/[\\"]/\\&/g' "$1"; }

# far_write BYTES CURL-OPTION...: sends them to the receiver as the body of a remote write.
far_write() {
  printf '%b' "$1" | remote_curl --data-binary @- --header 'Content-Type: application/x-protobuf' --header 'Content-Encoding: snappy' \
    --header 'X-Prometheus-Remote-Write-Version: 0.1.0' "${@:2}" "${SETTINGS["url"]}"
}
# A WriteRequest without samples, compressed, is nothing but its length. Each known receiver answers 2xx with an empty body.
readonly EMPTY='\0' UNREADABLE='\001\000x'
# Without a word on the content of a write, status 400 comes from a server that has no remote write at that path.
readonly ON_CONTENT='snappy|protobuf|WriteRequest|empty|no (samples|series|time ?series)'

# check_endpoint: leaves in ENDPOINT_ERROR why the receiver takes no samples, in HINT what to do, in RETRYABLE whether that may pass by itself.
check_endpoint() {
  local answer code line status=0 option="run sudo $SCRIPTS/install.sh again with"
  ENDPOINT_ERROR='' RETRYABLE='' HINT="see whether it runs, and whether this host reaches it; samples wait on this host's disk"
  answer=$(far_write "$EMPTY" --write-out '\n%{http_code}' 2>&1 | tr '\0' '?') || status=$?
  code=${answer##*$'\n'}
  line=$(sed -n '/[[:graph:]]/ { s/[^[:print:]]//g; s/^ *\(.\{,200\}\).*/\1/; p; q }' <<<"${answer%$'\n'*}")
  case $status:$code in
  0:401 | 0:403)
    ENDPOINT_ERROR="refuses the login (status $code)"
    HINT="$option the right one: --forward-user and --forward-password-file, or --forward-token-file; some want --forward-tenant"
    ;;
  0:408 | 0:429 | 0:5??) ENDPOINT_ERROR="answers with status $code${line:+: $line}" RETRYABLE=1 ;;
  0:*)
    if takes_writes "$code" "$line"; then
      is_named_by_common_name || return 0
      ENDPOINT_ERROR="has a certificate with its name as common name (CN) only, which Alloy does not accept"
      HINT="give the receiver a certificate that has the host of its URL as subjectAltName"
    else
      ENDPOINT_ERROR="takes no samples at this path (status $code${line:+: $line})" HINT="$option the address for remote write in --forward-url"
      [[ $line != *remote-write-receiver* ]] || HINT="start the Prometheus there with the flag that it names"
    fi
    ;;
  3:*) ENDPOINT_ERROR="is no URL" HINT="$option another --forward-url" ;;
  6:*) ENDPOINT_ERROR="has a host that is not known here" HINT="$option another --forward-url, or correct this host's DNS" ;;
  35:* | 51:* | 60:* | 77:*) ENDPOINT_ERROR="can't be trusted: $line" HINT="$option --forward-ca FILE, the certificate of who signed the receiver's" ;;
  *) ENDPOINT_ERROR="does not answer: $line" RETRYABLE=1 ;;
  esac
}

# takes_writes STATUS FIRST-LINE-OF-BODY: whether that is a receiver's answer to an empty write. A page, such as /health, answers 200
# with a body, and also to a body that no receiver can read.
takes_writes() {
  case $1 in
  2??) [[ -z $2 || $(far_write "$UNREADABLE" --output /dev/null --write-out '%{http_code}') != 2?? ]] ;;
  400) [[ $2 =~ $ON_CONTENT ]] ;;
  *) return 1 ;;
  esac
}

# Alloy is written in Go, which reads the subjectAltName only. curl with OpenSSL falls back to the common name, and says so.
is_named_by_common_name() {
  [[ ${SETTINGS["url"]} == https:* && $(curl --version) == *OpenSSL* ]] &&
    far_write "$EMPTY" --verbose --output /dev/null 2>&1 | grep '^\* *common name: .*(matched)' >/dev/null
}

# The sender's view. A refused sample counts as sent, too, hence the look at those that were lost.
queue_metric() {
  curl_local 12345/metrics 2>/dev/null | awk -v name="prometheus_remote_storage_$1{" -v url="url=\"${SETTINGS["url"]-}\"" \
    'index($0, name) == 1 && index($0, url) && /remote_name="forward"/ { printf "%d", $NF }'
}
# Alloy's own metrics are sent in any case.
outputs_forward() { grep --quiet '^[^/]*prometheus\.remote_write\.forward\.receiver' "$ETC/alloy/outputs.alloy" || { echo "as it was edited, it does not" && return 1; }; }
# samples_sent TIME LOST
samples_sent() {
  local last lost
  last=$(queue_metric queue_highest_sent_timestamp_seconds) lost=$(queue_metric samples_failed_total)
  ((${lost:-0} <= ${2:-0})) || { echo "$((lost - ${2:-0})) samples were refused since, and are lost" && return 1; }
  ((${last:-0} >= $1)) || { echo "nothing was sent since, and $(queue_metric samples_pending) samples wait" && return 1; }
}

# The receiver's view, for who may read the credentials.
may_log_in() { [[ -z ${SETTINGS["credentials"]-} || -r ${SETTINGS["credentials"]} ]]; }
# The base of the query API: beside the receiver's path in VictoriaMetrics, Prometheus, Grafana Cloud and Thanos, below /prometheus in Mimir.
query_url() {
  local url=${SETTINGS["url"]%%\?*}
  if [[ -n ${SETTINGS["query-url"]-} ]]; then echo "${SETTINGS["query-url"]%/}" && return; fi
  case $url in
  */api/prom/push) echo "${url%/push}" ;;
  */api/v1/push) echo "${url%/api/v1/push}/prometheus" ;;
  */insert/*) url=${url%/api/v1/write} && echo "${url/\/insert\//\/select\/}" ;;
  *) echo "${url%/api/v1/*}" ;;
  esac
}
remote_query() { remote_curl --fail --get --data-urlencode "query=$1" "$(query_url)/api/v1/query"; }
remote_answers() { remote_query 1 2>/dev/null | grep '"status":"success"'; }
remote_value() { remote_query "$1" 2>/dev/null | sample_value; }

# stage_forwarding: what a release has more, or in an agent other, than a plain one.
stage_forwarding() {
  local key outputs=$STAGED/etc/alloy/outputs.alloy
  [[ -n ${SETTINGS["url"]-} ]] || return 0
  for key in role url user tenant query-url credentials; do [[ -z ${SETTINGS[$key]-} ]] || echo "$key ${SETTINGS[$key]}"; done >"$STAGED/options"
  if role_has prometheus; then
    sed -i 's/local\.receiver\]/local.receiver, prometheus.remote_write.forward.receiver]/' "$outputs"
  else
    sed -i -e 's/local\.receiver\]/forward.receiver]/' -e '/^\/\/ The Prometheus of this host/,/^$/d' "$outputs"
  fi
  forward_alloy >"$STAGED/etc/alloy/forward.alloy"
  [[ -n ${SETTINGS["credentials"]-} ]] || return 0
  mkdir "$STAGED/systemd/metrics-alloy.service.d"
  {
    printf '%s\n' "# What Alloy logs in with at the far end: files of root's, put there by install.sh --forward-…" '[Service]'
    for key in password token ca; do ! has_credential "$key" || echo "LoadCredential=forward-$key:${SETTINGS["credentials"]}/$key"; done
  } >"$STAGED/systemd/metrics-alloy.service.d/forward.conf"
}

has_credential() { [[ -e ${SETTINGS["credentials"]-/nowhere}/$1 ]]; }
credential_expression() { printf 'sys.env("CREDENTIALS_DIRECTORY") + "/forward-%s"' "$1"; }

forward_alloy() {
  local more='' loopback='127[.][0-9.]+|0[.]0[.]0[.]0|(?:ip6-)?localhost[46]?(?:[.]localdomain[46]?)?|ip6-loopback'
  loopback+='|[[](?:::1?|(?:0+:){7}0*1?|::ffff:(?:127[.][0-9.]+|7f[0-9a-f]{2}:[0-9a-f]+))[]]'
  [[ -z ${SETTINGS["tenant"]-} ]] || more+=$'\n\n\t\theaders = {"X-Scope-OrgID" = "'"${SETTINGS["tenant"]}"'"}'
  ! has_credential password || more+=$(alloy_block basic_auth "username      = \"${SETTINGS["user"]}\"" "password_file = $(credential_expression password)")
  ! has_credential token || more+=$(alloy_block authorization 'type             = "Bearer"' "credentials_file = $(credential_expression token)")
  ! has_credential ca || more+=$(alloy_block tls_config "ca_file = $(credential_expression ca)")
  cat <<END
// Where else the samples go, as install.sh was told by its options --forward-…: run it again with others to change it.

prometheus.remote_write "forward" {
	endpoint {
		name = "forward"
		url  = "${SETTINGS["url"]}"$more

		// An application on the loopback has the same address on every host: there it is known by the host's name and its port.
		write_relabel_config {
			source_labels = ["instance"]
			regex         = "(?i:$loopback)(:.*)?"
			target_label  = "instance"
			replacement   = constants.hostname + "\$1"
		}
	}
}

// Alloy's own metrics, for the far end alone: they show the queue to it.
prometheus.scrape "alloy" {
	job_name        = "alloy"
	targets         = [{"__address__" = "127.0.0.1:12345", "instance" = constants.hostname}]
	scrape_interval = "15s"
	forward_to      = [prometheus.remote_write.forward.receiver]
}
END
}
alloy_block() { printf '\n\n\t\t%s {' "$1" && printf '\n\t\t\t%s' "${@:2}" && printf '\n\t\t}'; }

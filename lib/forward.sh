# Where else the samples go, and the role of a host that keeps none itself. What install.sh was told of both is in the release, in
# the file `options`, so that a later run without options keeps it. Credentials are not: there stands only the folder where they lie.

# A changed credential gets a folder of its own, which the release names: going back to a release goes back to its credentials.
CREDENTIALS=$STATE/credentials
# role (agent, or nothing), url, user, tenant, query-url, credentials: a folder with password, token, ca, as far as there are any.
declare -A FORWARD=()

# recall: what the release says that is being activated, is active, or was left by an uninstall.
recall() {
  local release key value
  # shellcheck disable=SC2012  # ids are words
  release=$(readlink --canonicalize-existing "$OPT/pending" || readlink --canonicalize-existing "$OPT/current" || ls --directory --sort=time "$RELEASES"/* 2>/dev/null | sed -n 1p) || :
  while read -r key value; do FORWARD[$key]=$value; done < <(cat "${release:-/nowhere}/options" 2>/dev/null)
}

in_role() { [[ ${FORWARD["role"]-} != agent || $1 != *@(prometheus|grafana)* ]]; }
# take_role: where the lists of what there is get shorter.
take_role() {
  in_role prometheus && return
  ARCHIVED=(alloy)
  mapfile -t UNITS < <(printf '%s\n' "${UNITS[@]}" | grep -v -E 'prometheus|grafana')
}

# settle: what this run was told, on top of what the host has. A receiver is told as a whole: nothing of another one goes to it.
BEFORE=''
settle() {
  local key role
  recall
  BEFORE=${FORWARD["credentials"]:-/nowhere} role=${FORWARD["role"]-}
  [[ -z ${GIVEN["none"]-}${GIVEN["url"]-} ]] || FORWARD=(["role"]=$role)
  for key in role url user tenant query-url; do [[ -z ${GIVEN[$key]-} ]] || FORWARD[$key]=${GIVEN[$key]}; done
  [[ -z ${GIVEN["token"]-} ]] || unset 'FORWARD["user"]'
  [[ ${FORWARD["role"]-} != full ]] || unset 'FORWARD["role"]'
  check_options
  take_role
}

check_options() {
  # A text in UTF-16 begins with bytes that UTF-8 never has.
  local key secret=$'[^[:space:]\xFE\xFF][^[:cntrl:]]*' host='([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])' loopback='(localhost|127\.[0-9.]+|\[::1\])' rest='(:[0-9]+)?(/[][A-Za-z0-9._~%/@:=+&?,-]*)?'
  local -A form=(["role"]='agent' ["user"]='[A-Za-z0-9._@+/-]+' ["tenant"]="[A-Za-z0-9!._*'()|-]+" ["url"]="(https://$host|http://$loopback)$rest")
  form["query-url"]=${form["url"]}
  for key in "${!form[@]}"; do
    [[ ${FORWARD[$key]-} =~ ^(${form[$key]})?$ ]] || usage_error "what is given as $key has another form (an address begins with https://, but on the loopback, and has no password in it)"
  done
  for key in "${!GIVEN[@]}"; do
    [[ $key != @(role|none) ]] || continue
    [[ -z ${GIVEN["none"]-} ]] || usage_error "--no-forward and the other --forward options exclude each other"
    [[ -n ${FORWARD["url"]-} ]] || usage_error "this host forwards nowhere yet: --forward-url URL is needed, too"
  done
  [[ -n ${FORWARD["url"]-} || ${FORWARD["role"]-} != agent ]] || usage_error "an agent keeps no samples, so it has to forward them: --forward-url URL, or --role full"
  [[ -z ${GIVEN["token"]-} || -z ${GIVEN["user"]-}${GIVEN["password"]-} ]] || usage_error "a receiver takes a password or a token, not both"
  [[ -z ${FORWARD["user"]-} || -n ${GIVEN["password"]-} || (-z ${GIVEN["url"]-} && -e $BEFORE/password) ]] || usage_error "--forward-user needs --forward-password-file"
  [[ -n ${FORWARD["user"]-} || -z ${GIVEN["password"]-} ]] || usage_error "--forward-password-file needs --forward-user"
  for key in password token; do
    [[ -z ${GIVEN[$key]-} || $(text_of "${GIVEN[$key]}" | tr -d '\0') =~ ^$secret$ ]] || usage_error "${GIVEN[$key]} is not one line with the $key, in UTF-8"
  done
  [[ -z ${GIVEN["ca"]-} ]] || grep --quiet -e '-BEGIN CERTIFICATE-' "${GIVEN["ca"]}" || usage_error "${GIVEN["ca"]} has no certificate"
}

# forward: takes the credentials, and asks the receiver whether it does, too, before anything changes.
forward() {
  local folder name
  [[ -z $DRY_RUN ]] || CREDENTIALS=$RUN/credentials
  if [[ -n ${GIVEN["password"]-}${GIVEN["token"]-}${GIVEN["ca"]-} ]]; then
    mkdir -p "$CREDENTIALS"
    folder=$(mktemp --directory "$CREDENTIALS/XXXXXX")
    for name in password token ca; do
      if [[ -n ${GIVEN[$name]-} ]]; then
        (umask 077 && text_of "${GIVEN[$name]}" >"$folder/$name")
      elif has_credential "$name" && [[ $name == ca || -z ${GIVEN["password"]-}${GIVEN["token"]-} ]]; then
        cp --preserve=mode "${FORWARD["credentials"]}/$name" "$folder"
      fi
    done
    if diff --recursive --brief "$BEFORE" "$folder" >/dev/null 2>&1; then rm -rf "$folder" && folder=$BEFORE; fi
    FORWARD["credentials"]=$folder
    sync "$CREDENTIALS" "$folder" "$folder"/*
  fi
  refusal
  if [[ -z $REFUSAL ]]; then
    say "    ${FORWARD["url"]} takes samples"
  elif [[ -n $LATER ]]; then
    warn "${FORWARD["url"]} $REFUSAL; samples wait on this host's disk meanwhile"
  else
    die "${FORWARD["url"]} $REFUSAL" "$REMEDY"
  fi
}

# far CURL-OPTION...: asks the far end as Alloy does. What it logs in with goes in by a descriptor, as anyone may read a command line.
far() { curl --disable --globoff --noproxy '*' --silent --show-error --max-time 15 --config <(login) "$@"; }
login() {
  local folder=${FORWARD["credentials"]-/nowhere} secret
  # The folder without certificates keeps curl from those of the host, which do not count beside a CA of one's own.
  [[ ! -e $folder/ca ]] || printf 'cacert = "%s"\ncapath = "%s"\n' "$folder/ca" "$folder"
  [[ -z ${FORWARD["tenant"]-} ]] || printf 'header = "X-Scope-OrgID: %s"\n' "${FORWARD["tenant"]}"
  for secret in "$folder"/{password,token}; do
    [[ -r $secret ]] || continue
    case $secret in
    *password) printf 'user = "%s:%s"\n' "${FORWARD["user"]}" "$(quoted "$secret")" ;;
    *) printf 'header = "Authorization: Bearer %s"\n' "$(quoted "$secret")" ;;
    esac
  done
}
# Without the blanks at its end, as Prometheus' and Alloy's clients read such a file.
quoted() { sed 's/[[:space:]]*$//; s/[\\"]/\\&/g' "$1"; }

# far_write BYTES CURL-OPTION...: sends them to the receiver as the body of a remote write.
far_write() {
  printf '%b' "$1" | far --data-binary @- --header 'Content-Type: application/x-protobuf' --header 'Content-Encoding: snappy' \
    --header 'X-Prometheus-Remote-Write-Version: 0.1.0' "${@:2}" "${FORWARD["url"]}"
}
# A WriteRequest without samples, compressed, is nothing but its length. Each known receiver answers 2xx with an empty body.
readonly EMPTY='\0' UNREADABLE='\001\000x'
# Without a word on the content of a write, status 400 comes from a server that has no remote write at that path.
readonly ON_CONTENT='snappy|protobuf|WriteRequest|empty|no (samples|series|time ?series)'

# refusal: leaves in REFUSAL why the receiver takes no samples, in REMEDY what to do, in LATER whether that may pass by itself.
refusal() {
  local answer code line status=0 option="run sudo $SCRIPTS/install.sh again with"
  REFUSAL='' LATER='' REMEDY="see whether it runs, and whether this host reaches it; samples wait on this host's disk"
  answer=$(far_write "$EMPTY" --write-out '\n%{http_code}' 2>&1 | tr '\0' '?') || status=$?
  code=${answer##*$'\n'}
  line=$(sed -n '/[[:graph:]]/ { s/[^[:print:]]//g; s/^ *\(.\{,200\}\).*/\1/; p; q }' <<<"${answer%$'\n'*}")
  case $status:$code in
  0:401 | 0:403)
    REFUSAL="refuses the login (status $code)"
    REMEDY="$option the right one: --forward-user and --forward-password-file, or --forward-token-file; some want --forward-tenant"
    ;;
  0:408 | 0:429 | 0:5??) REFUSAL="answers with status $code${line:+: $line}" LATER=1 ;;
  0:*)
    if takes_writes "$code" "$line"; then
      is_named_by_common_name || return 0
      REFUSAL="has a certificate with its name as common name (CN) only, which Alloy does not accept"
      REMEDY="give the receiver a certificate that has the host of its URL as subjectAltName"
    else
      REFUSAL="takes no samples at this path (status $code${line:+: $line})" REMEDY="$option the address for remote write in --forward-url"
      [[ $line != *remote-write-receiver* ]] || REMEDY="start the Prometheus there with the flag that it names"
    fi
    ;;
  3:*) REFUSAL="is no URL" REMEDY="$option another --forward-url" ;;
  6:*) REFUSAL="has a host that is not known here" REMEDY="$option another --forward-url, or correct this host's DNS" ;;
  35:* | 51:* | 60:* | 77:*) REFUSAL="can't be trusted: $line" REMEDY="$option --forward-ca FILE, the certificate of who signed the receiver's" ;;
  *) REFUSAL="does not answer: $line" LATER=1 ;;
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
  [[ ${FORWARD["url"]} == https:* && $(curl --version) == *OpenSSL* ]] &&
    far_write "$EMPTY" --verbose --output /dev/null 2>&1 | grep '^\* *common name: .*(matched)' >/dev/null
}

# The sender's view. A refused sample counts as sent, too, hence the look at those that were lost.
queue() {
  local_get 12345/metrics 2>/dev/null | awk -v name="prometheus_remote_storage_$1{" -v url="url=\"${FORWARD["url"]-}\"" \
    'index($0, name) == 1 && index($0, url) && /remote_name="forward"/ { printf "%d", $NF }'
}
# Alloy's own metrics are sent in any case.
hub_forwards() { grep --quiet '^[^/]*prometheus\.remote_write\.forward\.receiver' "$ETC/alloy/outputs.alloy" || { echo "as it was edited, it does not" && return 1; }; }
# were_sent TIME LOST
were_sent() {
  local last lost
  last=$(queue queue_highest_sent_timestamp_seconds) lost=$(queue samples_failed_total)
  ((${lost:-0} <= ${2:-0})) || { echo "$((lost - ${2:-0})) samples were refused since, and are lost" && return 1; }
  ((${last:-0} >= $1)) || { echo "nothing was sent since, and $(queue samples_pending) samples wait" && return 1; }
}

# The receiver's view, for who may read the credentials.
may_log_in() { [[ -z ${FORWARD["credentials"]-} || -r ${FORWARD["credentials"]} ]]; }
# The base of the query API: beside the receiver's path in VictoriaMetrics, Prometheus, Grafana Cloud and Thanos, below /prometheus in Mimir.
query_url() {
  local url=${FORWARD["url"]%%\?*}
  if [[ -n ${FORWARD["query-url"]-} ]]; then echo "${FORWARD["query-url"]%/}" && return; fi
  case $url in
  */api/prom/push) echo "${url%/push}" ;;
  */api/v1/push) echo "${url%/api/v1/push}/prometheus" ;;
  */insert/*) url=${url%/api/v1/write} && echo "${url/\/insert\//\/select\/}" ;;
  *) echo "${url%/api/v1/*}" ;;
  esac
}
far_query() { far --fail --get --data-urlencode "query=$1" "$(query_url)/api/v1/query"; }
far_answers() { far_query 1 2>/dev/null | grep '"status":"success"'; }
far_value() { far_query "$1" 2>/dev/null | value; }

# compose_forward: what a release has more, or in an agent other, than a plain one.
compose_forward() {
  local key outputs=$MADE/etc/alloy/outputs.alloy
  [[ -n ${FORWARD["url"]-} ]] || return 0
  for key in role url user tenant query-url credentials; do [[ -z ${FORWARD[$key]-} ]] || echo "$key ${FORWARD[$key]}"; done >"$MADE/options"
  if in_role prometheus; then
    sed -i 's/local\.receiver\]/local.receiver, prometheus.remote_write.forward.receiver]/' "$outputs"
  else
    sed -i -e 's/local\.receiver\]/forward.receiver]/' -e '/^\/\/ The Prometheus of this host/,/^$/d' "$outputs"
  fi
  forward_alloy >"$MADE/etc/alloy/forward.alloy"
  [[ -n ${FORWARD["credentials"]-} ]] || return 0
  mkdir "$MADE/systemd/metrics-alloy.service.d"
  {
    printf '%s\n' "# What Alloy logs in with at the far end: files of root's, put there by install.sh --forward-…" '[Service]'
    for key in password token ca; do ! has_credential "$key" || echo "LoadCredential=forward-$key:${FORWARD["credentials"]}/$key"; done
  } >"$MADE/systemd/metrics-alloy.service.d/forward.conf"
}

has_credential() { [[ -e ${FORWARD["credentials"]-/nowhere}/$1 ]]; }
credential() { printf 'sys.env("CREDENTIALS_DIRECTORY") + "/forward-%s"' "$1"; }

forward_alloy() {
  local more='' loopback='127[.][0-9.]+|0[.]0[.]0[.]0|(?:ip6-)?localhost[46]?(?:[.]localdomain[46]?)?|ip6-loopback'
  loopback+='|[[](?:::1?|(?:0+:){7}0*1?|::ffff:(?:127[.][0-9.]+|7f[0-9a-f]{2}:[0-9a-f]+))[]]'
  [[ -z ${FORWARD["tenant"]-} ]] || more+=$'\n\n\t\theaders = {"X-Scope-OrgID" = "'"${FORWARD["tenant"]}"'"}'
  ! has_credential password || more+=$(block basic_auth "username      = \"${FORWARD["user"]}\"" "password_file = $(credential password)")
  ! has_credential token || more+=$(block authorization 'type             = "Bearer"' "credentials_file = $(credential token)")
  ! has_credential ca || more+=$(block tls_config "ca_file = $(credential ca)")
  cat <<END
// Where else the samples go, as install.sh was told by its options --forward-…: run it again with others to change it.

prometheus.remote_write "forward" {
	endpoint {
		name = "forward"
		url  = "${FORWARD["url"]}"$more

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
block() { printf '\n\n\t\t%s {' "$1" && printf '\n\t\t\t%s' "${@:2}" && printf '\n\t\t}'; }

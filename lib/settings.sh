# The settings of this host: role, forwarding, and secrets in root-only files.

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
      usage_error "invalid --forward-$key (contains a blank, quote, backslash or control character)"
    [[ $key != *url || -z $value || $value =~ $allowed ]] ||
      usage_error "invalid --forward-$key (must be https:// unless on loopback, without a password)"
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
  local key user=${SETTINGS["user"]-} password=${OPTIONS["password"]-} token=${OPTIONS["token"]-}
  # A text in UTF-16 begins with bytes that UTF-8 never has.
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

# pass_secret COMPONENT SETTING NAME: adds a drop-in that passes the file to the unit.
pass_secret() {
  local directory=$STAGED/systemd/metrics-$1.service.d
  mkdir -p "$directory"
  printf '%s\n' "# A root-only file, for $1 as the credential $3" "[Service]" \
    "LoadCredential=$3:${SETTINGS[$2]}" >"$directory/$3.conf"
}

# How the scripts reach Grafana, and read its dashboard files.

# grafana_public: prints host and path of the public URL, if Grafana redirects requests there.
grafana_public() {
  local url
  # Below a path, Grafana 10 and newer redirect requests without that path, but not to /api.
  url=$(curl_local 3001/login --output /dev/null --write-out '%{redirect_url}' 2>/dev/null) || :
  if [[ $url =~ ^https?://([^/]+)(.*)/login$ ]]; then say "${BASH_REMATCH[@]:1}"; fi
}

# grafana_get PATH [CURL-OPTION...]: requests Grafana on the loopback, as if by its public URL.
grafana_get() {
  local host='' path=''
  read -r host path < <(grafana_public) || :
  curl_local "3001$path/$1" --location --max-redirs 0 ${host:+--header "Host: $host"} "${@:2}"
}

# get PORT/PATH: requests a server of the stack.
get() { case $1 in 3001/*) grafana_get "${1#*/}" ;; *) curl_local "$1" ;; esac }

# grafana LOGIN PATH [CURL-OPTION...]: keeps the login out of the command line. Provisioning is for
# organization 1, and the user might have switched to another one.
grafana() {
  local login=${1//\\/\\\\}
  grafana_get "$2" --config <(printf 'user = "%s"\n' "${login//\"/\\\"}") \
    --header 'X-Grafana-Org-Id: 1' "${@:3}"
}

# grafana_has LOGIN PATH...
grafana_has() {
  local path
  for path in "${@:2}"; do
    grafana "$1" "$path" >/dev/null 2>&1 || fail "nothing at $path" || return
  done
}

# Plugins that are not compiled in have build_info, those with a backend target_info.
grafana_has_plugin() {
  grafana_get metrics |
    grep -E '^grafana_plugin_(build|target)_info\{(.*,)?plugin_id="prometheus"' >/dev/null ||
    fail "it is not"
}

# grafana_answers LOGIN JOB
grafana_answers() {
  local query='{"from":"now-5m","to":"now","queries":[{"refId":"A","instant":true,
    "datasource":{"uid":"prometheus"},"expr":"up{job=\"'$2'\"}"}]}'
  grafana "$1" api/ds/query --header 'Content-Type: application/json' --data "$query" 2>/dev/null |
    grep '"values":\[\[[0-9]*\],\[1\]\]' >/dev/null ||
    fail "no value for up{job=\"$2\"} through its data source"
}

# is_login_rejected LOGIN LOGIN-FILE: wrong logins lock the account, so a rejected login that is not
# from a file is not retried until Grafana restarts: a directory of this user marks it.
is_login_rejected() {
  local mark=$LOGIN_MARK-$EUID
  mark+=-$(systemctl show --property InvocationID --value metrics-grafana.service)
  if [[ -z $2 && -O $mark && ! -L $mark ]]; then return 0; fi
  [[ $(grafana "$1" api/org --output /dev/null --write-out '%{http_code}' 2>/dev/null) == 401 ]] ||
    return 1
  if [[ -z $2 ]]; then
    rmdir "${mark%-*}"-* 2>/dev/null || :
    mkdir "$mark" 2>/dev/null || :
  fi
}

# json_text FILE KEY: prints the string under KEY in the top-level object, or nothing.
json_text() {
  grep -a -o -E '"([^"\\]|\\.)*"|[][{}:,]' "$1" 2>/dev/null | awk -v key="\"$2\"" '
    /^[[{]$/ { depth++ }
    /^[]}]$/ { depth-- }
    depth == 1 && last == ":" && before == key && /^"/ {
      print substr($0, 2, length($0) - 2)
      exit
    }
    { before = last; last = $0 }' || :
}

# shipped_dashboards: prints the API path of each shipped dashboard that is still on the host.
shipped_dashboards() {
  local file uid
  for file in "$OPT"/current/etc/grafana/dashboards/*.json; do
    uid=$(json_text "$ETC/grafana/dashboards/${file##*/}" uid)
    if [[ -n $uid ]]; then echo "api/dashboards/uid/$uid"; fi
  done
}

# dashboard_files: prints the files that Grafana's two providers read.
dashboard_files() {
  find -H "$ETC/grafana/dashboards" "$ETC/grafana/dashboards.d" -mindepth 1 -type d -name '.*' \
    -prune -o -name '*.json' ! -type d -print 2>/dev/null | sort
}

# are_dashboards_unique: lists uids used twice, and titles used twice in one folder of Grafana.
are_dashboards_unique() {
  local file key value repeated
  repeated=$(while IFS= read -r file; do
    for key in uid title; do
      value=$(json_text "$file" "$key")
      case $key:$file in title:*/dashboards.d/*) key+=" in dashboards.d" ;; esac
      if [[ -n $value ]]; then printf '%s "%s"\t%s\n' "$key" "$value" "$file"; fi
    done
  done < <(dashboard_files) | awk -F'\t' '
    { files[$1] = files[$1] ", " $2; count[$1]++ }
    END { for (what in count) if (count[what] > 1) print what ": " substr(files[what], 3) }' | sort)
  [[ -z $repeated ]] || fail "${repeated//$'\n'/; }"
}

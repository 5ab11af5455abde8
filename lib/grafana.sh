# How Grafana is reached on this host, and the files of its dashboards.

# grafana_public: prints host and path of the public address (root_url) where Grafana insists on them: below a subpath, or with
# enforce_domain. It redirects every other request there, and this host need not reach that address.
grafana_public() {
  local url
  url=$(curl_local 3001/api/org --output /dev/null --write-out '%{redirect_url}' 2>/dev/null) || :
  [[ ! $url =~ ^https?://([^/]+)(.*)/api/org$ ]] || echo "${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"
}

# grafana_get PATH [CURL-OPTION...]: asks Grafana on the loopback under its public address. A redirect is a failure.
grafana_get() {
  local host='' path=''
  read -r host path < <(grafana_public) || :
  curl_local "3001$path/$1" --location --max-redirs 0 ${host:+--header "Host: $host"} "${@:2}"
}

# get PORT/PATH: asks a server of the stack.
get() { case $1 in 3001/*) grafana_get "${1#*/}" ;; *) curl_local "$1" ;; esac }

# grafana_is_scraped: fails when Grafana redirects the scrape, because prometheus.yml lacks the subpath.
grafana_is_scraped() {
  local url answer
  url=$(curl_local '9090/api/v1/targets?state=active' 2>/dev/null | grep -o '"scrapeUrl":"http://[a-z0-9.]*:3001/[^"]*"' | cut -d'"' -f4 | sed -n 1p) || :
  answer=$(curl_local "3001/${url#http://*/}" --output /dev/null --write-out '%{http_code} %{redirect_url}' 2>/dev/null) || :
  [[ -z $url || $answer != 3* ]] || { echo "Grafana redirects the scrape of $url to ${answer#* }" && return 1; }
}

# The files that its two providers read. As in Grafana, those in folders are read too, but not in folders like .git.
dashboard_files() {
  find -H "$ETC/grafana/dashboards" "$ETC/grafana/dashboards.d" -mindepth 1 -type d -name '.*' -prune -o -name '*.json' ! -type d -print 2>/dev/null | sort
}

# json_text FILE KEY: prints the text that the object in FILE has under KEY, or nothing, also where FILE is something else.
json_text() {
  grep -a -o -E '"([^"\\]|\\.)*"|[][{}:,]' "$1" 2>/dev/null | awk -v key="\"$2\"" '
    /^[[{]$/ { depth++ }
    /^[]}]$/ { depth-- }
    depth == 1 && last == ":" && before == key && /^"/ { print substr($0, 2, length($0) - 2); exit }
    { before = last; last = $0 }' || :
}

# shipped_dashboards: prints the API's path of each dashboard that the release has and the administrator has not taken away.
shipped_dashboards() {
  local file uid
  for file in "$OPT"/current/etc/grafana/dashboards/*.json; do
    uid=$(json_text "$ETC/grafana/dashboards/${file##*/}" uid)
    [[ -z $uid ]] || echo "api/dashboards/uid/$uid"
  done
}

# repeated_dashboards: prints each uid of several files, and each title of several files of one folder in Grafana. Grafana then
# writes no dashboard any more of the directories that these files are in.
repeated_dashboards() {
  local file uid title
  while IFS= read -r file; do
    uid=$(json_text "$file" uid) title=$(json_text "$file" title)
    [[ -z $uid ]] || printf 'uid "%s"\t%s\n' "$uid" "$file"
    case $file in
    "$ETC"/grafana/dashboards/*) title="title \"$title\"" ;;
    *) title="title \"$title\" in dashboards.d" ;;
    esac
    [[ $title == 'title ""'* ]] || printf '%s\t%s\n' "$title" "$file"
  done < <(dashboard_files) |
    awk -F'\t' '{ count[$1]++; files[$1] = files[$1] ", " $2 } END { for (what in count) if (count[what] > 1) print what " is in " substr(files[what], 3) }' | sort
}

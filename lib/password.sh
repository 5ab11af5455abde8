# Grafana's password of admin, from --grafana-password-file.

# check_password: requires 5 characters, because Grafana's own command refuses fewer.
check_password() {
  [[ -z $PASSWORD_FILE ]] ||
    text_of "$PASSWORD_FILE" | LC_ALL=C.UTF-8 grep --quiet --text --null-data --line-regexp \
      '[[:graph:]][^[:cntrl:]]\{3,\}[[:graph:]][[:space:]]*' ||
    usage_error "$PASSWORD_FILE is not one line with at least 5 characters, in UTF-8"
}

# Grafana ignores blanks around the content of a credential.
store_password() {
  store_secret admin-password < <(text_of "$PASSWORD_FILE" | sed 's/[[:space:]]*$//')
}

# stage_password: Grafana reads it when its first start creates the account.
stage_password() {
  pass_secret grafana admin-password password
  # Before systemd 250, a unit cannot name $CREDENTIALS_DIRECTORY.
  echo "Environment=GF_SECURITY_ADMIN_PASSWORD=\$__file{/run/credentials/\
metrics-grafana.service/password}" >>"$STAGED/systemd/metrics-grafana.service.d/password.conf"
}

# password: sets the new password in a database that existed before. It is the last change, so a
# rollback never has to undo it.
password() {
  local file=${SETTINGS["admin-password"]} unit=metrics-grafana.service output
  ! is_accepted "$file" || return 0
  is_active "$unit" ||
    die "$unit is not running, so its password was not set" "start it, and run this again"
  # An interruption must not leave Grafana stopped.
  trap '' INT TERM HUP
  CHANGED=1
  say "    setting Grafana's password"
  stop_units "$unit"
  output=$(systemd-run --quiet --pipe --wait --collect --property=User=metrics-grafana \
    --property=DynamicUser=yes --property=StateDirectory=metrics-stack/grafana \
    --property=RuntimeMaxSec=120 "$OPT/grafana/bin/grafana" cli --homepath="$OPT/grafana" \
    --config="$ETC/grafana/grafana.ini" admin reset-admin-password --password-from-stdin \
    <"$file" 2>&1) || :
  systemctl start "$unit" || unit_failed "$unit"
  trap 'exit 130' INT TERM HUP
  STARTED_AT=$(uptime_now)
  wait_until_ready "$unit"
  # Grafana 9.3's command reports success and sets nothing.
  is_accepted "$file" ||
    die "Grafana rejects the new password; its command printed: ${output##*$'\n'}" \
      "set it at http://127.0.0.1:3001/profile/password; after five wrong logins, wait five minutes"
}
# is_accepted PASSWORD-FILE
is_accepted() { grafana "admin:$(<"$1")" api/org >/dev/null 2>&1; }

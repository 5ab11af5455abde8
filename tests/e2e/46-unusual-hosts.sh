#!/usr/bin/env bash
# Unusual environments and paths, and other distributions.
# shellcheck source-path=SCRIPTDIR disable=SC2016  # much of this is for shells in the container
. "$(dirname "$0")/lib/scenario.sh"
. "$E2E_DIR/lib/stack.sh"
. "$E2E_DIR/lib/interrupt.sh"

# Another user's clone at a path with blanks, called from a directory with traps for Python and
# cargo and with an unusual environment, on a host with noexec /tmp, no unzip and a proxy. Programs
# that build and unpack log their calls.
unusual_call() {
  local clone="/srv/some body/metrics stack" zip
  in_container mkdir -p "/srv/some body" /root/trap/.cargo
  in_container cp -r "$CHECKOUT" "$clone"
  in_container mkdir "$clone/.git"
  in_container touch "$clone/etc/prometheus/rules/untracked.yml"
  in_container chown -R dev: "$clone"
  in_container sh -c 'echo "raise SystemExit(1)" >/root/trap/zipfile.py
    echo nonsense >/root/trap/.cargo/config.toml'
  in_container mv /usr/bin/unzip /usr/bin/unzip.off
  in_container mount -t tmpfs -o noexec none /tmp
  script /usr/local/bin/python3 <<<'#!/bin/sh
echo "python $PWD $*" >>/var/calls; exec /usr/bin/unzip.off -q "$5" -d "$6"'
  script /usr/local/bin/git <<<'#!/bin/sh
cd "$2" && find etc systemd -type f ! -name "untracked*"'
  script /usr/local/bin/cc </dev/null
  script /usr/local/bin/cargo <<END
#!/bin/sh
[ "\$*" != --version ] || { echo "cargo 1.90.0"; exit; }
[ "\$1" != --version ] || { echo "host: here"; exit; }
echo "cargo \$PWD \$(id -un) \$https_proxy \$no_proxy" >>/var/calls
mkdir -p "$clone/target/here/release" && cp $SERVICE "$clone/target/here/release/"
END
  in_container sh -c ': >/var/calls && chmod 666 /var/calls'
  run_until_verify env -u HOME PATH=/nowhere:/usr/bin LANG=tr_TR.UTF-8 CDPATH=/ \
    HTTPS_PROXY=http://proxy:1 NO_PROXY=here \
    /bin/bash -c 'cd /root/trap; umask 077; exec "$@"' bash "$clone/install.sh" \
    --from "$ARCHIVE_DIR" --versions "$ARCHIVE_DIR/versions.conf"
  zip=/var/cache/metrics-stack/alloy-linux-$(dpkg --print-architecture).zip
  equal "how programs were called" "$(in_container sort /var/calls)" \
    "cargo / dev http://proxy:1 here
python / -I -m zipfile -e $zip /opt/metrics-stack/store/.new"
  in_container test ! -e /etc/metrics-stack/prometheus/rules/untracked.yml
  equal "files of other users in the clone" "$(in_container find "$clone" ! -user dev)" ""
  keep purge in_container "$clone/uninstall.sh" --purge
  in_container sh -c "umount /tmp; mv /usr/bin/unzip.off /usr/bin/unzip
    rm -rf /root/trap /var/calls /srv/* /usr/local/bin/*"
}

# Without apt, dnf installs packages; without dnf, the hint names them. SELinux booleans are set and
# restored.
other_distributions() {
  local command=("$CHECKOUT/install.sh" --from "$ARCHIVE_DIR"
    --versions "$ARCHIVE_DIR/versions.conf")
  in_container mv /usr/bin/apt-get /usr/bin/apt-get.off
  in_container mv /etc/ssl/certs/ca-certificates.crt /etc/ssl/ca
  in_container sh -c 'mkdir -p /etc/pki/tls && touch /etc/pki/tls/cert.pem'
  refuses 1 "these packages could not be installed: cargo gcc" in_container "${command[@]}"
  script /usr/local/bin/dnf <<END
#!/bin/sh
echo "\$*" >/var/dnf
for program in cc cargo; do cp /usr/local/lib/\$program /usr/local/bin/; done
END
  script /usr/local/lib/cc </dev/null
  script /usr/local/lib/cargo <<<"#!/bin/sh
[ \"\$*\" != --version ] || { echo cargo 1.75.0; exit; }
[ \"\$1\" != --version ] || { echo host: here; exit; }
mkdir -p $CHECKOUT/target/here/release && cp $SERVICE $CHECKOUT/target/here/release/"
  for program in selinuxenabled restorecon; do script /usr/local/bin/$program <<<'#!/bin/sh'; done
  script /usr/local/bin/getsebool <<<'#!/bin/sh
case $1 in *bind*) echo "$1 --> off" ;; *) echo "$1 --> on" ;; esac'
  script /usr/local/bin/setsebool <<<'#!/bin/sh
echo "$*" >>/var/booleans'
  run_until_verify "${command[@]}"
  equal "arguments of dnf" "$(in_container cat /var/dnf)" "--quiet --assumeyes install cargo gcc"
  keep purge uninstall --purge
  contains "$(<"$SCRATCH/purge")" "kept: packages installed for it: cargo gcc"
  equal "SELinux booleans" "$(in_container cat /var/booleans)" "-P systemd_socket_proxyd_bind_any on
-P systemd_socket_proxyd_bind_any off"
  in_container sh -c "rm -rf /usr/local/bin/* /usr/local/lib/c* /var/dnf /var/booleans \
    $CHECKOUT/target /etc/pki"
  in_container mv /usr/bin/apt-get.off /usr/bin/apt-get
  in_container mv /etc/ssl/ca /etc/ssl/certs/ca-certificates.crt
}

opt_is_missing() {
  in_container rmdir /opt
  traces >"$SCRATCH/without-opt"
  run_until_verify "${INSTALL[@]}"
  keep purge uninstall --purge
  # An empty /opt stays.
  in_container rmdir /opt
  same_traces "$SCRATCH/without-opt"
  in_container mkdir /opt
}

# Archives that change after the check have no effect. The scripts have no x bits, as in a zip
# archive.
archives_are_copied() {
  in_container cp -r "$ARCHIVE_DIR" /srv/archives
  in_container sh -c "chmod a-x $CHECKOUT/*.sh $SERVICE"
  start_run bash "$CHECKOUT/install.sh" --from /srv/archives \
    --versions "$ARCHIVE_DIR/versions.conf" --service-binary "$SERVICE"
  wait_until "==> release"
  in_container sh -c 'for file in /srv/archives/*; do echo swapped >$file; done'
  eventually 60 has_printed "✓ unit metrics-stack.target"
  send_signal TERM all
  wait "$JOB" || :
  cat "$SCRATCH/run"
  contains "$(<"$SCRATCH/run")" "✓ unit metrics-stack.target"
  contains "$(<"$SCRATCH/run")" "or: bash $CHECKOUT/verify.sh"
  in_container bash "$CHECKOUT/verify.sh" --quick
  in_container rm -r /srv/archives
}

ipv6_listener_is_no_conflict() {
  in_container systemd-run --quiet --unit=other "--socket-property=ListenStream=[::]:9090" \
    --socket-property=BindIPv6Only=ipv6-only true
  keep dry in_container "${INSTALL[@]}" --dry-run
  in_container systemctl stop other.socket
}

boot trixie
in_container useradd --create-home dev
traces >"$SCRATCH/before"
test "an unusual environment" unusual_call
test "dnf, no package manager, SELinux" other_distributions
test "both leave no trace" same_traces "$SCRATCH/before"
test "a listener on IPv6 only" ipv6_listener_is_no_conflict
test "no /opt" opt_is_missing
test "archives that change during the install" archives_are_copied

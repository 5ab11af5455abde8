#!/bin/sh
# mmdebstrap calls this with the image's folder, first while it is empty and again when it is complete.
set -eu

case $MMDEBSTRAP_HOOK in
setup)
  # The certificates that this host trusts besides the usual ones, for the packages' servers.
  mkdir -p "$1/usr/local/share/ca-certificates"
  find /usr/local/share/ca-certificates -name '*.crt' -exec cp {} "$1/usr/local/share/ca-certificates/" \;
  ;;
customize)
  rm -f "$1/etc/hostname"
  # These would wake in the middle of a test.
  systemctl --root="$1" --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer
  # Debian's own Prometheus, to be installed where there is no network.
  if [ -e "$1/usr/bin/curl" ]; then
    chroot "$1" apt-get -qq --yes --no-install-recommends --download-only install prometheus >/dev/null
    mkdir "$1/usr/src/debs"
    mv "$1"/var/cache/apt/archives/*.deb "$1/usr/src/debs"
  fi
  ;;
esac

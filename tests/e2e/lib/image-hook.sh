#!/bin/sh
# mmdebstrap calls this with the image's directory, before it is filled and when it is complete.
set -eu

case $MMDEBSTRAP_HOOK in
setup)
  # The package servers' certificates can be signed by a CA that only this host trusts.
  mkdir -p "$1/usr/local/share/ca-certificates"
  find /usr/local/share/ca-certificates -name '*.crt' \
    -exec cp {} "$1/usr/local/share/ca-certificates/" \;
  ;;
customize)
  rm -f "$1/etc/hostname"
  # These timers would fire in the middle of a test.
  systemctl --root="$1" --quiet mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer
  # Debian's own Prometheus, which a test installs without network.
  if [ -e "$1/usr/bin/curl" ]; then
    chroot "$1" apt-get -qq --yes --no-install-recommends --download-only \
      install prometheus >/dev/null
    mkdir "$1/usr/src/debs"
    mv "$1"/var/cache/apt/archives/*.deb "$1/usr/src/debs"
  fi
  ;;
esac

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Install a newer QEMU from backports on Debian 12. Its QEMU 7.2 emulates SVM such that
# one PVH guest in ten dies of a triple fault; with 10.0 far fewer do
# (docs/troubleshooting.md). QEMU_BACKPORT=no keeps the installed version.
#
# Usage: newer-qemu.sh [SUDO]
set -eu
sudo=${1:-}

[ "${QEMU_BACKPORT:-yes}" != no ] || exit 0
[ -r /etc/os-release ] && . /etc/os-release
[ "${ID:-} ${VERSION_CODENAME:-}" = "debian bookworm" ] || exit 0
case "$(dpkg-query -W -f='${Version}' qemu-system-x86 2>/dev/null)" in
1:7.*) ;;
*) exit 0 ;;
esac

# The archive that this host's apt is configured for, as in harness/source/apt.py.
mirror=$(apt-get indextargets --format '$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(COMPONENT)' \
	'Created-By: Packages' | awk -F'|' '$2 == "Debian" && $3 == "Debian" && $4 == "main" { print $1; exit }')
advice="PVH guests may die of triple faults (docs/troubleshooting.md)"
if [ -z "$mirror" ]; then
	echo "No Debian archive is configured, so QEMU was not updated: $advice."
	exit 0
fi

echo "Installing QEMU from bookworm-backports, because 7.2 kills many PVH guests (QEMU_BACKPORT=no keeps 7.2)."
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
mkdir -p "$root/lists/partial"
for suite in bookworm bookworm-backports; do
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
done >"$root/sources.list"
apt() {
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq \
		-o Dir::Etc::sourcelist="$root/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$root/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
}
apt update && apt install --yes --no-install-recommends --target-release bookworm-backports \
	qemu-system-x86 qemu-utils >/dev/null || echo "Installation failed, so QEMU was not updated: $advice."

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Run the README's two commands on a fresh host of another Debian or Ubuntu suite: a chroot in
# a temporary folder, made by mmdebstrap from the archive that this host's apt is configured for.
# Needs root. What is built goes into the chroot's own store, because the suite's compilers make
# other artifacts; a first full run takes as long as on a new host.
#
# Usage: host-check.sh SUITE [ARGUMENTS OF evh run...]
#   KEEP=FOLDER          make the chroot there and keep it; a second check of it builds nothing anew
#   TEST="make unit"     the second command, after make run (default: make unit)
set -euo pipefail
suite=${1:?usage: host-check.sh SUITE [ARGUMENTS OF evh run...]}
shift
[ "$(id -u)" = 0 ] || { echo "host-check needs root, for chroot and mounts."; exit 2; }
# In a mount namespace of its own, so that no mount outlives this script.
[ "${HOST_CHECK_UNSHARED:-}" ] || HOST_CHECK_UNSHARED=1 exec unshare --mount --propagation private "$0" "$suite" "$@"

here=$(cd "$(dirname "$0")/.." && pwd)
mirror=$(apt-get indextargets --format '$(REPO_URI)|$(COMPONENT)|$(ORIGIN)' 'Created-By: Packages' |
	awk -F'|' '$2 == "main" && ($3 == "Debian" || $3 == "Ubuntu") { print $1; exit }')
[ "$mirror" ] || { echo "host-check: this host's apt has no Debian or Ubuntu archive configured."; exit 2; }
if [ "${KEEP:-}" ]; then
	root=$(realpath -m "$KEEP")
else
	root=$(mktemp -d)
	trap 'umount --recursive --lazy "$root" 2>/dev/null || true; rm -rf --one-file-system "$root"' EXIT
fi

if [ ! -e "$root/etc/debian_version" ]; then
	echo "host-check: making a $suite host in $root"
	mmdebstrap --quiet --variant=apt --include=make,ca-certificates "$suite" "$root" \
		"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
fi
# How this host reaches the network: its name servers, certificates and pip's configuration.
for path in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt /etc/pip.conf /etc/xdg/pip; do
	[ ! -e "$path" ] || { mkdir -p "$root$(dirname "$path")"; cp -rL "$path" "$root$(dirname "$path")/"; }
done
for folder in proc sys dev; do mount --rbind "/$folder" "$root/$folder"; done
IFS=: read -ra links <<<"${PIP_FIND_LINKS:-}"
for folder in "${links[@]}" $(pip config list 2>/dev/null | grep -o 'file://[^ '"'"']*' | sed 's#^file://##'); do
	[ ! -d "$folder" ] || { mkdir -p "$root$folder"; mount --rbind "$folder" "$root$folder"; }
done

rm -rf "$root/evh"
git clone --quiet --shared --no-checkout "$here" "$root/evh"
git -C "$root/evh" checkout --quiet --detach "$(git -C "$here" rev-parse HEAD)"
git -C "$root/evh" repack -adq && rm -f "$root/evh/.git/objects/info/alternates"

inside() {
	env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM="${TERM:-dumb}" \
		$(env | grep -E '^(PIP_|[a-z]+_proxy=|[A-Z]+_PROXY=|SSL_CERT)' || true) \
		chroot "$root" sh -c "cd /evh && $1"
}
inside "make run ARGS='$*'"
inside "${TEST:-make unit}"
echo "host-check: $suite: both commands passed at $(git -C "$here" describe --always)"

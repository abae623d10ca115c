#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# QEMU 10.0's emulation executes the byte D6h in 64-bit mode, where every x86-64 CPU raises #UD.
#
# Intel's manuals call this opcode UDB, and Xen marks BUG(), WARN() and ASSERT() by it since 4.22
# (commit 1f3dd605eab1). Under such a QEMU a BUG() of Xen 4.22 is no crash: what follows it is
# executed. QEMU takes the byte for SALC, which exists in 16- and 32-bit mode only.
# An expert would expect what QEMU 7.2 and 11.1 do: the program gets SIGILL.
#
#   version   qemu-user 1:10.0.13+ds-0+deb13u1 (Debian 13)
#   input     a static program of two lines: a handler of SIGILL, and the instruction
#   expected  "SIGILL"
#   seen      "ran on"
#
# Fails if that changes. Needs Debian's archive in apt's configuration, and gcc.
set -euo pipefail
version=1:10.0.13+ds-0+deb13u1
suite=trixie

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
mirror=$(apt-get indextargets --format '$(REPO_URI)|$(ORIGIN)|$(COMPONENT)' 'Created-By: Packages' |
	awk -F'|' '$2 == "Debian" && $3 == "main" { print $1; exit }')
[ "$mirror" ] || { echo "no Debian archive is configured"; exit 2; }
mkdir -p "$temp/lists/partial" "$temp/cache"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$temp/sources.list"
cd "$temp"
apt() {
	apt-get -qq -o Dir::Etc::sourcelist="$temp/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$temp/lists" -o Dir::Cache="$temp/cache" -o APT::Sandbox::User="$(id -un)" "$@"
}
apt update
apt download "qemu-user=$version"
dpkg -x qemu-user_*.deb qemu

cat >udb.c <<'END'
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static void trapped(int number)
{
	static const char text[] = "SIGILL\n";

	(void)number;
	write(STDOUT_FILENO, text, sizeof(text) - 1);
	_exit(0);
}

int main(void)
{
	signal(SIGILL, trapped);
	__asm__ volatile(".byte 0xd6" : : : "rax");
	puts("ran on");
	return 0;
}
END
gcc -O1 -static -Wno-unused-result -o udb udb.c

seen=$(qemu/usr/bin/qemu-x86_64 ./udb)
echo "qemu-user $version: $seen (this CPU: $(./udb))"
[ "$seen" = "ran on" ] || { echo "the behaviour has changed"; exit 1; }

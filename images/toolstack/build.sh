#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Build the toolstack in /src (Xen's tree) and install it below /out. This runs in
# a root of its own, of dom0's Debian release, without a network.
# Usage: build.sh JOBS
set -eu
jobs=$1

# configure insists on Python's headers and on curses, which only the bindings and
# xentop need.
export ac_cv_header_Python_h=yes ac_cv_func_PyArg_ParseTuple=yes
export ac_cv_header_curses_h=yes ac_cv_lib_curses_clear=yes
cd /src
./configure --build=x86_64-linux-gnu --disable-xen --disable-stubdom --disable-docs \
	--prefix=/usr --libdir=/usr/lib/x86_64-linux-gnu --libexecdir=/usr/lib \
	--sysconfdir=/etc --localstatedir=/var --with-rundir=/run --with-sysconfig-leaf-dir=default \
	--with-xenstored=xenstored \
	--with-system-qemu=/usr/libexec/xen-qemu-system-i386 \
	--with-system-seabios=/usr/share/seabios/bios-256k.bin \
	--disable-seabios --disable-rombios --disable-pvshim --disable-pygrub --disable-libfsimage \
	--disable-monitors --disable-xsmpolicy --disable-ocamltools --disable-golang --disable-systemd

cd /src/tools
export PKG_CONFIG_DIR=/src/tools/pkg-config
# hvmloader would have the day of the build.
export SMBIOS_REL_DATE=01/01/2025
make -C include all
mkdir -p /out/usr/lib/x86_64-linux-gnu/pkgconfig
# The libraries first: the others need them.
for part in libs xenstored xs-clients console xl helpers xcutils hotplug firmware; do
	echo "== $part"
	make -j"$jobs" -C $part all
	make -C $part install DESTDIR=/out
done

# Nobody compiles in dom0, and without symbols its image is made sooner.
cd /out
rm -rf usr/include usr/share usr/lib/x86_64-linux-gnu/pkgconfig usr/lib/x86_64-linux-gnu/*.a usr/lib/debug
find usr -type f \( -name '*.so.*' -o -path '*bin/*' \) | while read -r file; do
	case $(head -c 4 "$file" | od -An -c | tr -d ' ') in
	177ELF) strip --strip-unneeded "$file" ;;
	esac
done

# SPDX-License-Identifier: GPL-2.0-or-later
"""The environment of the programs that the harness runs: known variables, and no others.

make takes any variable for one of its own, so a ``CC`` or ``KCFLAGS`` of the
caller would reach a build, and the store's key would know nothing of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

# What programs may need on this host, and what does not change the files that they make.
KEPT = frozenset(
    (
        "PATH", "HOME", "USER", "LOGNAME", "TERM", "TMPDIR",
        "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR",
        "LD_LIBRARY_PATH", "LD_PRELOAD",
        "APT_CONFIG", "SSH_AUTH_SOCK", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_PROXY_COMMAND",
        "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",
        "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE", "CURL_CA_BUNDLE",
        "GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
        "CCACHE_DIR", "CCACHE_CONFIGPATH", "CCACHE_DISABLE", "CCACHE_MAXSIZE", "CCACHE_READONLY",
        "CCACHE_REMOTE_ONLY", "CCACHE_REMOTE_STORAGE", "CCACHE_TEMPDIR", "CCACHE_UMASK",
    )
)  # fmt: skip
# What somebody sets to change a build: make, gcc, ccache and the Makefiles of Xen and Linux read these.
_FOR_BUILDS = re.compile(
    r"""
      \w*FLAGS(?:_[\w.-]+)? | (?:KBUILD|KCONFIG|XEN|CONFIG|HOST|INSTALL|GCC|CCACHE|LLVM)_\w+ | HOST\w+ | LLVM
    | (?:SUB)?ARCH | CROSS_COMPILE\w* | LOCALVERSION | KERNELRELEASE | SOURCE_DATE_EPOCH | DEPMOD | PYTHON
    | (?:CC|CXX|CPP|LD|AR|AS|NM|OBJCOPY|OBJDUMP|READELF|STRIP|RANLIB|FLEX|LEX|BISON|YACC)
    | C(?:PLUS)?_INCLUDE_PATH | CPATH | LIBRARY_PATH | COMPILER_PATH | MAKEFILES | [VWCMOE] | EXTRA_\w+
    | debug | verbose | clang | lto
    """,
    re.VERBOSE,
)
# make sets these for the programs that it runs, as in `make run`.
_OF_MAKE = frozenset({"MAKEFLAGS", "MFLAGS", "GNUMAKEFLAGS"})


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables in ``KEPT`` that this process has, English messages (some are parsed), and ``extra``."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    return kept | {"LC_ALL": "C.UTF-8"} | dict(extra or {})


def left_out() -> str:
    """A note that names the variables which somebody may have set for the builds; empty if there are none."""
    given = {name for name, value in os.environ.items() if value} - KEPT
    names = {name for name in given if _FOR_BUILDS.fullmatch(name)}
    if "MAKELEVEL" in os.environ:
        names -= _OF_MAKE
    if not names:
        return ""
    return f"not passed on to builds, whose environment is fixed: {', '.join(sorted(names))}"

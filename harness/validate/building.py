# SPDX-License-Identifier: GPL-2.0-or-later
"""Build one commit of a series in its work tree, after the one before it, in the sandbox.

What is built is in the store, by the content of the tree: a commit with the same content, of this
series or of the next version of it, is not built again.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.build import kconfig, linux, xen
from harness.build.compilers import check_space, compiler, cores
from harness.build.kconfig import Requested
from harness.build.recipes import config_input, recipe_of
from harness.core import process
from harness.core.errors import UserError
from harness.core.progress import Progress
from harness.plan.flavours import RELEASE
from harness.source import bases
from harness.source.series import git
from harness.source.versions import PLACES, version_of
from harness.store.artifacts import Artifact, Store
from harness.store.files import discard
from harness.validate import elf
from harness.validate.sandbox import Sandbox
from harness.validate.worktree import Applied, WorkTree

FACTS = "facts.json"
# In the object folder while make is at work.
UNDER_WAY = ".under-way"
# Kind of the store's entries for trees that do not build.
BROKEN = "validate-broken"
IMAGES = {"xen": "xen-syms", "linux": "vmlinux"}
# Both trees ask git for a version, which would differ from commit to commit; and git is nothing for foreign
# programs to run in a tree that borrows the user's objects.
NO_GIT = {"GIT_DIR": "/nonexistent", "GIT_CEILING_DIRECTORIES": "/"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a build is.

    Attributes:
        artifact: in the store.
        sections: SHA-256 of each allocated section, by file and name.
        text: bytes of code; ``structs``: bytes of each struct.
        warnings: of the compiler, without the numbers of lines.
        seconds: how long it took, when it was built.
        error: the first error, if it does not build, and all else is empty; ``said``: with its surroundings.
    """

    artifact: Artifact
    sections: Mapping[str, str] = field(default_factory=dict)
    text: int = 0
    structs: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""
    said: str = ""

    @property
    def summary(self) -> str:
        """One hash of all sections: builds with the same one behave alike."""
        return elf.summary(self.sections)


@dataclass(frozen=True, kw_only=True)
class Builder:
    """Builds commits of one work tree.

    Attributes:
        kind: ``xen`` or ``linux``.
        confined: build in the sandbox.
    """

    kind: str
    tree: WorkTree
    store: Store
    progress: Progress
    confined: bool = True
    jobs: int | None = None

    def build(self, applied: Applied, *, title: str) -> Facts:
        """Build a commit, unless the store has one with the same content, or knows that it does not build.

        Raises:
            InfraError: no space, for example.
        """

        def make(dest: Path) -> None:
            check_space(self.store.root, mib=SPACE[self.kind], what=title)
            self.tree.checkout(applied.commit)
            under_way = self.tree.objects / UNDER_WAY
            # The base is built from nothing, so that its warnings are those of all files. And make takes
            # what a killed compiler left for a whole object.
            if applied.number == 0 or under_way.exists():
                discard(self.tree.objects)
                self.tree.objects.mkdir()
            under_way.touch()
            with self.progress.step(title):
                try:
                    _MAKERS[self.kind](self, self.requested(applied), dest)
                except UserError:
                    under_way.unlink()  # make ended by itself
                    raise
            under_way.unlink()
            (dest / FACTS).write_text(json.dumps(self._measured(dest), indent=1) + "\n")

        inputs = self.inputs(applied)
        said = ""
        try:
            if not self.store.has(BROKEN, inputs):
                return facts_of(self.store.get(self.kind, inputs, make, self.progress, announce=False))
        except UserError as error:
            said = error.message

        def keep(dest: Path) -> None:
            facts = {"error": first_error(said), "said": said}
            (dest / FACTS).write_text(json.dumps(facts, indent=1) + "\n")

        # That a tree does not build is a result as well.
        return facts_of(self.store.get(BROKEN, inputs, keep, self.progress, announce=False))

    def inputs(self, applied: Applied) -> dict[str, str]:
        """Store inputs of a commit's build, named as those of other builds, so that `evh repro` finds it."""
        return {
            "source": applied.tree,
            "series": "as commits",
            "config": config_input(self.requested(applied)),
            "flavour": RELEASE,
            "compiler": compiler(),
            "recipe": recipe_of(sys.modules[__name__], elf),
        }

    def requested(self, applied: Applied) -> dict[str, Requested]:
        """The release's Kconfig symbols, of this project's base that fits the version of the tree."""
        file = PLACES[self.kind][0]
        text = git(self.tree.path, "show", f"{applied.commit}:{file}", what=f"read {file}")
        version = version_of(self.kind, text, where=f"{self.tree.path}/{file}")
        base = bases.fitting(self.kind, version)
        arch = linux.X86_64 if self.kind == "linux" else ""
        return kconfig.merge(base.fragments(flavour=RELEASE, arch=arch), version=version)

    def _measured(self, dest: Path) -> dict[str, object]:
        image = dest / IMAGES[self.kind]
        found = {f"{image.name}:{name}": value for name, value in elf.sections(image).items()}
        if (modules := dest / "modules.tar").exists():
            found |= _of_modules(modules, self.tree.objects / "unpacked")
        return {
            "sections": found,
            "text": elf.text_size(image),
            "structs": elf.struct_sizes(image, elf.STRUCTS[self.kind]),
            "warnings": warnings_in((dest / "build.log").read_text(errors="replace"), self.tree.path),
        }

    def make(self, dest: Path, *words: str, source: Path, env: Mapping[str, str]) -> None:
        """Run make in the sandbox.

        Raises:
            UserError: it failed; the message has the first error.
        """
        ccache = self.store.root / "validate" / "ccache"
        ccache.mkdir(parents=True, exist_ok=True)
        box = Sandbox(writable=(self.tree.path, self.tree.objects, ccache), confined=self.confined)
        # Cached objects of foreign sources do not mix with the user's.
        own = {
            "CCACHE_DIR": str(ccache),
            "CCACHE_BASEDIR": str(self.tree.path.parent),
            "CCACHE_NOHASHDIR": "1",
        }
        process.run(
            box.command(["make", f"-j{self.jobs or cores()}", *words], cwd=source),
            what=f"build {self.kind}", cwd=source, env={**env, **NO_GIT, **own}, log=dest / "build.log",
            error=UserError,
        )  # fmt: skip


SPACE = {"xen": xen.SPACE_MIB, "linux": linux.SPACE_MIB}


@contextmanager
def unchanged_if_same(config: Path) -> Iterator[None]:
    """While the block makes a configuration anew: leave its time as it was if it comes out as it was.

    Every object of Xen depends on the header that is made of it, whatever is in there.
    """
    before = (config.read_bytes(), config.stat()) if config.exists() else None
    yield
    if before and config.read_bytes() == before[0]:
        os.utime(config, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))


def _make_xen(builder: Builder, requested: Mapping[str, Requested], dest: Path) -> None:
    source, objects = builder.tree.path / "xen", builder.tree.objects
    words = (f"O={objects}", "XEN_TARGET_ARCH=x86_64")
    config = objects / ".config"
    with unchanged_if_same(config):
        config.write_text(kconfig.render(requested))
        builder.make(dest, *words, "olddefconfig", source=source, env=xen.FIXED)
    kconfig.keep_wishes(dest, kconfig.check(config, requested, tree=source, series=False))
    target = ("build",) if (source / "build.mk").exists() else ()
    builder.make(dest, *words, *target, source=source, env=xen.FIXED)
    shutil.copyfile(config, dest / "xen.config")
    shutil.copyfile(objects / "xen-syms", dest / "xen-syms")
    with gzip.open(objects / "xen.gz") as packed, (dest / "xen").open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)


def _make_linux(builder: Builder, requested: Mapping[str, Requested], dest: Path) -> None:
    source, objects = builder.tree.path, builder.tree.objects
    words = (f"O={objects}", f"ARCH={linux.X86_64}")
    config = objects / ".config"
    with unchanged_if_same(config):
        builder.make(dest, *words, "tinyconfig", source=source, env=linux.FIXED)
        with config.open("a") as file:
            file.write(kconfig.render(requested))
        builder.make(dest, *words, "olddefconfig", source=source, env=linux.FIXED)
    kconfig.keep_wishes(dest, kconfig.check(config, requested, tree=source, series=False))
    # W=1: warnings that upstream wants no more of; they do not change what is compiled.
    builder.make(dest, *words, "W=1", "bzImage", "modules", source=source, env=linux.FIXED)
    shutil.copyfile(config, dest / "linux.config")
    shutil.copyfile(objects / "arch/x86/boot/bzImage", dest / "bzImage")
    shutil.copyfile(objects / "vmlinux", dest / "vmlinux")
    root = objects / "installed"
    discard(root)
    install = ("modules_install", f"INSTALL_MOD_PATH={root}", "INSTALL_MOD_STRIP=1", "DEPMOD=true")
    builder.make(dest, *words, *install, source=source, env=linux.FIXED)
    process.run(
        ["tar", "--sort=name", "--owner=0", "--group=0", "--mtime=@1735689600", "-C", root,
         "-cf", dest / "modules.tar", "."],
        what="pack the modules",
    )  # fmt: skip


_MAKERS = {"xen": _make_xen, "linux": _make_linux}


def facts_of(artifact: Artifact) -> Facts:
    """What a build in the store is."""
    facts = json.loads((artifact.path / FACTS).read_text())
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    seconds = float(manifest["seconds"])
    if "error" in facts:
        return Facts(artifact=artifact, error=facts["error"], said=facts["said"], seconds=seconds)
    return Facts(
        artifact=artifact, sections=facts["sections"], text=facts["text"], structs=facts["structs"],
        warnings=tuple(facts["warnings"]), seconds=seconds,
    )  # fmt: skip


def _of_modules(archive: Path, folder: Path) -> dict[str, str]:
    """The sections of all modules, by the module's name."""
    discard(folder)
    folder.mkdir()
    process.run(["tar", "-C", folder, "-xf", archive], what="look at the modules")
    return {
        f"{module.name}:{name}": value
        for module in sorted(folder.rglob("*.ko"))
        for name, value in elf.sections(module).items()
    }


_WARNING = re.compile(r"^(?P<file>[^\s:][^:\n]*):\d+(?::\d+)?: warning: (?P<text>.+)$", re.MULTILINE)


def warnings_in(log: str, tree: Path) -> list[str]:
    """The compiler's warnings in a log, each once, as ``file: text`` without the numbers of lines."""
    found = {f"{m['file'].removeprefix(f'{tree}/')}: {m['text']}" for m in _WARNING.finditer(log)}
    return sorted(found)


def first_error(said: str) -> str:
    """The line of a failed build's output that names the error."""
    lines = said.splitlines()
    marks = (": error:", ": fatal error:", "undefined reference", "multiple definition", " Error ")
    for mark in marks:
        for line in lines:
            if mark in line:
                return line.strip()
    return lines[-1].strip() if lines else ""

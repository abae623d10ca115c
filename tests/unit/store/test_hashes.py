# SPDX-License-Identifier: GPL-2.0-or-later
"""Store keys and hashes."""

from __future__ import annotations

from pathlib import Path

from harness.store.hashes import digest, key_of, sha256_of, short


def test_key_depends_on_every_input_and_not_on_their_order() -> None:
    key = key_of("thing", {"a": "1", "b": "2"})
    assert key == key_of("thing", {"b": "2", "a": "1"})
    assert len({key, key_of("thing", {"a": "1", "b": "3"}), key_of("other", {"a": "1", "b": "2"}),
                key_of("thing", {"a": "1"}), key_of("thing", {"a": '1","b":"2'})}) == 5


def test_sha256_of_a_file_is_that_of_its_text(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("abc")
    assert sha256_of(tmp_path / "file") == digest("abc")
    assert digest("abc").startswith("ba7816bf8f01cfea")  # FIPS 180-2, appendix B.1


def test_only_hashes_are_shortened() -> None:
    assert short(digest("abc")) == "ba7816bf8f01"
    for value in ("4.20.3", "-O2 -s -Wall -Wextra -Werror -static", "20250101000000"):
        assert short(value) == value

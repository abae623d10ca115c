# SPDX-License-Identifier: GPL-2.0-or-later
"""Store keys and hashes."""

from __future__ import annotations

from harness.store.hashes import key_of


def test_key_depends_on_every_input_and_not_on_their_order() -> None:
    key = key_of("thing", {"a": "1", "b": "2"})
    assert key == key_of("thing", {"b": "2", "a": "1"})
    assert len({key, key_of("thing", {"a": "1", "b": "3"}), key_of("other", {"a": "1", "b": "2"}),
                key_of("thing", {"a": "1"}), key_of("thing", {"a": '1","b":"2'})}) == 5

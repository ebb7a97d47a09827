"""What an admin's chain is in a plan that goes through a file."""

from __future__ import annotations

from reconciler.resources.data import from_data, to_data
from reconciler.resources.nft import NftChain, chain_key


def test_rules_that_are_not_managed_stay_so() -> None:
    for rules in (None, ()):
        chain = NftChain(key=chain_key("inet", "cnm", "user"), rules=rules)
        assert from_data(to_data(chain)) == chain

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {DEVELOPMENT_CHAIN_ID} from "./DelayedRoles.sol";
import {UtilityToken} from "./UtilityToken.sol";

/// @title Gives tokens away, on a development chain only
/// @notice Its constructor refuses every chain but the development chain, so that a minter like this cannot exist where
/// tokens are worth anything.
contract Faucet {
    uint256 public constant DEVELOPMENT_CHAIN = DEVELOPMENT_CHAIN_ID;
    /// @notice The most for one call, in 1e-9 CPU: a million CPU.
    uint256 public constant MAX_GIFT = 1_000_000 * 1e9;

    UtilityToken public immutable token;

    error NotADevelopmentChain(uint256 chainId);
    error GiftTooLarge(uint256 amount);

    constructor(UtilityToken token_) {
        if (block.chainid != DEVELOPMENT_CHAIN) revert NotADevelopmentChain(block.chainid);
        token = token_;
    }

    function give(address to, uint256 amount) external {
        if (amount > MAX_GIFT) revert GiftTooLarge(amount);
        token.mint(to, amount);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {UtilityToken} from "src/UtilityToken.sol";

/// @dev The parts of the test machine that these tests use.
interface Vm {
    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }

    function prank(address sender) external;
    function startPrank(address sender) external;
    function stopPrank() external;
    function expectRevert(bytes calldata data) external;
    function expectRevert(bytes4 selector) external;
    /// @dev Creates a contract from its compiled form, so that a changed contract needs no new compilation of the tests.
    function deployCode(string calldata artifact, bytes calldata arguments) external returns (address);
    function warp(uint256 timestamp) external;
    function deal(address account, uint256 balance) external;
    function chainId(uint256 id) external;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function addr(uint256 key) external pure returns (address);
    function assume(bool condition) external pure;
}

/// @dev Assertions, and a token with everybody it needs.
abstract contract Base {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    address internal constant ADMIN = address(0xAD);
    address internal constant COLLECTOR = address(0xC0);
    /// @dev The payouts account.
    address internal constant PAYER = address(0xDA);
    address internal constant PAUSER = address(0xFA);
    address internal constant GUARDIAN = address(0x6A);
    address internal constant MINTER = address(0x31);
    address internal constant RESERVE_TREASURY = address(0x7E);
    address internal constant ALICE = address(0xA11CE);
    address internal constant BOB = address(0xB0B);
    uint256 internal constant CPU = 1e9;
    bytes32 internal constant BATCH = keccak256("a day");

    UtilityToken internal token;

    error Unequal(uint256 left, uint256 right, string what);
    error Wrong(string what);

    function makeToken() internal {
        token = UtilityToken(vm.deployCode("UtilityToken.sol:UtilityToken", abi.encode(ADMIN, 1 days)));
        vm.startPrank(ADMIN);
        token.grantRole(token.PAUSER_ROLE(), PAUSER);
        token.grantRole(token.MINTER_ROLE(), MINTER);
        token.grantRole(token.GUARDIAN_ROLE(), GUARDIAN);
        token.grantRole(token.TREASURY_ROLE(), RESERVE_TREASURY);
        token.announceAccount(PAYER, COLLECTOR, address(0), 0);
        vm.stopPrank();
        vm.prank(PAYER);
        token.acceptAccount();
    }

    function give(address to, uint256 amount) internal {
        vm.prank(MINTER);
        token.mint(to, amount);
    }

    function eq(uint256 left, uint256 right, string memory what) internal pure {
        if (left != right) revert Unequal(left, right, what);
    }

    function eq(address left, address right, string memory what) internal pure {
        if (left != right) revert Unequal(uint160(left), uint160(right), what);
    }

    function eq(bytes32 left, bytes32 right, string memory what) internal pure {
        if (left != right) revert Unequal(uint256(left), uint256(right), what);
    }

    function ok(bool condition, string memory what) internal pure {
        if (!condition) revert Wrong(what);
    }

    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }

    // ------------------------------------------------------------------------------------------------ packed lists

    function entityOf(uint256 n) internal pure returns (bytes16) {
        return bytes16(uint128((n + 1) << 64));
    }

    /// @dev An item of a list, for money in and for money out.
    function item(bytes16 entity, uint8 role, address account, uint256 amount) internal pure returns (bytes memory) {
        return abi.encodePacked(
            uint64(uint128(entity) >> 64),
            keccak256(abi.encode("xor", entity)),
            keccak256(abi.encode("root", entity)),
            account,
            uint96(amount),
            entity,
            role
        );
    }

    function place(address owner, uint256 entity, uint8 role) internal view returns (bytes32) {
        return token.reservationId(PAYER, owner, bytes32(entityOf(entity)), role);
    }

    /// @dev For an hour, in the name of entity `entity` as an enterprise.
    function reserve(address owner, uint256 entity, uint256 amount, bytes32 batch) internal {
        vm.prank(owner);
        token.approve(address(token), amount);
        vm.prank(COLLECTOR);
        token.reserve(
            PAYER, owner, bytes32(entityOf(entity)), 0, amount, batch, uint64(block.timestamp + 1 hours)
        );
    }

    /// @dev The next settlement of the payouts account, over ten more rows.
    function begin(bytes32 batch, uint256 collections, uint256 payouts, bytes32 root) internal {
        (bytes32 previous,, uint64 lastRow,,) = token.settlementOf(PAYER);
        vm.prank(COLLECTOR);
        token.begin(PAYER, batch, previous, lastRow + 1, lastRow + 10, collections, payouts, root);
    }

    function collect(bytes32 batch, bytes memory list) internal {
        vm.prank(COLLECTOR);
        token.collect(PAYER, batch, list);
    }

    function pay(bytes32 batch, bytes memory list) internal {
        vm.prank(PAYER);
        token.pay(batch, list, new bytes32[](0));
    }

    /// @dev A settlement that pays this list and no more, out of what the account holds.
    function payAlone(bytes32 batch, bytes memory list, uint256 total) internal {
        begin(batch, 0, total, keccak256(list));
        pay(batch, list);
    }

    /// @dev Puts `amount` into the payouts account by a settlement of its own.
    function fund(uint256 amount) internal {
        give(ALICE, amount);
        bytes32 batch = keccak256(abi.encode("fund", token.totalMinted()));
        begin(batch, amount, 0, 0);
        reserve(ALICE, 0, amount, batch);
        collect(batch, item(entityOf(0), 0, ALICE, amount));
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IAccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/IAccessControlDefaultAdminRules.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {UtilityToken} from "src/UtilityToken.sol";
import {Faucet} from "src/Faucet.sol";
import {Base, Vm} from "./Base.sol";

contract UtilityTokenTest is Base {
    bytes32 private constant R1 = keccak256("reservation 1");
    bytes32 private constant R2 = keccak256("reservation 2");

    function setUp() public {
        makeToken();
        give(ALICE, 1000 * CPU);
    }

    // -------------------------------------------------------------------------------------------------- reservations

    function test_reserve_moves_and_collect_returns_the_rest() public {
        reserve(ALICE, 30 * CPU, R1);
        eq(token.balanceOf(address(token)), 30 * CPU, "held");
        eq(token.balanceOf(ALICE), 970 * CPU, "owner");
        eq(token.allowance(ALICE, address(token)), 0, "allowance");
        collect(BATCH, collection(entityOf(0), 0, R1, 12 * CPU), 12 * CPU);
        eq(token.balanceOf(ALICE), 988 * CPU, "rest returned");
        eq(token.balanceOf(address(token)), 0, "nothing held");
        eq(token.balanceOf(token.payoutsAccount()), 12 * CPU, "collected");
    }

    function test_release_by_collector_and_by_anybody_after_expiry() public {
        reserve(ALICE, 30 * CPU, R1);
        vm.prank(COLLECTOR);
        token.release(R1);
        eq(token.balanceOf(ALICE), 1000 * CPU, "released");
        reserve(ALICE, 20 * CPU, R2);
        vm.prank(BOB);
        vm.expectRevert(
            abi.encodeWithSelector(UtilityToken.ReservationOpen.selector, R2, uint256(block.timestamp + 1 hours))
        );
        token.release(R2);
        vm.warp(block.timestamp + 1 hours);
        vm.prank(BOB);
        token.release(R2);
        eq(token.balanceOf(ALICE), 1000 * CPU, "expired and released");
        eq(token.balanceOf(address(token)), 0, "held");
    }

    function test_a_reservation_id_is_used_once() public {
        reserve(ALICE, 1, R1);
        vm.prank(ALICE);
        token.approve(address(token), 5);
        bytes memory refused = abi.encodeWithSelector(UtilityToken.ReservationExists.selector, R1);
        vm.prank(COLLECTOR);
        vm.expectRevert(refused);
        token.reserve(ALICE, 1, R1, uint64(block.timestamp + 1));
        vm.prank(COLLECTOR);
        token.release(R1);
        vm.prank(COLLECTOR);
        vm.expectRevert(refused);
        token.reserve(ALICE, 1, R1, uint64(block.timestamp + 1));
        vm.prank(COLLECTOR);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.UnknownReservation.selector, R1));
        token.release(R1);
    }

    function test_reserve_refuses() public {
        uint64 soon = uint64(block.timestamp + 1);
        vm.startPrank(COLLECTOR);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(token), 0, 1)
        );
        token.reserve(ALICE, 1, R1, soon);
        vm.expectRevert(UtilityToken.ZeroAmount.selector);
        token.reserve(ALICE, 0, R1, soon);
        vm.expectRevert(UtilityToken.ZeroId.selector);
        token.reserve(ALICE, 1, 0, soon);
        for (uint256 n = 0; n < 3; n++) {
            uint64 expiry = [uint64(0), uint64(block.timestamp), uint64(block.timestamp + 7 days + 1)][n];
            vm.expectRevert(
                abi.encodeWithSelector(
                    UtilityToken.InvalidExpiry.selector, expiry, block.timestamp + 1, block.timestamp + 7 days
                )
            );
            token.reserve(ALICE, 1, R1, expiry);
        }
        vm.stopPrank();
        vm.prank(ALICE);
        token.approve(address(token), type(uint256).max);
        vm.startPrank(COLLECTOR);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientBalance.selector, ALICE, 1000 * CPU, uint256(type(uint96).max)
            )
        );
        token.reserve(ALICE, type(uint96).max, R1, soon);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientBalance.selector, ALICE, 1000 * CPU, uint256(type(uint64).max) + 2
            )
        );
        token.reserve(ALICE, uint256(type(uint64).max) + 2, R1, soon);
        token.reserve(ALICE, 1000 * CPU, R1, uint64(block.timestamp + 7 days));
        vm.stopPrank();
        eq(token.allowance(ALICE, address(token)), type(uint256).max - 1000 * CPU, "no unlimited approval");
    }

    function test_reserve_logs_all_it_did() public {
        vm.prank(ALICE);
        token.approve(address(token), 5);
        vm.recordLogs();
        vm.prank(COLLECTOR);
        token.reserve(ALICE, 5, R1, uint64(block.timestamp + 9));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs.length, 2, "events");
        checkTransfer(logs[0], ALICE, address(token), 5);
        eq(logs[1].topics[0], UtilityToken.Reserved.selector, "topic");
        eq(logs[1].topics[1], R1, "id");
        eq(logs[1].topics[2], bytes32(uint256(uint160(ALICE))), "owner");
        eq(keccak256(logs[1].data), keccak256(abi.encode(uint256(5), block.timestamp + 9)), "data");
        vm.recordLogs();
        vm.prank(COLLECTOR);
        token.release(R1);
        logs = vm.getRecordedLogs();
        checkTransfer(logs[0], address(token), ALICE, 5);
        eq(logs[1].topics[0], UtilityToken.Released.selector, "released");
        eq(keccak256(logs[1].data), keccak256(abi.encode(uint256(5))), "released data");
    }

    // -------------------------------------------------------------------------------------------------------- collect

    function test_collect_logs_the_whole_commitment() public {
        reserve(ALICE, 9, R1);
        bytes memory list = collection(entityOf(3), 5, R1, 4);
        vm.recordLogs();
        collect(BATCH, list, 4);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs.length, 5, "events");
        checkTransfer(logs[0], address(token), token.payoutsAccount(), 4);
        checkTransfer(logs[1], address(token), ALICE, 5);
        eq(logs[2].topics[0], UtilityToken.Collected.selector, "collected");
        eq(logs[2].topics[1], R1, "collected id");
        eq(keccak256(logs[2].data), keccak256(abi.encode(uint256(4), uint256(5))), "collected data");
        checkSettled(logs[3], BATCH, entityOf(3), 5, ALICE, 4);
        eq(logs[4].topics[0], UtilityToken.BatchCollected.selector, "batch");
        eq(logs[4].topics[1], BATCH, "batch id");
        eq(keccak256(logs[4].data), keccak256(abi.encode(keccak256(list), uint256(1), uint256(4))), "batch data");
    }

    function test_collect_refuses() public {
        reserve(ALICE, 9, R1);
        refuseCollect(collection(entityOf(0), 0, R1, 0), 0, abi.encodeWithSelector(UtilityToken.ZeroAmount.selector));
        refuseCollect(
            collection(entityOf(0), 0, R1, 10),
            10,
            abi.encodeWithSelector(UtilityToken.ReservationExceeded.selector, R1, 10, 9)
        );
        refuseCollect(
            collection(entityOf(0), 0, R1, type(uint96).max),
            type(uint96).max,
            abi.encodeWithSelector(UtilityToken.ReservationExceeded.selector, R1, uint256(type(uint96).max), 9)
        );
        refuseCollect(
            collection(entityOf(0), 0, R2, 1), 1, abi.encodeWithSelector(UtilityToken.UnknownReservation.selector, R2)
        );
        for (uint8 role = 1; role < 5; role++) {
            refuseCollect(
                collection(entityOf(0), role, R1, 1), 1, abi.encodeWithSelector(UtilityToken.InvalidRole.selector, role)
            );
        }
        refuseCollect(
            collection(entityOf(0), 6, R1, 1), 1, abi.encodeWithSelector(UtilityToken.InvalidRole.selector, uint8(6))
        );
        refuseCollect(
            collection(entityOf(0), 0, R1, 1), 2, abi.encodeWithSelector(UtilityToken.TotalMismatch.selector, 2, 1)
        );
        refuseCollect("", 0, abi.encodeWithSelector(UtilityToken.EmptyBatch.selector));
        refuseCollect(
            hex"00", 0, abi.encodeWithSelector(UtilityToken.MalformedList.selector, uint256(1), uint256(133))
        );
        bytes memory list = collection(entityOf(0), 0, R1, 1);
        vm.prank(COLLECTOR);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ListMismatch.selector, BATCH, keccak256(list)));
        token.collect(BATCH, 1, BATCH, list);
        vm.prank(COLLECTOR);
        vm.expectRevert(UtilityToken.ZeroId.selector);
        token.collect(0, 1, keccak256(list), list);
        vm.warp(block.timestamp + 1 hours);
        refuseCollect(list, 1, abi.encodeWithSelector(UtilityToken.ReservationExpired.selector, R1, block.timestamp));
    }

    function test_an_entity_is_collected_once_per_batch() public {
        reserve(ALICE, 9, R1);
        reserve(ALICE, 9, R2);
        bytes memory twice = bytes.concat(collection(entityOf(1), 0, R1, 1), collection(entityOf(1), 0, R2, 1));
        refuseCollect(
            twice,
            2,
            abi.encodeWithSelector(UtilityToken.DuplicateInBatch.selector, bytes32(entityOf(1)), uint8(0))
        );
        refuseCollect(
            bytes.concat(collection(entityOf(1), 0, R1, 1), collection(entityOf(0), 0, R2, 1)),
            2,
            abi.encodeWithSelector(UtilityToken.NotAscending.selector, bytes32(entityOf(0)), uint8(0))
        );
        collect(BATCH, collection(entityOf(1), 0, R1, 1), 1);
        refuseCollect(
            collection(entityOf(1), 0, R2, 1),
            1,
            abi.encodeWithSelector(UtilityToken.AlreadySettled.selector, BATCH, bytes32(entityOf(1)), uint8(0))
        );
        collect(BATCH, collection(entityOf(1), 5, R2, 1), 1); // the same entity's subsidy is another settlement
        eq(token.balanceOf(token.payoutsAccount()), 2, "both");
    }

    function test_a_collected_reservation_is_closed() public {
        reserve(ALICE, 9, R1);
        collect(BATCH, collection(entityOf(1), 0, R1, 1), 1);
        (address owner, uint256 amount,) = token.reservation(R1);
        eq(owner, ALICE, "owner stays");
        eq(amount, 0, "nothing held");
        refuseCollect(
            collection(entityOf(2), 0, R1, 1), 1, abi.encodeWithSelector(UtilityToken.UnknownReservation.selector, R1)
        );
        vm.prank(COLLECTOR);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.UnknownReservation.selector, R1));
        token.release(R1);
    }

    // ------------------------------------------------------------------------------------------------------------ pay

    function test_pay_logs_the_whole_commitment_of_each_payee() public {
        fund(10);
        bytes memory list = bytes.concat(payout(entityOf(1), 1, BOB, 4), payout(entityOf(1), 4, ALICE, 6));
        uint256 before = token.balanceOf(ALICE);
        vm.recordLogs();
        pay(BATCH, list, 10);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs.length, 5, "events");
        checkTransfer(logs[0], token.payoutsAccount(), BOB, 4);
        checkSettled(logs[1], BATCH, entityOf(1), 1, BOB, 4);
        checkTransfer(logs[2], token.payoutsAccount(), ALICE, 6);
        checkSettled(logs[3], BATCH, entityOf(1), 4, ALICE, 6);
        eq(logs[4].topics[0], UtilityToken.BatchPaid.selector, "batch");
        eq(logs[4].topics[1], BATCH, "batch id");
        eq(keccak256(logs[4].data), keccak256(abi.encode(keccak256(list), uint256(2), uint256(10))), "batch data");
        eq(token.balanceOf(BOB), 4, "bob");
        eq(token.balanceOf(ALICE), before + 6, "alice");
        eq(token.balanceOf(token.payoutsAccount()), 0, "account ends at zero");
        (uint128 collected, uint128 paid) = token.settledUpTo(BATCH);
        eq(collected, 0, "nothing collected in this batch");
        eq(paid, uint128(entityOf(1)) | 3, "paid up to");
    }

    function test_pay_refuses() public {
        fund(100);
        address payouts = token.payoutsAccount();
        refusePay(payout(entityOf(1), 1, BOB, 0), 0, abi.encodeWithSelector(UtilityToken.ZeroAmount.selector));
        address[3] memory forbidden = [address(0), address(token), payouts];
        for (uint256 n = 0; n < 3; n++) {
            refusePay(
                payout(entityOf(1), 1, forbidden[n], 1),
                1,
                abi.encodeWithSelector(UtilityToken.ForbiddenRecipient.selector, forbidden[n])
            );
        }
        uint8[4] memory roles = [0, 5, 6, 255];
        for (uint256 n = 0; n < 4; n++) {
            refusePay(
                payout(entityOf(1), roles[n], BOB, 1),
                1,
                abi.encodeWithSelector(UtilityToken.InvalidRole.selector, roles[n])
            );
        }
        refusePay(
            payout(entityOf(1), 1, BOB, 1), 2, abi.encodeWithSelector(UtilityToken.TotalMismatch.selector, 2, 1)
        );
        refusePay(
            payout(entityOf(1), 1, BOB, 101),
            101,
            abi.encodeWithSelector(UtilityToken.CollectedFundsExceeded.selector, 101, 100)
        );
        refusePay(
            payout(entityOf(1), 1, BOB, type(uint96).max),
            type(uint96).max,
            abi.encodeWithSelector(UtilityToken.CollectedFundsExceeded.selector, uint256(type(uint96).max), 100)
        );
        refusePay("", 0, abi.encodeWithSelector(UtilityToken.EmptyBatch.selector));
        refusePay(
            new bytes(122), 0, abi.encodeWithSelector(UtilityToken.MalformedList.selector, uint256(122), uint256(121))
        );
        bytes memory list = payout(entityOf(1), 1, BOB, 1);
        vm.prank(PAYER);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ListMismatch.selector, BATCH, keccak256(list)));
        token.pay(BATCH, 1, BATCH, list);
        vm.prank(PAYER);
        vm.expectRevert(UtilityToken.ZeroId.selector);
        token.pay(0, 1, keccak256(list), list);
        eq(token.balanceOf(payouts), 100, "untouched");
        eq(token.balanceOf(BOB), 0, "nobody paid");
    }

    /// @dev Each rule is found in the middle of a list too, and the items before it do not stay paid.
    function test_pay_is_whole_or_not_at_all() public {
        fund(100);
        bytes memory good = payout(entityOf(1), 2, BOB, 1);
        refusePay(
            bytes.concat(good, payout(entityOf(1), 2, ALICE, 1)),
            2,
            abi.encodeWithSelector(UtilityToken.DuplicateInBatch.selector, bytes32(entityOf(1)), uint8(2))
        );
        refusePay(
            bytes.concat(good, payout(entityOf(1), 1, ALICE, 1)),
            2,
            abi.encodeWithSelector(UtilityToken.NotAscending.selector, bytes32(entityOf(1)), uint8(1))
        );
        refusePay(
            bytes.concat(good, payout(entityOf(2), 1, ALICE, 0)),
            1,
            abi.encodeWithSelector(UtilityToken.ZeroAmount.selector)
        );
        refusePay(
            bytes.concat(good, payout(entityOf(2), 0, ALICE, 1)),
            2,
            abi.encodeWithSelector(UtilityToken.InvalidRole.selector, uint8(0))
        );
        eq(token.balanceOf(BOB), 0, "nothing half-done");
    }

    function test_an_entity_is_paid_once_per_batch_for_ever() public {
        fund(100);
        pay(BATCH, payout(entityOf(2), 2, BOB, 1), 1);
        bytes memory again = abi.encodeWithSelector(
            UtilityToken.AlreadySettled.selector, BATCH, bytes32(entityOf(2)), uint8(2)
        );
        refusePay(payout(entityOf(2), 2, BOB, 1), 1, again);
        refusePay(payout(entityOf(2), 2, ALICE, 7), 7, again);
        vm.warp(block.timestamp + 10_000 days);
        refusePay(payout(entityOf(2), 2, BOB, 1), 1, again);
        refusePay(
            payout(entityOf(1), 2, BOB, 1),
            1,
            abi.encodeWithSelector(UtilityToken.AlreadySettled.selector, BATCH, bytes32(entityOf(1)), uint8(2))
        );
        pay(BATCH, payout(entityOf(2), 3, BOB, 1), 1); // another role
        pay(BATCH, payout(entityOf(3), 1, BOB, 1), 1); // another entity
        pay(keccak256("another day"), payout(entityOf(2), 2, BOB, 1), 1); // another batch
        eq(token.balanceOf(BOB), 4, "paid");
    }

    function test_both_directions_of_a_batch_have_their_own_progress() public {
        reserve(ALICE, 9, R1);
        collect(BATCH, collection(entityOf(9), 0, R1, 9), 9);
        pay(BATCH, payout(entityOf(1), 1, BOB, 9), 9);
        (uint128 collected, uint128 paid) = token.settledUpTo(BATCH);
        eq(collected, uint128(entityOf(9)), "collected");
        eq(paid, uint128(entityOf(1)), "paid");
    }

    // --------------------------------------------------------------------------------------------- roles, pause, supply

    function test_only_the_role_may() public {
        bytes memory list = payout(entityOf(1), 1, BOB, 1);
        address[5] memory others = [ALICE, ADMIN, PAYER, COLLECTOR, PAUSER];
        for (uint256 n = 0; n < 5; n++) {
            address who = others[n];
            if (who != COLLECTOR) {
                refuseRole(who, token.COLLECTOR_ROLE());
                token.reserve(ALICE, 1, R1, uint64(block.timestamp + 1));
                refuseRole(who, token.COLLECTOR_ROLE());
                token.collect(BATCH, 1, keccak256(list), list);
            }
            if (who != PAYER) {
                refuseRole(who, token.PAYER_ROLE());
                token.pay(BATCH, 1, keccak256(list), list);
            }
            if (who != PAUSER) {
                refuseRole(who, token.PAUSER_ROLE());
                token.pause();
            }
            refuseRole(who, token.MINTER_ROLE());
            token.mint(ALICE, 1);
            if (who != ADMIN) {
                refuseRole(who, token.DEFAULT_ADMIN_ROLE());
                token.unpause();
                refuseRole(who, token.DEFAULT_ADMIN_ROLE());
                token.sealMinters();
            }
        }
    }

    function test_a_paused_token_moves_nothing() public {
        reserve(ALICE, 9, R1);
        fund(5);
        vm.prank(ALICE);
        token.approve(BOB, 9);
        vm.prank(PAUSER);
        token.pause();
        ok(token.paused(), "paused");
        bytes memory list = payout(entityOf(1), 1, BOB, 1);
        bytes4 refused = UtilityToken.TokenPaused.selector;
        vm.prank(ALICE);
        vm.expectRevert(refused);
        token.transfer(BOB, 1);
        vm.prank(BOB);
        vm.expectRevert(refused);
        token.transferFrom(ALICE, BOB, 1);
        vm.startPrank(COLLECTOR);
        vm.expectRevert(refused);
        token.reserve(ALICE, 1, R2, uint64(block.timestamp + 1));
        vm.expectRevert(refused);
        token.release(R1);
        vm.expectRevert(refused);
        token.collect(BATCH, 1, keccak256(list), list);
        vm.stopPrank();
        vm.prank(PAYER);
        vm.expectRevert(refused);
        token.pay(BATCH, 1, keccak256(list), list);
        vm.prank(MINTER);
        vm.expectRevert(refused);
        token.mint(BOB, 1);
        vm.prank(PAUSER);
        vm.expectRevert(refused);
        token.pause();
        vm.prank(ALICE);
        token.approve(BOB, 0); // an approval can always be withdrawn
        vm.prank(ADMIN);
        token.unpause();
        vm.prank(ADMIN);
        vm.expectRevert(UtilityToken.NotPaused.selector);
        token.unpause();
        pay(BATCH, list, 1);
        eq(token.balanceOf(token.payoutsAccount()), 4, "books survive a pause");
        eq(token.balanceOf(address(token)), 9, "holds survive a pause");
    }

    function test_supply_ends_at_the_cap() public {
        uint256 supply = token.totalSupply();
        uint256 cap = token.CAP();
        eq(cap, 5_000_000_000 * CPU, "cap");
        vm.startPrank(MINTER);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.CapExceeded.selector, supply, cap - supply + 1));
        token.mint(BOB, cap - supply + 1);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.CapExceeded.selector, supply, type(uint256).max));
        token.mint(BOB, type(uint256).max);
        token.mint(BOB, cap - supply);
        eq(token.totalSupply(), cap, "all of it");
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.CapExceeded.selector, cap, 1));
        token.mint(BOB, 1);
        vm.expectRevert(UtilityToken.ZeroAmount.selector);
        token.mint(BOB, 0);
        vm.stopPrank();
    }

    function test_mint_refuses_places_that_are_not_accounts() public {
        vm.startPrank(MINTER);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        token.mint(address(0), 1);
        address payouts = token.payoutsAccount();
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ForbiddenRecipient.selector, payouts));
        token.mint(payouts, 1);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ForbiddenRecipient.selector, address(token)));
        token.mint(address(token), 1);
        vm.stopPrank();
    }

    function test_transfers_into_the_books_are_refused() public {
        address payouts = token.payoutsAccount();
        vm.startPrank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ForbiddenRecipient.selector, payouts));
        token.transfer(payouts, 1);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ForbiddenRecipient.selector, address(token)));
        token.transfer(address(token), 0);
        vm.stopPrank();
    }

    function test_sealed_minters_stay_as_they_are() public {
        vm.startPrank(ADMIN);
        token.sealMinters();
        bytes32 role = token.MINTER_ROLE();
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessControl.AccessControlUnauthorizedAccount.selector, ADMIN, bytes32(type(uint256).max)
            )
        );
        token.grantRole(role, ADMIN);
        vm.stopPrank();
        give(BOB, 1);
        eq(token.balanceOf(BOB), 1, "the sealed minter mints");
    }

    function test_the_admin_changes_in_two_steps_with_a_delay() public {
        vm.prank(ADMIN);
        token.beginDefaultAdminTransfer(BOB);
        uint48 due = uint48(block.timestamp + 1 days);
        vm.prank(BOB);
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessControlDefaultAdminRules.AccessControlEnforcedDefaultAdminDelay.selector, due
            )
        );
        token.acceptDefaultAdminTransfer();
        vm.warp(due + 1);
        vm.prank(ALICE);
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControlDefaultAdminRules.AccessControlInvalidDefaultAdmin.selector, ALICE)
        );
        token.acceptDefaultAdminTransfer();
        vm.prank(BOB);
        token.acceptDefaultAdminTransfer();
        eq(token.defaultAdmin(), BOB, "new admin");
        vm.startPrank(BOB);
        token.revokeRole(token.COLLECTOR_ROLE(), COLLECTOR);
        token.grantRole(token.COLLECTOR_ROLE(), ALICE);
        vm.stopPrank();
        refuseRole(COLLECTOR, token.COLLECTOR_ROLE());
        token.reserve(ALICE, 1, R1, uint64(block.timestamp + 1));
    }

    function test_the_faucet_is_for_the_development_chain_only() public {
        vm.chainId(1);
        vm.expectRevert(abi.encodeWithSelector(Faucet.NotADevelopmentChain.selector, 1));
        this.makeFaucet();
        vm.chainId(31337);
        Faucet faucet = this.makeFaucet();
        vm.startPrank(ADMIN);
        token.grantRole(token.MINTER_ROLE(), address(faucet));
        vm.stopPrank();
        faucet.give(BOB, 5);
        eq(token.balanceOf(BOB), 5, "gift");
        vm.expectRevert(abi.encodeWithSelector(Faucet.GiftTooLarge.selector, 1_000_000 * CPU + 1));
        faucet.give(BOB, 1_000_000 * CPU + 1);
    }

    function makeFaucet() external returns (Faucet) {
        return Faucet(vm.deployCode("Faucet.sol:Faucet", abi.encode(token)));
    }

    function test_what_it_is() public view {
        eq(token.decimals(), 9, "decimals");
        eq(keccak256(bytes(token.name())), keccak256("CPUcoin"), "name");
        eq(keccak256(bytes(token.symbol())), keccak256("CPU"), "symbol");
    }

    function test_permit() public {
        uint256 key = 0xA11;
        address owner = vm.addr(key);
        bytes32 digest = permitDigest(owner, BOB, 7, 0, block.timestamp);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        token.permit(owner, BOB, 7, block.timestamp, v, r, s);
        eq(token.allowance(owner, BOB), 7, "approved");
        eq(token.nonces(owner), 1, "nonce");
        bytes32 expired = permitDigest(owner, BOB, 8, 1, block.timestamp - 1);
        (v, r, s) = vm.sign(key, expired);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.PermitExpired.selector, block.timestamp - 1));
        token.permit(owner, BOB, 8, block.timestamp - 1, v, r, s);
        (v, r, s) = vm.sign(0xBAD, permitDigest(owner, BOB, 8, 1, block.timestamp));
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.InvalidSigner.selector, vm.addr(0xBAD), owner));
        token.permit(owner, BOB, 8, block.timestamp, v, r, s);
        (v, r, s) = vm.sign(key, digest); // the first once more: its nonce is used
        try token.permit(owner, BOB, 7, block.timestamp, v, r, s) {
            revert Wrong("a permit was replayed");
        } catch (bytes memory refused) {
            ok(bytes4(refused) == UtilityToken.InvalidSigner.selector, "refused by name");
        }
    }

    // ----------------------------------------------------------------------------------------------------------- fuzz

    /// @dev Whatever is reserved, collected and paid: nothing is created or lost.
    function testFuzz_money_is_conserved(uint96 held, uint96 posted, uint8 payees, uint256 seed) public {
        uint256 amount = bound(held, 1, 1000 * CPU);
        uint256 collected = bound(posted, 1, amount);
        uint256 supply = token.totalSupply();
        reserve(ALICE, amount, R1);
        collect(BATCH, collection(entityOf(0), 0, R1, collected), collected);
        eq(token.balanceOf(ALICE), 1000 * CPU - collected, "owner pays what was collected");
        bytes memory list;
        uint256 left = collected;
        uint256 paid = 0;
        for (uint256 n = 0; n < bound(payees, 1, 20) && left > 0; n++) {
            uint256 share = bound(uint256(keccak256(abi.encode(seed, n))), 1, left);
            list = bytes.concat(list, payout(entityOf(n), uint8(1 + n % 4), address(uint160(0x1000 + n)), share));
            left -= share;
            paid += share;
        }
        pay(BATCH, list, paid);
        eq(token.balanceOf(token.payoutsAccount()), collected - paid, "carried");
        eq(token.totalSupply(), supply, "supply");
    }

    function testFuzz_transfer(address to, uint256 amount) public {
        vm.assume(to != address(0) && to != address(token) && to != token.payoutsAccount() && to != ALICE);
        amount = bound(amount, 0, 1000 * CPU);
        vm.prank(ALICE);
        ok(token.transfer(to, amount), "returns true");
        eq(token.balanceOf(to), amount, "to");
        eq(token.balanceOf(ALICE), 1000 * CPU - amount, "from");
    }

    function testFuzz_no_list_but_the_right_one(bytes calldata list, uint256 total) public {
        fund(1000);
        vm.assume(list.length % 121 != 0 || list.length == 0);
        vm.prank(PAYER);
        try token.pay(BATCH, total, keccak256(list), list) {
            revert Wrong("a malformed list was paid");
        } catch {}
        eq(token.balanceOf(token.payoutsAccount()), 1000, "untouched");
    }

    // ---------------------------------------------------------------------------------------------------------- inner

    function refusePay(bytes memory list, uint256 total, bytes memory refused) private {
        vm.prank(PAYER);
        vm.expectRevert(refused);
        token.pay(BATCH, total, keccak256(list), list);
    }

    function refuseCollect(bytes memory list, uint256 total, bytes memory refused) private {
        vm.prank(COLLECTOR);
        vm.expectRevert(refused);
        token.collect(BATCH, total, keccak256(list), list);
    }

    function refuseRole(address who, bytes32 role) private {
        vm.prank(who);
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, who, role));
    }

    function checkTransfer(Vm.Log memory log, address from, address to, uint256 amount) private pure {
        eq(log.topics[0], keccak256("Transfer(address,address,uint256)"), "transfer");
        eq(log.topics[1], bytes32(uint256(uint160(from))), "from");
        eq(log.topics[2], bytes32(uint256(uint160(to))), "to");
        eq(keccak256(log.data), keccak256(abi.encode(amount)), "amount");
    }

    function checkSettled(Vm.Log memory log, bytes32 batch, bytes16 entity, uint8 role, address account, uint256 amount)
        private
        pure
    {
        eq(log.topics[0], UtilityToken.Settled.selector, "settled");
        eq(log.topics[1], batch, "batch");
        eq(log.topics[2], bytes32(entity), "entity");
        bytes memory data = abi.encode(
            role,
            amount,
            uint64(uint128(entity) >> 64),
            keccak256(abi.encode("xor", entity)),
            keccak256(abi.encode("root", entity)),
            account
        );
        eq(keccak256(log.data), keccak256(data), "commitment");
    }

    function permitDigest(address owner, address spender, uint256 value, uint256 nonce, uint256 deadline)
        private
        view
        returns (bytes32)
    {
        bytes32 kind =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 content = keccak256(abi.encode(kind, owner, spender, value, nonce, deadline));
        return keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), content));
    }
}

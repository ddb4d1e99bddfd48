// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IAccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/IAccessControlDefaultAdminRules.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {DelayedRoles} from "src/DelayedRoles.sol";
import {UtilityToken} from "src/UtilityToken.sol";
import {Faucet} from "src/Faucet.sol";
import {Base, Vm} from "./Base.sol";

contract UtilityTokenTest is Base {
    bytes32 private constant NEXT = keccak256("the next day");
    bytes32 private constant NODE = bytes32(bytes16("a node"));
    bytes32 private constant OTHER_NODE = bytes32(bytes16("another node"));

    function setUp() public {
        makeToken();
        give(ALICE, 1000 * CPU);
    }

    // -------------------------------------------------------------------------------------------------- reservations

    function test_reserve_moves_and_collect_returns_the_rest() public {
        reserve(ALICE, 0, 30 * CPU, BATCH);
        eq(token.balanceOf(address(token)), 30 * CPU, "held");
        eq(token.balanceOf(ALICE), 970 * CPU, "owner");
        eq(token.allowance(ALICE, address(token)), 0, "allowance");
        begin(BATCH, 12 * CPU, 0, 0);
        collect(BATCH, item(entityOf(0), 0, ALICE, 12 * CPU));
        eq(token.balanceOf(ALICE), 988 * CPU, "rest returned");
        eq(token.balanceOf(address(token)), 0, "nothing held");
        eq(token.balanceOf(PAYER), 12 * CPU, "collected");
    }

    function test_release_by_collector_and_by_anybody_after_expiry() public {
        bytes32 id = place(ALICE, 0, 0);
        reserve(ALICE, 0, 30 * CPU, BATCH);
        release(COLLECTOR);
        eq(token.balanceOf(ALICE), 1000 * CPU, "released");
        reserve(ALICE, 0, 20 * CPU, NEXT);
        vm.expectRevert(
            abi.encodeWithSelector(UtilityToken.ReservationOpen.selector, id, uint256(block.timestamp + 1 hours))
        );
        release(BOB);
        vm.warp(block.timestamp + 1 hours);
        release(BOB);
        eq(token.balanceOf(ALICE), 1000 * CPU, "expired and released");
        eq(token.balanceOf(address(token)), 0, "held");
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.UnknownReservation.selector, id));
        release(COLLECTOR);
    }

    /// @dev P-17: the same word serves every settlement.
    function test_a_reservation_takes_the_place_of_the_one_before() public {
        reserve(ALICE, 0, 30, BATCH);
        reserve(ALICE, 0, 20, NEXT);
        eq(token.balanceOf(address(token)), 20, "only the newer is held");
        eq(token.balanceOf(ALICE), 1000 * CPU - 20, "the older went back in the same step");
        (uint8 state, uint256 own,,, bytes10 tag) = token.reservation(PAYER, ALICE, bytes32(entityOf(0)), 0);
        eq(state, 1, "open");
        eq(own, 20, "own");
        eq(bytes32(tag), bytes32(bytes10(NEXT)), "tag");
        vm.warp(block.timestamp + 2 hours);
        reserve(ALICE, 0, 10, NEXT); // the same settlement once more, now that it has expired
        eq(token.balanceOf(address(token)), 10, "renewed");
        reserve(ALICE, 1, 5, NEXT); // another entity with the same account has a place of its own
        eq(token.balanceOf(address(token)), 15, "beside it");
    }

    /// @dev The same call mined twice holds nothing a second time, whatever became of the first.
    function test_a_reservation_is_made_once_per_settlement() public {
        uint64 expiry = uint64(block.timestamp + 1 hours);
        bytes memory refused =
            abi.encodeWithSelector(UtilityToken.ReservationExists.selector, place(ALICE, 0, 0));
        vm.prank(ALICE);
        token.approve(address(token), 100);
        doReserve(ALICE, 0, 9, BATCH, expiry);
        vm.expectRevert(refused);
        doReserve(ALICE, 0, 9, BATCH, expiry);
        release(COLLECTOR);
        vm.expectRevert(refused);
        doReserve(ALICE, 0, 9, BATCH, expiry);
        doReserve(ALICE, 0, 9, BATCH, expiry + 1);
        begin(BATCH, 9, 0, 0);
        collect(BATCH, item(entityOf(0), 0, ALICE, 9));
        vm.expectRevert(refused);
        doReserve(ALICE, 0, 9, BATCH, expiry + 1);
    }

    function test_reserve_refuses() public {
        uint64 soon = uint64(block.timestamp + 1);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(token), 0, 1)
        );
        doReserve(ALICE, 0, 1, BATCH, soon);
        vm.expectRevert(UtilityToken.ZeroId.selector);
        doReserve(ALICE, 0, 1, 0, soon);
        for (uint8 role = 1; role < 5; role++) {
            vm.prank(COLLECTOR);
            vm.expectRevert(abi.encodeWithSelector(UtilityToken.InvalidRole.selector, role));
            token.reserve(PAYER, ALICE, bytes32(entityOf(0)), role, 1, BATCH, soon);
        }
        bytes32 tooLong = bytes32(entityOf(0)) | bytes32(uint256(1));
        vm.prank(COLLECTOR);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.InvalidEntity.selector, tooLong));
        token.reserve(PAYER, ALICE, tooLong, 0, 1, BATCH, soon);
        for (uint256 n = 0; n < 3; n++) {
            uint64 expiry = [uint64(0), uint64(block.timestamp), uint64(block.timestamp + 7 days + 1)][n];
            vm.expectRevert(
                abi.encodeWithSelector(
                    UtilityToken.InvalidExpiry.selector, expiry, block.timestamp + 1, block.timestamp + 7 days
                )
            );
            doReserve(ALICE, 0, 1, BATCH, expiry);
        }
        vm.prank(ALICE);
        token.approve(address(token), type(uint256).max);
        uint256[2] memory huge = [uint256(type(uint96).max), uint256(type(uint64).max) + 2];
        for (uint256 n = 0; n < 2; n++) {
            vm.expectRevert(
                abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, ALICE, 1000 * CPU, huge[n])
            );
            doReserve(ALICE, 0, huge[n], BATCH, soon);
        }
        doReserve(ALICE, 0, 1000 * CPU, BATCH, uint64(block.timestamp + 7 days));
        eq(token.allowance(ALICE, address(token)), type(uint256).max - 1000 * CPU, "no unlimited approval");
    }

    function test_reserve_logs_all_it_did() public {
        vm.prank(ALICE);
        token.approve(address(token), 5);
        vm.recordLogs();
        doReserve(ALICE, 0, 5, BATCH, uint64(block.timestamp + 9));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs.length, 2, "events");
        checkTransfer(logs[0], ALICE, address(token), 5);
        eq(logs[1].topics[0], UtilityToken.Reserved.selector, "topic");
        eq(logs[1].topics[1], place(ALICE, 0, 0), "id");
        eq(logs[1].topics[2], bytes32(uint256(uint160(ALICE))), "owner");
        eq(logs[1].topics[3], bytes32(uint256(uint160(PAYER))), "account");
        bytes memory data =
            abi.encode(bytes32(entityOf(0)), uint8(0), uint256(5), bytes10(BATCH), block.timestamp + 9);
        eq(keccak256(logs[1].data), keccak256(data), "data");
        vm.recordLogs();
        release(COLLECTOR);
        logs = vm.getRecordedLogs();
        checkTransfer(logs[0], address(token), ALICE, 5);
        eq(logs[1].topics[0], UtilityToken.Released.selector, "released");
        eq(keccak256(logs[1].data), keccak256(abi.encode(uint256(5), uint256(0))), "released data");
    }

    // -------------------------------------------------------------------------------------------------------- top-up

    function test_a_top_up_never_passes_through_the_payers_account() public {
        give(RESERVE_TREASURY, 100);
        vm.prank(ALICE);
        token.transfer(BOB, 1000 * CPU - 20); // all but 20 moved away
        reserve(ALICE, 0, 20, BATCH);
        topUp(40, BATCH);
        eq(token.balanceOf(ALICE), 0, "the payer never had it");
        eq(token.balanceOf(RESERVE_TREASURY), 60, "treasury");
        eq(token.balanceOf(address(token)), 60, "held");
        begin(BATCH, 50, 0, 0);
        vm.recordLogs();
        collect(BATCH, item(entityOf(0), 0, ALICE, 50)); // 20 of its own, 30 of the treasury's
        Vm.Log[] memory logs = vm.getRecordedLogs();
        checkTransfer(logs[0], address(token), RESERVE_TREASURY, 10);
        eq(keccak256(logs[1].data), keccak256(abi.encode(uint256(50), uint256(0), uint256(10))), "collected data");
        eq(token.balanceOf(RESERVE_TREASURY), 70, "what was not needed came back to it");
        eq(token.balanceOf(ALICE), 0, "and not to the payer");
        eq(token.balanceOf(PAYER), 50, "collected");
    }

    function test_a_top_up_comes_back_with_the_reservation() public {
        give(RESERVE_TREASURY, 100);
        reserve(ALICE, 0, 0, BATCH); // a payer that has nothing: a place for the treasury's
        topUp(40, BATCH);
        release(COLLECTOR);
        eq(token.balanceOf(RESERVE_TREASURY), 100, "released");
        reserve(ALICE, 0, 7, NEXT);
        topUp(40, NEXT);
        reserve(ALICE, 0, 9, BATCH); // replaced
        eq(token.balanceOf(RESERVE_TREASURY), 100, "replaced");
        eq(token.balanceOf(ALICE), 1000 * CPU - 9, "the payer has its own");
        topUp(1, BATCH);
        vm.warp(block.timestamp + 1 hours);
        release(BOB);
        eq(token.balanceOf(RESERVE_TREASURY), 100, "expired");
        eq(token.balanceOf(ALICE), 1000 * CPU, "expired, the payer's");
    }

    function test_top_up_refuses() public {
        bytes32 id = place(ALICE, 0, 0);
        give(RESERVE_TREASURY, 100);
        refuseTopUp(1, BATCH, abi.encodeWithSelector(UtilityToken.UnknownReservation.selector, id));
        reserve(ALICE, 0, 5, BATCH);
        refuseTopUp(1, NEXT, abi.encodeWithSelector(UtilityToken.UnknownReservation.selector, id));
        refuseTopUp(0, BATCH, abi.encodeWithSelector(UtilityToken.ZeroAmount.selector));
        refuseTopUp(
            101,
            BATCH,
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, RESERVE_TREASURY, 100, 101)
        );
        // a payer that could, would keep the treasury out with a unit of its own
        refuseRole(ALICE, token.TREASURY_ROLE());
        token.topUp(PAYER, ALICE, bytes32(entityOf(0)), 0, 1, BATCH);
        topUp(2, BATCH);
        refuseTopUp(2, BATCH, abi.encodeWithSelector(UtilityToken.AlreadyToppedUp.selector, id));
        reserve(ALICE, 0, 5, NEXT);
        vm.warp(block.timestamp + 1 hours);
        refuseTopUp(2, NEXT, abi.encodeWithSelector(UtilityToken.ReservationExpired.selector, id, block.timestamp));
    }

    // -------------------------------------------------------------------------------------------------------- collect

    function test_collect_logs_the_whole_commitment() public {
        vm.prank(ALICE);
        token.approve(address(token), 9);
        vm.prank(COLLECTOR);
        token.reserve(PAYER, ALICE, bytes32(entityOf(3)), 5, 9, BATCH, uint64(block.timestamp + 9));
        bytes memory list = item(entityOf(3), 5, ALICE, 4);
        begin(BATCH, 4, 0, 0);
        vm.recordLogs();
        collect(BATCH, list);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs.length, 5, "events");
        checkTransfer(logs[0], address(token), ALICE, 5);
        eq(logs[1].topics[0], UtilityToken.Collected.selector, "collected");
        eq(logs[1].topics[1], place(ALICE, 3, 5), "collected id");
        eq(keccak256(logs[1].data), keccak256(abi.encode(uint256(4), uint256(5), uint256(0))), "collected data");
        checkTransfer(logs[2], address(token), PAYER, 4);
        checkSettled(logs[3], BATCH, entityOf(3), 5, ALICE, 4);
        eq(logs[4].topics[0], UtilityToken.BatchCollected.selector, "batch");
        eq(logs[4].topics[1], BATCH, "batch id");
        eq(logs[4].topics[2], bytes32(uint256(uint160(PAYER))), "batch account");
        eq(keccak256(logs[4].data), keccak256(abi.encode(keccak256(list), uint256(1), uint256(4))), "batch data");
    }

    function test_collect_refuses() public {
        reserve(ALICE, 0, 9, BATCH);
        begin(BATCH, 8, 0, 0);
        bytes32 id = place(ALICE, 0, 0);
        refuseCollect(item(entityOf(0), 0, ALICE, 0), abi.encodeWithSelector(UtilityToken.ZeroAmount.selector));
        refuseCollect(
            item(entityOf(0), 0, ALICE, 10),
            abi.encodeWithSelector(UtilityToken.ReservationExceeded.selector, id, 10, 9)
        );
        refuseCollect(
            item(entityOf(0), 0, ALICE, type(uint96).max),
            abi.encodeWithSelector(UtilityToken.ReservationExceeded.selector, id, uint256(type(uint96).max), 9)
        );
        refuseCollect(
            item(entityOf(0), 0, ALICE, 9), abi.encodeWithSelector(UtilityToken.CommitmentExceeded.selector, 9, 8)
        );
        for (uint8 role = 1; role < 5; role++) {
            refuseCollect(
                item(entityOf(0), role, ALICE, 1), abi.encodeWithSelector(UtilityToken.InvalidRole.selector, role)
            );
        }
        refuseCollect(
            item(entityOf(0), 6, ALICE, 1), abi.encodeWithSelector(UtilityToken.InvalidRole.selector, uint8(6))
        );
        refuseCollect("", abi.encodeWithSelector(UtilityToken.EmptyBatch.selector));
        refuseCollect(
            hex"00", abi.encodeWithSelector(UtilityToken.MalformedList.selector, uint256(1), uint256(121))
        );
        bytes memory list = item(entityOf(0), 0, ALICE, 1);
        vm.startPrank(COLLECTOR);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.NotTheCurrent.selector, NEXT, BATCH));
        token.collect(PAYER, NEXT, list);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.NotTheCurrent.selector, bytes32(0), BATCH));
        token.collect(PAYER, 0, list);
        vm.stopPrank();
        vm.warp(block.timestamp + 1 hours);
        refuseCollect(list, abi.encodeWithSelector(UtilityToken.ReservationExpired.selector, id, block.timestamp));
    }

    /// @dev A reservation is for one entity in one role, one account and one settlement: no other is collected out of it.
    function test_a_reservation_is_bound_to_its_entity() public {
        reserve(ALICE, 0, 9, BATCH);
        give(BOB, 9);
        reserve(BOB, 1, 9, NEXT);
        begin(BATCH, 18, 0, 0);
        bytes4 unknown = UtilityToken.UnknownReservation.selector;
        refuseCollect(item(entityOf(2), 0, ALICE, 1), abi.encodeWithSelector(unknown, place(ALICE, 2, 0)));
        refuseCollect(item(entityOf(0), 5, ALICE, 1), abi.encodeWithSelector(unknown, place(ALICE, 0, 5)));
        refuseCollect(item(entityOf(0), 0, BOB, 1), abi.encodeWithSelector(unknown, place(BOB, 0, 0)));
        refuseCollect(item(entityOf(1), 0, BOB, 1), abi.encodeWithSelector(unknown, place(BOB, 1, 0))); // NEXT's
        collect(BATCH, item(entityOf(0), 0, ALICE, 9));
        refuseCollect(
            item(entityOf(0), 5, ALICE, 1), abi.encodeWithSelector(unknown, place(ALICE, 0, 5))
        );
    }

    function test_an_entity_is_collected_once_per_batch() public {
        reserve(ALICE, 1, 9, BATCH);
        reserve(ALICE, 0, 9, BATCH);
        begin(BATCH, 100, 0, 0);
        bytes memory one = item(entityOf(1), 0, ALICE, 1);
        refuseCollect(
            bytes.concat(one, one),
            abi.encodeWithSelector(UtilityToken.DuplicateInBatch.selector, bytes32(entityOf(1)), uint8(0))
        );
        refuseCollect(
            bytes.concat(one, item(entityOf(0), 0, ALICE, 1)),
            abi.encodeWithSelector(UtilityToken.NotAscending.selector, bytes32(entityOf(0)), uint8(0))
        );
        collect(BATCH, one);
        bytes memory again =
            abi.encodeWithSelector(UtilityToken.AlreadySettled.selector, BATCH, bytes32(entityOf(1)), uint8(0));
        refuseCollect(one, again);
        vm.warp(block.timestamp + 2 hours);
        reserve(ALICE, 1, 9, BATCH); // funds are there again; it was settled all the same
        refuseCollect(one, again);
        vm.prank(ALICE);
        token.approve(address(token), 9);
        vm.prank(COLLECTOR);
        token.reserve(PAYER, ALICE, bytes32(entityOf(1)), 5, 9, BATCH, uint64(block.timestamp + 1 hours));
        collect(BATCH, item(entityOf(1), 5, ALICE, 1)); // the same entity's subsidy is another settlement
        eq(token.balanceOf(PAYER), 2, "both");
    }

    function test_a_collected_reservation_is_closed() public {
        reserve(ALICE, 1, 9, BATCH);
        begin(BATCH, 9, 0, 0);
        collect(BATCH, item(entityOf(1), 0, ALICE, 4));
        (uint8 state, uint256 own, uint256 toppedUp,, bytes10 tag) =
            token.reservation(PAYER, ALICE, bytes32(entityOf(1)), 0);
        eq(state, 3, "collected");
        eq(own, 4, "what was taken");
        eq(toppedUp, 0, "of the payer alone");
        eq(bytes32(tag), bytes32(bytes10(BATCH)), "tag");
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.UnknownReservation.selector, place(ALICE, 1, 0)));
        vm.prank(COLLECTOR);
        token.release(PAYER, ALICE, bytes32(entityOf(1)), 0);
    }

    // ---------------------------------------------------------------------------------- one settlement after the other

    function test_a_settlement_follows_the_one_before() public {
        begin(BATCH, 0, 0, 0);
        refuseBegin(NEXT, 0, 11, 20, abi.encodeWithSelector(UtilityToken.NotThePrevious.selector, bytes32(0), BATCH));
        refuseBegin(NEXT, NEXT, 11, 20, abi.encodeWithSelector(UtilityToken.NotThePrevious.selector, NEXT, BATCH));
        // the rows of the first once more under another id, as a restored backup would have it
        uint64[2][5] memory rows = [[uint64(1), 20], [uint64(10), 20], [uint64(12), 20], [uint64(11), 9], [uint64(0), 20]];
        for (uint256 n = 0; n < 5; n++) {
            refuseBegin(
                NEXT,
                BATCH,
                rows[n][0],
                rows[n][1],
                abi.encodeWithSelector(UtilityToken.NotTheNextRow.selector, rows[n][0], rows[n][1], 11)
            );
        }
        uint64 huge = uint64(1) << 63;
        refuseBegin(
            NEXT, BATCH, 11, huge, abi.encodeWithSelector(UtilityToken.NotTheNextRow.selector, 11, huge, 11)
        );
        refuseBegin(0, BATCH, 11, 20, abi.encodeWithSelector(UtilityToken.ZeroId.selector));
        vm.prank(COLLECTOR);
        token.begin(PAYER, NEXT, BATCH, 11, 10, 0, 0, 0); // no new rows: only older ones that were open
        refuseBegin(BATCH, BATCH, 11, 20, abi.encodeWithSelector(UtilityToken.NotThePrevious.selector, BATCH, NEXT));
        (bytes32 current,, uint64 lastRow,,) = token.settlementOf(PAYER);
        eq(current, NEXT, "current");
        eq(lastRow, 10, "last row");
    }

    function test_a_settlement_covers_only_so_many_rows() public {
        begin(BATCH, 0, 0, 0);
        uint64 most = uint64(token.MAX_ROWS());
        uint64 last = (uint64(1) << 63) - 1;
        refuseBegin(
            NEXT, BATCH, 11, last, abi.encodeWithSelector(UtilityToken.TooManyRows.selector, uint256(last) - 10, most)
        );
        refuseBegin(
            NEXT, BATCH, 11, 11 + most, abi.encodeWithSelector(UtilityToken.TooManyRows.selector, uint256(most) + 1, most)
        );
        vm.prank(COLLECTOR);
        token.begin(PAYER, NEXT, BATCH, 11, 10 + most, 0, 0, 0);
    }

    function test_a_settlement_begins_when_the_one_before_is_done() public {
        reserve(ALICE, 0, 9, BATCH);
        bytes memory list = item(entityOf(1), 1, BOB, 7);
        begin(BATCH, 9, 7, keccak256(list));
        refuseBegin(NEXT, BATCH, 11, 20, abi.encodeWithSelector(UtilityToken.SettlementOpen.selector, BATCH, 9, 7));
        collect(BATCH, item(entityOf(0), 0, ALICE, 9));
        refuseBegin(NEXT, BATCH, 11, 20, abi.encodeWithSelector(UtilityToken.SettlementOpen.selector, BATCH, 0, 7));
        pay(BATCH, list);
        (, bytes32 root,, uint256 uncollected, uint256 unpaid) = token.settlementOf(PAYER);
        eq(root, keccak256(list), "root");
        eq(uncollected + unpaid, 0, "done");
        begin(NEXT, 0, 0, 0);
    }

    function test_a_settlement_pays_no_more_than_it_collects_and_the_account_holds() public {
        fund(5);
        (bytes32 previous,, uint64 lastRow,,) = token.settlementOf(PAYER);
        uint256 cap = token.CAP();
        vm.startPrank(COLLECTOR);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.CollectedFundsExceeded.selector, 16, 15));
        token.begin(PAYER, BATCH, previous, lastRow + 1, 20, 10, 16, "root");
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.CapExceeded.selector, cap, cap + 1));
        token.begin(PAYER, BATCH, previous, lastRow + 1, 20, cap + 1, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ListNotCommitted.selector, BATCH, bytes32(0)));
        token.begin(PAYER, BATCH, previous, lastRow + 1, 20, 10, 15, 0);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ListNotCommitted.selector, BATCH, bytes32("root")));
        token.begin(PAYER, BATCH, previous, lastRow + 1, 20, 10, 0, "root");
        vm.recordLogs();
        token.begin(PAYER, BATCH, previous, lastRow + 1, 20, 10, 15, "root");
        vm.stopPrank();
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs[0].topics[0], UtilityToken.SettlementBegun.selector, "begun");
        eq(logs[0].topics[1], BATCH, "begun id");
        eq(logs[0].topics[2], bytes32(uint256(uint160(PAYER))), "begun account");
        bytes memory data =
            abi.encode(previous, lastRow + 1, uint64(20), uint256(10), uint256(15), bytes32("root"));
        eq(keccak256(logs[0].data), keccak256(data), "begun data");
    }

    function test_an_abandoned_settlement_gives_the_money_back_to_its_payers() public {
        give(RESERVE_TREASURY, 100);
        reserve(ALICE, 0, 20, BATCH);
        topUp(30, BATCH);
        bytes memory list = item(entityOf(1), 1, BOB, 40);
        begin(BATCH, 60, 40, keccak256(list));
        collect(BATCH, item(entityOf(0), 0, ALICE, 45));
        vm.prank(PAYER);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.NotAbandoned.selector, BATCH));
        token.returnToPayer(ALICE, bytes32(entityOf(0)), 0);
        vm.prank(COLLECTOR);
        token.abandon(PAYER, BATCH);
        vm.prank(PAYER);
        vm.expectRevert(
            abi.encodeWithSelector(UtilityToken.ListNotCommitted.selector, BATCH, keccak256(list))
        );
        token.pay(BATCH, list, new bytes32[](0));
        bytes memory unknown = abi.encodeWithSelector(UtilityToken.UnknownReservation.selector, place(BOB, 0, 0));
        vm.prank(PAYER);
        vm.expectRevert(unknown);
        token.returnToPayer(BOB, bytes32(entityOf(0)), 0);
        vm.startPrank(PAYER);
        vm.recordLogs();
        token.returnToPayer(ALICE, bytes32(entityOf(0)), 0);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        checkTransfer(logs[0], PAYER, ALICE, 20);
        checkTransfer(logs[1], PAYER, RESERVE_TREASURY, 25);
        eq(logs[2].topics[0], UtilityToken.Returned.selector, "returned");
        eq(keccak256(logs[2].data), keccak256(abi.encode(uint8(0), ALICE, uint256(45))), "returned data");
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.UnknownReservation.selector, place(ALICE, 0, 0)));
        token.returnToPayer(ALICE, bytes32(entityOf(0)), 0);
        vm.stopPrank();
        eq(token.balanceOf(ALICE), 1000 * CPU, "the payer");
        eq(token.balanceOf(RESERVE_TREASURY), 100, "the treasury");
        eq(token.balanceOf(PAYER), 0, "the account is empty");
        begin(NEXT, 0, 0, 0); // and the next one can begin
        vm.prank(COLLECTOR);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.NotTheCurrent.selector, NEXT, NEXT));
        token.abandon(PAYER, NEXT); // nothing is open
    }

    function test_only_what_the_abandoned_settlement_collected_is_returned() public {
        reserve(ALICE, 0, 20, BATCH);
        begin(BATCH, 20, 0, 0); // kept in the account: carried
        collect(BATCH, item(entityOf(0), 0, ALICE, 20));
        begin(NEXT, 5, 5, keccak256(item(entityOf(1), 1, BOB, 5)));
        vm.prank(COLLECTOR);
        token.abandon(PAYER, NEXT);
        bytes memory unknown = abi.encodeWithSelector(UtilityToken.UnknownReservation.selector, place(ALICE, 0, 0));
        vm.prank(PAYER);
        vm.expectRevert(unknown);
        token.returnToPayer(ALICE, bytes32(entityOf(0)), 0);
        eq(token.balanceOf(PAYER), 20, "its beneficiaries' still");
    }

    function test_returning_takes_no_more_than_there_is() public {
        reserve(ALICE, 0, 20, BATCH);
        bytes memory list = bytes.concat(item(entityOf(1), 1, BOB, 15));
        bytes memory other = bytes.concat(item(entityOf(2), 1, BOB, 5));
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = keccak256(other);
        begin(BATCH, 20, 20, pair(keccak256(list), keccak256(other)));
        collect(BATCH, item(entityOf(0), 0, ALICE, 20));
        vm.prank(PAYER);
        token.pay(BATCH, list, proof);
        vm.prank(COLLECTOR);
        token.abandon(PAYER, BATCH);
        vm.prank(PAYER);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.CollectedFundsExceeded.selector, 20, 5));
        token.returnToPayer(ALICE, bytes32(entityOf(0)), 0);
    }

    // ------------------------------------------------------------------------------------------------------------ pay

    function test_pay_logs_the_whole_commitment_of_each_payee() public {
        fund(10);
        bytes memory list = bytes.concat(item(entityOf(1), 1, BOB, 4), item(entityOf(1), 4, ALICE, 6));
        uint256 before = token.balanceOf(ALICE);
        begin(BATCH, 0, 10, keccak256(list));
        vm.recordLogs();
        pay(BATCH, list);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs.length, 5, "events");
        checkTransfer(logs[0], PAYER, BOB, 4);
        checkSettled(logs[1], BATCH, entityOf(1), 1, BOB, 4);
        checkTransfer(logs[2], PAYER, ALICE, 6);
        checkSettled(logs[3], BATCH, entityOf(1), 4, ALICE, 6);
        eq(logs[4].topics[0], UtilityToken.BatchPaid.selector, "batch");
        eq(logs[4].topics[1], BATCH, "batch id");
        eq(logs[4].topics[2], bytes32(uint256(uint160(PAYER))), "batch account");
        eq(keccak256(logs[4].data), keccak256(abi.encode(keccak256(list), uint256(2), uint256(10))), "batch data");
        eq(token.balanceOf(BOB), 4, "bob");
        eq(token.balanceOf(ALICE), before + 6, "alice");
        eq(token.balanceOf(PAYER), 0, "account ends at zero");
        (uint128 collected, uint128 paid) = token.settledUpTo(PAYER);
        eq(collected, 1, "nothing collected in this settlement");
        eq(paid, uint128(entityOf(1)) | 3, "paid up to");
    }

    function test_pay_refuses() public {
        fund(100);
        refusePay(item(entityOf(1), 1, BOB, 0), 1, abi.encodeWithSelector(UtilityToken.ZeroAmount.selector));
        address[3] memory forbidden = [address(0), address(token), PAYER];
        for (uint256 n = 0; n < 3; n++) {
            refusePay(
                item(entityOf(1), 1, forbidden[n], 1),
                1,
                abi.encodeWithSelector(UtilityToken.ForbiddenRecipient.selector, forbidden[n])
            );
        }
        uint8[4] memory roles = [0, 5, 6, 255];
        for (uint256 n = 0; n < 4; n++) {
            refusePay(
                item(entityOf(1), roles[n], BOB, 1),
                1,
                abi.encodeWithSelector(UtilityToken.InvalidRole.selector, roles[n])
            );
        }
        refusePay(
            item(entityOf(1), 1, BOB, 2), 1, abi.encodeWithSelector(UtilityToken.CommitmentExceeded.selector, 2, 1)
        );
        refusePay(
            item(entityOf(1), 1, BOB, type(uint96).max),
            100,
            abi.encodeWithSelector(UtilityToken.CommitmentExceeded.selector, uint256(type(uint96).max), 100)
        );
        refusePay("", 1, abi.encodeWithSelector(UtilityToken.EmptyBatch.selector));
        refusePay(
            new bytes(122), 1, abi.encodeWithSelector(UtilityToken.MalformedList.selector, uint256(122), uint256(121))
        );
        eq(token.balanceOf(PAYER), 100, "untouched");
        eq(token.balanceOf(BOB), 0, "nobody paid");
    }

    function test_pay_waits_for_what_is_collected() public {
        bytes memory list = item(entityOf(1), 1, BOB, 9);
        begin(BATCH, 9, 9, keccak256(list));
        vm.prank(PAYER);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.CollectedFundsExceeded.selector, 9, 0));
        token.pay(BATCH, list, new bytes32[](0));
        reserve(ALICE, 0, 9, BATCH);
        collect(BATCH, item(entityOf(0), 0, ALICE, 9));
        pay(BATCH, list);
    }

    // ------------------------------------------------------------------------------------- what one key alone can do

    /// @dev P-18: whoever holds the payouts account's key can pay the beneficiaries that the collector committed to, and
    /// nobody else.
    function test_the_payouts_accounts_key_cannot_divert() public {
        fund(100);
        bytes memory honest = item(entityOf(1), 1, BOB, 60);
        begin(BATCH, 0, 60, keccak256(honest));
        vm.startPrank(PAYER);
        bytes memory elsewhere = abi.encodeWithSelector(UtilityToken.ForbiddenSender.selector, PAYER);
        vm.expectRevert(elsewhere);
        token.transfer(BOB, 1);
        vm.expectRevert(elsewhere);
        token.transfer(BOB, 0);
        vm.expectRevert(elsewhere);
        token.burn(1);
        token.approve(BOB, 100);
        token.approve(address(token), 100);
        bytes memory mine = item(entityOf(1), 1, ALICE, 60);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ListNotCommitted.selector, BATCH, keccak256(mine)));
        token.pay(BATCH, mine, new bytes32[](0));
        bytes32[] memory proof = new bytes32[](1);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ListNotCommitted.selector, BATCH, keccak256(honest)));
        token.pay(BATCH, honest, proof);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.NotTheCurrent.selector, NEXT, BATCH));
        token.pay(NEXT, honest, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.NotCollector.selector, PAYER, PAYER));
        token.begin(PAYER, NEXT, BATCH, 21, 30, 0, 60, keccak256(mine));
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.NotAbandoned.selector, BATCH));
        token.returnToPayer(ALICE, bytes32(entityOf(0)), 0);
        vm.stopPrank();
        vm.prank(BOB);
        vm.expectRevert(elsewhere);
        token.transferFrom(PAYER, BOB, 1);
        vm.prank(COLLECTOR);
        vm.expectRevert(elsewhere);
        token.reserve(PAYER, PAYER, bytes32(entityOf(7)), 0, 1, BATCH, uint64(block.timestamp + 9));
        eq(token.balanceOf(PAYER), 100, "all is there");
        pay(BATCH, honest);
        eq(token.balanceOf(PAYER), 40, "the rest is carried");
    }

    function test_the_collectors_key_cannot_pay() public {
        fund(100);
        bytes memory mine = item(entityOf(1), 1, BOB, 60);
        begin(BATCH, 0, 60, keccak256(mine));
        vm.prank(COLLECTOR);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.NotTheCurrent.selector, BATCH, bytes32(0)));
        token.pay(BATCH, mine, new bytes32[](0));
        vm.prank(COLLECTOR);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.NotAbandoned.selector, bytes32(0)));
        token.returnToPayer(ALICE, bytes32(entityOf(0)), 0);
    }

    function test_nobody_but_collect_fills_a_payouts_account() public {
        bytes memory refused = abi.encodeWithSelector(UtilityToken.ForbiddenRecipient.selector, PAYER);
        vm.startPrank(ALICE);
        vm.expectRevert(refused);
        token.transfer(PAYER, 1);
        vm.expectRevert(refused);
        token.transfer(PAYER, 0);
        token.approve(BOB, 1);
        vm.stopPrank();
        vm.prank(BOB);
        vm.expectRevert(refused);
        token.transferFrom(ALICE, PAYER, 1);
        vm.prank(MINTER);
        vm.expectRevert(refused);
        token.mint(PAYER, 1);
    }

    /// @dev Each node has its own account: another node's collector has no business with it.
    function test_accounts_of_two_nodes_do_not_touch_each_other() public {
        address other = address(0xDB);
        address collector = address(0xC1);
        openAccount(other, collector, address(0));
        reserve(ALICE, 0, 9, BATCH);
        vm.prank(ALICE);
        token.approve(address(token), 5);
        vm.startPrank(collector);
        bytes memory refused = abi.encodeWithSelector(UtilityToken.NotCollector.selector, PAYER, collector);
        vm.expectRevert(refused);
        token.reserve(PAYER, ALICE, bytes32(entityOf(0)), 0, 1, NEXT, uint64(block.timestamp + 9));
        vm.expectRevert(refused);
        token.begin(PAYER, NEXT, 0, 1, 2, 0, 0, 0);
        vm.expectRevert(refused);
        token.collect(PAYER, BATCH, item(entityOf(0), 0, ALICE, 1));
        vm.expectRevert(refused);
        token.abandon(PAYER, BATCH);
        token.begin(other, BATCH, 0, 1, 2, 5, 0, 0);
        bytes32 id = token.reservationId(other, ALICE, bytes32(entityOf(0)), 0);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.UnknownReservation.selector, id));
        token.collect(other, BATCH, item(entityOf(0), 0, ALICE, 1)); // the first node's reservation is not his
        vm.expectRevert(
            abi.encodeWithSelector(
                UtilityToken.ReservationOpen.selector, place(ALICE, 0, 0), uint256(block.timestamp + 1 hours)
            )
        );
        token.release(PAYER, ALICE, bytes32(entityOf(0)), 0);
        token.reserve(other, ALICE, bytes32(entityOf(0)), 0, 5, BATCH, uint64(block.timestamp + 9));
        token.collect(other, BATCH, item(entityOf(0), 0, ALICE, 5));
        vm.stopPrank();
        eq(token.balanceOf(other), 5, "the second");
        eq(token.balanceOf(PAYER), 0, "the first");
        eq(token.balanceOf(address(token)), 9, "still held for the first");
    }

    // ------------------------------------------------------------------------------------------ accounts and collectors

    function test_an_account_is_announced_and_accepts() public {
        vm.prank(ADMIN);
        token.endSetup();
        address account = address(0xDB);
        vm.prank(ADMIN);
        token.announceAccount(account, BOB, address(0), 0);
        uint256 due = block.timestamp + 1 days;
        bytes memory early = abi.encodeWithSelector(DelayedRoles.NotEffective.selector, due, due + 30 days);
        vm.prank(account);
        vm.expectRevert(early);
        token.acceptAccount();
        vm.warp(due + 30 days);
        vm.prank(account);
        vm.expectRevert(early); // too late now
        token.acceptAccount();
        vm.warp(due + 30 days - 1);
        (address collector, uint256 effectiveAt, bool isOpen) = token.payoutsAccount(account);
        eq(effectiveAt, due, "announced");
        ok(!isOpen && collector == address(0), "not yet");
        vm.prank(account);
        token.acceptAccount();
        (collector, effectiveAt, isOpen) = token.payoutsAccount(account);
        ok(isOpen && collector == BOB && effectiveAt == 0, "open");
        vm.prank(account);
        vm.expectRevert(DelayedRoles.NothingAnnounced.selector);
        token.acceptAccount();
    }

    function test_an_announced_account_can_be_cancelled() public {
        vm.prank(ADMIN);
        token.endSetup();
        address[2] memory who = [ADMIN, GUARDIAN];
        for (uint256 n = 0; n < 2; n++) {
            vm.prank(ADMIN);
            token.announceAccount(BOB, ALICE, address(0), 0);
            vm.prank(ALICE);
            vm.expectRevert(abi.encodeWithSelector(DelayedRoles.NotGuardian.selector, ALICE));
            token.cancelAccount(BOB);
            vm.prank(who[n]);
            token.cancelAccount(BOB);
            vm.prank(who[n]);
            vm.expectRevert(DelayedRoles.NothingAnnounced.selector);
            token.cancelAccount(BOB);
            vm.warp(block.timestamp + 2 days);
            vm.prank(BOB);
            vm.expectRevert(DelayedRoles.NothingAnnounced.selector);
            token.acceptAccount();
        }
    }

    function test_only_an_empty_address_becomes_a_payouts_account() public {
        give(BOB, 1);
        vm.prank(ADMIN);
        token.announceAccount(BOB, COLLECTOR, address(0), 0);
        vm.prank(BOB);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.AccountNotEmpty.selector, BOB));
        token.acceptAccount();
        address[4] memory bad = [address(0), address(token), COLLECTOR, PAYER];
        vm.startPrank(ADMIN);
        for (uint256 n = 0; n < 4; n++) {
            vm.expectRevert(abi.encodeWithSelector(UtilityToken.InvalidAccount.selector, bad[n]));
            token.announceAccount(bad[n], COLLECTOR, PAYER, 0);
        }
        for (uint256 n = 0; n < 2; n++) {
            vm.expectRevert(abi.encodeWithSelector(UtilityToken.InvalidAccount.selector, bad[n]));
            token.announceAccount(BOB, bad[n], address(0), 0);
        }
        vm.stopPrank();
        refuseRole(BOB, token.DEFAULT_ADMIN_ROLE());
        token.announceAccount(BOB, COLLECTOR, address(0), 0);
    }

    function test_a_successor_goes_on_where_an_empty_account_stopped() public {
        address successor = address(0xDB);
        fund(9);
        vm.prank(ADMIN);
        token.announceAccount(successor, COLLECTOR, PAYER, 0);
        vm.prank(successor);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.AccountNotEmpty.selector, PAYER));
        token.acceptAccount();
        bytes memory list = item(entityOf(1), 1, BOB, 9);
        begin(BATCH, 1, 9, keccak256(list));
        pay(BATCH, list); // empty, but 1 unit is still to be collected
        vm.prank(successor);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.AccountNotEmpty.selector, PAYER));
        token.acceptAccount();
        vm.prank(COLLECTOR);
        token.abandon(PAYER, BATCH);
        vm.prank(successor);
        token.acceptAccount();
        (bytes32 current,, uint64 lastRow,,) = token.settlementOf(successor);
        eq(current, BATCH, "its last settlement");
        eq(lastRow, 20, "its last row");
        (, , bool isOpen) = token.payoutsAccount(PAYER);
        ok(!isOpen, "closed");
        vm.startPrank(COLLECTOR);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.NotCollector.selector, PAYER, COLLECTOR));
        token.begin(PAYER, NEXT, BATCH, 21, 30, 0, 0, 0);
        token.begin(successor, NEXT, BATCH, 21, 30, 0, 0, 0);
        vm.stopPrank();
        vm.startPrank(ADMIN);
        token.announceAccount(PAYER, COLLECTOR, address(0), 0); // closed for ever: nobody begins anew with its rows
        token.announceAccount(address(0xDC), COLLECTOR, PAYER, 0);
        token.announceAccount(address(0xDD), COLLECTOR, BOB, 0);
        vm.stopPrank();
        bytes memory refused = abi.encodeWithSelector(UtilityToken.InvalidAccount.selector, PAYER);
        vm.prank(PAYER);
        vm.expectRevert(refused);
        token.acceptAccount();
        vm.prank(address(0xDC));
        vm.expectRevert(refused);
        token.acceptAccount();
        vm.prank(address(0xDD));
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.InvalidAccount.selector, BOB));
        token.acceptAccount();
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ForbiddenRecipient.selector, PAYER));
        token.transfer(PAYER, 1);
    }

    /// @dev Once over all payouts accounts: rows name their node, and a node has one line of accounts.
    function test_a_node_has_one_line_of_accounts() public {
        address successor = address(0xDB);
        address third = address(0xDC);
        openAccount(BOB, COLLECTOR, address(0), NODE);
        vm.recordLogs();
        openAccount(BOB, ALICE, address(0), 0); // another collector: its node stays
        openAccount(BOB, COLLECTOR, address(0), NODE);
        eq(boundIn(vm.getRecordedLogs()), 0, "bound once");
        isBound(NODE, BOB);
        refuseOpening(third, address(0), NODE, abi.encodeWithSelector(UtilityToken.NodeHasAccount.selector, NODE, BOB));
        refuseOpening(third, PAYER, NODE, abi.encodeWithSelector(UtilityToken.NodeHasAccount.selector, NODE, BOB));
        refuseOpening(PAYER, address(0), NODE, abi.encodeWithSelector(UtilityToken.NodeHasAccount.selector, NODE, BOB));
        refuseOpening(BOB, address(0), OTHER_NODE, abi.encodeWithSelector(UtilityToken.NodeFixed.selector, BOB, NODE));
        refuseOpening(successor, BOB, OTHER_NODE, abi.encodeWithSelector(UtilityToken.NodeFixed.selector, successor, NODE));
        vm.recordLogs();
        openAccount(successor, COLLECTOR, BOB, 0); // its predecessor's
        eq(boundIn(vm.getRecordedLogs()), 1, "said");
        isBound(NODE, successor);
        refuseOpening(third, address(0), NODE, abi.encodeWithSelector(UtilityToken.NodeHasAccount.selector, NODE, successor));
        refuseOpening(third, BOB, NODE, abi.encodeWithSelector(UtilityToken.InvalidAccount.selector, BOB)); // closed
        openAccount(third, COLLECTOR, successor, NODE);
        isBound(NODE, third);
    }

    function test_an_account_of_no_node_is_bound_later() public {
        eq(token.nodeOf(PAYER), 0, "nobody has said");
        openAccount(PAYER, COLLECTOR, address(0), OTHER_NODE);
        isBound(OTHER_NODE, PAYER);
        openAccount(BOB, COLLECTOR, address(0), 0);
        openAccount(address(0xDB), COLLECTOR, BOB, NODE); // by its successor
        isBound(NODE, address(0xDB));
        eq(token.accountOf(0), address(0), "nobody has no node");
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.InvalidEntity.selector, bytes32(uint256(1))));
        token.announceAccount(BOB, COLLECTOR, address(0), bytes32(uint256(1)));
    }

    function isBound(bytes32 node, address account) private view {
        eq(token.nodeOf(account), node, "of the account");
        eq(token.accountOf(node), account, "of the node");
    }

    function boundIn(Vm.Log[] memory logs) private pure returns (uint256 count) {
        for (uint256 n = 0; n < logs.length; n++) {
            if (logs[n].topics[0] == UtilityToken.NodeBound.selector) count++;
        }
    }

    function refuseOpening(address account, address predecessor, bytes32 node, bytes memory refused) private {
        vm.prank(ADMIN);
        token.announceAccount(account, COLLECTOR, predecessor, node);
        vm.prank(account);
        vm.expectRevert(refused);
        token.acceptAccount();
    }

    function test_a_collector_is_dismissed_at_once_and_follows_after_the_delay() public {
        vm.prank(ADMIN);
        token.endSetup();
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(DelayedRoles.NotGuardian.selector, ALICE));
        token.dismissCollector(PAYER);
        address[3] memory who = [ADMIN, GUARDIAN, PAYER];
        for (uint256 n = 0; n < 3; n++) {
            vm.prank(who[n]);
            token.dismissCollector(PAYER);
            vm.prank(COLLECTOR);
            vm.expectRevert(abi.encodeWithSelector(UtilityToken.NotCollector.selector, PAYER, COLLECTOR));
            token.begin(PAYER, BATCH, 0, 1, 2, 0, 0, 0);
            vm.prank(ADMIN);
            token.announceAccount(PAYER, COLLECTOR, address(0), 0);
            vm.prank(PAYER);
            try token.acceptAccount() {
                revert Wrong("a collector without delay");
            } catch (bytes memory refused) {
                ok(bytes4(refused) == DelayedRoles.NotEffective.selector, "refused by name");
            }
            vm.warp(block.timestamp + 1 days);
            vm.prank(PAYER);
            token.acceptAccount();
        }
        begin(BATCH, 0, 0, 0);
    }

    /// @dev What a stolen admin key can take: nothing at once.
    function test_an_admin_who_wants_an_approved_balance_has_to_wait_in_the_open() public {
        vm.prank(ADMIN);
        token.endSetup();
        vm.prank(ALICE);
        token.approve(address(token), 500);
        address thief = address(0xBAD);
        vm.prank(ADMIN);
        token.announceAccount(thief, ADMIN, address(0), 0);
        vm.prank(thief);
        try token.acceptAccount() {
            revert Wrong("at once");
        } catch {}
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.NotCollector.selector, thief, ADMIN));
        token.reserve(thief, ALICE, bytes32(entityOf(0)), 0, 500, BATCH, uint64(block.timestamp + 9));
        vm.startPrank(ADMIN);
        bytes32[4] memory roles = [token.MINTER_ROLE(), token.PAUSER_ROLE(), token.TREASURY_ROLE(), token.GUARDIAN_ROLE()];
        for (uint256 n = 0; n < 4; n++) {
            vm.expectRevert(DelayedRoles.NothingAnnounced.selector);
            token.grantRole(roles[n], ADMIN);
        }
        vm.stopPrank();
        vm.prank(ALICE);
        token.approve(address(token), 0); // she saw it
        vm.warp(block.timestamp + 1 days);
        vm.prank(thief);
        token.acceptAccount();
        vm.prank(ADMIN);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(token), 0, 500)
        );
        token.reserve(thief, ALICE, bytes32(entityOf(0)), 0, 500, BATCH, uint64(block.timestamp + 9));
    }

    function test_the_admins_key_alone_never_ends_the_delay() public {
        vm.chainId(1);
        vm.prank(ADMIN);
        token.endSetup(); // deployed with a delay of one day
        uint48 least = token.MINIMUM_DELAY();
        eq(token.defaultAdminDelay(), least, "raised to the shortest");
        uint48[3] memory tooShort = [uint48(0), 1 days, least - 1];
        for (uint256 n = 0; n < 3; n++) {
            vm.prank(ADMIN);
            vm.expectRevert(abi.encodeWithSelector(DelayedRoles.DelayTooShort.selector, tooShort[n], least));
            token.changeDefaultAdminDelay(tooShort[n]);
        }
        vm.warp(block.timestamp + 10 days);
        address thief = address(0xBAD);
        bytes32 role = token.TREASURY_ROLE();
        uint256 due = block.timestamp + least;
        vm.startPrank(ADMIN);
        token.announceAccount(thief, ADMIN, address(0), 0);
        token.announceRole(role, ADMIN);
        token.beginDefaultAdminTransfer(thief);
        vm.stopPrank();
        (, uint48 succession) = token.pendingDefaultAdmin();
        eq(succession, due, "succession");
        vm.warp(due - 1);
        bytes memory early = abi.encodeWithSelector(DelayedRoles.NotEffective.selector, due, due + 30 days);
        vm.prank(thief);
        vm.expectRevert(early);
        token.acceptAccount();
        vm.prank(ADMIN);
        vm.expectRevert(early);
        token.grantRole(role, ADMIN);
        vm.warp(due);
        vm.prank(ADMIN);
        token.grantRole(role, ADMIN);
        vm.chainId(31337);
    }

    function test_the_development_chain_has_no_shortest_delay() public {
        vm.prank(ADMIN);
        token.changeDefaultAdminDelay(0);
        vm.warp(block.timestamp + 1 days + 1);
        eq(token.defaultAdminDelay(), 0, "none");
    }

    function test_a_guardian_cancels_a_change_of_the_delay() public {
        vm.chainId(1);
        vm.prank(ADMIN);
        token.changeDefaultAdminDelay(4 days);
        vm.prank(BOB);
        vm.expectRevert(abi.encodeWithSelector(DelayedRoles.NotGuardian.selector, BOB));
        token.rollbackDefaultAdminDelay();
        vm.prank(GUARDIAN);
        token.rollbackDefaultAdminDelay();
        (uint48 pending, uint48 schedule) = token.pendingDefaultAdminDelay();
        ok(pending == 0 && schedule == 0, "cancelled");
        vm.warp(block.timestamp + 10 days);
        eq(token.defaultAdminDelay(), token.MINIMUM_DELAY(), "as before");
        vm.prank(GUARDIAN);
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, GUARDIAN, bytes32(0))
        );
        token.changeDefaultAdminDelay(3 days); // a guardian cancels, and gives nothing
        vm.chainId(31337);
    }

    function test_roles_are_given_after_the_delay() public {
        bytes32 role = token.PAUSER_ROLE();
        vm.startPrank(ADMIN);
        token.endSetup();
        vm.expectRevert(DelayedRoles.SetupHasEnded.selector);
        token.endSetup();
        token.announceRole(role, BOB);
        uint256 due = block.timestamp + 1 days;
        eq(token.roleAnnounced(role, BOB), due, "announced");
        bytes memory early = abi.encodeWithSelector(DelayedRoles.NotEffective.selector, due, due + 30 days);
        vm.warp(due - 1);
        vm.expectRevert(early);
        token.grantRole(role, BOB);
        vm.warp(due + 30 days);
        vm.expectRevert(early);
        token.grantRole(role, BOB);
        vm.warp(due);
        token.grantRole(role, BOB);
        ok(token.hasRole(role, BOB), "given");
        token.revokeRole(role, BOB);
        vm.expectRevert(DelayedRoles.NothingAnnounced.selector); // an announcement serves once
        token.grantRole(role, BOB);
        token.announceRole(role, BOB);
        vm.stopPrank();
        vm.prank(BOB);
        vm.expectRevert(abi.encodeWithSelector(DelayedRoles.NotGuardian.selector, BOB));
        token.cancelRole(role, BOB);
        vm.prank(GUARDIAN);
        token.cancelRole(role, BOB);
        vm.prank(GUARDIAN);
        vm.expectRevert(DelayedRoles.NothingAnnounced.selector);
        token.cancelRole(role, BOB);
        vm.warp(block.timestamp + 1 days);
        vm.prank(ADMIN);
        vm.expectRevert(DelayedRoles.NothingAnnounced.selector);
        token.grantRole(role, BOB);
        refuseRole(BOB, bytes32(0));
        token.announceRole(role, BOB);
        refuseRole(BOB, bytes32(0));
        token.endSetup();
    }

    /// @dev Nobody leaves a pauser behind whom nobody can undo.
    function test_an_admin_who_leaves_cannot_freeze_the_token() public {
        bytes32 admin = token.DEFAULT_ADMIN_ROLE();
        bytes32 role = token.PAUSER_ROLE();
        vm.prank(ADMIN);
        token.beginDefaultAdminTransfer(address(0));
        vm.warp(block.timestamp + 2 days);
        vm.prank(ADMIN);
        vm.expectRevert(UtilityToken.StillPausable.selector);
        token.renounceRole(admin, ADMIN);
        vm.prank(PAUSER);
        token.pause();
        vm.prank(ADMIN);
        token.revokeRole(role, PAUSER);
        vm.prank(ADMIN);
        vm.expectRevert(UtilityToken.StillPausable.selector);
        token.renounceRole(admin, ADMIN);
        vm.startPrank(ADMIN);
        token.unpause();
        token.renounceRole(admin, ADMIN);
        vm.stopPrank();
        eq(token.defaultAdmin(), address(0), "gone");
        ok(!token.paused(), "and running for ever");
    }

    // ----------------------------------------------------------------------------------------------------------- lists

    /// @dev Each rule is found in the middle of a list too, and the items before it do not stay paid.
    function test_pay_is_whole_or_not_at_all() public {
        fund(100);
        bytes memory good = item(entityOf(1), 2, BOB, 1);
        refusePay(
            bytes.concat(good, item(entityOf(1), 2, ALICE, 1)),
            2,
            abi.encodeWithSelector(UtilityToken.DuplicateInBatch.selector, bytes32(entityOf(1)), uint8(2))
        );
        refusePay(
            bytes.concat(good, item(entityOf(1), 1, ALICE, 1)),
            2,
            abi.encodeWithSelector(UtilityToken.NotAscending.selector, bytes32(entityOf(1)), uint8(1))
        );
        refusePay(
            bytes.concat(good, item(entityOf(2), 1, ALICE, 0)),
            1,
            abi.encodeWithSelector(UtilityToken.ZeroAmount.selector)
        );
        refusePay(
            bytes.concat(good, item(entityOf(2), 0, ALICE, 1)),
            2,
            abi.encodeWithSelector(UtilityToken.InvalidRole.selector, uint8(0))
        );
        eq(token.balanceOf(BOB), 0, "nothing half-done");
    }

    function test_an_entity_is_paid_once_per_settlement_for_ever() public {
        fund(100);
        bytes memory first = item(entityOf(2), 2, BOB, 1);
        bytes memory lower = item(entityOf(1), 2, BOB, 1);
        bytes memory higher = bytes.concat(item(entityOf(2), 3, BOB, 1), item(entityOf(3), 1, BOB, 1));
        bytes32 low = pair(keccak256(first), keccak256(lower));
        begin(BATCH, 0, 10, pair(low, keccak256(higher)));
        payWith(first, keccak256(lower), keccak256(higher), "");
        bytes4 already = UtilityToken.AlreadySettled.selector;
        payWith(
            first,
            keccak256(lower),
            keccak256(higher),
            abi.encodeWithSelector(already, BATCH, bytes32(entityOf(2)), uint8(2))
        );
        vm.warp(block.timestamp + 10_000 days);
        payWith(
            lower,
            keccak256(first),
            keccak256(higher),
            abi.encodeWithSelector(already, BATCH, bytes32(entityOf(1)), uint8(2))
        );
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = low;
        vm.prank(PAYER);
        token.pay(BATCH, higher, proof); // another role, another entity
        vm.prank(PAYER);
        vm.expectRevert(abi.encodeWithSelector(already, BATCH, bytes32(entityOf(2)), uint8(3)));
        token.pay(BATCH, higher, proof);
        vm.prank(COLLECTOR);
        token.abandon(PAYER, BATCH);
        payAlone(NEXT, first, 1); // another settlement
        eq(token.balanceOf(BOB), 4, "paid");
    }

    /// @dev Which entities are told apart: those that differ in any single bit but the last of money in, the last two of
    /// money out, which make room for the role.
    function test_entities_that_differ_in_one_bit_are_two() public {
        uint128 base = uint128(entityOf(5));
        for (uint256 bit = 0; bit < 128; bit++) {
            fund(10);
            bytes16 one = bytes16(base & ~(uint128(1) << uint128(bit)));
            bytes16 two = bytes16(base | (uint128(1) << uint128(bit)));
            bytes memory list = bytes.concat(item(one, 1, BOB, 1), item(two, 1, BOB, 1));
            if (bit < 2) {
                refusePay(
                    list, 2, abi.encodeWithSelector(UtilityToken.DuplicateInBatch.selector, bytes32(two), uint8(1))
                );
            } else {
                uint256 before = token.balanceOf(BOB);
                payAlone(fresh(), list, 2);
                eq(token.balanceOf(BOB), before + 2, "both are paid");
            }
            bytes32 batch = fresh();
            reserveFor(one, batch);
            reserveFor(two, batch);
            begin(batch, 2, 0, 0);
            list = bytes.concat(item(one, 0, ALICE, 1), item(two, 0, ALICE, 1));
            if (bit == 0) {
                vm.prank(COLLECTOR);
                vm.expectRevert(
                    abi.encodeWithSelector(UtilityToken.DuplicateInBatch.selector, bytes32(two), uint8(0))
                );
                token.collect(PAYER, batch, list);
                vm.prank(COLLECTOR);
                token.abandon(PAYER, batch);
            } else {
                collect(batch, list);
            }
        }
    }

    function test_both_directions_of_a_settlement_have_their_own_progress() public {
        reserve(ALICE, 9, 9, BATCH);
        bytes memory list = item(entityOf(1), 1, BOB, 9);
        begin(BATCH, 9, 9, keccak256(list));
        collect(BATCH, item(entityOf(9), 0, ALICE, 9));
        pay(BATCH, list);
        (uint128 collected, uint128 paid) = token.settledUpTo(PAYER);
        eq(collected, uint128(entityOf(9)), "collected");
        eq(paid, uint128(entityOf(1)), "paid");
    }

    // --------------------------------------------------------------------------------------------- roles, pause, supply

    function test_only_the_role_may() public {
        address[5] memory others = [ALICE, ADMIN, PAYER, COLLECTOR, PAUSER];
        for (uint256 n = 0; n < 5; n++) {
            address who = others[n];
            if (who != PAUSER) {
                refuseRole(who, token.PAUSER_ROLE());
                token.pause();
            }
            refuseRole(who, token.MINTER_ROLE());
            token.mint(ALICE, 1);
            refuseRole(who, token.TREASURY_ROLE());
            token.announceBurn(1, "why");
            if (who != ADMIN) {
                refuseRole(who, token.DEFAULT_ADMIN_ROLE());
                token.unpause();
                refuseRole(who, token.DEFAULT_ADMIN_ROLE());
                token.sealMinters();
            }
        }
    }

    function test_a_paused_token_moves_nothing() public {
        fund(5);
        bytes memory list = item(entityOf(1), 1, BOB, 1);
        begin(BATCH, 9, 1, keccak256(list));
        reserve(ALICE, 0, 9, BATCH);
        give(RESERVE_TREASURY, 5);
        vm.prank(ALICE);
        token.approve(BOB, 9);
        vm.prank(PAUSER);
        token.pause();
        ok(token.paused(), "paused");
        bytes4 refused = UtilityToken.TokenPaused.selector;
        vm.prank(ALICE);
        vm.expectRevert(refused);
        token.transfer(BOB, 1);
        vm.prank(ALICE);
        vm.expectRevert(refused);
        token.burn(1);
        vm.prank(BOB);
        vm.expectRevert(refused);
        token.transferFrom(ALICE, BOB, 1);
        vm.expectRevert(refused);
        doReserve(ALICE, 1, 1, BATCH, uint64(block.timestamp + 1));
        vm.expectRevert(refused);
        release(COLLECTOR);
        vm.startPrank(COLLECTOR);
        vm.expectRevert(refused);
        token.collect(PAYER, BATCH, item(entityOf(0), 0, ALICE, 9));
        vm.expectRevert(refused);
        token.begin(PAYER, NEXT, BATCH, 21, 30, 0, 0, 0);
        vm.stopPrank();
        vm.startPrank(PAYER);
        vm.expectRevert(refused);
        token.pay(BATCH, list, new bytes32[](0));
        vm.expectRevert(refused);
        token.returnToPayer(ALICE, bytes32(entityOf(0)), 0);
        vm.stopPrank();
        refuseTopUp(1, BATCH, abi.encodeWithSelector(refused));
        vm.prank(MINTER);
        vm.expectRevert(refused);
        token.mint(BOB, 1);
        vm.prank(PAUSER);
        vm.expectRevert(refused);
        token.pause();
        vm.prank(ALICE);
        token.approve(BOB, 0); // an approval can always be withdrawn
        vm.warp(block.timestamp + 1 hours);
        release(BOB); // and what has expired comes back to its owner, paused or not
        eq(token.balanceOf(ALICE), 1000 * CPU, "not frozen");
        vm.prank(ADMIN);
        token.unpause();
        vm.prank(ADMIN);
        vm.expectRevert(UtilityToken.NotPaused.selector);
        token.unpause();
        pay(BATCH, list);
        eq(token.balanceOf(PAYER), 4, "books survive a pause");
    }

    function test_supply_ends_at_the_cap() public {
        uint256 minted = token.totalMinted();
        uint256 cap = token.CAP();
        eq(cap, 5_000_000_000 * CPU, "cap");
        vm.startPrank(MINTER);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.CapExceeded.selector, minted, cap - minted + 1));
        token.mint(BOB, cap - minted + 1);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.CapExceeded.selector, minted, type(uint256).max));
        token.mint(BOB, type(uint256).max);
        token.mint(BOB, cap - minted);
        eq(token.totalSupply(), cap, "all of it");
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.CapExceeded.selector, cap, 1));
        token.mint(BOB, 1);
        vm.expectRevert(UtilityToken.ZeroAmount.selector);
        token.mint(BOB, 0);
        vm.stopPrank();
        vm.prank(BOB);
        token.burn(7);
        eq(token.totalSupply(), cap - 7, "burnt");
        eq(token.totalMinted(), cap, "what was burnt was minted");
        vm.prank(MINTER);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.CapExceeded.selector, cap, 1));
        token.mint(BOB, 1); // burning makes no room
    }

    // ------------------------------------------------------------------------------------------------------------ burn

    function test_anybody_burns_its_own() public {
        vm.recordLogs();
        vm.prank(ALICE);
        token.burn(3);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        checkTransfer(logs[0], ALICE, address(0), 3);
        eq(logs[1].topics[0], UtilityToken.Burned.selector, "burned");
        eq(token.balanceOf(ALICE), 1000 * CPU - 3, "balance");
        eq(token.totalSupply(), 1000 * CPU - 3, "supply");
        vm.startPrank(ALICE);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientBalance.selector, ALICE, 1000 * CPU - 3, 1000 * CPU
            )
        );
        token.burn(1000 * CPU);
        vm.expectRevert(UtilityToken.ZeroAmount.selector);
        token.burn(0);
        vm.stopPrank();
    }

    function test_a_treasury_announces_what_it_burns_and_why() public {
        give(RESERVE_TREASURY, 100);
        vm.startPrank(RESERVE_TREASURY);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.BurnNotAnnounced.selector, RESERVE_TREASURY, 0));
        token.burn(1);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.BurnNotAnnounced.selector, RESERVE_TREASURY, 0));
        token.burnAnnounced();
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.InvalidReason.selector, 0));
        token.announceBurn(60, "");
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.InvalidReason.selector, 257));
        token.announceBurn(60, string(new bytes(257)));
        uint256 cap = token.CAP();
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.CapExceeded.selector, cap, cap + 1));
        token.announceBurn(cap + 1, "too much");
        vm.recordLogs();
        token.announceBurn(60, "less on the market");
        uint256 due = block.timestamp + 2 days;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(keccak256(logs[0].data), keccak256(abi.encode(uint256(60), "less on the market", due)), "announced");
        vm.warp(due - 1);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.BurnNotAnnounced.selector, RESERVE_TREASURY, due));
        token.burnAnnounced();
        vm.warp(due);
        token.burnAnnounced();
        eq(token.balanceOf(RESERVE_TREASURY), 40, "burnt");
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.BurnNotAnnounced.selector, RESERVE_TREASURY, 0));
        token.burnAnnounced();
        vm.stopPrank();
    }

    // -------------------------------------------------------------------------------------------------------- ERC-3009

    uint256 private constant KEY = 0xA11;

    function test_an_authorized_transfer_happens_once() public {
        address from = vm.addr(KEY);
        give(from, 10);
        Authorization memory a = authorization(from, BOB, 7);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, digest(TRANSFER, a));
        ok(!token.authorizationState(from, a.nonce), "unused");
        vm.recordLogs();
        token.transferWithAuthorization(from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v, r, s);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs[0].topics[0], UtilityToken.AuthorizationUsed.selector, "used");
        eq(logs[0].topics[2], a.nonce, "nonce");
        checkTransfer(logs[1], from, BOB, 7);
        eq(token.balanceOf(BOB), 7, "moved");
        ok(token.authorizationState(from, a.nonce), "used");
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.AuthorizationSpent.selector, from, a.nonce)); // replayed
        token.transferWithAuthorization(from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v, r, s);
        // the same signature in its other form is refused too
        bytes32 mirrored = bytes32(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - uint256(s));
        a.nonce = "another";
        (v, r, s) = vm.sign(KEY, digest(TRANSFER, a));
        mirrored = bytes32(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - uint256(s));
        try token.transferWithAuthorization(
            from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v == 27 ? 28 : 27, r, mirrored
        ) {
            revert Wrong("a mirrored signature was taken");
        } catch {}
    }

    function test_an_authorization_has_its_time() public {
        address from = vm.addr(KEY);
        give(from, 10);
        Authorization memory a = authorization(from, BOB, 1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, digest(TRANSFER, a));
        bytes memory refused =
            abi.encodeWithSelector(UtilityToken.AuthorizationNotValid.selector, a.validAfter, a.validBefore);
        vm.warp(a.validAfter);
        vm.expectRevert(refused);
        token.transferWithAuthorization(from, BOB, 1, a.validAfter, a.validBefore, a.nonce, v, r, s);
        vm.warp(a.validBefore);
        vm.expectRevert(refused);
        token.transferWithAuthorization(from, BOB, 1, a.validAfter, a.validBefore, a.nonce, v, r, s);
        vm.warp(a.validBefore - 1);
        token.transferWithAuthorization(from, BOB, 1, a.validAfter, a.validBefore, a.nonce, v, r, s);
    }

    /// @dev Every field is signed: changing any one makes it somebody else's signature.
    function test_an_authorization_is_for_exactly_this() public {
        address from = vm.addr(KEY);
        give(from, 10);
        Authorization memory a = authorization(from, BOB, 7);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, digest(TRANSFER, a));
        for (uint256 n = 0; n < 7; n++) {
            Authorization memory b = authorization(from, BOB, 7);
            if (n == 0) b.to = ALICE;
            if (n == 1) b.value = 8;
            if (n == 2) b.validAfter -= 1;
            if (n == 3) b.validBefore += 1;
            if (n == 4) b.nonce = "other";
            if (n == 5) b.from = ALICE;
            bool otherChain = n == 6;
            if (otherChain) vm.chainId(1);
            try token.transferWithAuthorization(b.from, b.to, b.value, b.validAfter, b.validBefore, b.nonce, v, r, s) {
                revert Wrong("another authorization was taken");
            } catch (bytes memory refused) {
                ok(bytes4(refused) == UtilityToken.InvalidSigner.selector, "refused by name");
            }
            if (otherChain) vm.chainId(31337);
        }
        UtilityToken mine = token;
        makeToken(); // another contract on the same chain
        give(from, 10);
        try token.transferWithAuthorization(from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v, r, s) {
            revert Wrong("another contract's authorization was taken");
        } catch (bytes memory refused) {
            ok(bytes4(refused) == UtilityToken.InvalidSigner.selector, "refused by name");
        }
        mine.transferWithAuthorization(from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v, r, s);
        eq(mine.balanceOf(BOB), 7, "the right one is");
    }

    /// @dev Who watches the pool can neither send a payee's authorization in before it nor turn it into a plain transfer.
    function test_receiving_cannot_be_front_run() public {
        address from = vm.addr(KEY);
        give(from, 10);
        Authorization memory a = authorization(from, BOB, 7);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, digest(RECEIVE, a));
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.CallerNotPayee.selector, ALICE, BOB));
        token.receiveWithAuthorization(from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v, r, s);
        vm.prank(ALICE);
        try token.transferWithAuthorization(from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v, r, s) {
            revert Wrong("front-run");
        } catch (bytes memory refused) {
            ok(bytes4(refused) == UtilityToken.InvalidSigner.selector, "refused by name");
        }
        vm.prank(BOB);
        token.receiveWithAuthorization(from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v, r, s);
        eq(token.balanceOf(BOB), 7, "received");
        vm.prank(BOB);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.AuthorizationSpent.selector, from, a.nonce));
        token.receiveWithAuthorization(from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v, r, s);
        a.nonce = "time";
        (v, r, s) = vm.sign(KEY, digest(RECEIVE, a));
        vm.warp(a.validBefore);
        vm.prank(BOB);
        vm.expectRevert(
            abi.encodeWithSelector(UtilityToken.AuthorizationNotValid.selector, a.validAfter, a.validBefore)
        );
        token.receiveWithAuthorization(from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v, r, s);
    }

    function test_an_authorization_is_cancelled_by_its_signer_alone() public {
        address from = vm.addr(KEY);
        give(from, 10);
        Authorization memory a = authorization(from, BOB, 7);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(0xBAD, cancelDigest(from, a.nonce));
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.InvalidSigner.selector, vm.addr(0xBAD), from));
        token.cancelAuthorization(from, a.nonce, v, r, s);
        (v, r, s) = vm.sign(KEY, cancelDigest(from, a.nonce));
        vm.prank(PAUSER);
        token.pause(); // withdrawing a signature is possible at any time
        token.cancelAuthorization(from, a.nonce, v, r, s);
        vm.prank(ADMIN);
        token.unpause();
        ok(token.authorizationState(from, a.nonce), "spent");
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.AuthorizationSpent.selector, from, a.nonce));
        token.cancelAuthorization(from, a.nonce, v, r, s);
        (v, r, s) = vm.sign(KEY, digest(TRANSFER, a));
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.AuthorizationSpent.selector, from, a.nonce));
        token.transferWithAuthorization(from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v, r, s);
    }

    /// @dev A signature moves nothing that its signer could not: not more than there is, not while paused, not from a
    /// payouts account.
    function test_an_authorized_transfer_is_a_transfer() public {
        address from = vm.addr(KEY);
        Authorization memory a = authorization(from, BOB, 7);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, digest(TRANSFER, a));
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, from, 0, 7));
        token.transferWithAuthorization(from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v, r, s);
        openAccount(from, COLLECTOR, address(0));
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ForbiddenSender.selector, from));
        token.transferWithAuthorization(from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v, r, s);
        vm.prank(PAUSER);
        token.pause();
        vm.expectRevert(UtilityToken.TokenPaused.selector);
        token.transferWithAuthorization(from, BOB, 7, a.validAfter, a.validBefore, a.nonce, v, r, s);
        ok(!token.authorizationState(from, a.nonce), "still unused");
    }

    function test_mint_refuses_places_that_are_not_accounts() public {
        vm.startPrank(MINTER);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        token.mint(address(0), 1);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ForbiddenRecipient.selector, address(token)));
        token.mint(address(token), 1);
        vm.stopPrank();
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(UtilityToken.ForbiddenRecipient.selector, address(token)));
        token.transfer(address(token), 0);
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
        bytes32 message = permitDigest(owner, BOB, 7, 0, block.timestamp);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, message);
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
        (v, r, s) = vm.sign(key, message); // the first once more: its nonce is used
        try token.permit(owner, BOB, 7, block.timestamp, v, r, s) {
            revert Wrong("a permit was replayed");
        } catch (bytes memory refused) {
            ok(bytes4(refused) == UtilityToken.InvalidSigner.selector, "refused by name");
        }
    }

    // ----------------------------------------------------------------------------------------------------------- fuzz

    /// @dev Whatever is reserved, topped up, collected and paid: nothing is created or lost.
    function testFuzz_money_is_conserved(uint96 held, uint96 added, uint96 posted, uint8 payees, uint256 seed) public {
        uint256 amount = bound(held, 0, 1000 * CPU);
        uint256 top = bound(added, 1, 1000 * CPU);
        uint256 collected = bound(posted, 1, amount + top);
        give(RESERVE_TREASURY, 1000 * CPU);
        uint256 supply = token.totalSupply();
        reserve(ALICE, 0, amount, BATCH);
        topUp(top, BATCH);
        bytes memory list;
        uint256 left = collected;
        uint256 paid = 0;
        for (uint256 n = 0; n < bound(payees, 1, 20) && left > 0; n++) {
            uint256 share = bound(uint256(keccak256(abi.encode(seed, n))), 1, left);
            list = bytes.concat(list, item(entityOf(n), uint8(1 + n % 4), address(uint160(0x1000 + n)), share));
            left -= share;
            paid += share;
        }
        begin(BATCH, collected, paid, keccak256(list));
        collect(BATCH, item(entityOf(0), 0, ALICE, collected));
        uint256 own = collected < amount ? collected : amount;
        eq(token.balanceOf(ALICE), 1000 * CPU - own, "owner pays first");
        eq(token.balanceOf(RESERVE_TREASURY), 1000 * CPU - (collected - own), "the treasury the rest");
        eq(token.balanceOf(address(token)), 0, "nothing stays held");
        pay(BATCH, list);
        eq(token.balanceOf(PAYER), collected - paid, "carried");
        eq(token.totalSupply(), supply, "supply");
    }

    function testFuzz_transfer(address to, uint256 amount) public {
        vm.assume(to != address(0) && to != address(token) && to != PAYER && to != ALICE);
        amount = bound(amount, 0, 1000 * CPU);
        vm.prank(ALICE);
        ok(token.transfer(to, amount), "returns true");
        eq(token.balanceOf(to), amount, "to");
        eq(token.balanceOf(ALICE), 1000 * CPU - amount, "from");
    }

    function testFuzz_no_list_but_the_right_one(bytes calldata list) public {
        fund(1000);
        vm.assume(list.length % 121 != 0 || list.length == 0);
        begin(BATCH, 0, 1000, keccak256(list)); // even one that was committed to
        vm.prank(PAYER);
        try token.pay(BATCH, list, new bytes32[](0)) {
            revert Wrong("a malformed list was paid");
        } catch {}
        eq(token.balanceOf(PAYER), 1000, "untouched");
    }

    // ---------------------------------------------------------------------------------------------------------- inner

    struct Authorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    bytes32 private constant TRANSFER = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    uint256 private _made;

    function authorization(address from, address to, uint256 value) private view returns (Authorization memory) {
        return Authorization(from, to, value, block.timestamp - 1, block.timestamp + 9, "nonce");
    }

    function digest(bytes32 kind, Authorization memory a) private view returns (bytes32) {
        return typed(keccak256(abi.encode(kind, a.from, a.to, a.value, a.validAfter, a.validBefore, a.nonce)));
    }

    function cancelDigest(address from, bytes32 nonce) private view returns (bytes32) {
        return typed(keccak256(abi.encode(keccak256("CancelAuthorization(address authorizer,bytes32 nonce)"), from, nonce)));
    }

    function typed(bytes32 content) private view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), content));
    }

    function fresh() private returns (bytes32) {
        return keccak256(abi.encode("fresh", ++_made));
    }

    function pair(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
    }

    function doReserve(address owner, uint256 entity, uint256 amount, bytes32 batch, uint64 expiry) private {
        vm.prank(COLLECTOR);
        token.reserve(PAYER, owner, bytes32(entityOf(entity)), 0, amount, batch, expiry);
    }

    function reserveFor(bytes16 entity, bytes32 batch) private {
        vm.prank(ALICE);
        token.approve(address(token), 1);
        vm.prank(COLLECTOR);
        token.reserve(PAYER, ALICE, bytes32(entity), 0, 1, batch, uint64(block.timestamp + 9));
    }

    /// @dev Of Alice's for entity 0.
    function release(address by) private {
        vm.prank(by);
        token.release(PAYER, ALICE, bytes32(entityOf(0)), 0);
    }

    function topUp(uint256 amount, bytes32 batch) private {
        vm.prank(RESERVE_TREASURY);
        token.topUp(PAYER, ALICE, bytes32(entityOf(0)), 0, amount, batch);
    }

    function openAccount(address account, address collector, address predecessor) private {
        openAccount(account, collector, predecessor, 0);
    }

    function openAccount(address account, address collector, address predecessor, bytes32 node) private {
        vm.prank(ADMIN);
        token.announceAccount(account, collector, predecessor, node);
        vm.prank(account);
        token.acceptAccount();
    }

    function refuseTopUp(uint256 amount, bytes32 batch, bytes memory refused) private {
        vm.prank(RESERVE_TREASURY);
        vm.expectRevert(refused);
        token.topUp(PAYER, ALICE, bytes32(entityOf(0)), 0, amount, batch);
    }

    function refuseBegin(bytes32 batch, bytes32 previous, uint64 first, uint64 last, bytes memory refused) private {
        vm.prank(COLLECTOR);
        vm.expectRevert(refused);
        token.begin(PAYER, batch, previous, first, last, 0, 0, 0);
    }

    /// @dev A settlement that has committed to this list cannot pay it.
    function refusePay(bytes memory list, uint256 total, bytes memory refused) private {
        bytes32 batch = fresh();
        begin(batch, 0, total, keccak256(list));
        vm.prank(PAYER);
        vm.expectRevert(refused);
        token.pay(batch, list, new bytes32[](0));
        vm.prank(COLLECTOR);
        token.abandon(PAYER, batch);
    }

    /// @dev One of three lists, with its proof; refused unless `refused` is empty.
    function payWith(bytes memory list, bytes32 first, bytes32 second, bytes memory refused) private {
        bytes32[] memory proof = new bytes32[](2);
        proof[0] = first;
        proof[1] = second;
        vm.prank(PAYER);
        if (refused.length != 0) vm.expectRevert(refused);
        token.pay(BATCH, list, proof);
    }

    function refuseCollect(bytes memory list, bytes memory refused) private {
        vm.prank(COLLECTOR);
        vm.expectRevert(refused);
        token.collect(PAYER, BATCH, list);
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

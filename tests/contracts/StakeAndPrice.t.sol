// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {MasterAccount} from "src/MasterAccount.sol";
import {ResourcePrices} from "src/ResourcePrices.sol";
import {Base, Vm} from "./Base.sol";

contract MasterAccountTest is Base {
    address private constant SEIZER = address(0x5E);
    address private constant OPERATIONS = address(0x09);
    address private constant TREASURY = address(0x7EA);
    bytes32 private constant EVIDENCE = keccak256("wrong work");
    MasterAccount private master;

    function setUp() public {
        makeToken();
        master = MasterAccount(
            vm.deployCode(
                "MasterAccount.sol:MasterAccount", abi.encode(ADMIN, 1 days, token, TREASURY, uint256(7 days))
            )
        );
        vm.startPrank(ADMIN);
        master.grantRole(master.SEIZER_ROLE(), SEIZER);
        master.grantRole(master.OPERATIONS_ROLE(), OPERATIONS);
        vm.stopPrank();
        give(ALICE, 100);
        vm.prank(ALICE);
        token.approve(address(master), 40);
    }

    function announce(uint256 amount) private {
        vm.prank(SEIZER);
        master.announce(ALICE, amount, EVIDENCE);
    }

    function execute() private {
        vm.prank(SEIZER);
        master.execute(ALICE, EVIDENCE);
    }

    function test_a_seizure_takes_what_was_announced_after_the_hold() public {
        vm.recordLogs();
        announce(30);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs[0].topics[0], MasterAccount.SeizureAnnounced.selector, "announced");
        eq(logs[0].topics[2], EVIDENCE, "evidence");
        eq(keccak256(logs[0].data), keccak256(abi.encode(uint256(30), block.timestamp + 7 days)), "announced data");
        eq(master.atStake(ALICE), 40, "at stake");
        uint256 due = block.timestamp + 7 days;
        vm.warp(due - 1);
        vm.prank(SEIZER);
        vm.expectRevert(abi.encodeWithSelector(MasterAccount.HoldRunning.selector, due));
        master.execute(ALICE, EVIDENCE);
        vm.warp(due);
        vm.prank(OPERATIONS);
        vm.expectRevert(abi.encodeWithSelector(MasterAccount.HoldOver.selector, due));
        master.withdraw(ALICE, EVIDENCE);
        vm.recordLogs();
        execute();
        logs = vm.getRecordedLogs();
        eq(logs[0].topics[0], MasterAccount.SeizureExecuted.selector, "executed");
        eq(logs[0].topics[2], EVIDENCE, "evidence");
        eq(keccak256(logs[0].data), keccak256(abi.encode(uint256(30), uint256(30))), "executed data");
        eq(token.balanceOf(TREASURY), 30, "taken");
        eq(token.allowance(ALICE, address(master)), 10, "allowance");
        (uint256 amount, uint256 taken, uint256 executableAt, MasterAccount.State state) =
            master.seizure(ALICE, EVIDENCE);
        eq(amount, 30, "amount");
        eq(taken, 30, "taken");
        eq(executableAt, due, "due");
        ok(state == MasterAccount.State.Executed, "state");
    }

    function test_never_more_than_approved_or_there() public {
        announce(1000);
        vm.warp(block.timestamp + 7 days);
        execute();
        eq(token.balanceOf(TREASURY), 40, "the allowance");
        vm.prank(ALICE);
        token.approve(address(master), 1000);
        vm.prank(SEIZER);
        master.announce(ALICE, 1000, keccak256("other"));
        vm.warp(block.timestamp + 7 days);
        vm.prank(SEIZER);
        master.execute(ALICE, keccak256("other"));
        eq(token.balanceOf(TREASURY), 100, "the balance");
        vm.prank(SEIZER);
        master.announce(ALICE, 1, keccak256("third"));
        vm.warp(block.timestamp + 7 days);
        vm.prank(SEIZER);
        vm.expectRevert(abi.encodeWithSelector(MasterAccount.NothingAtStake.selector, ALICE));
        master.execute(ALICE, keccak256("third"));
    }

    /// @dev Who lowers its approval just before the seizure loses that much now and the rest later.
    function test_a_seizure_cannot_be_front_run() public {
        announce(30);
        uint256 due = block.timestamp + 7 days;
        vm.warp(due);
        vm.prank(ALICE);
        token.approve(address(master), 1); // just before
        vm.recordLogs();
        execute();
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(keccak256(logs[0].data), keccak256(abi.encode(uint256(30), uint256(1))), "one of thirty");
        (uint256 amount, uint256 taken,, MasterAccount.State state) = master.seizure(ALICE, EVIDENCE);
        eq(amount, 30, "announced");
        eq(taken, 1, "taken");
        ok(state == MasterAccount.State.Announced, "still open");
        vm.prank(SEIZER);
        vm.expectRevert(abi.encodeWithSelector(MasterAccount.NothingAtStake.selector, ALICE));
        master.execute(ALICE, EVIDENCE);
        vm.prank(ALICE);
        token.approve(address(master), 10);
        execute();
        vm.prank(ALICE);
        token.approve(address(master), 1000);
        vm.warp(due + 30 days - 1);
        execute();
        eq(token.balanceOf(TREASURY), 30, "all that was announced, and no more");
        vm.prank(SEIZER);
        vm.expectRevert(
            abi.encodeWithSelector(
                MasterAccount.NotAnnounced.selector, ALICE, EVIDENCE, MasterAccount.State.Executed
            )
        );
        master.execute(ALICE, EVIDENCE);
    }

    function test_the_rest_of_a_seizure_ends_with_its_window() public {
        announce(30);
        uint256 due = block.timestamp + 7 days;
        vm.warp(due);
        vm.prank(ALICE);
        token.approve(address(master), 1);
        execute();
        vm.prank(ALICE);
        token.approve(address(master), 1000);
        vm.warp(due + 30 days);
        vm.prank(SEIZER);
        vm.expectRevert(abi.encodeWithSelector(MasterAccount.WindowOver.selector, due + 30 days));
        master.execute(ALICE, EVIDENCE);
    }

    function test_the_same_evidence_hits_an_account_once() public {
        announce(10);
        bytes memory used = abi.encodeWithSelector(MasterAccount.EvidenceUsed.selector, ALICE, EVIDENCE);
        vm.prank(SEIZER);
        vm.expectRevert(used);
        master.announce(ALICE, 10, EVIDENCE);
        vm.warp(block.timestamp + 7 days);
        execute();
        vm.prank(SEIZER);
        vm.expectRevert(
            abi.encodeWithSelector(
                MasterAccount.NotAnnounced.selector, ALICE, EVIDENCE, MasterAccount.State.Executed
            )
        );
        master.execute(ALICE, EVIDENCE);
        vm.prank(SEIZER);
        vm.expectRevert(used);
        master.announce(ALICE, 10, EVIDENCE);
        vm.prank(SEIZER);
        master.announce(BOB, 10, EVIDENCE); // another account, its own matter
    }

    function test_operations_withdraw_within_the_hold() public {
        announce(10);
        vm.recordLogs();
        vm.prank(OPERATIONS);
        master.withdraw(ALICE, EVIDENCE);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs[0].topics[0], MasterAccount.SeizureWithdrawn.selector, "withdrawn");
        eq(logs[0].topics[2], EVIDENCE, "evidence");
        vm.warp(block.timestamp + 7 days);
        vm.prank(SEIZER);
        vm.expectRevert(
            abi.encodeWithSelector(
                MasterAccount.NotAnnounced.selector, ALICE, EVIDENCE, MasterAccount.State.Withdrawn
            )
        );
        master.execute(ALICE, EVIDENCE);
        vm.prank(OPERATIONS);
        vm.expectRevert(
            abi.encodeWithSelector(
                MasterAccount.NotAnnounced.selector, ALICE, EVIDENCE, MasterAccount.State.Withdrawn
            )
        );
        master.withdraw(ALICE, EVIDENCE);
        eq(token.balanceOf(ALICE), 100, "untouched");
    }

    function test_a_seizure_does_not_hang_over_an_account_for_ever() public {
        announce(10);
        uint256 end = block.timestamp + 37 days;
        vm.warp(end);
        vm.prank(SEIZER);
        vm.expectRevert(abi.encodeWithSelector(MasterAccount.WindowOver.selector, end));
        master.execute(ALICE, EVIDENCE);
        vm.warp(end - 1);
        execute();
    }

    function test_refusals() public {
        vm.startPrank(SEIZER);
        vm.expectRevert(MasterAccount.ZeroAddress.selector);
        master.announce(address(0), 1, EVIDENCE);
        vm.expectRevert(MasterAccount.ZeroAmount.selector);
        master.announce(ALICE, 0, EVIDENCE);
        vm.expectRevert(MasterAccount.ZeroEvidence.selector);
        master.announce(ALICE, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(MasterAccount.AmountTooLarge.selector, uint256(1) << 96));
        master.announce(ALICE, 1 << 96, EVIDENCE);
        vm.expectRevert(
            abi.encodeWithSelector(MasterAccount.NotAnnounced.selector, ALICE, EVIDENCE, MasterAccount.State.None)
        );
        master.execute(ALICE, EVIDENCE);
        master.announce(ALICE, type(uint96).max, EVIDENCE);
        vm.stopPrank();
        bytes32 seizer = master.SEIZER_ROLE();
        bytes32 operations = master.OPERATIONS_ROLE();
        vm.startPrank(BOB);
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, BOB, seizer));
        master.announce(ALICE, 1, EVIDENCE);
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, BOB, seizer));
        master.execute(ALICE, EVIDENCE);
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, BOB, operations)
        );
        master.withdraw(ALICE, EVIDENCE);
        vm.stopPrank();
        vm.prank(SEIZER);
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, SEIZER, operations)
        );
        master.withdraw(ALICE, EVIDENCE);
    }

    function test_a_paused_token_stops_seizures() public {
        announce(10);
        vm.warp(block.timestamp + 7 days);
        vm.prank(PAUSER);
        token.pause();
        vm.prank(SEIZER);
        vm.expectRevert(bytes4(keccak256("TokenPaused()")));
        master.execute(ALICE, EVIDENCE);
        vm.prank(ADMIN);
        token.unpause();
        execute();
        eq(token.balanceOf(TREASURY), 10, "after the pause");
    }
}

contract ResourcePricesTest is Base {
    address private constant PRICING = address(0x9C);
    uint256 private constant ZERO_DAY = 17_927;
    uint256 private constant FACTOR_365 = 340929188464880435655944980627676635586;
    ResourcePrices private prices;
    ResourcePrices.Resource private constant CPU_POWER = ResourcePrices.Resource.Cpu;

    function setUp() public {
        prices = ResourcePrices(vm.deployCode("ResourcePrices.sol:ResourcePrices", abi.encode(ADMIN, 1 days)));
        bytes32 role = prices.PRICING_ROLE();
        vm.prank(ADMIN);
        prices.grantRole(role, PRICING);
    }

    function set(uint256 firstDay, uint256 amount, uint256 doublingDays, uint256 factor) private {
        vm.prank(PRICING);
        prices.setCoefficients(CPU_POWER, firstDay, amount, doublingDays, factor);
    }

    function test_whole_doublings_are_exact() public view {
        for (uint256 n = 0; n <= 20; n++) {
            eq(prices.amountOn(CPU_POWER, ZERO_DAY + 730 * n), 3290.4e18 << n, "cpu");
            eq(prices.amountOn(ResourcePrices.Resource.Gpu, ZERO_DAY + 730 * n), 3.08e18 << n, "gpu");
            eq(prices.amountOn(ResourcePrices.Resource.Bandwidth, ZERO_DAY + 730 * n), 11.4e18 << n, "bandwidth");
        }
    }

    /// @dev From decimal arithmetic with 80 digits; tests/integration/test_token_prices.py compares every day.
    function test_amounts_to_the_last_unit() public view {
        eq(prices.amountOn(CPU_POWER, ZERO_DAY + 1), 3293525773454802980461, "day 1");
        eq(prices.amountOn(CPU_POWER, ZERO_DAY + 100), 3618142622673581757175, "day 100");
        eq(prices.amountOn(CPU_POWER, ZERO_DAY + 511), 5345270569941114727189, "day 511");
        eq(prices.amountOn(CPU_POWER, ZERO_DAY + 729), 6574554386221246998555, "day 729");
        eq(prices.amountOn(CPU_POWER, ZERO_DAY + 14599), 3446959970043165146378855189, "day 14599");
    }

    function test_days_before_the_first_are_refused() public {
        vm.expectRevert(abi.encodeWithSelector(ResourcePrices.BeforeFirstDay.selector, ZERO_DAY - 1, ZERO_DAY));
        prices.amountOn(CPU_POWER, ZERO_DAY - 1);
        prices.amountOn(CPU_POWER, ZERO_DAY + 128 * 730 + 729);
        vm.expectRevert(abi.encodeWithSelector(ResourcePrices.DayTooFar.selector, ZERO_DAY + 129 * 730));
        prices.amountOn(CPU_POWER, ZERO_DAY + 129 * 730);
    }

    function test_coefficients_change_from_tomorrow_on() public {
        uint256 today = block.timestamp / 1 days;
        uint256 before = prices.amountToday(CPU_POWER);
        vm.prank(PRICING);
        vm.expectRevert(abi.encodeWithSelector(ResourcePrices.NotInFuture.selector, today, today));
        prices.setCoefficients(CPU_POWER, today, 1, 0, 1 << 128);
        vm.prank(PRICING);
        vm.expectRevert(abi.encodeWithSelector(ResourcePrices.NotInFuture.selector, today - 1, today));
        prices.setCoefficients(CPU_POWER, today - 1, 1, 0, 1 << 128);
        vm.recordLogs();
        set(today + 1, 77, 0, 1 << 128);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs.length, 1, "one event");
        eq(logs[0].topics[0], ResourcePrices.CoefficientsSet.selector, "set");
        eq(logs[0].topics[2], bytes32(today + 1), "first day");
        eq(prices.amountToday(CPU_POWER), before, "today stays");
        vm.warp((today + 1) * 1 days - 1);
        eq(prices.amountToday(CPU_POWER), before, "until midnight");
        vm.warp((today + 1) * 1 days);
        eq(prices.amountToday(CPU_POWER), 77, "from midnight");
        eq(prices.amountOn(CPU_POWER, today), before, "the past stays");
        eq(prices.amountOn(CPU_POWER, today + 5000), 77, "flat");
        eq(
            prices.amountOn(ResourcePrices.Resource.Gpu, ZERO_DAY),
            3.08e18,
            "each resource has its own"
        );
    }

    function test_announced_coefficients_can_be_replaced_before_their_day() public {
        uint256 today = block.timestamp / 1 days;
        set(today + 10, 10, 0, 1 << 128);
        set(today + 20, 20, 0, 1 << 128);
        vm.recordLogs();
        set(today + 10, 11, 0, 1 << 128);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs.length, 3, "two dropped, one set");
        eq(prices.amountOn(CPU_POWER, today + 20), 11, "both replaced");
        vm.warp((today + 15) * 1 days);
        set(today + 16, 12, 0, 1 << 128);
        eq(prices.amountOn(CPU_POWER, today + 15), 11, "what has begun stays");
        eq(prices.amountOn(CPU_POWER, today + 16), 12, "new");
    }

    function test_the_factor_must_belong_to_the_doubling() public {
        uint256 day = block.timestamp / 1 days + 1;
        set(day, 1000, 1, 2 << 128);
        eq(prices.amountOn(CPU_POWER, day + 3), 8000, "daily doubling");
        refuse(day, 365, FACTOR_365 + 10);
        refuse(day, 365, FACTOR_365 - 10);
        refuse(day, 365, 1 << 128);
        refuse(day, 365, 2 << 128);
        refuse(day, 365, type(uint256).max);
        refuse(day, 365, 0);
        refuse(day, 0, (1 << 128) + 1);
        refuse(day, 36_501, (1 << 128) + 1);
        set(day, 1000, 365, FACTOR_365);
        eq(prices.amountOn(CPU_POWER, day + 365), 2000, "doubled");
        vm.startPrank(PRICING);
        vm.expectRevert(abi.encodeWithSelector(ResourcePrices.InvalidAmount.selector, 0));
        prices.setCoefficients(CPU_POWER, day, 0, 0, 1 << 128);
        vm.expectRevert(abi.encodeWithSelector(ResourcePrices.InvalidAmount.selector, uint256(1) << 96));
        prices.setCoefficients(CPU_POWER, day, 1 << 96, 0, 1 << 128);
        vm.expectRevert(abi.encodeWithSelector(ResourcePrices.InvalidDay.selector, uint256(1) << 32));
        prices.setCoefficients(CPU_POWER, 1 << 32, 1, 0, 1 << 128);
        vm.stopPrank();
        bytes32 role = prices.PRICING_ROLE();
        vm.prank(BOB);
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, BOB, role));
        prices.setCoefficients(CPU_POWER, day, 1, 0, 1 << 128);
    }

    function refuse(uint256 day, uint256 doublingDays, uint256 factor) private {
        vm.prank(PRICING);
        vm.expectRevert(abi.encodeWithSelector(ResourcePrices.InvalidFactor.selector, factor, doublingDays));
        prices.setCoefficients(CPU_POWER, day, 1, doublingDays, factor);
    }

    function test_costs_round_up() public {
        uint256 day = block.timestamp / 1 days + 1;
        set(day, 3e18, 0, 1 << 128); // three KMIPS-hours for a CPU
        eq(prices.costOn(CPU_POWER, 3e18, day), 1e9, "exact");
        eq(prices.costOn(CPU_POWER, 1e18, day), 333_333_334, "up");
        eq(prices.costOn(CPU_POWER, 0, day), 0, "nothing");
        (uint256 first, uint256 amount, uint256 doubling, uint256 factor) = prices.coefficientsOn(CPU_POWER, day + 5);
        eq(first, day, "first");
        eq(amount, 3e18, "amount");
        eq(doubling, 0, "doubling");
        eq(factor, 1 << 128, "factor");
    }

    function testFuzz_amounts_grow_with_the_days(uint32 day) public view {
        uint256 n = bound(day, 0, 90_000);
        ok(prices.amountOn(CPU_POWER, ZERO_DAY + n) < prices.amountOn(CPU_POWER, ZERO_DAY + n + 1), "grows");
        eq(
            prices.amountOn(CPU_POWER, ZERO_DAY + n + 730) / 2,
            prices.amountOn(CPU_POWER, ZERO_DAY + n),
            "doubles in 730 days"
        );
    }
}

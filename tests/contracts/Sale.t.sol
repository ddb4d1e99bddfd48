// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IeoToken} from "src/IeoToken.sol";
import {MainSale} from "src/MainSale.sol";
import {Base, Vm} from "./Base.sol";

/// @dev A buyer whose account is a contract: tries to be refunded once more while it is refunded.
contract GreedyBuyer {
    MainSale private immutable sale;
    uint256 public again;
    bool public rejects;

    constructor(MainSale sale_) {
        sale = sale_;
    }

    function buy() external payable {
        sale.contribute{value: msg.value}();
    }

    function reject(bool yes) external {
        rejects = yes;
    }

    receive() external payable {
        require(!rejects, "no thanks");
        try sale.refund(0, 0) {
            again++;
        } catch {}
    }
}

abstract contract SaleBase is Base {
    address internal constant GRANTER = address(0x64);
    address payable internal constant TREASURY = payable(address(0x7EA));
    uint256 internal constant M = 1_000_000 * 1e9;

    IeoToken internal ieo;
    MainSale internal sale;
    uint256 internal today;

    function makeSale() internal {
        makeToken();
        ieo = IeoToken(vm.deployCode("IeoToken.sol:IeoToken", abi.encode(ADMIN, 1 days, token)));
        sale = MainSale(vm.deployCode("MainSale.sol:MainSale", abi.encode(ADMIN, 1 days, ieo, TREASURY)));
        vm.startPrank(ADMIN);
        token.grantRole(token.MINTER_ROLE(), address(ieo));
        ieo.grantRole(ieo.GRANTER_ROLE(), GRANTER);
        ieo.grantRole(ieo.MAIN_SALE_ROLE(), address(sale));
        vm.stopPrank();
        today = block.timestamp / 1 days;
    }

    function buy(address buyer, uint256 amount) internal {
        vm.deal(buyer, amount);
        vm.prank(buyer);
        sale.contribute{value: amount}();
    }

    function start() internal {
        vm.prank(ADMIN);
        sale.start();
    }
}

contract IeoTokenTest is SaleBase {
    function setUp() public {
        makeSale();
    }

    /// @dev The white paper's table: presale and bonus unlocked after each 30 days.
    function test_presale_unlocks_as_the_white_paper_says() public {
        vm.prank(GRANTER);
        ieo.grantPresale(ALICE, 90_000, 10_000, today);
        uint256[13] memory unlocked =
            [uint256(0), 8333, 16666, 25000, 33333, 41666, 50000, 58333, 66666, 75000, 83333, 91666, 100000];
        for (uint256 n = 0; n <= 12; n++) {
            vm.warp((today + 30 * n) * 1 days);
            eq(ieo.redeemableOf(ALICE), unlocked[n], "first second of the day");
            vm.warp((today + 30 * n) * 1 days + 86_399);
            eq(ieo.redeemableOf(ALICE), unlocked[n], "last second of the day");
            eq(ieo.lockedOf(ALICE), 100_000 - unlocked[n], "locked");
        }
        vm.warp((today + 359) * 1 days);
        eq(ieo.redeemableOf(ALICE), 99_722, "a day before");
        vm.warp((today + 10_000) * 1 days);
        eq(ieo.redeemableOf(ALICE), 100_000, "and no more");
    }

    function test_redeem_burns_and_mints_in_one_transaction() public {
        vm.prank(GRANTER);
        ieo.grantPresale(ALICE, 3600, 0, today);
        vm.warp((today + 36) * 1 days);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.NotUnlocked.selector, 361, 360));
        ieo.redeem(361);
        vm.recordLogs();
        vm.prank(ALICE);
        ieo.redeem(360);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs[1].topics[0], IeoToken.Redeemed.selector, "redeemed");
        eq(keccak256(logs[1].data), keccak256(abi.encode(uint256(360))), "redeemed amount");
        eq(ieo.balanceOf(ALICE), 3240, "burned");
        eq(ieo.totalSupply(), 3240, "supply");
        eq(token.balanceOf(ALICE), 360, "minted");
        eq(ieo.redeemedOf(ALICE), 360, "redeemed");
        vm.startPrank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.NotUnlocked.selector, 1, 0));
        ieo.redeem(1);
        vm.expectRevert(IeoToken.ZeroAmount.selector);
        ieo.redeem(0);
        vm.stopPrank();
        vm.prank(PAUSER);
        token.pause();
        vm.warp((today + 72) * 1 days);
        vm.prank(ALICE);
        vm.expectRevert(bytes4(keccak256("TokenPaused()")));
        ieo.redeem(1);
        eq(ieo.balanceOf(ALICE), 3240, "nothing burned while nothing can be minted");
    }

    function test_the_day_of_purchase_may_be_past_and_not_future() public {
        vm.startPrank(GRANTER);
        ieo.grantPresale(ALICE, 360, 0, today - 90);
        eq(ieo.redeemableOf(ALICE), 90, "ninety days ago");
        vm.expectRevert(abi.encodeWithSelector(IeoToken.FutureDay.selector, today + 1, today));
        ieo.grantPresale(BOB, 360, 0, today + 1);
        vm.stopPrank();
    }

    function test_a_wallet_takes_one_schedule() public {
        vm.startPrank(GRANTER);
        ieo.grantPresale(ALICE, 1, 0, today);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.ScheduleExists.selector, ALICE));
        ieo.grantPresale(ALICE, 1, 0, today);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.ScheduleExists.selector, ALICE));
        ieo.grantVesting(ALICE, 1, today, 0, 10);
        ieo.grantUnlocked(ALICE, 5, IeoToken.Pool.Partner);
        vm.stopPrank();
        eq(ieo.redeemableOf(ALICE), 5, "unlocked grants come beside it");
        eq(ieo.grantedOf(ALICE), 6, "granted");
    }

    function test_bonus_follows_the_purchase() public {
        vm.startPrank(GRANTER);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.NoPresale.selector, ALICE));
        ieo.grantBonus(ALICE, 1, false);
        ieo.grantPresale(ALICE, 360, 0, today - 36);
        ieo.grantBonus(ALICE, 360, false);
        ieo.grantBonus(ALICE, 720, true);
        eq(ieo.redeemableOf(ALICE), 144, "a tenth of all three");
        eq(ieo.poolLeft(IeoToken.Pool.Advisor), 500 * M - 720, "extra bonus is the advisors'");
        vm.expectRevert(
            abi.encodeWithSelector(IeoToken.ExtraBonusCapExceeded.selector, 45 * M, 45 * M - 720)
        );
        ieo.grantBonus(ALICE, 45 * M, true);
        vm.expectRevert(IeoToken.ZeroAmount.selector);
        ieo.grantBonus(ALICE, 0, true);
        vm.stopPrank();
    }

    function test_vesting_has_a_cliff() public {
        vm.startPrank(GRANTER);
        ieo.grantVesting(ALICE, 1461, today, 365, 1461);
        vm.warp((today + 364) * 1 days + 86_399);
        eq(ieo.redeemableOf(ALICE), 0, "before the cliff");
        vm.warp((today + 365) * 1 days);
        eq(ieo.redeemableOf(ALICE), 365, "at the cliff: all days so far");
        vm.warp((today + 1460) * 1 days);
        eq(ieo.redeemableOf(ALICE), 1460, "last day but one");
        vm.warp((today + 1461) * 1 days);
        eq(ieo.redeemableOf(ALICE), 1461, "all");
        vm.expectRevert(abi.encodeWithSelector(IeoToken.InvalidSchedule.selector, 11, 10));
        ieo.grantVesting(BOB, 1, today, 11, 10);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.InvalidSchedule.selector, 0, 0));
        ieo.grantVesting(BOB, 1, today, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.InvalidSchedule.selector, 0, 3651));
        ieo.grantVesting(BOB, 1, today, 0, 3651);
        vm.stopPrank();
    }

    function test_pools_and_cap() public {
        vm.startPrank(GRANTER);
        ieo.grantUnlocked(ALICE, 400 * M, IeoToken.Pool.Partner);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.PoolExceeded.selector, IeoToken.Pool.Partner, 1, 0));
        ieo.grantUnlocked(ALICE, 1, IeoToken.Pool.Partner);
        ieo.grantUnlocked(ALICE, 500 * M, IeoToken.Pool.Advisor);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.PoolExceeded.selector, IeoToken.Pool.Advisor, 1, 0));
        ieo.grantUnlocked(ALICE, 1, IeoToken.Pool.Advisor);
        ieo.grantVesting(BOB, 500 * M, today, 0, 10);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.PoolExceeded.selector, IeoToken.Pool.Employee, 1, 0));
        ieo.grantVesting(PAYER, 1, today, 0, 10);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.WrongPool.selector, IeoToken.Pool.Sale));
        ieo.grantUnlocked(ALICE, 1, IeoToken.Pool.Sale);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.WrongPool.selector, IeoToken.Pool.Employee));
        ieo.grantUnlocked(ALICE, 1, IeoToken.Pool.Employee);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.PresaleCapExceeded.selector, 240 * M + 1, 240 * M));
        ieo.grantPresale(PAYER, 240 * M + 1, 0, today);
        vm.expectRevert(
            abi.encodeWithSelector(IeoToken.PoolExceeded.selector, IeoToken.Pool.Sale, 3600 * M + 1, 3600 * M)
        );
        ieo.grantPresale(PAYER, 240 * M, 3360 * M + 1, today);
        uint256[3] memory huge = [uint256(1) << 64, type(uint96).max, type(uint256).max];
        for (uint256 n = 0; n < 3; n++) {
            vm.expectRevert(
                abi.encodeWithSelector(IeoToken.PoolExceeded.selector, IeoToken.Pool.Sale, huge[n], 3600 * M)
            );
            ieo.grantPresale(PAYER, 1, huge[n], today);
        }
        vm.expectRevert(abi.encodeWithSelector(IeoToken.ForbiddenWallet.selector, address(ieo)));
        ieo.grantPresale(address(ieo), 1, 0, today);
        ieo.grantPresale(PAYER, 240 * M, 3360 * M, today);
        vm.stopPrank();
        eq(ieo.totalSupply(), 5000 * M, "the four pools are the cap");
        eq(ieo.totalSupply(), ieo.CAP(), "cap");
    }

    function test_nothing_moves_between_wallets() public {
        vm.prank(GRANTER);
        ieo.grantUnlocked(ALICE, 5, IeoToken.Pool.Partner);
        bytes4 refused = IeoToken.NonTransferable.selector;
        vm.startPrank(ALICE);
        vm.expectRevert(refused);
        ieo.transfer(BOB, 1);
        vm.expectRevert(refused);
        ieo.transfer(ALICE, 0);
        vm.expectRevert(refused);
        ieo.approve(BOB, 1);
        vm.expectRevert(refused);
        ieo.transferFrom(ALICE, BOB, 0);
        vm.stopPrank();
        eq(ieo.decimals(), 9, "decimals");
    }

    function test_close_is_for_good() public {
        vm.prank(ADMIN);
        ieo.close();
        bytes4 refused = IeoToken.IeoClosed.selector;
        vm.startPrank(GRANTER);
        vm.expectRevert(refused);
        ieo.grantPresale(ALICE, 1, 0, today);
        vm.expectRevert(refused);
        ieo.grantBonus(ALICE, 1, false);
        vm.expectRevert(refused);
        ieo.grantVesting(ALICE, 1, today, 0, 1);
        vm.expectRevert(refused);
        ieo.grantUnlocked(ALICE, 1, IeoToken.Pool.Partner);
        vm.stopPrank();
        vm.startPrank(ADMIN);
        vm.expectRevert(refused);
        sale.start();
        vm.expectRevert(refused);
        ieo.close();
        vm.stopPrank();
    }

    function test_only_the_role_may() public {
        bytes32 granter = ieo.GRANTER_ROLE();
        bytes32 seller = ieo.MAIN_SALE_ROLE();
        bytes memory noGranter =
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, BOB, granter);
        bytes memory noSeller =
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, BOB, seller);
        vm.startPrank(BOB);
        vm.expectRevert(noGranter);
        ieo.grantPresale(BOB, 1, 0, today);
        vm.expectRevert(noGranter);
        ieo.grantBonus(BOB, 1, false);
        vm.expectRevert(noGranter);
        ieo.grantVesting(BOB, 1, today, 0, 1);
        vm.expectRevert(noGranter);
        ieo.grantUnlocked(BOB, 1, IeoToken.Pool.Partner);
        vm.expectRevert(noSeller);
        ieo.openMainSale();
        vm.expectRevert(noSeller);
        ieo.grantMainSale(BOB, 1);
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, BOB, bytes32(0))
        );
        ieo.close();
        vm.stopPrank();
    }

    function testFuzz_unlocking_is_exact_at_any_time(uint64 amount, uint32 later, uint8 redemptions) public {
        uint256 granted = bound(amount, 1, 240 * M);
        vm.prank(GRANTER);
        ieo.grantPresale(ALICE, granted, 0, today);
        uint256 redeemed = 0;
        uint256 span = bound(later, 0, 400 days);
        uint256 steps = bound(redemptions, 1, 5);
        for (uint256 n = 1; n <= steps; n++) {
            vm.warp(today * 1 days + span * n / steps);
            uint256 elapsed = block.timestamp / 1 days - today;
            uint256 unlocked = elapsed >= 360 ? granted : granted * elapsed / 360;
            eq(ieo.redeemableOf(ALICE), unlocked - redeemed, "unlocked");
            uint256 take = (unlocked - redeemed) / n;
            if (take != 0) {
                vm.prank(ALICE);
                ieo.redeem(take);
                redeemed += take;
            }
            eq(token.balanceOf(ALICE), redeemed, "minted");
            eq(ieo.redeemedOf(ALICE) + ieo.lockedOf(ALICE) + ieo.redeemableOf(ALICE), granted, "parts");
        }
    }
}

contract MainSaleTest is SaleBase {
    function setUp() public {
        makeSale();
    }

    function test_a_period_is_shared_by_contribution_to_the_unit() public {
        start();
        buy(ALICE, 1 ether);
        buy(BOB, 2 ether);
        buy(ALICE, 3);
        vm.expectRevert(
            abi.encodeWithSelector(MainSale.PeriodRunning.selector, uint256(0), sale.startedAt() + 29 hours)
        );
        sale.claim(0, 0);
        vm.warp(block.timestamp + 29 hours);
        for (uint256 n = 0; n < 3; n++) {
            sale.claim(0, n);
        }
        eq(ieo.balanceOf(ALICE) + ieo.balanceOf(BOB), 10 * M, "all of it");
        uint256 total = 3 ether + 3;
        eq(ieo.balanceOf(BOB), 10 * M * 3 ether / total - 10 * M * 1 ether / total, "bob");
        eq(ieo.redeemableOf(ALICE), ieo.balanceOf(ALICE), "unlocked at once");
        vm.expectRevert(abi.encodeWithSelector(MainSale.AlreadyClaimed.selector, uint256(0), uint256(1)));
        sale.claim(0, 1);
        vm.expectRevert(abi.encodeWithSelector(MainSale.UnknownContribution.selector, uint256(0), uint256(3)));
        sale.claim(0, 3);
        sale.withdraw(0);
        eq(TREASURY.balance, total, "proceeds");
        vm.expectRevert(abi.encodeWithSelector(MainSale.NothingToWithdraw.selector, uint256(0)));
        sale.withdraw(0);
        vm.expectRevert(abi.encodeWithSelector(MainSale.PeriodNotVoid.selector, uint256(0)));
        sale.refund(0, 0);
    }

    function test_periods_last_29_hours_and_quiet_ones_sell_nothing() public {
        start();
        uint256 from = block.timestamp;
        vm.warp(from + 29 hours - 1);
        eq(sale.currentPeriod(), 0, "last second");
        vm.warp(from + 29 hours);
        eq(sale.currentPeriod(), 1, "first second");
        eq(sale.unsold(), 3600 * M, "nobody came");
        buy(ALICE, 5);
        eq(sale.unsold(), 3590 * M, "one lot");
        (uint256 lot, uint256 total, uint256 count, bool isVoid, bool isWithdrawn) = sale.periodAt(1);
        eq(lot, 10 * M, "lot");
        eq(total, 5, "total");
        eq(count, 1, "count");
        ok(!isVoid && !isWithdrawn, "flags");
        vm.expectRevert(abi.encodeWithSelector(MainSale.NothingToWithdraw.selector, uint256(0)));
        sale.withdraw(0);
    }

    function test_the_sale_ends_when_all_is_sold() public {
        vm.prank(GRANTER);
        ieo.grantPresale(PAYER, 100 * M, 3485 * M, today); // leaves 15 million
        start();
        vm.expectRevert(abi.encodeWithSelector(MainSale.NotSoldOut.selector, 15 * M));
        sale.close();
        buy(ALICE, 1);
        vm.warp(block.timestamp + 29 hours);
        buy(BOB, 1);
        (uint256 lot,,,,) = sale.periodAt(1);
        eq(lot, 5 * M, "what is left");
        vm.expectRevert(
            abi.encodeWithSelector(MainSale.PeriodRunning.selector, uint256(1), sale.startedAt() + 58 hours)
        );
        sale.close();
        vm.warp(block.timestamp + 29 hours);
        vm.deal(BOB, 1);
        vm.prank(BOB);
        vm.expectRevert(MainSale.SoldOut.selector);
        sale.contribute{value: 1}();
        sale.close();
        ok(sale.closed(), "closed");
        vm.prank(BOB);
        vm.expectRevert(MainSale.SaleIsClosed.selector);
        sale.contribute{value: 1}();
        vm.expectRevert(MainSale.SaleIsClosed.selector);
        sale.close();
        vm.startPrank(ADMIN);
        vm.expectRevert(MainSale.SaleIsClosed.selector);
        sale.start();
        vm.expectRevert(MainSale.SaleIsClosed.selector);
        sale.terminate();
        vm.stopPrank();
        sale.claim(0, 0);
        sale.claim(1, 0);
        eq(ieo.totalSupply(), 3600 * M, "the sale pool, to the unit");
    }

    function test_termination_gives_the_running_period_back() public {
        start();
        buy(ALICE, 7);
        vm.warp(block.timestamp + 29 hours);
        buy(BOB, 9);
        vm.prank(ADMIN);
        sale.terminate();
        eq(sale.unsold(), 3590 * M, "the running lot is unsold again");
        sale.refund(1, 0);
        eq(BOB.balance, 9, "refunded");
        vm.expectRevert(abi.encodeWithSelector(MainSale.AlreadyClaimed.selector, uint256(1), uint256(0)));
        sale.refund(1, 0);
        vm.warp(block.timestamp + 29 hours);
        vm.expectRevert(abi.encodeWithSelector(MainSale.PeriodVoid.selector, uint256(1)));
        sale.claim(1, 0);
        vm.expectRevert(abi.encodeWithSelector(MainSale.NothingToWithdraw.selector, uint256(1)));
        sale.withdraw(1);
        sale.claim(0, 0);
        eq(ieo.balanceOf(ALICE), 10 * M, "what is over stays valid");
        sale.withdraw(0);
        eq(address(sale).balance, 0, "ether accounted for");
    }

    function test_a_refund_cannot_be_entered_again() public {
        start();
        GreedyBuyer greedy = new GreedyBuyer(sale);
        vm.deal(address(this), 10);
        greedy.buy{value: 5}();
        buy(BOB, 5);
        vm.prank(ADMIN);
        sale.terminate();
        sale.refund(0, 0);
        eq(greedy.again(), 0, "not twice");
        eq(address(greedy).balance, 5, "once");
        eq(address(sale).balance, 5, "bob's is there");
    }

    function test_a_buyer_that_takes_no_ether_keeps_its_claim() public {
        start();
        GreedyBuyer greedy = new GreedyBuyer(sale);
        vm.deal(address(this), 10);
        greedy.buy{value: 5}();
        vm.prank(ADMIN);
        sale.terminate();
        greedy.reject(true);
        vm.expectRevert(abi.encodeWithSelector(MainSale.EtherNotSent.selector, address(greedy)));
        sale.refund(0, 0);
        greedy.reject(false);
        sale.refund(0, 0);
        eq(address(greedy).balance, 5, "later");
    }

    function test_refusals() public {
        vm.deal(ALICE, type(uint128).max);
        vm.startPrank(ALICE);
        vm.expectRevert(MainSale.NotStarted.selector);
        sale.contribute{value: 1}();
        vm.expectRevert(MainSale.NothingSent.selector);
        sale.contribute();
        vm.expectRevert(MainSale.NotStarted.selector);
        sale.close();
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, ALICE, bytes32(0))
        );
        sale.start();
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, ALICE, bytes32(0))
        );
        sale.terminate();
        vm.stopPrank();
        start();
        vm.prank(ADMIN);
        vm.expectRevert(MainSale.AlreadyStarted.selector);
        sale.start();
        vm.startPrank(ALICE);
        vm.expectRevert(
            abi.encodeWithSelector(MainSale.PeriodRunning.selector, type(uint256).max, type(uint256).max)
        );
        sale.claim(type(uint256).max, 0);
        vm.expectRevert(abi.encodeWithSelector(MainSale.TooMuch.selector, uint256(1) << 96));
        sale.contribute{value: 1 << 96}();
        vm.stopPrank();
        vm.startPrank(GRANTER);
        vm.expectRevert(IeoToken.MainSaleIsOpen.selector);
        ieo.grantPresale(ALICE, 1, 0, today);
        vm.stopPrank();
    }

    function test_nothing_is_granted_before_the_main_sale_opens() public {
        bytes32 role = ieo.MAIN_SALE_ROLE();
        vm.prank(ADMIN);
        ieo.grantRole(role, BOB);
        vm.prank(BOB);
        vm.expectRevert(IeoToken.MainSaleNotOpen.selector);
        ieo.grantMainSale(BOB, 1);
    }

    /// @dev However contributions fall, the lot is given out to the unit and nobody is off by a whole unit.
    function testFuzz_no_dust(uint96[8] calldata amounts) public {
        start();
        uint256 total = 0;
        for (uint256 n = 0; n < 8; n++) {
            uint256 amount = bound(amounts[n], 1, 1e24);
            buy(address(uint160(0x2000 + n)), amount);
            total += amount;
        }
        vm.warp(block.timestamp + 29 hours);
        for (uint256 n = 0; n < 8; n++) {
            (, uint256 amount) = sale.contribution(0, n);
            sale.claim(0, n);
            uint256 exact = 10 * M * amount / total;
            uint256 got = ieo.balanceOf(address(uint160(0x2000 + n)));
            ok(got == exact || got == exact + 1, "pro rata");
        }
        eq(ieo.totalSupply(), 10 * M, "no dust");
    }
}

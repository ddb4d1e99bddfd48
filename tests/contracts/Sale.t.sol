// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {DelayedRoles} from "src/DelayedRoles.sol";
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
        ieo.grantRole(ieo.GUARDIAN_ROLE(), GUARDIAN);
        ieo.grantRole(ieo.MAIN_SALE_ROLE(), address(sale));
        vm.stopPrank();
        today = block.timestamp / 1 days;
    }

    function buy(address buyer, uint256 amount) internal {
        vm.deal(buyer, amount);
        vm.prank(buyer);
        sale.contribute{value: amount}();
    }

    /// @dev A tranche without size steps, at 0.5 EUR. Number 0 is the first.
    function offer(uint256 supply, uint256 bonus) internal returns (uint256) {
        vm.prank(ADMIN);
        return ieo.announceTranche(5e8, supply, bonus, new uint256[](0), new uint256[](0));
    }

    function grantUnlocked(address wallet, uint256 amount, IeoToken.Pool pool) internal {
        vm.startPrank(GRANTER);
        ieo.announceUnlocked(wallet, amount, pool);
        ieo.grantUnlocked(wallet, amount, pool);
        vm.stopPrank();
    }

    function start() internal {
        vm.prank(ADMIN);
        sale.start();
    }
}

contract IeoTokenTest is SaleBase {
    function setUp() public {
        makeSale();
        offer(200 * M, 0);
    }

    /// @dev The white paper's table: presale and bonus unlocked after each 30 days.
    function test_presale_unlocks_as_the_white_paper_says() public {
        uint256 tranche = offer(M, 1111); // 11.11 per cent
        vm.prank(GRANTER);
        ieo.grantPresale(ALICE, tranche, 90_001, today);
        eq(ieo.grantedOf(ALICE), 100_000, "90,001 and a bonus of 9,999, rounded down");
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
        ieo.grantPresale(ALICE, 0, 3600, today);
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
        ieo.grantPresale(ALICE, 0, 360, today - 180);
        eq(ieo.redeemableOf(ALICE), 180, "half at most");
        uint256[4] memory days_ = [today + 1, today - 181, 0, type(uint256).max];
        for (uint256 n = 0; n < 4; n++) {
            bytes memory refused =
                abi.encodeWithSelector(IeoToken.DayOutOfBounds.selector, days_[n], today - 180, today);
            vm.expectRevert(refused);
            ieo.grantPresale(BOB, 0, 360, days_[n]);
            vm.expectRevert(refused);
            ieo.grantVesting(BOB, 360, days_[n], 0, 360);
        }
        vm.stopPrank();
    }

    function test_a_wallet_takes_one_schedule() public {
        vm.startPrank(GRANTER);
        ieo.grantPresale(ALICE, 0, 360, today - 36);
        bytes memory refused = abi.encodeWithSelector(IeoToken.ScheduleExists.selector, ALICE);
        vm.expectRevert(refused);
        ieo.grantPresale(ALICE, 0, 1, today);
        vm.expectRevert(refused);
        ieo.grantVesting(ALICE, 1, today, 0, 360);
        vm.stopPrank();
        grantUnlocked(ALICE, 5, IeoToken.Pool.Partner);
        eq(ieo.redeemableOf(ALICE), 36 + 5, "unlocked grants come beside it");
        eq(ieo.grantedOf(ALICE), 365, "granted");
        start();
        buy(ALICE, 1);
        vm.warp(block.timestamp + 29 hours);
        sale.claim(0, 0);
        uint256 elapsed = block.timestamp / 1 days - (today - 36);
        eq(ieo.redeemableOf(ALICE), elapsed + 5 + 10 * M, "and main-sale grants leave a running schedule alone");
        (uint8 kind, uint256 amount, uint256 startDay,,) = ieo.scheduleOf(ALICE);
        eq(kind, 1, "kind");
        eq(amount, 360, "amount");
        eq(startDay, today - 36, "start");
    }

    /// @dev P-24: price, supply, percent bonus and size steps; the bonus follows from them, out of the same pool.
    function test_a_tranche_gives_the_bonus_that_it_announced() public {
        uint256[] memory leasts = new uint256[](2);
        uint256[] memory bonuses = new uint256[](2);
        (leasts[0], leasts[1], bonuses[0], bonuses[1]) = (1000, 5000, 250, 500);
        vm.recordLogs();
        vm.prank(ADMIN);
        uint256 tranche = ieo.announceTranche(4e8, 20_000, 1000, leasts, bonuses);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        bytes memory data = abi.encode(
            uint256(4e8), uint256(20_000), uint256(1000), leasts, bonuses, block.timestamp
        );
        eq(keccak256(logs[0].data), keccak256(data), "announced");
        uint256[5] memory sizes = [uint256(999), 1000, 4999, 5000, 8000];
        uint256[5] memory bonus = [uint256(99), 125, 624, 750, 1200];
        for (uint256 n = 0; n < 5; n++) {
            eq(ieo.bonusOf(tranche, sizes[n]), bonus[n], "bonus");
            address wallet = address(uint160(0x4000 + n));
            uint256 before = ieo.poolLeft(IeoToken.Pool.Sale);
            vm.prank(GRANTER);
            ieo.grantPresale(wallet, tranche, sizes[n], today);
            eq(ieo.grantedOf(wallet), sizes[n] + bonus[n], "both on one schedule");
            eq(before - ieo.poolLeft(IeoToken.Pool.Sale), sizes[n] + bonus[n], "both out of one pool");
        }
        (uint256 price, uint256 supply, uint256 sold, uint256 percent, uint256 opensAt) = ieo.trancheAt(tranche);
        eq(price, 4e8, "price");
        eq(supply, 20_000, "supply");
        eq(sold, 19_998, "sold");
        eq(percent, 1000, "percent");
        eq(opensAt, block.timestamp, "opens");
        vm.prank(GRANTER);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.TrancheExceeded.selector, tranche, 3, 2));
        ieo.grantPresale(BOB, tranche, 3, today);
    }

    function test_tranches_stay_within_their_bounds() public {
        uint256[] memory none = new uint256[](0);
        uint256[] memory leasts = new uint256[](2);
        uint256[] memory bonuses = new uint256[](2);
        bytes memory invalid = abi.encodeWithSelector(IeoToken.InvalidTranche.selector, uint256(1));
        vm.startPrank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.PresaleCapExceeded.selector, 40 * M + 1, 40 * M));
        ieo.announceTranche(1, 40 * M + 1, 0, none, none);
        vm.expectRevert(invalid);
        ieo.announceTranche(0, 1, 0, none, none);
        vm.expectRevert(invalid);
        ieo.announceTranche(uint256(1) << 64, 1, 0, none, none);
        vm.expectRevert(invalid);
        ieo.announceTranche(1, 0, 0, none, none);
        vm.expectRevert(invalid);
        ieo.announceTranche(1, 1, 10_001, none, none);
        vm.expectRevert(invalid);
        ieo.announceTranche(1, 1, 0, leasts, none);
        vm.expectRevert(invalid);
        ieo.announceTranche(1, 1, 0, new uint256[](17), new uint256[](17));
        uint256[4][6] memory steps = [
            [uint256(0), 2, 1, 2], // from nothing on
            [uint256(2), 2, 1, 2], // twice the same size
            [uint256(1), 2, 2, 2], // no more for more
            [uint256(1), 2, 0, 2], // nothing
            [uint256(1), 2, 1, 9001], // with the percent bonus more than the purchase
            [uint256(1), 240 * M + 1, 1, 2] // a size that nobody can buy
        ];
        for (uint256 n = 0; n < 6; n++) {
            (leasts[0], leasts[1], bonuses[0], bonuses[1]) = (steps[n][0], steps[n][1], steps[n][2], steps[n][3]);
            vm.expectRevert(invalid);
            ieo.announceTranche(1, 1, 1000, leasts, bonuses);
        }
        (leasts[0], leasts[1], bonuses[0], bonuses[1]) = (1, 240 * M, 1, 9000);
        ieo.announceTranche(1, 40 * M, 1000, leasts, bonuses);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.PresaleCapExceeded.selector, 1, 0));
        ieo.announceTranche(1, 1, 0, none, none);
        vm.stopPrank();
        vm.startPrank(GRANTER);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.InvalidTranche.selector, uint256(2)));
        ieo.grantPresale(BOB, 2, 1, today);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.InvalidTranche.selector, uint256(2)));
        ieo.trancheAt(2);
        vm.stopPrank();
        vm.prank(GUARDIAN);
        ieo.closeTranche(1); // what it did not sell can be offered again
        eq(ieo.presaleOffered(), 200 * M, "offered");
        vm.prank(GRANTER);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.TrancheExceeded.selector, 1, 1, 0));
        ieo.grantPresale(BOB, 1, 1, today);
        offer(40 * M, 0);
        vm.prank(BOB);
        vm.expectRevert(abi.encodeWithSelector(DelayedRoles.NotGuardian.selector, BOB));
        ieo.closeTranche(0);
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.InvalidTranche.selector, uint256(3)));
        ieo.closeTranche(3);
    }

    /// @dev Neither the admin's key nor the granter's issues tokens at once to whom it likes.
    function test_terms_and_unlocked_grants_stand_in_the_open_first() public {
        vm.prank(ADMIN);
        ieo.endSetup();
        uint256 tranche = offer(M, 10_000);
        uint256 due = block.timestamp + 1 days;
        vm.startPrank(GRANTER);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.TrancheNotOpen.selector, tranche, due));
        ieo.grantPresale(BOB, tranche, 1, today);
        vm.expectRevert(DelayedRoles.NothingAnnounced.selector);
        ieo.grantUnlocked(BOB, 400 * M, IeoToken.Pool.Partner);
        ieo.announceUnlocked(BOB, 400 * M, IeoToken.Pool.Partner);
        ieo.announceUnlocked(BOB, 7, IeoToken.Pool.Advisor);
        vm.expectRevert(abi.encodeWithSelector(DelayedRoles.NotEffective.selector, due, due + 30 days));
        ieo.grantUnlocked(BOB, 400 * M, IeoToken.Pool.Partner);
        vm.stopPrank();
        vm.prank(BOB);
        vm.expectRevert(abi.encodeWithSelector(DelayedRoles.NotGuardian.selector, BOB));
        ieo.cancelUnlocked(BOB, 400 * M, IeoToken.Pool.Partner);
        vm.prank(GUARDIAN);
        ieo.cancelUnlocked(BOB, 400 * M, IeoToken.Pool.Partner);
        vm.prank(GUARDIAN);
        vm.expectRevert(DelayedRoles.NothingAnnounced.selector);
        ieo.cancelUnlocked(BOB, 400 * M, IeoToken.Pool.Partner);
        vm.warp(due);
        vm.startPrank(GRANTER);
        vm.expectRevert(DelayedRoles.NothingAnnounced.selector);
        ieo.grantUnlocked(BOB, 400 * M, IeoToken.Pool.Partner);
        ieo.grantUnlocked(BOB, 7, IeoToken.Pool.Advisor);
        vm.expectRevert(DelayedRoles.NothingAnnounced.selector); // once
        ieo.grantUnlocked(BOB, 7, IeoToken.Pool.Advisor);
        ieo.grantPresale(BOB, tranche, 1, today);
        vm.stopPrank();
    }

    function test_additional_bonus_follows_the_purchase_and_its_size() public {
        vm.startPrank(GRANTER);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.NoPresale.selector, ALICE));
        ieo.grantExtraBonus(ALICE, 1);
        ieo.grantPresale(ALICE, 0, 3600, today - 36);
        ieo.grantExtraBonus(ALICE, 600);
        eq(ieo.redeemableOf(ALICE), 420, "a tenth of both");
        eq(ieo.poolLeft(IeoToken.Pool.Advisor), 500 * M - 600, "the advisors'");
        eq(ieo.extraBonusGranted(), 600, "noted");
        vm.expectRevert(abi.encodeWithSelector(IeoToken.ExtraBonusCapExceeded.selector, 76, 75));
        ieo.grantExtraBonus(ALICE, 76); // 18.75 per cent of the purchase in all
        ieo.grantExtraBonus(ALICE, 75);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.ExtraBonusCapExceeded.selector, 1, 0));
        ieo.grantExtraBonus(ALICE, 1);
        vm.expectRevert(IeoToken.ZeroAmount.selector);
        ieo.grantExtraBonus(ALICE, 0);
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
        uint256[2][4] memory bad = [[uint256(361), 360], [uint256(0), 359], [uint256(0), 0], [uint256(0), 3651]];
        for (uint256 n = 0; n < 4; n++) {
            vm.expectRevert(abi.encodeWithSelector(IeoToken.InvalidSchedule.selector, bad[n][0], bad[n][1]));
            ieo.grantVesting(BOB, 1, today, bad[n][0], bad[n][1]);
        }
        vm.stopPrank();
    }

    function test_pools_and_cap() public {
        grantUnlocked(ALICE, 400 * M, IeoToken.Pool.Partner);
        refuseUnlocked(1, IeoToken.Pool.Partner, abi.encodeWithSelector(IeoToken.PoolExceeded.selector, 0, 1, 0));
        grantUnlocked(ALICE, 500 * M, IeoToken.Pool.Advisor);
        refuseUnlocked(1, IeoToken.Pool.Advisor, abi.encodeWithSelector(IeoToken.PoolExceeded.selector, 2, 1, 0));
        vm.startPrank(GRANTER);
        ieo.grantVesting(BOB, 500 * M, today, 0, 360);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.PoolExceeded.selector, IeoToken.Pool.Employee, 1, 0));
        ieo.grantVesting(PAYER, 1, today, 0, 360);
        uint256[3] memory huge = [uint256(1) << 64, type(uint96).max, type(uint256).max];
        for (uint256 n = 0; n < 3; n++) {
            vm.expectRevert(
                abi.encodeWithSelector(IeoToken.PoolExceeded.selector, IeoToken.Pool.Employee, huge[n], 0)
            );
            ieo.grantVesting(PAYER, huge[n], today, 0, 360);
            vm.expectRevert(abi.encodeWithSelector(IeoToken.TrancheExceeded.selector, 0, huge[n], 200 * M));
            ieo.grantPresale(PAYER, 0, huge[n], today);
        }
        vm.expectRevert(abi.encodeWithSelector(IeoToken.WrongPool.selector, IeoToken.Pool.Sale));
        ieo.announceUnlocked(ALICE, 1, IeoToken.Pool.Sale);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.WrongPool.selector, IeoToken.Pool.Employee));
        ieo.announceUnlocked(ALICE, 1, IeoToken.Pool.Employee);
        vm.expectRevert(IeoToken.ZeroAmount.selector);
        ieo.announceUnlocked(ALICE, 0, IeoToken.Pool.Partner);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.ForbiddenWallet.selector, address(ieo)));
        ieo.grantPresale(address(ieo), 0, 1, today);
        vm.expectRevert(IeoToken.ZeroAmount.selector);
        ieo.grantPresale(PAYER, 0, 0, today);
        vm.stopPrank();
        eq(ieo.CAP(), 5000 * M, "the four pools are the cap");
        eq(ieo.cap(), 5000 * M, "nothing given up");
    }

    function refuseUnlocked(uint256 amount, IeoToken.Pool pool, bytes memory refused) private {
        vm.startPrank(GRANTER);
        ieo.announceUnlocked(ALICE, amount, pool);
        vm.expectRevert(refused);
        ieo.grantUnlocked(ALICE, amount, pool);
        vm.stopPrank();
    }

    function test_nothing_moves_between_wallets() public {
        grantUnlocked(ALICE, 5, IeoToken.Pool.Partner);
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

    /// @dev P-21: at any time, once, for good; what was not granted will never exist.
    function test_close_is_for_good_and_lowers_the_cap() public {
        grantUnlocked(ALICE, 5, IeoToken.Pool.Partner);
        vm.prank(GRANTER);
        ieo.grantPresale(BOB, 0, 7, today);
        vm.prank(GRANTER);
        ieo.announceUnlocked(ALICE, 6, IeoToken.Pool.Partner);
        vm.recordLogs();
        vm.prank(ADMIN);
        ieo.close();
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs.length, 5, "four pools and the end");
        eq(keccak256(logs[4].data), keccak256(abi.encode(uint256(12))), "closed data");
        eq(ieo.cap(), 12, "what is there is all there will be");
        for (uint8 n = 0; n < 4; n++) {
            eq(ieo.poolLeft(IeoToken.Pool(n)), 0, "no pool has anything left");
        }
        bytes4 refused = IeoToken.IeoClosed.selector;
        vm.startPrank(GRANTER);
        vm.expectRevert(refused);
        ieo.grantPresale(ALICE, 0, 1, today);
        vm.expectRevert(refused);
        ieo.grantExtraBonus(BOB, 1);
        vm.expectRevert(refused);
        ieo.grantVesting(ALICE, 1, today, 0, 360);
        vm.expectRevert(refused);
        ieo.grantUnlocked(ALICE, 6, IeoToken.Pool.Partner);
        vm.expectRevert(refused);
        ieo.announceUnlocked(ALICE, 1, IeoToken.Pool.Partner);
        vm.stopPrank();
        vm.startPrank(ADMIN);
        vm.expectRevert(refused);
        ieo.announceTranche(1, 1, 0, new uint256[](0), new uint256[](0));
        vm.expectRevert(refused);
        sale.start();
        vm.expectRevert(refused);
        ieo.close();
        vm.stopPrank();
        vm.prank(ALICE);
        ieo.redeem(5); // what was granted is theirs
    }

    function test_closing_while_the_auction_runs_leaves_what_is_the_auctions() public {
        start();
        buy(ALICE, 1);
        vm.prank(ADMIN);
        ieo.close();
        eq(ieo.cap(), 3600 * M, "the auction's");
        vm.warp(block.timestamp + 29 hours);
        sale.claim(0, 0);
        vm.prank(ADMIN);
        sale.close();
        eq(ieo.cap(), 10 * M, "what it sold");
        eq(ieo.totalSupply(), 10 * M, "is what there is");
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
        ieo.grantPresale(BOB, 0, 1, today);
        vm.expectRevert(noGranter);
        ieo.grantExtraBonus(BOB, 1);
        vm.expectRevert(noGranter);
        ieo.announceUnlocked(BOB, 1, IeoToken.Pool.Partner);
        vm.expectRevert(noGranter);
        ieo.grantVesting(BOB, 1, today, 0, 360);
        vm.expectRevert(noGranter);
        ieo.grantUnlocked(BOB, 1, IeoToken.Pool.Partner);
        vm.expectRevert(noSeller);
        ieo.openMainSale();
        vm.expectRevert(noSeller);
        ieo.grantMainSale(BOB, 1);
        vm.expectRevert(noSeller);
        ieo.endMainSale(0);
        bytes memory noAdmin =
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, BOB, bytes32(0));
        vm.expectRevert(noAdmin);
        ieo.announceTranche(1, 1, 0, new uint256[](0), new uint256[](0));
        vm.expectRevert(noAdmin);
        ieo.close();
        vm.stopPrank();
    }

    function testFuzz_unlocking_is_exact_at_any_time(uint64 amount, uint32 later, uint8 redemptions) public {
        uint256 granted = bound(amount, 1, 200 * M);
        vm.prank(GRANTER);
        ieo.grantPresale(ALICE, 0, granted, today);
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

    /// @dev P-22: N, P and M of the white paper, computed where the presale closes.
    function test_the_presale_closes_with_what_is_left_for_the_auction() public {
        offer(240 * M, 2000);
        vm.prank(GRANTER);
        ieo.grantPresale(PAYER, 0, 12_500_000 * 1e9 + 5, today); // and 20 per cent: 15 million and 6 units
        vm.recordLogs();
        start();
        eq(ieo.presaleTokens(), 15 * M + 6, "N");
        eq(ieo.mainSaleTokens(), 3585 * M - 6, "P");
        eq(ieo.mainSalePeriods(), 359, "M, rounded up");
        eq(sale.unsold(), 3585 * M - 6, "the auction's");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(
            keccak256(logs[0].data),
            keccak256(abi.encode(15 * M + 6, 3585 * M - 6, uint256(359))),
            "said"
        );
        bytes4 open = IeoToken.MainSaleIsOpen.selector;
        vm.prank(GRANTER);
        vm.expectRevert(open);
        ieo.grantPresale(ALICE, 0, 1, today);
        vm.prank(ADMIN);
        vm.expectRevert(open);
        ieo.announceTranche(1, 1, 0, new uint256[](0), new uint256[](0));
        vm.prank(address(sale));
        vm.expectRevert(open);
        ieo.openMainSale();
    }

    /// @dev The whole of it, to the last period: every pool is granted, and the sum is the cap.
    function test_a_whole_sale_ends_at_the_cap() public {
        wholeSale(240 * M, 10_000, 1);
        eq(ieo.totalSupply(), 5000 * M, "5,000,000,000");
        eq(ieo.cap(), 5000 * M, "and the cap is what it was");
    }

    /// forge-config: default.fuzz.runs = 8
    function testFuzz_however_the_sale_goes_it_ends_at_the_cap(uint256 bought, uint16 bonus, uint8 buyers) public {
        wholeSale(bound(bought, 1, 240 * M), bound(bonus, 0, 10_000), bound(buyers, 1, 3));
        uint256 all = ieo.totalSupply();
        eq(all, 5000 * M, "5,000,000,000");
        eq(ieo.cap(), all, "cap");
    }

    /// @dev Grants all of every pool, by presale and auction.
    function wholeSale(uint256 bought, uint256 bonus, uint256 buyers) private {
        uint256 tranche = offer(bought, bonus);
        vm.startPrank(GRANTER);
        ieo.grantPresale(PAYER, tranche, bought, today);
        uint256 extra = bought * 1875 / 10_000;
        if (extra != 0) ieo.grantExtraBonus(PAYER, extra);
        ieo.grantVesting(BOB, 500 * M, today, 0, 360);
        vm.stopPrank();
        grantUnlocked(ALICE, 400 * M, IeoToken.Pool.Partner);
        grantUnlocked(ALICE, 500 * M - extra, IeoToken.Pool.Advisor);
        start();
        uint256 periods = ieo.mainSalePeriods();
        for (uint256 n = 0; n < periods; n++) {
            for (uint256 k = 0; k < buyers; k++) {
                buy(address(uint160(0x2000 + k)), 1 + k * n);
            }
            vm.warp(block.timestamp + 29 hours);
            for (uint256 k = 0; k < buyers; k++) {
                sale.claim(n, k);
            }
        }
        eq(sale.unsold(), 0, "sold out");
        vm.deal(BOB, 1);
        vm.prank(BOB);
        vm.expectRevert(MainSale.SoldOut.selector);
        sale.contribute{value: 1}();
        vm.prank(BOB);
        sale.close(); // by anybody, now
        ok(sale.closed(), "closed");
    }

    function test_nobody_but_the_admin_closes_before_the_last_period_is_over() public {
        bytes memory noAdmin =
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, ALICE, bytes32(0));
        vm.prank(ALICE);
        vm.expectRevert(noAdmin);
        sale.close(); // not begun
        offer(240 * M, 10_000);
        vm.prank(GRANTER);
        ieo.grantPresale(PAYER, 0, 240 * M, today);
        start();
        for (uint256 n = 0; n < 312; n++) {
            vm.prank(ALICE);
            vm.expectRevert(noAdmin);
            sale.close(); // not sold out, or the last period runs
            buy(ALICE, 1);
            if (n < 311) vm.warp(block.timestamp + 29 hours);
        }
        eq(sale.unsold(), 0, "sold out");
        vm.prank(ALICE);
        vm.expectRevert(noAdmin);
        sale.close();
        vm.warp(block.timestamp + 29 hours - 1);
        vm.prank(ALICE);
        vm.expectRevert(noAdmin);
        sale.close();
        vm.warp(block.timestamp + 1);
        vm.prank(ALICE);
        sale.close();
        vm.prank(BOB);
        vm.expectRevert(MainSale.SaleIsClosed.selector);
        sale.contribute();
        vm.startPrank(ADMIN);
        vm.expectRevert(MainSale.SaleIsClosed.selector);
        sale.start();
        vm.expectRevert(MainSale.SaleIsClosed.selector);
        sale.close();
        vm.stopPrank();
        for (uint256 n = 0; n < 312; n++) {
            sale.claim(n, 0);
        }
        eq(ieo.balanceOf(ALICE), 3120 * M, "every period, also those claimed after the end");
    }

    function test_closing_gives_the_running_period_back() public {
        start();
        buy(ALICE, 7);
        vm.warp(block.timestamp + 29 hours);
        buy(BOB, 9);
        vm.prank(ADMIN);
        sale.close();
        eq(sale.unsold(), 3590 * M, "the running lot is unsold again");
        eq(ieo.cap(), 5000 * M - 3590 * M, "and the cap is lowered by it");
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
        vm.startPrank(address(sale));
        vm.expectRevert(IeoToken.MainSaleHasEnded.selector);
        ieo.endMainSale(0);
        vm.expectRevert(abi.encodeWithSelector(IeoToken.PoolExceeded.selector, IeoToken.Pool.Sale, 1, 0));
        ieo.grantMainSale(BOB, 1); // and nothing more is sold
        vm.stopPrank();
    }

    function test_a_sale_that_never_began_can_be_closed() public {
        vm.prank(ADMIN);
        sale.close();
        vm.prank(ADMIN);
        vm.expectRevert(MainSale.SaleIsClosed.selector);
        sale.start();
        vm.prank(ADMIN);
        ieo.close();
        eq(ieo.cap(), 0, "nothing was granted");
    }

    function test_a_refund_cannot_be_entered_again() public {
        start();
        GreedyBuyer greedy = new GreedyBuyer(sale);
        vm.deal(address(this), 10);
        greedy.buy{value: 5}();
        buy(BOB, 5);
        vm.prank(ADMIN);
        sale.close();
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
        sale.close();
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
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, ALICE, bytes32(0))
        );
        sale.start();
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, ALICE, bytes32(0))
        );
        sale.close();
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
    }

    function test_nothing_is_granted_before_the_main_sale_opens() public {
        bytes32 role = ieo.MAIN_SALE_ROLE();
        vm.prank(ADMIN);
        ieo.grantRole(role, BOB);
        vm.startPrank(BOB);
        vm.expectRevert(IeoToken.MainSaleNotOpen.selector);
        ieo.grantMainSale(BOB, 1);
        vm.expectRevert(IeoToken.MainSaleNotOpen.selector);
        ieo.endMainSale(0);
        ieo.openMainSale();
        vm.expectRevert(
            abi.encodeWithSelector(IeoToken.PoolExceeded.selector, IeoToken.Pool.Sale, 3600 * M + 1, 3600 * M)
        );
        ieo.endMainSale(3600 * M + 1);
        vm.stopPrank();
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

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IeoToken} from "src/IeoToken.sol";
import {MainSale} from "src/MainSale.sol";
import {MasterAccount} from "src/MasterAccount.sol";
import {ResourcePrices} from "src/ResourcePrices.sol";
import {UtilityToken} from "src/UtilityToken.sol";
import {Base} from "./Base.sol";
import {SaleBase} from "./Sale.t.sol";

/// @dev What the runner wants to know: whom to call.
abstract contract Targets {
    address[] private _targets;

    function target(address handler) internal {
        _targets.push(handler);
    }

    function targetContracts() external view returns (address[] memory) {
        return _targets;
    }
}

/// @dev Everybody who uses the token, doing what they like (an action that finds nothing to do is discarded, so that the
/// runner's table of calls shows what really happened). Keeps books of its own, and checks after every action that no
/// balance fell which the action had no right to lower.
contract TokenActions is Base {
    address internal constant SEIZER = address(0x5E);
    address internal constant OPERATIONS = address(0x09);
    address internal constant TREASURY = address(0x7EA);

    MasterAccount public master;
    address[] public people;
    bytes32[2][] private _seizures; // account, evidence

    uint256 public minted;
    uint256 public burnt;
    uint256 public collected;
    uint256 public paid;
    uint256 public returned;
    /// @dev Settlements are numbered; the one under way, whose list is `_list`.
    uint256 private _settlement;
    bytes private _list;
    uint256 private _listTotal;
    mapping(bytes32 settlement => uint256) public timesSettled;
    uint256 public mostTimesSettled;
    bool public somebodyWasRobbed;
    bool public seizedTooMuch;
    uint256[] private _before;

    constructor() {
        makeToken();
        master = MasterAccount(
            vm.deployCode("MasterAccount.sol:MasterAccount", abi.encode(ADMIN, 1 days, token, TREASURY, uint256(7 days)))
        );
        vm.startPrank(ADMIN);
        master.grantRole(master.SEIZER_ROLE(), SEIZER);
        master.grantRole(master.OPERATIONS_ROLE(), OPERATIONS);
        vm.stopPrank();
        for (uint160 n = 1; n <= 5; n++) {
            people.push(address(0x1000 + n));
            give(address(0x1000 + n), 1_000_000);
            minted += 1_000_000;
        }
        people.push(TREASURY);
        people.push(RESERVE_TREASURY);
        give(RESERVE_TREASURY, 5_000_000);
        minted += 5_000_000;
    }

    function theToken() external view returns (UtilityToken) {
        return token;
    }

    /// @dev Only `may` may lose funds while the action runs (zero: nobody).
    modifier watched(address may) {
        delete _before;
        for (uint256 n = 0; n < people.length; n++) {
            _before.push(token.balanceOf(people[n]));
        }
        _;
        for (uint256 n = 0; n < people.length; n++) {
            if (people[n] != may && token.balanceOf(people[n]) < _before[n]) somebodyWasRobbed = true;
        }
    }

    function person(uint256 seed) internal view returns (address) {
        return people[seed % 5];
    }

    function mint(uint256 to, uint64 amount) external watched(address(0)) {
        uint256 units = bound(amount, 1, 1e9);
        give(person(to), units);
        minted += units;
    }

    function transfer(uint256 from, uint256 to, uint256 amount) external watched(person(from)) {
        address sender = person(from);
        uint256 units = bound(amount, 0, token.balanceOf(sender));
        vm.prank(sender);
        token.transfer(person(to), units);
    }

    function approve(uint256 from, uint256 to, uint256 amount, bool toMaster) external watched(address(0)) {
        vm.prank(person(from));
        token.approve(toMaster ? address(master) : person(to), bound(amount, 0, 2_000_000));
    }

    function transferFrom(uint256 from, uint256 by, uint256 to, uint256 amount)
        external
        watched(person(from))
    {
        address owner = person(from);
        uint256 most = token.allowance(owner, person(by));
        if (most > token.balanceOf(owner)) most = token.balanceOf(owner);
        vm.prank(person(by));
        token.transferFrom(owner, person(to), bound(amount, 0, most));
    }

    /// @dev More than was approved, in every way there is: never succeeds.
    function rob(uint256 from, uint256 by, uint256 amount) external watched(address(0)) {
        address owner = person(from);
        address thief = person(by);
        uint256 over = token.allowance(owner, thief) + bound(amount, 1, 1e9);
        vm.prank(thief);
        try token.transferFrom(owner, thief, over) {
            somebodyWasRobbed = true;
        } catch {}
        uint256 overToken = token.allowance(owner, address(token)) + 1;
        vm.prank(COLLECTOR);
        try token.reserve(PAYER, owner, bytes32(entityOf(9)), 0, overToken, BATCH, uint64(block.timestamp + 1)) {
            somebodyWasRobbed = true;
        } catch {}
    }

    /// @dev The payouts account's key and the collector's, each alone, on what was collected.
    function divert(uint256 to, uint256 amount, bool byCollector) external watched(address(0)) {
        uint256 units = bound(amount, 1, 1e9);
        bytes memory list = item(entityOf(0), 1, person(to), units);
        vm.startPrank(byCollector ? COLLECTOR : PAYER);
        try token.pay(current(), byCollector ? _list : list, new bytes32[](0)) {
            somebodyWasRobbed = true;
        } catch {}
        if (!byCollector) {
            try token.transfer(person(to), units) {
                somebodyWasRobbed = true;
            } catch {}
        }
        vm.stopPrank();
    }

    function burn(uint256 from, uint256 amount) external watched(person(from)) {
        uint256 most = token.balanceOf(person(from));
        vm.assume(!(most == 0));
        uint256 units = bound(amount, 1, most);
        vm.prank(person(from));
        token.burn(units);
        burnt += units;
    }

    function idOf(uint256 number) private pure returns (bytes32) {
        return keccak256(abi.encode("settlement", number));
    }

    function current() private view returns (bytes32 batchId) {
        (batchId,,,,) = token.settlementOf(PAYER);
    }

    /// @dev Person n's entity is n; each has a place as an enterprise and one for subsidies.
    function held(uint256 which) private view returns (uint8 state, uint256 amount, uint256 expiresAt, bytes10 tag) {
        uint256 own;
        uint256 top;
        (state, own, top, expiresAt, tag) =
            token.reservation(PAYER, person(which), bytes32(entityOf(which % 5)), which / 5 % 2 == 0 ? 0 : 5);
        amount = own + top;
    }

    function reserveSome(uint256 from, uint256 amount, bool subsidy, bool late) external watched(person(from)) {
        address owner = person(from);
        uint256 units = bound(amount, 0, token.balanceOf(owner));
        vm.prank(owner);
        token.approve(address(token), units);
        bytes32 batch = idOf(late ? _settlement : _settlement + 1);
        vm.prank(COLLECTOR);
        try token.reserve(
            PAYER, owner, bytes32(entityOf(from % 5)), subsidy ? 5 : 0, units, batch, uint64(block.timestamp + 1 days)
        ) {} catch {
            vm.assume(false);
        }
    }

    function topUpSome(uint256 which, uint256 amount) external watched(RESERVE_TREASURY) {
        (uint8 state,,, bytes10 tag) = held(which);
        vm.assume(state == 1);
        vm.prank(RESERVE_TREASURY);
        try token.topUp(
            PAYER,
            person(which),
            bytes32(entityOf(which % 5)),
            which / 5 % 2 == 0 ? 0 : 5,
            bound(amount, 1, 100_000),
            bytes32(tag)
        ) {} catch {
            vm.assume(false);
        }
    }

    function release(uint256 which, bool late) external watched(address(0)) {
        (uint8 state,, uint256 expiresAt,) = held(which);
        vm.assume(state == 1);
        if (late && block.timestamp < expiresAt) vm.warp(expiresAt);
        vm.prank(block.timestamp >= expiresAt ? person(which) : COLLECTOR);
        token.release(PAYER, person(which), bytes32(entityOf(which % 5)), which / 5 % 2 == 0 ? 0 : 5);
    }

    /// @dev Collects what is reserved for it, and pays a part of that and of what is there.
    function beginNext(uint256 seed, uint256 amount) external watched(address(0)) {
        bytes32 batch = idOf(_settlement + 1);
        uint256 collections = 0;
        for (uint256 n = 0; n < 10; n++) {
            (uint8 state, uint256 units, uint256 expiresAt, bytes10 tag) = held(n);
            if (state == 1 && tag == bytes10(batch) && block.timestamp < expiresAt) collections += units;
        }
        uint256 most = token.balanceOf(PAYER) + collections;
        vm.assume(!(most < 3));
        delete _list;
        _listTotal = 0;
        for (uint256 n = 0; n < 1 + seed % 3; n++) {
            uint256 part = bound(amount, 1, most / 3);
            _list = bytes.concat(_list, item(entityOf(seed % 6 + n), uint8(1 + seed % 4), person(seed / 7 + n), part));
            _listTotal += part;
        }
        (bytes32 previous,, uint64 lastRow,,) = token.settlementOf(PAYER);
        vm.prank(COLLECTOR);
        try token.begin(
            PAYER, batch, previous, lastRow + 1, lastRow + uint64(seed % 5), collections, _listTotal, keccak256(_list)
        ) {
            _settlement++;
        } catch {
            vm.assume(false);
        }
    }

    function collectSome(uint256 which, uint256 amount) external watched(address(0)) {
        if (amount % 4 != 0) which = first(1, which);
        (uint8 state, uint256 units,,) = held(which);
        vm.assume(!(state != 1 || units == 0));
        collectPart(which, amount % 3 == 0 ? bound(amount, 1, units) : units);
    }

    /// @dev The first place in this state for the settlement under way, in the order of a list; or `otherwise`.
    function first(uint8 wanted, uint256 otherwise) private view returns (uint256) {
        bytes10 ours = bytes10(current());
        for (uint256 n = 0; n < 10; n++) {
            uint256 which = n / 2 + n % 2 * 5;
            (uint8 state, uint256 amount,, bytes10 tag) = held(which);
            if (state == wanted && tag == ours && amount != 0) return which;
        }
        return otherwise;
    }

    function collectPart(uint256 which, uint256 part) private {
        (bytes32 batch,,, uint256 uncollected,) = token.settlementOf(PAYER);
        uint8 role = which / 5 % 2 == 0 ? 0 : 5;
        bytes memory list = item(entityOf(which % 5), role, person(which), part);
        vm.prank(COLLECTOR);
        try token.collect(PAYER, batch, list) {
            ok(part <= uncollected, "collected more than was committed to");
            settled(batch, which % 5, role);
            collected += part;
        } catch {
            vm.assume(false);
        }
    }

    function payAll() external watched(address(0)) {
        bytes32 batch = current();
        vm.prank(PAYER);
        try token.pay(batch, _list, new bytes32[](0)) {
            ok(_listTotal <= collected - paid - returned, "paid more than was collected");
            for (uint256 at = 0; at < _list.length; at += 121) {
                settled(batch, 1000 + at, 1);
            }
            paid += _listTotal;
        } catch {
            vm.assume(false);
        }
    }

    function abandonSome(uint256 seed) external watched(address(0)) {
        vm.assume(seed % 8 == 0);
        bytes32 batch = current();
        vm.prank(COLLECTOR);
        try token.abandon(PAYER, batch) {} catch {
            vm.assume(false);
        }
    }

    /// @dev Out of an abandoned settlement; abandons it first, now and then.
    function returnSome(uint256 which) external watched(address(0)) {
        uint256 seed = which;
        bytes32 batch = current();
        which = first(3, which);
        if (seed % 3 == 0) {
            vm.prank(COLLECTOR);
            try token.abandon(PAYER, batch) {} catch {}
        }
        (, uint256 units,,) = held(which);
        vm.prank(PAYER);
        try token.returnToPayer(person(which), bytes32(entityOf(which % 5)), which / 5 % 2 == 0 ? 0 : 5) {
            returned += units;
        } catch {
            vm.assume(false);
        }
    }

    function announce(uint256 from, uint256 amount) external watched(address(0)) {
        bytes32 evidence = keccak256(abi.encode("evidence", _seizures.length));
        _seizures.push([bytes32(uint256(uint160(person(from)))), evidence]);
        vm.prank(SEIZER);
        master.announce(person(from), bound(amount, 1, 2_000_000), evidence);
    }

    function withdrawSeizure(uint256 which) external watched(address(0)) {
        vm.assume(!(_seizures.length == 0));
        (address account, bytes32 evidence) = seizureAt(which);
        vm.prank(OPERATIONS);
        try master.withdraw(account, evidence) {}
        catch {
            vm.assume(false);
        }
    }

    function executeSeizure(uint256 which, bool wait) external {
        vm.assume(!(_seizures.length == 0));
        (address account, bytes32 evidence) = seizureAt(which);
        execute(account, evidence, wait);
    }

    function execute(address account, bytes32 evidence, bool wait) private watched(account) {
        (uint256 amount, uint256 before, uint256 executableAt, MasterAccount.State state) =
            master.seizure(account, evidence);
        if (wait && block.timestamp < executableAt) vm.warp(executableAt);
        uint256 approved = token.allowance(account, address(master));
        uint256 balance = token.balanceOf(account);
        vm.prank(SEIZER);
        try master.execute(account, evidence) {
            uint256 taken = balance - token.balanceOf(account);
            if (
                taken > approved || taken > amount - before || block.timestamp < executableAt
                    || state != MasterAccount.State.Announced
            ) seizedTooMuch = true;
        } catch {
            vm.assume(false);
        }
    }

    function seizureAt(uint256 which) private view returns (address, bytes32) {
        bytes32[2] memory found = _seizures[which % _seizures.length];
        return (address(uint160(uint256(found[0]))), found[1]);
    }

    function settled(bytes32 batchId, uint256 who, uint8 role) private {
        uint256 times = ++timesSettled[keccak256(abi.encode(batchId, who, role))];
        if (times > mostTimesSettled) mostTimesSettled = times;
    }

    function sumOfHolds() external view returns (uint256 sum) {
        for (uint256 n = 0; n < 10; n++) {
            (uint8 state, uint256 amount,,) = held(n);
            if (state == 1) sum += amount;
        }
    }

    function sumOfBalances() external view returns (uint256 sum) {
        for (uint256 n = 0; n < people.length; n++) {
            sum += token.balanceOf(people[n]);
        }
        return sum + token.balanceOf(address(token)) + token.balanceOf(PAYER);
    }
}

contract TokenInvariants is Base, Targets {
    TokenActions private actions;

    function setUp() public {
        actions = new TokenActions();
        token = actions.theToken();
        target(address(actions));
    }

    /// @dev One campaign for all of them.
    function invariant_all_hold() public view {
        supply_is_what_was_minted_and_what_all_have();
        holds_are_the_contracts_own_balance();
        pay_in_is_payouts_and_what_is_carried();
        settled_once();
        nobody_loses_without_consent();
    }

    function supply_is_what_was_minted_and_what_all_have() private view {
        eq(token.totalMinted(), actions.minted(), "minted");
        eq(token.totalSupply(), actions.minted() - actions.burnt(), "burnt");
        eq(token.totalSupply(), actions.sumOfBalances(), "balances");
        ok(token.totalMinted() <= token.CAP(), "cap");
    }

    function holds_are_the_contracts_own_balance() private view {
        eq(token.balanceOf(address(token)), actions.sumOfHolds(), "holds");
    }

    function pay_in_is_payouts_and_what_is_carried() private view {
        eq(actions.collected() - actions.paid() - actions.returned(), token.balanceOf(PAYER), "carried");
        (,,, uint256 uncollected, uint256 unpaid) = token.settlementOf(PAYER);
        ok(unpaid <= token.balanceOf(PAYER) + uncollected, "what is owed is there or still to come");
    }

    function settled_once() private view {
        ok(actions.mostTimesSettled() <= 1, "settled twice");
    }

    function nobody_loses_without_consent() private view {
        ok(!actions.somebodyWasRobbed(), "robbed");
        ok(!actions.seizedTooMuch(), "seized too much");
    }
}

/// @dev Grants, days, redemptions, the auction.
contract SaleActions is SaleBase {
    address[] public wallets;
    mapping(address => uint256) public granted;
    uint256 public etherIn;
    uint256 public etherOut;
    uint256 public redeemed;
    uint256 public tranches;

    constructor() {
        makeSale();
        for (uint160 n = 1; n <= 12; n++) {
            wallets.push(address(0x3000 + n));
        }
    }

    function theIeo() external view returns (IeoToken) {
        return ieo;
    }

    function theSale() external view returns (MainSale) {
        return sale;
    }

    function theToken() external view returns (UtilityToken) {
        return token;
    }

    function wallet(uint256 seed) internal view returns (address) {
        return wallets[seed % wallets.length];
    }

    function note(address to, uint256 amount) private {
        granted[to] += amount;
    }

    function announceTranche(uint64 supply, uint16 bonus, uint64 least, uint16 added) external {
        uint256[] memory leasts = new uint256[](1);
        uint256[] memory bonuses = new uint256[](1);
        (leasts[0], bonuses[0]) = (bound(least, 1, 1e14), bound(added, 1, 2000));
        vm.prank(ADMIN);
        try ieo.announceTranche(1e8, bound(supply, 1, 1e15), bound(bonus, 0, 8000), leasts, bonuses) {
            tranches++;
        } catch {
            vm.assume(false);
        }
    }

    function closeTranche(uint256 which) external {
        vm.assume(tranches != 0 && which % 4 == 0);
        vm.prank(GUARDIAN);
        ieo.closeTranche(which % tranches);
    }

    function grantPresale(uint256 to, uint256 which, uint64 amount, uint16 daysAgo) external {
        if (tranches == 0) this.announceTranche(1e15, uint16(to), uint64(which), daysAgo);
        uint256 bought = bound(amount, 1, 1e15);
        address fresh = freshWallet(to);
        vm.prank(GRANTER);
        try ieo.grantPresale(fresh, which % tranches, bought, block.timestamp / 1 days - daysAgo % 200) {
            note(fresh, bought + ieo.bonusOf(which % tranches, bought));
        } catch {
            vm.assume(false);
        }
    }

    function grantExtraBonus(uint256 to, uint64 amount) external {
        address holder = wallet(to);
        for (uint256 n = 0; n < wallets.length; n++) {
            (uint8 kind,,,,) = ieo.scheduleOf(wallet(to % 12 + n));
            if (kind == 1) holder = wallet(to % 12 + n);
        }
        uint256 units = bound(amount, 1, 1e13);
        vm.prank(GRANTER);
        try ieo.grantExtraBonus(holder, units) {
            note(holder, units);
        } catch {
            vm.assume(false);
        }
    }

    function grantVesting(uint256 to, uint64 amount, uint16 cliff, uint16 duration) external {
        uint256 units = bound(amount, 1, 1e15);
        uint256 length = bound(duration, 360, 3650);
        address fresh = freshWallet(to);
        vm.prank(GRANTER);
        try ieo.grantVesting(fresh, units, block.timestamp / 1 days, bound(cliff, 0, length), length) {
            note(fresh, units);
        } catch {
            vm.assume(false);
        }
    }

    /// @dev One without a schedule, if there is one.
    function freshWallet(uint256 seed) private view returns (address) {
        for (uint256 n = 0; n < wallets.length; n++) {
            (uint8 kind,,,,) = ieo.scheduleOf(wallet(seed % 12 + n));
            if (kind == 0) return wallet(seed % 12 + n);
        }
        return wallet(seed);
    }

    function grantUnlockedSome(uint256 to, uint64 amount, bool partner) external {
        vm.assume(!ieo.closed());
        uint256 units = bound(amount, 1, 1e15);
        grantUnlocked(wallet(to), units, partner ? IeoToken.Pool.Partner : IeoToken.Pool.Advisor);
        note(wallet(to), units);
    }

    /// @dev Now and then everything ends, the sale in the middle of a period.
    function close(uint256 seed) external {
        vm.assume(seed % 30 == 0);
        if (seed / 30 % 3 == 0) {
            vm.prank(ADMIN);
            try ieo.close() {} catch {
                vm.assume(false);
            }
            return;
        }
        vm.assume(!sale.closed());
        for (uint256 n = 0; n < 3 && sale.startedAt() != 0; n++) {
            buy(wallet(seed % 12 + n), 1 + n);
            etherIn += 1 + n;
        }
        vm.prank(ADMIN);
        sale.close();
    }

    function refund(uint256 seed) external {
        (uint256 period, uint256 index, address buyer) = some(seed);
        (,,, bool isVoid,) = sale.periodAt(period);
        vm.assume(isVoid && buyer != address(0));
        uint256 before = buyer.balance;
        sale.refund(period, index);
        etherOut += buyer.balance - before;
    }

    function pass(uint32 time) external {
        vm.warp(block.timestamp + bound(time, 1, 60 days));
    }

    function redeem(uint256 who, uint256 amount) external {
        uint256 most = ieo.redeemableOf(wallet(who));
        vm.assume(!(most == 0));
        uint256 units = bound(amount, 1, most);
        vm.prank(wallet(who));
        ieo.redeem(units);
        redeemed += units;
    }

    function redeemTooMuch(uint256 who, uint64 amount) external {
        uint256 over = ieo.redeemableOf(wallet(who)) + bound(amount, 1, 1e15);
        vm.prank(wallet(who));
        try ieo.redeem(over) {
            revert Wrong("redeemed more than was unlocked");
        } catch (bytes memory refused) {
            ok(bytes4(refused) == IeoToken.NotUnlocked.selector, "refused by name");
        }
    }

    function contribute(uint256 who, uint96 amount) external {
        vm.assume(!sale.closed());
        if (sale.startedAt() == 0) {
            vm.assume(!ieo.closed() && who % 24 == 0); // the presale has its time
            start();
        }
        uint256 units = bound(amount, 1, 1e24);
        buy(wallet(who), units);
        etherIn += units;
    }

    function claim(uint256 seed) external {
        vm.assume(!(sale.startedAt() == 0 || sale.currentPeriod() == 0));
        (uint256 period, uint256 index, address buyer) = some(seed);
        (,,, bool isVoid,) = sale.periodAt(period);
        vm.assume(!(buyer == address(0) || period >= sale.currentPeriod() || isVoid));
        uint256 before = ieo.balanceOf(buyer);
        sale.claim(period, index);
        note(buyer, ieo.balanceOf(buyer) - before);
    }

    function withdraw(uint256 seed) external {
        vm.assume(!(sale.startedAt() == 0 || sale.currentPeriod() == 0));
        uint256 before = TREASURY.balance;
        try sale.withdraw(sale.lastSoldPeriod() == 0 ? 0 : seed % sale.lastSoldPeriod()) {
            etherOut += TREASURY.balance - before;
        } catch {
            vm.assume(false);
        }
    }

    /// @dev A contribution, the latest periods first.
    function some(uint256 seed) private view returns (uint256 period, uint256 index, address buyer) {
        period = sale.lastSoldPeriod();
        if (seed % 2 == 1 && period > 0) period = seed % (period + 1);
        (,, uint256 count,,) = sale.periodAt(period);
        if (count == 0) return (period, 0, address(0));
        index = (seed / 7) % count;
        (buyer,) = sale.contribution(period, index);
    }
}

contract SaleInvariants is Base, Targets {
    SaleActions private actions;
    IeoToken private ieo;
    MainSale private sale;

    function setUp() public {
        actions = new SaleActions();
        ieo = actions.theIeo();
        sale = actions.theSale();
        token = actions.theToken();
        target(address(actions));
    }

    /// @dev One campaign for all of them.
    function invariant_all_hold() public view {
        redeemed_and_locked_and_unlocked_are_what_was_granted();
        ether_is_accounted_for();
    }

    function redeemed_and_locked_and_unlocked_are_what_was_granted() private view {
        uint256 supply = 0;
        for (uint256 n = 0; n < 12; n++) {
            address wallet = actions.wallets(n);
            uint256 all = ieo.redeemedOf(wallet) + ieo.lockedOf(wallet) + ieo.redeemableOf(wallet);
            eq(all, actions.granted(wallet), "granted");
            eq(all, ieo.grantedOf(wallet), "grantedOf");
            eq(ieo.balanceOf(wallet), all - ieo.redeemedOf(wallet), "balance");
            eq(token.balanceOf(wallet), ieo.redeemedOf(wallet), "one for one");
            supply += ieo.balanceOf(wallet);
        }
        eq(ieo.totalSupply(), supply, "supply");
        eq(token.totalSupply(), actions.redeemed(), "minted is redeemed");
        ok(ieo.totalSupply() + token.totalMinted() <= ieo.cap(), "cap");
        uint256 left = 0;
        for (uint8 n = 0; n < 4; n++) {
            left += ieo.poolLeft(IeoToken.Pool(n));
        }
        eq(ieo.totalSupply() + token.totalMinted() + left, ieo.cap(), "issued and still to be issued are the cap");
        ok(ieo.presaleOffered() <= ieo.PRESALE_CAP(), "presale");
        ok(ieo.extraBonusGranted() <= ieo.EXTRA_BONUS_CAP(), "additional bonus");
    }

    function ether_is_accounted_for() private view {
        eq(address(sale).balance, actions.etherIn() - actions.etherOut(), "ether");
    }
}

/// @dev Days pass, coefficients change; every day that came keeps what it had.
contract PriceActions is Base {
    address private constant PRICING = address(0x9C);
    uint256 private constant FACTOR_730 = 340605624150958824895958558685664790250;
    ResourcePrices public prices;
    uint256[] public day;
    uint256[] public amount;
    uint256 public changes;

    constructor() {
        prices = ResourcePrices(vm.deployCode("ResourcePrices.sol:ResourcePrices", abi.encode(ADMIN, 1 days)));
        bytes32 role = prices.PRICING_ROLE();
        vm.prank(ADMIN);
        prices.grantRole(role, PRICING);
        note();
    }

    function note() private {
        day.push(block.timestamp / 1 days);
        amount.push(prices.amountToday(ResourcePrices.Resource.Cpu));
    }

    function pass(uint32 time) external {
        vm.warp(block.timestamp + bound(time, 1, 30 days));
        note();
    }

    function change(uint16 ahead, uint96 base, bool flat) external {
        vm.prank(PRICING);
        prices.setCoefficients(
            ResourcePrices.Resource.Cpu,
            block.timestamp / 1 days + bound(ahead, 1, 90),
            bound(base, 1, 1e25),
            flat ? 0 : 730,
            flat ? 1 << 128 : FACTOR_730
        );
        changes++;
    }

    function changeThePast(uint16 ago, uint96 base) external {
        vm.prank(PRICING);
        try prices.setCoefficients(
            ResourcePrices.Resource.Cpu, block.timestamp / 1 days - ago % 900, bound(base, 1, 1e25), 730, FACTOR_730
        ) {
            revert Wrong("the past was changed");
        } catch (bytes memory refused) {
            ok(bytes4(refused) == ResourcePrices.NotInFuture.selector, "refused by name");
        }
    }

    function count() external view returns (uint256) {
        return day.length;
    }
}

/// forge-config: default.invariant.runs = 24
contract PriceInvariants is Base, Targets {
    PriceActions private actions;

    function setUp() public {
        actions = new PriceActions();
        target(address(actions));
    }

    /// @dev One campaign for all of them.
    function invariant_all_hold() public view {
        past_prices_never_change();
    }

    function past_prices_never_change() private view {
        for (uint256 n = 0; n < actions.count(); n++) {
            eq(
                actions.prices().amountOn(ResourcePrices.Resource.Cpu, actions.day(n)),
                actions.amount(n),
                "a past day"
            );
        }
    }
}

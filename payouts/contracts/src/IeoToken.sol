// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {DelayedRoles} from "./DelayedRoles.sol";
import {UtilityToken} from "./UtilityToken.sol";

/// @dev What one period of the main sale sells, in 1e-9 CPU.
uint256 constant MAIN_SALE_LOT = 10_000_000 * 1e9;

/// @title The IEO token: what buyers hold until it unlocks (P-3)
/// @notice Cannot be transferred or approved, only granted and redeemed. A wallet has at most one schedule (presale with its
/// bonus, or an employee's vesting) and any number of unlocked grants. Days are UTC days since 1970; what a schedule has
/// unlocked is computed from its whole amount, so rounding (down) never adds up.
///
/// No key alone issues tokens to whom it likes. The presale's terms (tranches) are the admin's and stand in the open for the
/// admin's delay before anything is granted by them; a purchase's bonus follows from them and is nobody's to choose. A grant
/// that is unlocked at once is announced by the granter, and can be cancelled by a guardian for as long.
contract IeoToken is ERC20, DelayedRoles {
    bytes32 public constant GRANTER_ROLE = keccak256("GRANTER_ROLE");
    bytes32 public constant MAIN_SALE_ROLE = keccak256("MAIN_SALE_ROLE");

    /// @notice The white paper's four pools. They sum to the cap of 5,000,000,000, so no grant can pass it.
    enum Pool {
        Partner,
        Employee,
        Advisor,
        Sale
    }

    uint256 public constant CAP = 5_000_000_000 * 1e9;
    /// @notice Of the sale pool, sold in presale tranches (without bonus).
    uint256 public constant PRESALE_CAP = 240_000_000 * 1e9;
    /// @notice Of the advisors' pool, for additional bonus.
    uint256 public constant EXTRA_BONUS_CAP = 45_000_000 * 1e9;
    /// @notice What one period of the main sale sells.
    uint256 public constant LOT = MAIN_SALE_LOT;
    /// @notice Percent and size bonus of a purchase together, at most, in hundredths of a per cent of it.
    uint256 public constant MAX_BONUS = 10_000;
    /// @notice Size steps of a tranche, at most.
    uint256 public constant MAX_STEPS = 16;
    /// @notice Days over which presale and bonus unlock.
    uint256 public constant UNLOCK_DAYS = 360;
    /// @notice Days that a schedule may have begun before it is granted, at most: so at most half is unlocked at once.
    uint256 public constant MAX_PAST_DAYS = 180;
    /// @notice Days; the shortest and the longest employee's vesting.
    uint256 public constant MIN_VESTING_DAYS = 360;
    uint256 public constant MAX_VESTING_DAYS = 3650;

    uint8 private constant PRESALE = 1;
    uint8 private constant VESTING = 2;

    /// @dev One word. Amounts fit: the cap is below 2^63.
    struct Wallet {
        uint64 scheduled;
        uint24 startDay;
        uint8 kind;
        uint16 cliffDays;
        uint16 durationDays;
        uint64 unlockedGrants;
        uint64 redeemed;
    }

    /// @dev What a presale wallet bought, and what it got as additional bonus.
    struct Purchase {
        uint64 bought;
        uint64 extra;
    }

    /// @dev One word.
    struct Tranche {
        uint64 supply;
        uint64 sold;
        uint64 price;
        uint48 opensAt;
        uint16 bonus;
    }

    struct Step {
        uint64 least;
        uint16 bonus;
    }

    UtilityToken public immutable utilityToken;
    mapping(address wallet => Wallet) private _wallets;
    mapping(address wallet => Purchase) private _purchases;
    Tranche[] private _tranches;
    mapping(uint256 tranche => Step[]) private _steps;
    mapping(bytes32 grant => uint256 effectiveAt) private _announcedGrants;
    mapping(Pool => uint256) private _granted;
    /// @dev Given up: will never be issued.
    mapping(Pool => uint256) private _released;
    /// @notice In 1e-9 CPU: what tranches offer or have sold; what was granted as additional bonus.
    uint256 public presaleOffered;
    uint256 public extraBonusGranted;
    /// @notice Of the white paper, fixed when the presale closed: N, purchases with their bonus; P, what the main sale
    /// sells; M, its periods.
    uint256 public presaleTokens;
    uint256 public mainSaleTokens;
    uint256 public mainSalePeriods;
    /// @notice From then on the rest of the sale pool is the auction's.
    bool public mainSaleOpened;
    bool public mainSaleEnded;
    /// @notice From then on nothing is granted but what the auction has sold. For ever.
    bool public closed;

    event TrancheAnnounced(
        uint256 indexed tranche,
        uint256 price,
        uint256 supply,
        uint256 bonus,
        uint256[] leasts,
        uint256[] bonuses,
        uint256 opensAt
    );
    event TrancheClosed(uint256 indexed tranche, uint256 sold, address by);
    event PresaleGranted(
        address indexed wallet, uint256 indexed tranche, uint256 purchased, uint256 bonus, uint256 purchaseDay
    );
    event ExtraBonusGranted(address indexed wallet, uint256 amount);
    event UnlockedAnnounced(address indexed wallet, uint256 amount, Pool pool, uint256 effectiveAt);
    event UnlockedCancelled(address indexed wallet, uint256 amount, Pool pool, address by);
    event VestingGranted(
        address indexed wallet, uint256 amount, uint256 startDay, uint256 cliffDays, uint256 durationDays
    );
    event UnlockedGranted(address indexed wallet, uint256 amount, Pool pool);
    event MainSaleOpened(uint256 presaleTokens, uint256 mainSaleTokens, uint256 mainSalePeriods);
    event CapLowered(Pool indexed pool, uint256 amount, uint256 cap);
    event Redeemed(address indexed wallet, uint256 amount);
    event Closed(uint256 cap);

    error NonTransferable();
    error ZeroAmount();
    error ZeroAddress();
    error ForbiddenWallet(address wallet);
    error PoolExceeded(Pool pool, uint256 amount, uint256 left);
    error PresaleCapExceeded(uint256 amount, uint256 left);
    error ExtraBonusCapExceeded(uint256 amount, uint256 left);
    error ScheduleExists(address wallet);
    error NoPresale(address wallet);
    error InvalidTranche(uint256 tranche);
    error TrancheNotOpen(uint256 tranche, uint256 opensAt);
    error TrancheExceeded(uint256 tranche, uint256 amount, uint256 left);
    error DayOutOfBounds(uint256 day, uint256 earliest, uint256 latest);
    error InvalidSchedule(uint256 cliffDays, uint256 durationDays);
    error WrongPool(Pool pool);
    error MainSaleIsOpen();
    error MainSaleNotOpen();
    error MainSaleHasEnded();
    error IeoClosed();
    error NotUnlocked(uint256 amount, uint256 redeemable);

    constructor(address admin, uint48 adminDelay, UtilityToken utilityToken_)
        ERC20("CPUcoin IEO", "CPU-IEO")
        AccessControlDefaultAdminRules(adminDelay, admin)
    {
        if (address(utilityToken_) == address(0)) revert ZeroAddress();
        utilityToken = utilityToken_;
    }

    modifier whenOpen() {
        if (closed) revert IeoClosed();
        _;
    }

    function decimals() public pure override returns (uint8) {
        return 9;
    }

    function transfer(address, uint256) public pure override returns (bool) {
        revert NonTransferable();
    }

    function transferFrom(address, address, uint256) public pure override returns (bool) {
        revert NonTransferable();
    }

    function approve(address, uint256) public pure override returns (bool) {
        revert NonTransferable();
    }

    // -------------------------------------------------------------------------------------------------------- grants

    /// @notice Says what a tranche of the presale will sell. It opens after the admin's delay.
    /// @param price 1e-9 EUR for one CPU
    /// @param supply 1e-9 CPU; all tranches together offer at most PRESALE_CAP
    /// @param bonus percent bonus, in hundredths of a per cent
    /// @param leasts sizes from which on a purchase gets a size bonus as well, ascending, in 1e-9 CPU
    /// @param bonuses those size bonuses, ascending, in hundredths of a per cent
    /// @return tranche its number
    function announceTranche(
        uint256 price,
        uint256 supply,
        uint256 bonus,
        uint256[] calldata leasts,
        uint256[] calldata bonuses
    ) external onlyRole(DEFAULT_ADMIN_ROLE) whenOpen returns (uint256 tranche) {
        if (mainSaleOpened) revert MainSaleIsOpen();
        tranche = _tranches.length;
        if (supply > PRESALE_CAP - presaleOffered) revert PresaleCapExceeded(supply, PRESALE_CAP - presaleOffered);
        if (price == 0 || price > type(uint64).max || supply == 0) revert InvalidTranche(tranche);
        _setSteps(tranche, bonus, leasts, bonuses);
        presaleOffered += supply;
        uint256 opensAt = _effectiveAt();
        _tranches.push(Tranche(uint64(supply), 0, uint64(price), uint48(opensAt), uint16(bonus)));
        emit TrancheAnnounced(tranche, price, supply, bonus, leasts, bonuses, opensAt);
    }

    function _setSteps(uint256 tranche, uint256 bonus, uint256[] calldata leasts, uint256[] calldata bonuses) private {
        if (bonus > MAX_BONUS || leasts.length != bonuses.length || leasts.length > MAX_STEPS) {
            revert InvalidTranche(tranche);
        }
        uint256 least = 0;
        uint256 added = 0;
        for (uint256 n = 0; n < leasts.length; n++) {
            bool ascends = leasts[n] > least && bonuses[n] > added;
            if (!ascends || leasts[n] > PRESALE_CAP || bonuses[n] > MAX_BONUS - bonus) revert InvalidTranche(tranche);
            (least, added) = (leasts[n], bonuses[n]);
            _steps[tranche].push(Step(uint64(least), uint16(added)));
        }
    }

    /// @notice Ends a tranche, open or only announced: what it has not sold can be offered by another one.
    function closeTranche(uint256 tranche) external onlyGuardian {
        if (tranche >= _tranches.length) revert InvalidTranche(tranche);
        Tranche storage found = _tranches[tranche];
        presaleOffered -= found.supply - found.sold;
        found.supply = found.sold;
        emit TrancheClosed(tranche, found.sold, msg.sender);
    }

    /// @notice A purchase in a tranche of the presale, with the bonus that its terms give; both unlock daily over 360 days
    /// from `purchaseDay`. A wallet takes one purchase (the white paper: each has its own start).
    function grantPresale(address wallet, uint256 tranche, uint256 purchased, uint256 purchaseDay)
        external
        onlyRole(GRANTER_ROLE)
        whenOpen
    {
        if (mainSaleOpened) revert MainSaleIsOpen();
        if (purchased == 0) revert ZeroAmount();
        if (tranche >= _tranches.length) revert InvalidTranche(tranche);
        Tranche storage found = _tranches[tranche];
        if (block.timestamp < found.opensAt) revert TrancheNotOpen(tranche, found.opensAt);
        if (purchased > found.supply - found.sold) {
            revert TrancheExceeded(tranche, purchased, found.supply - found.sold);
        }
        uint256 bonus = bonusOf(tranche, purchased);
        found.sold += uint64(purchased);
        _purchases[wallet].bought = uint64(purchased);
        _schedule(wallet, purchased + bonus, PRESALE, purchaseDay, 0, UNLOCK_DAYS);
        _grant(wallet, purchased + bonus, Pool.Sale);
        emit PresaleGranted(wallet, tranche, purchased, bonus, purchaseDay);
    }

    /// @notice Additional bonus on a presale wallet, out of the advisors' pool; follows the schedule of its purchase. A
    /// wallet gets at most the part of its purchase that EXTRA_BONUS_CAP is of PRESALE_CAP (18.75 per cent).
    function grantExtraBonus(address wallet, uint256 amount) external onlyRole(GRANTER_ROLE) whenOpen {
        if (_wallets[wallet].kind != PRESALE) revert NoPresale(wallet);
        Purchase storage purchase = _purchases[wallet];
        uint256 left = uint256(purchase.bought) * EXTRA_BONUS_CAP / PRESALE_CAP - purchase.extra;
        if (amount > left) revert ExtraBonusCapExceeded(amount, left);
        purchase.extra += uint64(amount);
        extraBonusGranted += amount;
        _grant(wallet, amount, Pool.Advisor);
        _wallets[wallet].scheduled += uint64(amount);
        emit ExtraBonusGranted(wallet, amount);
    }

    /// @notice An employee's vesting: nothing before `cliffDays`, then linear by day over `durationDays` from `startDay`.
    function grantVesting(address wallet, uint256 amount, uint256 startDay, uint256 cliffDays, uint256 durationDays)
        external
        onlyRole(GRANTER_ROLE)
        whenOpen
    {
        if (durationDays < MIN_VESTING_DAYS || durationDays > MAX_VESTING_DAYS || cliffDays > durationDays) {
            revert InvalidSchedule(cliffDays, durationDays);
        }
        _schedule(wallet, amount, VESTING, startDay, cliffDays, durationDays);
        _grant(wallet, amount, Pool.Employee);
        emit VestingGranted(wallet, amount, startDay, cliffDays, durationDays);
    }

    /// @notice Says that tokens of the partners' or advisors' pool will be granted, unlocked at once.
    function announceUnlocked(address wallet, uint256 amount, Pool pool) external onlyRole(GRANTER_ROLE) whenOpen {
        if (pool != Pool.Partner && pool != Pool.Advisor) revert WrongPool(pool);
        if (amount == 0) revert ZeroAmount();
        uint256 effectiveAt = _effectiveAt();
        _announcedGrants[_grantId(wallet, amount, pool)] = effectiveAt;
        emit UnlockedAnnounced(wallet, amount, pool, effectiveAt);
    }

    function cancelUnlocked(address wallet, uint256 amount, Pool pool) external onlyGuardian {
        bytes32 id = _grantId(wallet, amount, pool);
        if (_announcedGrants[id] == 0) revert NothingAnnounced();
        delete _announcedGrants[id];
        emit UnlockedCancelled(wallet, amount, pool, msg.sender);
    }

    /// @notice Grants what was announced, once its delay is over.
    function grantUnlocked(address wallet, uint256 amount, Pool pool) external onlyRole(GRANTER_ROLE) whenOpen {
        bytes32 id = _grantId(wallet, amount, pool);
        _checkDue(_announcedGrants[id]);
        delete _announcedGrants[id];
        _grantUnlocked(wallet, amount, pool);
    }

    function _grantId(address wallet, uint256 amount, Pool pool) private pure returns (bytes32) {
        return keccak256(abi.encode(wallet, amount, pool));
    }

    /// @notice The presale closes and the auction begins: the rest of the sale pool is its own from now on.
    /// @return amount that rest, P of the white paper, in 1e-9 CPU
    function openMainSale() external onlyRole(MAIN_SALE_ROLE) whenOpen returns (uint256 amount) {
        if (mainSaleOpened) revert MainSaleIsOpen();
        mainSaleOpened = true;
        presaleTokens = _granted[Pool.Sale];
        amount = poolLeft(Pool.Sale);
        mainSaleTokens = amount;
        mainSalePeriods = (amount + LOT - 1) / LOT;
        emit MainSaleOpened(presaleTokens, amount, mainSalePeriods);
    }

    /// @notice What a buyer bought in the auction, unlocked. Possible after `close` too: the auction still owes it.
    function grantMainSale(address wallet, uint256 amount) external onlyRole(MAIN_SALE_ROLE) {
        if (!mainSaleOpened) revert MainSaleNotOpen();
        _grantUnlocked(wallet, amount, Pool.Sale);
    }

    /// @notice The auction has ended without selling `unsold`: these will never exist.
    function endMainSale(uint256 unsold) external onlyRole(MAIN_SALE_ROLE) {
        if (!mainSaleOpened) revert MainSaleNotOpen();
        if (mainSaleEnded) revert MainSaleHasEnded();
        if (unsold > poolLeft(Pool.Sale)) revert PoolExceeded(Pool.Sale, unsold, poolLeft(Pool.Sale));
        mainSaleEnded = true;
        _release(Pool.Sale, unsold);
    }

    /// @notice Ends all granting, at any time, once and for good. What was not granted will never exist: the cap is lowered
    /// by it. What the auction has sold, or is selling, it still grants.
    function close() external onlyRole(DEFAULT_ADMIN_ROLE) whenOpen {
        closed = true;
        _release(Pool.Partner, poolLeft(Pool.Partner));
        _release(Pool.Employee, poolLeft(Pool.Employee));
        _release(Pool.Advisor, poolLeft(Pool.Advisor));
        if (!mainSaleOpened) _release(Pool.Sale, poolLeft(Pool.Sale));
        emit Closed(cap());
    }

    function _release(Pool pool, uint256 amount) private {
        _released[pool] += amount;
        emit CapLowered(pool, amount, cap());
    }

    // ---------------------------------------------------------------------------------------------------- redemption

    /// @notice Burns `amount` of the caller's unlocked IEO tokens and mints as many utility tokens to the caller.
    function redeem(uint256 amount) external {
        if (amount == 0) revert ZeroAmount();
        uint256 redeemable = redeemableOf(msg.sender);
        if (amount > redeemable) revert NotUnlocked(amount, redeemable);
        _wallets[msg.sender].redeemed += uint64(amount);
        _burn(msg.sender, amount);
        emit Redeemed(msg.sender, amount);
        utilityToken.mint(msg.sender, amount);
    }

    // --------------------------------------------------------------------------------------------------------- views

    /// @notice UTC days since 1970.
    function today() public view returns (uint256) {
        return block.timestamp / 1 days;
    }

    function poolLeft(Pool pool) public view returns (uint256) {
        return poolSize(pool) - _granted[pool] - _released[pool];
    }

    /// @notice The most that will ever have been issued: CAP, less what was given up when the sale or the IEO closed.
    function cap() public view returns (uint256) {
        return CAP - _released[Pool.Partner] - _released[Pool.Employee] - _released[Pool.Advisor]
            - _released[Pool.Sale];
    }

    /// @notice A tranche: price in 1e-9 EUR for one CPU; bonus in hundredths of a per cent (`bonusOf` adds the size steps).
    function trancheAt(uint256 tranche)
        external
        view
        returns (uint256 price, uint256 supply, uint256 sold, uint256 bonus, uint256 opensAt)
    {
        if (tranche >= _tranches.length) revert InvalidTranche(tranche);
        Tranche memory found = _tranches[tranche];
        return (found.price, found.supply, found.sold, found.bonus, found.opensAt);
    }

    /// @notice The bonus that a purchase gets by the terms of a tranche, rounded down.
    function bonusOf(uint256 tranche, uint256 purchased) public view returns (uint256) {
        uint256 bonus = 0;
        Step[] storage steps = _steps[tranche];
        for (uint256 n = 0; n < steps.length && steps[n].least <= purchased; n++) {
            bonus = steps[n].bonus;
        }
        return purchased * (bonus + _tranches[tranche].bonus) / 10_000;
    }

    function poolSize(Pool pool) public pure returns (uint256) {
        if (pool == Pool.Partner) return 400_000_000 * 1e9;
        if (pool == Pool.Sale) return 3_600_000_000 * 1e9;
        return 500_000_000 * 1e9;
    }

    /// @notice All that a wallet was ever granted = redeemedOf + lockedOf + redeemableOf.
    function grantedOf(address wallet) external view returns (uint256) {
        return uint256(_wallets[wallet].scheduled) + _wallets[wallet].unlockedGrants;
    }

    function redeemedOf(address wallet) external view returns (uint256) {
        return _wallets[wallet].redeemed;
    }

    function lockedOf(address wallet) external view returns (uint256) {
        return _wallets[wallet].scheduled - _unlocked(_wallets[wallet]);
    }

    function redeemableOf(address wallet) public view returns (uint256) {
        Wallet memory found = _wallets[wallet];
        return uint256(found.unlockedGrants) + _unlocked(found) - found.redeemed;
    }

    /// @return kind 0 none, 1 presale, 2 vesting
    function scheduleOf(address wallet)
        external
        view
        returns (uint8 kind, uint256 amount, uint256 startDay, uint256 cliffDays, uint256 durationDays)
    {
        Wallet memory found = _wallets[wallet];
        return (found.kind, found.scheduled, found.startDay, found.cliffDays, found.durationDays);
    }

    // --------------------------------------------------------------------------------------------------------- inner

    function _unlocked(Wallet memory wallet) private view returns (uint256) {
        uint256 day = today();
        if (wallet.kind == 0 || day < uint256(wallet.startDay) + wallet.cliffDays) return 0;
        uint256 elapsed = day - wallet.startDay;
        if (elapsed >= wallet.durationDays) return wallet.scheduled;
        return wallet.scheduled * elapsed / wallet.durationDays;
    }

    /// @dev Notes the schedule of a wallet that has none. The caller grants the amount, which checks its size.
    function _schedule(
        address wallet,
        uint256 amount,
        uint8 kind,
        uint256 startDay,
        uint256 cliffDays,
        uint256 durationDays
    ) private {
        Wallet storage found = _wallets[wallet];
        if (found.kind != 0) revert ScheduleExists(wallet);
        uint256 day = today();
        if (startDay > day || startDay + MAX_PAST_DAYS < day) {
            revert DayOutOfBounds(startDay, day - MAX_PAST_DAYS, day);
        }
        if (amount > CAP) revert PoolExceeded(Pool.Employee, amount, poolLeft(Pool.Employee));
        found.scheduled = uint64(amount);
        found.startDay = uint24(startDay);
        found.kind = kind;
        found.cliffDays = uint16(cliffDays);
        found.durationDays = uint16(durationDays);
    }

    function _grantUnlocked(address wallet, uint256 amount, Pool pool) private {
        _grant(wallet, amount, pool);
        _wallets[wallet].unlockedGrants += uint64(amount);
        emit UnlockedGranted(wallet, amount, pool);
    }

    function _grant(address wallet, uint256 amount, Pool pool) private {
        if (amount == 0) revert ZeroAmount();
        if (wallet == address(this)) revert ForbiddenWallet(wallet); // nobody could redeem them
        uint256 left = poolLeft(pool);
        if (amount > left) revert PoolExceeded(pool, amount, left);
        _granted[pool] += amount;
        _mint(wallet, amount);
    }

    /// @dev Grants and redemptions only, whatever way led here.
    function _update(address from, address to, uint256 amount) internal override {
        if (from != address(0) && to != address(0)) revert NonTransferable();
        super._update(from, to, amount);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {UtilityToken} from "./UtilityToken.sol";

/// @title The IEO token: what buyers hold until it unlocks (P-3)
/// @notice Cannot be transferred or approved, only granted and redeemed. A wallet has at most one schedule (presale with its
/// bonus, or an employee's vesting) and any number of unlocked grants. Days are UTC days since 1970; what a schedule has
/// unlocked is computed from its whole amount, so rounding (down) never adds up.
contract IeoToken is ERC20, AccessControlDefaultAdminRules {
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
    /// @notice Days over which presale and bonus unlock.
    uint256 public constant UNLOCK_DAYS = 360;
    /// @notice Days; the longest employee's vesting.
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

    UtilityToken public immutable utilityToken;
    mapping(address wallet => Wallet) private _wallets;
    mapping(Pool => uint256) private _granted;
    /// @notice So far, in 1e-9 CPU.
    uint256 public presaleGranted;
    uint256 public extraBonusGranted;
    /// @notice From then on the rest of the sale pool is the auction's.
    bool public mainSaleOpened;
    /// @notice From then on nothing is granted but what the auction has sold. For ever.
    bool public closed;

    event PresaleGranted(address indexed wallet, uint256 purchased, uint256 bonus, uint256 purchaseDay);
    event BonusGranted(address indexed wallet, uint256 amount, bool extra);
    event VestingGranted(
        address indexed wallet, uint256 amount, uint256 startDay, uint256 cliffDays, uint256 durationDays
    );
    event UnlockedGranted(address indexed wallet, uint256 amount, Pool pool);
    event MainSaleOpened(uint256 amount);
    event Redeemed(address indexed wallet, uint256 amount);
    event Closed();

    error NonTransferable();
    error ZeroAmount();
    error ZeroAddress();
    error ForbiddenWallet(address wallet);
    error PoolExceeded(Pool pool, uint256 amount, uint256 left);
    error PresaleCapExceeded(uint256 amount, uint256 left);
    error ExtraBonusCapExceeded(uint256 amount, uint256 left);
    error ScheduleExists(address wallet);
    error NoPresale(address wallet);
    error FutureDay(uint256 day, uint256 today);
    error InvalidSchedule(uint256 cliffDays, uint256 durationDays);
    error WrongPool(Pool pool);
    error MainSaleIsOpen();
    error MainSaleNotOpen();
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

    /// @notice A purchase in the presale with its bonus; both unlock daily over 360 days from `purchaseDay`. A wallet takes
    /// one purchase (the white paper: each has its own start).
    function grantPresale(address wallet, uint256 purchased, uint256 bonus, uint256 purchaseDay)
        external
        onlyRole(GRANTER_ROLE)
        whenOpen
    {
        if (mainSaleOpened) revert MainSaleIsOpen();
        if (purchased == 0) revert ZeroAmount();
        if (purchased > PRESALE_CAP - presaleGranted) {
            revert PresaleCapExceeded(purchased, PRESALE_CAP - presaleGranted);
        }
        if (bonus > CAP) revert PoolExceeded(Pool.Sale, bonus, poolLeft(Pool.Sale)); // the sums below do not overflow
        presaleGranted += purchased;
        _schedule(wallet, purchased + bonus, PRESALE, purchaseDay, 0, UNLOCK_DAYS);
        _grant(wallet, purchased + bonus, Pool.Sale);
        emit PresaleGranted(wallet, purchased, bonus, purchaseDay);
    }

    /// @notice Bonus on a presale wallet; follows the schedule of its purchase.
    /// @param extra additional bonus, out of the advisors' pool
    function grantBonus(address wallet, uint256 amount, bool extra) external onlyRole(GRANTER_ROLE) whenOpen {
        if (_wallets[wallet].kind != PRESALE) revert NoPresale(wallet);
        if (extra) {
            if (amount > EXTRA_BONUS_CAP - extraBonusGranted) {
                revert ExtraBonusCapExceeded(amount, EXTRA_BONUS_CAP - extraBonusGranted);
            }
            extraBonusGranted += amount;
        } else if (mainSaleOpened) {
            revert MainSaleIsOpen();
        }
        _grant(wallet, amount, extra ? Pool.Advisor : Pool.Sale);
        _wallets[wallet].scheduled += uint64(amount);
        emit BonusGranted(wallet, amount, extra);
    }

    /// @notice An employee's vesting: nothing before `cliffDays`, then linear by day over `durationDays` from `startDay`.
    function grantVesting(address wallet, uint256 amount, uint256 startDay, uint256 cliffDays, uint256 durationDays)
        external
        onlyRole(GRANTER_ROLE)
        whenOpen
    {
        if (durationDays == 0 || durationDays > MAX_VESTING_DAYS || cliffDays > durationDays) {
            revert InvalidSchedule(cliffDays, durationDays);
        }
        _schedule(wallet, amount, VESTING, startDay, cliffDays, durationDays);
        _grant(wallet, amount, Pool.Employee);
        emit VestingGranted(wallet, amount, startDay, cliffDays, durationDays);
    }

    /// @notice Tokens of the partners' or advisors' pool, unlocked at once.
    function grantUnlocked(address wallet, uint256 amount, Pool pool) external onlyRole(GRANTER_ROLE) whenOpen {
        if (pool != Pool.Partner && pool != Pool.Advisor) revert WrongPool(pool);
        _grantUnlocked(wallet, amount, pool);
    }

    /// @notice The auction begins: the rest of the sale pool is its own from now on.
    /// @return amount that rest, in 1e-9 CPU
    function openMainSale() external onlyRole(MAIN_SALE_ROLE) whenOpen returns (uint256 amount) {
        if (mainSaleOpened) revert MainSaleIsOpen();
        mainSaleOpened = true;
        amount = poolLeft(Pool.Sale);
        emit MainSaleOpened(amount);
    }

    /// @notice What a buyer bought in the auction, unlocked. Possible after `close` too: the auction still owes it.
    function grantMainSale(address wallet, uint256 amount) external onlyRole(MAIN_SALE_ROLE) {
        if (!mainSaleOpened) revert MainSaleNotOpen();
        _grantUnlocked(wallet, amount, Pool.Sale);
    }

    /// @notice Ends all granting for good; what was not granted will never exist.
    function close() external onlyRole(DEFAULT_ADMIN_ROLE) whenOpen {
        closed = true;
        emit Closed();
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
        return poolSize(pool) - _granted[pool];
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
        if (startDay > today()) revert FutureDay(startDay, today());
        if (amount > CAP) revert PoolExceeded(Pool.Sale, amount, CAP);
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

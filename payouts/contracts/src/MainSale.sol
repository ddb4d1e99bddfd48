// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {DelayedRoles} from "./DelayedRoles.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IeoToken, MAIN_SALE_LOT} from "./IeoToken.sol";

/// @title The main sale: an auction in periods of 29 hours (P-3)
/// @notice Each period in which anybody contributes sells 10,000,000 IEO tokens (the last one what is left), shared by
/// contribution. A period without contributions sells nothing, and the sale goes on until all is sold.
///
/// Rounding loses nothing: the n-th contribution covers an interval (start, end] of the period's total, and gets
/// floor(lot * end / total) - floor(lot * start / total). These differences sum to the lot exactly, so there is no dust;
/// each differs from the exact share by less than one unit.
contract MainSale is DelayedRoles {
    /// @notice Seconds.
    uint256 public constant PERIOD = 29 hours;
    /// @notice 1e-9 CPU.
    uint256 public constant LOT = MAIN_SALE_LOT;

    /// @dev One word. `total` is in wei: 2^96 wei are 79,000,000,000 ether.
    struct Period {
        uint64 lot;
        uint96 total;
        bool isVoid;
        bool isWithdrawn;
    }

    /// @dev One word. `end` is the period's total after this contribution. No buyer: claimed or refunded.
    struct Contribution {
        address buyer;
        uint96 end;
    }

    IeoToken public immutable ieoToken;
    /// @notice Where the proceeds go.
    address payable public immutable treasury;
    /// @notice Seconds since 1970; 0: not begun.
    uint256 public startedAt;
    /// @notice Not yet sold, in 1e-9 CPU.
    uint256 public unsold;
    /// @notice No more contributions, for ever.
    bool public closed;
    /// @notice The last period that sold anything.
    uint256 public lastSoldPeriod;

    mapping(uint256 period => Period) private _periods;
    mapping(uint256 period => Contribution[]) private _contributions;

    event Started(uint256 amount);
    event Contributed(uint256 indexed period, uint256 indexed index, address indexed buyer, uint256 amount);
    event Claimed(uint256 indexed period, uint256 indexed index, address indexed buyer, uint256 tokens);
    event Refunded(uint256 indexed period, uint256 indexed index, address indexed buyer, uint256 amount);
    event Withdrawn(uint256 indexed period, uint256 amount);
    event SaleClosed(uint256 unsold);

    error ZeroAddress();
    error NothingSent();
    error AlreadyStarted();
    error NotStarted();
    error SaleIsClosed();
    error SoldOut();
    error TooMuch(uint256 amount);
    error PeriodRunning(uint256 period, uint256 until);
    error PeriodVoid(uint256 period);
    error PeriodNotVoid(uint256 period);
    error UnknownContribution(uint256 period, uint256 index);
    error AlreadyClaimed(uint256 period, uint256 index);
    error NothingToWithdraw(uint256 period);
    error EtherNotSent(address to);

    constructor(address admin, uint48 adminDelay, IeoToken ieoToken_, address payable treasury_)
        AccessControlDefaultAdminRules(adminDelay, admin)
    {
        if (address(ieoToken_) == address(0) || treasury_ == address(0)) revert ZeroAddress();
        ieoToken = ieoToken_;
        treasury = treasury_;
    }

    /// @notice Begins the first period now, with all that the presale left.
    function start() external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (closed) revert SaleIsClosed();
        if (startedAt != 0) revert AlreadyStarted();
        startedAt = block.timestamp;
        uint256 amount = ieoToken.openMainSale();
        unsold = amount;
        emit Started(amount);
    }

    function currentPeriod() public view returns (uint256) {
        if (startedAt == 0) revert NotStarted();
        return (block.timestamp - startedAt) / PERIOD;
    }

    /// @notice Takes part in the period that is running with the ether sent.
    function contribute() external payable {
        if (closed) revert SaleIsClosed();
        if (msg.value == 0) revert NothingSent();
        uint256 number = currentPeriod();
        Period storage period_ = _periods[number];
        uint256 end = period_.total + msg.value;
        if (end > type(uint96).max) revert TooMuch(msg.value);
        if (period_.lot == 0) {
            uint256 lot = unsold < LOT ? unsold : LOT;
            if (lot == 0) revert SoldOut();
            unsold -= lot;
            period_.lot = uint64(lot);
            lastSoldPeriod = number;
        }
        period_.total = uint96(end);
        _contributions[number].push(Contribution(msg.sender, uint96(end)));
        emit Contributed(number, _contributions[number].length - 1, msg.sender, msg.value);
    }

    /// @notice Grants what a contribution bought, once its period is over. Anybody may call; the buyer gets it.
    function claim(uint256 number, uint256 index) external {
        Period memory period_ = _over(number);
        if (period_.isVoid) revert PeriodVoid(number);
        (address buyer, uint256 from, uint256 end) = _take(number, index);
        uint256 tokens = uint256(period_.lot) * end / period_.total - uint256(period_.lot) * from / period_.total;
        emit Claimed(number, index, buyer, tokens);
        if (tokens != 0) ieoToken.grantMainSale(buyer, tokens);
    }

    /// @notice Gives a contribution back whose period was ended by `close`. Anybody may call; the buyer gets it.
    function refund(uint256 number, uint256 index) external {
        if (!_periods[number].isVoid) revert PeriodNotVoid(number);
        (address buyer, uint256 from, uint256 end) = _take(number, index);
        emit Refunded(number, index, buyer, end - from);
        _send(buyer, end - from);
    }

    /// @notice Sends a period's proceeds to the treasury, once it is over. Anybody may call.
    function withdraw(uint256 number) external {
        Period memory period_ = _over(number);
        if (period_.isVoid || period_.isWithdrawn || period_.total == 0) revert NothingToWithdraw(number);
        _periods[number].isWithdrawn = true;
        emit Withdrawn(number, period_.total);
        _send(treasury, period_.total);
    }

    /// @notice Closes the sale, once and for good: the admin at any time; anybody when all is sold and the last period is
    /// over. Periods that are over are claimed as ever. What a period under way took is given back (`refund`), and its lot
    /// counts as unsold. Unsold tokens are never minted: the cap is lowered by them.
    function close() external {
        if (closed) revert SaleIsClosed();
        bool isOver = startedAt != 0 && unsold == 0 && currentPeriod() > lastSoldPeriod;
        if (!isOver) _checkRole(DEFAULT_ADMIN_ROLE);
        closed = true;
        if (startedAt != 0) {
            Period storage period_ = _periods[currentPeriod()];
            if (period_.lot != 0) {
                period_.isVoid = true;
                unsold += period_.lot;
            }
        }
        emit SaleClosed(unsold);
        if (startedAt != 0) ieoToken.endMainSale(unsold);
    }

    function periodAt(uint256 number)
        external
        view
        returns (uint256 lot, uint256 total, uint256 contributions, bool isVoid, bool isWithdrawn)
    {
        Period memory found = _periods[number];
        return (found.lot, found.total, _contributions[number].length, found.isVoid, found.isWithdrawn);
    }

    /// @return buyer zero: claimed or refunded
    /// @return amount wei
    function contribution(uint256 number, uint256 index) external view returns (address buyer, uint256 amount) {
        Contribution[] storage all = _contributions[number];
        if (index >= all.length) revert UnknownContribution(number, index);
        return (all[index].buyer, all[index].end - (index == 0 ? 0 : all[index - 1].end));
    }

    /// @dev The period, which must have ended.
    function _over(uint256 number) private view returns (Period memory) {
        if (number >= currentPeriod()) {
            uint256 lasts = Math.saturatingMul(Math.saturatingAdd(number, 1), PERIOD);
            revert PeriodRunning(number, Math.saturatingAdd(startedAt, lasts));
        }
        return _periods[number];
    }

    /// @dev A contribution that nobody has claimed; from now on it is.
    function _take(uint256 number, uint256 index) private returns (address buyer, uint256 from, uint256 end) {
        Contribution[] storage all = _contributions[number];
        if (index >= all.length) revert UnknownContribution(number, index);
        buyer = all[index].buyer;
        if (buyer == address(0)) revert AlreadyClaimed(number, index);
        all[index].buyer = address(0);
        return (buyer, index == 0 ? 0 : all[index - 1].end, all[index].end);
    }

    function _send(address to, uint256 amount) private {
        (bool sent,) = to.call{value: amount}("");
        if (!sent) revert EtherNotSent(to);
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {DelayedRoles} from "./DelayedRoles.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title What one CPU token buys, by resource and day (P-4)
/// @notice R(N) = R(0) * K^N with K = 2^(1/730) from 31 January 2019. Amounts are in 1e-18 of the resource's unit
/// (KMIPS-hours, TFLOP-hours, gigabytes) per CPU, rounded down. Coefficients change from tomorrow on at the earliest; a
/// day that has come keeps its amount for ever.
///
/// N is split into whole doublings, which are exact shifts, and a rest below one doubling, for which K^rest is computed in
/// 128 binary digits. The result is the exact value's integer part for every day of forty years (tests compare all); beyond
/// 30 doublings or so the last of then more than 33 digits may be below it.
contract ResourcePrices is DelayedRoles {
    bytes32 public constant PRICING_ROLE = keccak256("PRICING_ROLE");
    uint256 public constant ONE = 1 << 128;
    /// @notice 31 January 2019 in UTC days since 1970.
    uint256 public constant DAY_ZERO = 17_927;
    /// @notice Days in which an amount doubles, at most.
    uint256 public constant MAX_DOUBLING_DAYS = 36_500;
    /// @notice Doublings within one set of coefficients (more would not fit into a word).
    uint256 public constant MAX_DOUBLINGS = 128;

    enum Resource {
        Cpu,
        Gpu,
        Bandwidth
    }

    struct Coefficients {
        uint32 firstDay;
        uint32 doublingDays; // 0: the amount stays
        uint96 amount; // on the first day
        uint256 factor; // K * 2^128, rounded down
    }

    mapping(Resource => Coefficients[]) private _history;

    event CoefficientsSet(
        Resource indexed resource, uint256 indexed firstDay, uint256 amount, uint256 doublingDays, uint256 factor
    );
    /// @notice Coefficients that were announced and whose first day had not come.
    event CoefficientsDropped(Resource indexed resource, uint256 indexed firstDay);

    error NotInFuture(uint256 firstDay, uint256 today);
    error InvalidAmount(uint256 amount);
    error InvalidFactor(uint256 factor, uint256 doublingDays);
    error InvalidDay(uint256 day);
    error BeforeFirstDay(uint256 day, uint256 firstDay);
    error DayTooFar(uint256 day);

    constructor(address admin, uint48 adminDelay) AccessControlDefaultAdminRules(adminDelay, admin) {
        // floor(2^(1/730) * 2^128); white paper, "Defining CPUcoin" and the table of equivalency
        uint256 factor = 340605624150958824895958558685664790250;
        _push(Resource.Cpu, DAY_ZERO, 3290.4e18, 730, factor);
        _push(Resource.Gpu, DAY_ZERO, 3.08e18, 730, factor);
        _push(Resource.Bandwidth, DAY_ZERO, 11.4e18, 730, factor);
    }

    /// @notice Coefficients of `resource` from `firstDay` on, which is tomorrow or later. Replaces announced coefficients of
    /// that day and of later ones.
    /// @param amount on the first day, in 1e-18 units per CPU
    /// @param doublingDays days in which the amount doubles; 0: it stays
    /// @param factor floor(2^(1 / doublingDays) * 2^128); 2^128 when it stays
    function setCoefficients(Resource resource, uint256 firstDay, uint256 amount, uint256 doublingDays, uint256 factor)
        external
        onlyRole(PRICING_ROLE)
    {
        if (firstDay <= today()) revert NotInFuture(firstDay, today());
        if (firstDay > type(uint32).max) revert InvalidDay(firstDay);
        if (amount == 0 || amount > type(uint96).max) revert InvalidAmount(amount);
        if (!_isFactor(factor, doublingDays)) revert InvalidFactor(factor, doublingDays);
        Coefficients[] storage history = _history[resource];
        while (history[history.length - 1].firstDay >= firstDay) {
            emit CoefficientsDropped(resource, history[history.length - 1].firstDay);
            history.pop();
        }
        _push(resource, firstDay, amount, doublingDays, factor);
    }

    /// @notice UTC days since 1970.
    function today() public view returns (uint256) {
        return block.timestamp / 1 days;
    }

    /// @notice What one CPU buys on a day, in 1e-18 units of the resource, rounded down. For a future day: as of now.
    function amountOn(Resource resource, uint256 day) public view returns (uint256) {
        Coefficients memory c = _history[resource][_indexOn(resource, day)];
        if (c.doublingDays == 0) return c.amount;
        uint256 elapsed = day - c.firstDay;
        uint256 doublings = elapsed / c.doublingDays;
        if (doublings > MAX_DOUBLINGS) revert DayTooFar(day);
        return Math.mulDiv(uint256(c.amount) << doublings, _power(c.factor, elapsed % c.doublingDays), ONE);
    }

    function amountToday(Resource resource) external view returns (uint256) {
        return amountOn(resource, today());
    }

    /// @notice What `quantity` (1e-18 units) of a resource costs on a day, in 1e-9 CPU, rounded up.
    function costOn(Resource resource, uint256 quantity, uint256 day) external view returns (uint256) {
        return Math.mulDiv(quantity, 1e9, amountOn(resource, day), Math.Rounding.Ceil);
    }

    function coefficientsOn(Resource resource, uint256 day)
        external
        view
        returns (uint256 firstDay, uint256 amount, uint256 doublingDays, uint256 factor)
    {
        Coefficients memory c = _history[resource][_indexOn(resource, day)];
        return (c.firstDay, c.amount, c.doublingDays, c.factor);
    }

    /// @dev The last coefficients whose first day is not after `day`, by halving.
    function _indexOn(Resource resource, uint256 day) private view returns (uint256) {
        Coefficients[] storage history = _history[resource];
        if (day < history[0].firstDay) revert BeforeFirstDay(day, history[0].firstDay);
        uint256 low = 0;
        uint256 high = history.length;
        while (high - low > 1) {
            uint256 middle = (low + high) / 2;
            if (history[middle].firstDay <= day) low = middle;
            else high = middle;
        }
        return low;
    }

    function _push(Resource resource, uint256 firstDay, uint256 amount, uint256 doublingDays, uint256 factor) private {
        _history[resource].push(Coefficients(uint32(firstDay), uint32(doublingDays), uint96(amount), factor));
        emit CoefficientsSet(resource, firstDay, amount, doublingDays, factor);
    }

    /// @dev Whether factor^doublingDays is 2 up to what 128 binary digits lose. A factor that is off by a few units of 2^-128
    /// may pass; over forty years it would change no digit that an amount has.
    function _isFactor(uint256 factor, uint256 doublingDays) private pure returns (bool) {
        if (doublingDays == 0) return factor == ONE;
        // 2^(1/d) <= 1 + 1/d; with that the power below stays under 3 * 2^128
        if (doublingDays > MAX_DOUBLING_DAYS || factor > ONE + ONE / doublingDays) return false;
        uint256 doubled = _power(factor, doublingDays);
        return doubled <= 2 * ONE && doubled + 8 * doublingDays >= 2 * ONE;
    }

    /// @dev factor^n / 2^(128 (n-1)) by squaring, rounded down at each step.
    function _power(uint256 factor, uint256 n) private pure returns (uint256 result) {
        result = ONE;
        while (n != 0) {
            if (n & 1 == 1) result = Math.mulDiv(result, factor, ONE);
            n >>= 1;
            if (n != 0) factor = Math.mulDiv(factor, factor, ONE);
        }
    }
}

// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {DelayedRoles} from "./DelayedRoles.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {UtilityToken} from "./UtilityToken.sol";

/// @title The master account, which stakes are approved to (P-2)
/// @notice A miner's stake is what it approved to this contract (`allowance(miner, masterAccount)`); it stays in the miner's
/// wallet. A seizure has three steps, each logged with the hash of its evidence: announced; withdrawn by operations while
/// the hold period runs; or executed after it. It takes at most what is approved and there. Who lowers its approval just
/// before gains nothing by it: the rest stays open and is taken when there is something again, as long as the window is
/// open. No piece of evidence takes more than was announced for it, or serves twice.
contract MasterAccount is DelayedRoles {
    bytes32 public constant SEIZER_ROLE = keccak256("SEIZER_ROLE");
    bytes32 public constant OPERATIONS_ROLE = keccak256("OPERATIONS_ROLE");
    /// @notice How long after its hold a seizure may still be executed, in seconds: none hangs over an account for ever.
    uint256 public constant EXECUTION_WINDOW = 30 days;

    enum State {
        None,
        Announced,
        Withdrawn,
        Executed
    }

    /// @dev One word.
    struct Seizure {
        uint96 amount;
        uint96 taken;
        uint48 executableAt;
        State state;
    }

    UtilityToken public immutable token;
    /// @notice Where seized funds go.
    address public immutable treasury;
    /// @notice Seconds between announcement and execution.
    uint256 public immutable holdPeriod;

    mapping(address account => mapping(bytes32 evidenceHash => Seizure)) private _seizures;

    event SeizureAnnounced(
        address indexed account, bytes32 indexed evidenceHash, uint256 amount, uint256 executableAt
    );
    event SeizureWithdrawn(address indexed account, bytes32 indexed evidenceHash, address by);
    /// @notice `due` of what was announced before this step.
    event SeizureExecuted(address indexed account, bytes32 indexed evidenceHash, uint256 due, uint256 taken);

    error ZeroAddress();
    error ZeroAmount();
    error ZeroEvidence();
    error InvalidHoldPeriod(uint256 seconds_);
    error AmountTooLarge(uint256 amount);
    error EvidenceUsed(address account, bytes32 evidenceHash);
    error NotAnnounced(address account, bytes32 evidenceHash, State state);
    error HoldRunning(uint256 until);
    error HoldOver(uint256 since);
    error WindowOver(uint256 since);
    error NothingAtStake(address account);

    constructor(address admin, uint48 adminDelay, UtilityToken token_, address treasury_, uint256 holdPeriod_)
        AccessControlDefaultAdminRules(adminDelay, admin)
    {
        if (address(token_) == address(0) || treasury_ == address(0)) revert ZeroAddress();
        if (holdPeriod_ == 0 || holdPeriod_ > 365 days) revert InvalidHoldPeriod(holdPeriod_);
        token = token_;
        treasury = treasury_;
        holdPeriod = holdPeriod_;
    }

    function announce(address account, uint256 amount, bytes32 evidenceHash) external onlyRole(SEIZER_ROLE) {
        if (account == address(0)) revert ZeroAddress();
        if (amount == 0) revert ZeroAmount();
        if (amount > type(uint96).max) revert AmountTooLarge(amount);
        if (evidenceHash == 0) revert ZeroEvidence();
        Seizure storage seizure_ = _seizures[account][evidenceHash];
        if (seizure_.state != State.None) revert EvidenceUsed(account, evidenceHash);
        uint256 executableAt = block.timestamp + holdPeriod;
        seizure_.amount = uint96(amount);
        seizure_.executableAt = uint48(executableAt);
        seizure_.state = State.Announced;
        emit SeizureAnnounced(account, evidenceHash, amount, executableAt);
    }

    /// @notice Ends a seizure while its hold period runs. The evidence counts as judged: it cannot be announced again.
    function withdraw(address account, bytes32 evidenceHash) external onlyRole(OPERATIONS_ROLE) {
        Seizure storage seizure_ = _announced(account, evidenceHash);
        if (block.timestamp >= seizure_.executableAt) revert HoldOver(seizure_.executableAt);
        seizure_.state = State.Withdrawn;
        emit SeizureWithdrawn(account, evidenceHash, msg.sender);
    }

    /// @notice Takes what was announced, or as much of it as is still approved and in the account. The rest can be taken
    /// later in the window, in as many steps as it needs.
    function execute(address account, bytes32 evidenceHash) external onlyRole(SEIZER_ROLE) {
        Seizure storage seizure_ = _announced(account, evidenceHash);
        uint256 executableAt = seizure_.executableAt;
        if (block.timestamp < executableAt) revert HoldRunning(executableAt);
        if (block.timestamp >= executableAt + EXECUTION_WINDOW) revert WindowOver(executableAt + EXECUTION_WINDOW);
        uint256 due = seizure_.amount - seizure_.taken;
        uint256 taken = Math.min(due, atStake(account));
        if (taken == 0) revert NothingAtStake(account);
        seizure_.taken += uint96(taken);
        if (taken == due) seizure_.state = State.Executed;
        emit SeizureExecuted(account, evidenceHash, due, taken);
        // our token reverts where others return false; the check is for the day that it is another
        bool moved = token.transferFrom(account, treasury, taken);
        assert(moved);
    }

    /// @notice What an account has at stake: approved to this contract, and there. In 1e-9 CPU.
    function atStake(address account) public view returns (uint256) {
        return Math.min(token.allowance(account, address(this)), token.balanceOf(account));
    }

    function seizure(address account, bytes32 evidenceHash)
        external
        view
        returns (uint256 amount, uint256 taken, uint256 executableAt, State state)
    {
        Seizure memory found = _seizures[account][evidenceHash];
        return (found.amount, found.taken, found.executableAt, found.state);
    }

    function _announced(address account, bytes32 evidenceHash) private view returns (Seizure storage seizure_) {
        seizure_ = _seizures[account][evidenceHash];
        if (seizure_.state != State.Announced) revert NotAnnounced(account, evidenceHash, seizure_.state);
    }
}

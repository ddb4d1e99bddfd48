// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";

/// @dev The only chain where roles may be given without delay: nothing is worth anything there.
uint256 constant DEVELOPMENT_CHAIN_ID = 31337;

/// @title Roles that are announced before they are given
/// @notice Whoever holds the admin's key can take a role from anybody at once, but give one only after the delay that his
/// own office has (`defaultAdminDelay`), in the open: an event says who will get what and when, and until then the admin
/// or a guardian can cancel it. No delay is shorter than `MINIMUM_DELAY`, and none can be made so. So a stolen or a bad admin key moves nothing that its owners had not that long to withdraw.
/// The deployer gives the first roles without delay, before anybody has a reason to trust the contract: `endSetup` ends
/// that for good.
abstract contract DelayedRoles is AccessControlDefaultAdminRules {
    /// @notice May cancel what is announced, and nothing else.
    bytes32 public constant GUARDIAN_ROLE = keccak256("GUARDIAN_ROLE");
    /// @notice How long after its delay an announcement can be acted upon, in seconds: none lies in wait for ever.
    uint256 public constant ANNOUNCEMENT_WINDOW = 30 days;
    /// @notice The shortest delay of an announcement and of the admin's own succession, in seconds; none on the development
    /// chain. Otherwise who has the admin's key would first end the delay, and then announce and act in one block.
    uint48 public constant MINIMUM_DELAY = 2 days;

    /// @notice Whether every grant has to be announced.
    bool public setupEnded;
    mapping(bytes32 role => mapping(address account => uint256 effectiveAt)) private _announced;

    event SetupEnded();
    event RoleAnnounced(bytes32 indexed role, address indexed account, uint256 effectiveAt);
    event RoleCancelled(bytes32 indexed role, address indexed account, address by);

    error SetupHasEnded();
    error NothingAnnounced();
    error NotEffective(uint256 effectiveAt, uint256 until);
    error NotGuardian(address account);
    error DelayTooShort(uint48 delay, uint48 minimum);

    /// @dev The admin or a guardian.
    modifier onlyGuardian() {
        if (msg.sender != defaultAdmin() && !hasRole(GUARDIAN_ROLE, msg.sender)) revert NotGuardian(msg.sender);
        _;
    }

    /// @notice From then on no role is given without having been announced.
    function endSetup() external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (setupEnded) revert SetupHasEnded();
        setupEnded = true;
        emit SetupEnded();
    }

    /// @notice Says that `account` is to get `role`; `grantRole` gives it from `effectiveAt` on.
    function announceRole(bytes32 role, address account) external onlyRole(getRoleAdmin(role)) {
        uint256 effectiveAt = _effectiveAt();
        _announced[role][account] = effectiveAt;
        emit RoleAnnounced(role, account, effectiveAt);
    }

    function cancelRole(bytes32 role, address account) external onlyGuardian {
        if (_announced[role][account] == 0) revert NothingAnnounced();
        delete _announced[role][account];
        emit RoleCancelled(role, account, msg.sender);
    }

    /// @return effectiveAt seconds since 1970; 0: nothing is announced
    function roleAnnounced(bytes32 role, address account) external view returns (uint256 effectiveAt) {
        return _announced[role][account];
    }

    /// @notice Gives a role whose announcement is due (while setting up: at once).
    function grantRole(bytes32 role, address account) public override {
        if (setupEnded) {
            _checkDue(_announced[role][account]);
            delete _announced[role][account];
        }
        super.grantRole(role, account);
    }

    /// @notice The delay of announcements and of the admin's succession, whatever a deployment asked for.
    function defaultAdminDelay() public view override returns (uint48) {
        uint48 chosen = super.defaultAdminDelay();
        uint48 minimum = _minimumDelay();
        return chosen < minimum ? minimum : chosen;
    }

    function changeDefaultAdminDelay(uint48 newDelay) public override {
        if (newDelay < _minimumDelay()) revert DelayTooShort(newDelay, _minimumDelay());
        super.changeDefaultAdminDelay(newDelay);
    }

    /// @notice Cancels a change of the delay that has not taken effect: the admin or a guardian.
    function rollbackDefaultAdminDelay() public override onlyGuardian {
        _rollbackDefaultAdminDelay();
    }

    function _minimumDelay() private view returns (uint48) {
        return block.chainid == DEVELOPMENT_CHAIN_ID ? 0 : MINIMUM_DELAY;
    }

    /// @dev When something that is announced now may happen.
    function _effectiveAt() internal view returns (uint256) {
        return setupEnded ? block.timestamp + defaultAdminDelay() : block.timestamp;
    }

    function _checkDue(uint256 effectiveAt) internal view {
        if (effectiveAt == 0) revert NothingAnnounced();
        if (block.timestamp < effectiveAt || block.timestamp >= effectiveAt + ANNOUNCEMENT_WINDOW) {
            revert NotEffective(effectiveAt, effectiveAt + ANNOUNCEMENT_WINDOW);
        }
    }
}

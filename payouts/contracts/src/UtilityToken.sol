// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";

/// @title The utility token CPU, with reservations and settlement (P-1)
/// @notice Everything that reads or writes a balance is in this file. The base library keeps balances private, which
/// would cost every payee of a batch one more debit of the payouts account; hence the small ERC-20 core of our own.
/// Roles, typed signatures and nonces are the library's.
///
/// Money has four places: ordinary accounts; the contract's own account, which holds open reservations and nothing
/// else; the payouts account, an address without a key that only `collect` fills and only `pay` empties; and nowhere
/// else. So holds in total = balanceOf(this), and collected - paid = balanceOf(payoutsAccount()), at any time.
contract UtilityToken is
    IERC20Metadata,
    IERC20Permit,
    IERC20Errors,
    AccessControlDefaultAdminRules,
    EIP712,
    Nonces
{
    // ------------------------------------------------------------------------------------------------ bounds, roles

    /// @notice The most that may ever exist: 5,000,000,000 CPU in units of 1e-9 CPU. Fits in 63 bits.
    uint256 public constant CAP = 5_000_000_000 * 1e9;
    /// @notice The longest a reservation may keep an owner's funds, in seconds: a collector cannot lock them for good.
    uint256 public constant MAX_HOLD = 7 days;

    bytes32 public constant COLLECTOR_ROLE = keccak256("COLLECTOR_ROLE");
    bytes32 public constant PAYER_ROLE = keccak256("PAYER_ROLE");
    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");
    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");
    /// @dev The admin of MINTER_ROLE once minters are sealed: a role that nobody holds and nobody can be given.
    bytes32 private constant NOBODY = bytes32(type(uint256).max);

    uint8 private constant ENTERPRISE = 0;
    uint8 private constant CHARITY = 4;
    uint8 private constant SUBSIDY = 5;

    /// @dev Bytes of one item in the lists of `pay` and `collect`; see their comments for the layouts.
    uint256 private constant PAYOUT_BYTES = 121;
    uint256 private constant COLLECTION_BYTES = 133;

    /// @dev Where in memory the data of a payee's event is put together, from the first byte that is free on. Then comes
    /// the list.
    uint256 private constant EVENT = 0x80;
    uint256 private constant EVENT_AMOUNT = 0xa0;
    /// @dev The row count's 8 bytes in its word; the two hashes follow, here as in the list.
    uint256 private constant EVENT_COUNT = 0xd8;
    uint256 private constant EVENT_ACCOUNT = 0x120;
    uint256 private constant LIST = 0x140;
    /// @dev A 1 in byte `role` for each role of a payee, 0 elsewhere.
    uint256 private constant PAYEE_ROLES = 0x0001010101 << 216;
    /// @dev What the key of a payee's progress keeps of the 16 bytes of an entity.
    uint256 private constant KEY_MASK = 0xfffffffffffffffffffffffffffffffc;

    bytes32 private constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    // ------------------------------------------------------------------------------------------------------- events

    /// @notice One entity's part in one batch, with the commitment to exactly the rows it stands for, and the account
    /// that paid or was paid. `entity` is the 16 bytes of its public id, then zeros.
    event Settled(
        bytes32 indexed batchId,
        bytes32 indexed entity,
        uint8 role,
        uint256 amount,
        uint64 rowCount,
        bytes32 xorHash,
        bytes32 merkleRoot,
        address account
    );
    event BatchCollected(bytes32 indexed batchId, bytes32 listHash, uint256 count, uint256 total);
    event BatchPaid(bytes32 indexed batchId, bytes32 listHash, uint256 count, uint256 total);
    event Reserved(bytes32 indexed reservationId, address indexed owner, uint256 amount, uint64 expiresAt);
    event Collected(bytes32 indexed reservationId, address indexed owner, uint256 amount, uint256 returned);
    event Released(bytes32 indexed reservationId, address indexed owner, uint256 amount);
    event Paused(address indexed by);
    event Unpaused(address indexed by);
    event MintersSealed();

    // ------------------------------------------------------------------------------------------------------- errors

    error TokenPaused();
    error NotPaused();
    error CapExceeded(uint256 supply, uint256 amount);
    error ForbiddenRecipient(address account);
    error ZeroAmount();
    error ZeroId();
    error EmptyBatch();
    error MalformedList(uint256 length, uint256 itemBytes);
    error ListMismatch(bytes32 declared, bytes32 actual);
    error TotalMismatch(uint256 declared, uint256 actual);
    error CollectedFundsExceeded(uint256 total, uint256 collected);
    error AlreadySettled(bytes32 batchId, bytes32 entity, uint8 role);
    error DuplicateInBatch(bytes32 entity, uint8 role);
    error NotAscending(bytes32 entity, uint8 role);
    error InvalidRole(uint8 role);
    error ReservationExists(bytes32 reservationId);
    error UnknownReservation(bytes32 reservationId);
    error ReservationExpired(bytes32 reservationId, uint256 expiredAt);
    error ReservationOpen(bytes32 reservationId, uint256 expiresAt);
    error ReservationExceeded(bytes32 reservationId, uint256 amount, uint256 reserved);
    error InvalidExpiry(uint256 expiresAt, uint256 earliest, uint256 latest);
    error PermitExpired(uint256 deadline);
    error InvalidSigner(address signer, address owner);

    // -------------------------------------------------------------------------------------------------------- state

    /// @dev One word. `amount` 0 with an owner: closed, kept so that an id is never used again.
    struct Reservation {
        address owner;
        uint64 amount;
        uint32 expiresAt;
    }

    struct Balance {
        uint256 units;
    }

    /// @dev An account's balance stands in slot BALANCES | account, which saves a hash for every payee. The highest 96 bits
    /// are BALANCES', and those of no other slot: the others are small numbers, or hashes nobody can aim at these bits
    /// (and who could, would fill the balance of an account that nobody has the key of).
    uint256 private constant BALANCES = uint256(keccak256("cgn/token/balances")) >> 160 << 160;
    mapping(address owner => mapping(address spender => uint256)) private _allowances;
    mapping(bytes32 reservationId => Reservation) private _reservations;
    /// @dev The highest (entity, role) settled in a batch, for money in and for money out; see `_collectKey`, `_payKey`.
    /// Lists ascend, and a later call for the same batch must begin above what is here: one word for the whole batch
    /// makes each (batch, entity, role) settle at most once, for ever.
    struct Progress {
        uint128 collected;
        uint128 paid;
    }

    /// @dev One word: the balances of the contract's two accounts, in 1e-9 CPU (at most CAP), beside the flag that
    /// every movement reads anyway.
    struct Books {
        uint64 held;
        uint64 collected;
        bool paused;
    }

    mapping(bytes32 batchId => Progress) private _progress;
    Books private _books;
    uint256 private _totalSupply;
    address private immutable _payoutsAccount;

    constructor(address admin, uint48 adminDelay)
        AccessControlDefaultAdminRules(adminDelay, admin)
        EIP712("CPUcoin", "1")
    {
        _payoutsAccount =
            address(uint160(uint256(keccak256(abi.encode("cgn/payouts-account/1", block.chainid, address(this))))));
    }

    modifier whenRunning() {
        if (_books.paused) revert TokenPaused();
        _;
    }

    // ------------------------------------------------------------------------------------------------------- ERC-20

    function name() external pure returns (string memory) {
        return "CPUcoin";
    }

    function symbol() external pure returns (string memory) {
        return "CPU";
    }

    /// @notice 9: the ledger's unit of 1e-9 CPU is the chain's, so no amount is ever converted.
    function decimals() external pure returns (uint8) {
        return 9;
    }

    function totalSupply() external view returns (uint256) {
        return _totalSupply;
    }

    function balanceOf(address account) external view returns (uint256) {
        if (account == address(this)) return _books.held;
        if (account == _payoutsAccount) return _books.collected;
        return _balance(account).units;
    }

    function allowance(address owner, address spender) external view returns (uint256) {
        return _allowances[owner][spender];
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        _transfer(msg.sender, to, amount);
        return true;
    }

    /// @notice Always lowers the allowance, also one of 2^256 - 1: there is no unlimited approval here.
    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        _spend(from, msg.sender, amount);
        _transfer(from, to, amount);
        return true;
    }

    /// @notice Works while paused, so that an owner can withdraw an approval at any time.
    function approve(address spender, uint256 amount) external returns (bool) {
        _approve(msg.sender, spender, amount);
        return true;
    }

    // ------------------------------------------------------------------------------------------------------ ERC-2612

    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        if (block.timestamp > deadline) revert PermitExpired(deadline);
        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(PERMIT_TYPEHASH, owner, spender, value, _useNonce(owner), deadline))
        );
        address signer = ECDSA.recover(digest, v, r, s);
        if (signer != owner) revert InvalidSigner(signer, owner);
        _approve(owner, spender, value);
    }

    function nonces(address owner) public view override(IERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    // solhint-disable-next-line func-name-mixedcase
    function DOMAIN_SEPARATOR() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    // ------------------------------------------------------------------------------------------------- supply, pause

    /// @notice Called by the IEO token's `redeem` (and by the faucet of a development chain). Never beyond CAP.
    function mint(address to, uint256 amount) external onlyRole(MINTER_ROLE) whenRunning {
        if (amount == 0) revert ZeroAmount();
        _checkRecipient(to);
        uint256 supply = _totalSupply;
        if (amount > CAP - supply) revert CapExceeded(supply, amount);
        unchecked {
            _totalSupply = supply + amount;
            _balance(to).units += amount;
        }
        emit Transfer(address(0), to, amount);
    }

    /// @notice After this nobody can be given MINTER_ROLE any more, not even by the admin. Cannot be undone.
    function sealMinters() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _setRoleAdmin(MINTER_ROLE, NOBODY);
        emit MintersSealed();
    }

    function pause() external onlyRole(PAUSER_ROLE) whenRunning {
        _books.paused = true;
        emit Paused(msg.sender);
    }

    /// @notice The admin's, not the pauser's: who stops the token in a hurry need not be who judges that it is safe.
    function unpause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (!_books.paused) revert NotPaused();
        _books.paused = false;
        emit Unpaused(msg.sender);
    }

    function paused() external view returns (bool) {
        return _books.paused;
    }

    // -------------------------------------------------------------------------------------------------- reservations

    /// @notice Moves `amount` of what `owner` approved to this contract into its keeping until `expiresAt`.
    function reserve(address owner, uint256 amount, bytes32 reservationId, uint64 expiresAt)
        external
        onlyRole(COLLECTOR_ROLE)
        whenRunning
    {
        if (amount == 0) revert ZeroAmount();
        if (reservationId == 0) revert ZeroId();
        if (_reservations[reservationId].owner != address(0)) revert ReservationExists(reservationId);
        if (expiresAt <= block.timestamp || expiresAt > block.timestamp + MAX_HOLD) {
            revert InvalidExpiry(expiresAt, block.timestamp + 1, block.timestamp + MAX_HOLD);
        }
        _spend(owner, address(this), amount);
        _debit(owner, amount);
        // amount <= balance <= CAP < 2^63 from here on, and expiresAt < 2^32 until the year 2106
        unchecked {
            _books.held += uint64(amount);
        }
        _reservations[reservationId] = Reservation(owner, uint64(amount), uint32(expiresAt));
        emit Transfer(owner, address(this), amount);
        emit Reserved(reservationId, owner, amount, expiresAt);
    }

    /// @notice Gives a reservation back to its owner: the collector at any time, anybody once it has expired.
    function release(bytes32 reservationId) external whenRunning {
        Reservation storage slot = _reservations[reservationId];
        Reservation memory held = slot;
        if (held.amount == 0) revert UnknownReservation(reservationId);
        if (block.timestamp < held.expiresAt && !hasRole(COLLECTOR_ROLE, msg.sender)) {
            revert ReservationOpen(reservationId, held.expiresAt);
        }
        slot.amount = 0;
        _books.held -= held.amount;
        unchecked {
            _balance(held.owner).units += held.amount;
        }
        emit Transfer(address(this), held.owner, held.amount);
        emit Released(reservationId, held.owner, held.amount);
    }

    /// @return owner whose funds; zero: never used
    /// @return amount held now, in 1e-9 CPU; 0 with an owner: closed by collect or release
    /// @return expiresAt seconds since 1970; from then on `collect` refuses and anybody may release
    function reservation(bytes32 reservationId)
        external
        view
        returns (address owner, uint256 amount, uint64 expiresAt)
    {
        Reservation memory held = _reservations[reservationId];
        return (held.owner, held.amount, held.expiresAt);
    }

    // ---------------------------------------------------------------------------------------------------- settlement

    /// @notice An address that has no key; holds what was collected and not yet paid.
    function payoutsAccount() external view returns (address) {
        return _payoutsAccount;
    }

    /// @notice The highest keys settled so far in `batchId`; 0: none. Settlements below them are done or given up.
    /// @return collected key of `collect`: entity's 127 highest bits, then 1 for a subsidy
    /// @return paid key of `pay`: entity's 126 highest bits, then role - 1
    function settledUpTo(bytes32 batchId) external view returns (uint128 collected, uint128 paid) {
        Progress memory progress = _progress[batchId];
        return (progress.collected, progress.paid);
    }

    /// @notice Posts reservations to the payouts account, each with its payer's commitment; the rest of each returns.
    /// @param total what the list must sum up to, in 1e-9 CPU
    /// @param listHash Keccak-256 of `list`
    /// @param list items of 133 bytes: rowCount 8, xorHash 32, merkleRoot 32, reservationId 32, amount 12, entity 16,
    /// role 1 (0 enterprise or 5 subsidy); ascending by (entity, role)
    function collect(bytes32 batchId, uint256 total, bytes32 listHash, bytes calldata list)
        external
        onlyRole(COLLECTOR_ROLE)
        whenRunning
    {
        _checkList(batchId, listHash, list, COLLECTION_BYTES);
        uint256 posted = _post(batchId, list);
        if (posted != total) revert TotalMismatch(total, posted);
        emit BatchCollected(batchId, listHash, list.length / COLLECTION_BYTES, posted);
    }

    function _post(bytes32 batchId, bytes calldata list) private returns (uint256 posted) {
        uint256 settled = _progress[batchId].collected;
        uint256 last = settled;
        uint256 taken = 0;
        for (; list.length != 0; list = list[COLLECTION_BYTES:]) {
            uint256 key = _collectKey(bytes32(list[116:132]), uint8(list[132]));
            if (key <= last) _refuseOrder(batchId, bytes32(list[116:132]), uint8(list[132]), key, last, settled);
            last = key;
            (uint256 amount, uint256 reserved) = _collectOne(batchId, list[:COLLECTION_BYTES]);
            posted += amount;
            taken += reserved;
        }
        _progress[batchId].collected = uint128(last);
        // the sums are parts of what is held, which is at most CAP
        _books.held -= uint64(taken);
        _books.collected += uint64(posted);
    }

    function _collectOne(bytes32 batchId, bytes calldata item) private returns (uint256 amount, uint256 reserved) {
        uint8 role = uint8(item[132]);
        if (role != ENTERPRISE && role != SUBSIDY) revert InvalidRole(role);
        bytes32 reservationId = bytes32(item[72:104]);
        amount = uint96(bytes12(item[104:116]));
        if (amount == 0) revert ZeroAmount();
        Reservation storage slot = _reservations[reservationId];
        Reservation memory held = slot;
        if (held.amount == 0) revert UnknownReservation(reservationId);
        if (block.timestamp >= held.expiresAt) revert ReservationExpired(reservationId, held.expiresAt);
        if (amount > held.amount) revert ReservationExceeded(reservationId, amount, held.amount);
        slot.amount = 0;
        emit Transfer(address(this), _payoutsAccount, amount);
        unchecked {
            uint256 rest = held.amount - amount;
            if (rest != 0) {
                _balance(held.owner).units += rest;
                emit Transfer(address(this), held.owner, rest);
            }
            emit Collected(reservationId, held.owner, amount, rest);
        }
        reserved = held.amount;
        emit Settled(
            batchId,
            bytes32(item[116:132]),
            role,
            amount,
            uint64(bytes8(item[0:8])),
            bytes32(item[8:40]),
            bytes32(item[40:72]),
            held.owner
        );
    }

    /// @notice Pays beneficiaries out of collected funds, each with its own event and commitment; one debit for all.
    /// @param total what the list must sum up to, in 1e-9 CPU; refused beyond what has been collected and not yet paid
    /// @param listHash Keccak-256 of `list`
    /// @param list items of 121 bytes: rowCount 8, xorHash 32, merkleRoot 32, account 20, amount 12, entity 16, role 1
    /// (1 contributor, 2 developer, 3 operator, 4 charity); ascending by (entity, role)
    function pay(bytes32 batchId, uint256 total, bytes32 listHash, bytes calldata list)
        external
        onlyRole(PAYER_ROLE)
        whenRunning
    {
        _checkList(batchId, listHash, list, PAYOUT_BYTES);
        uint256 settled = _progress[batchId].paid;
        (uint256 paid, uint256 last) = _credit(batchId, LIST, LIST + list.length, settled);
        if (paid != total) revert TotalMismatch(total, paid);
        uint256 collected = _books.collected;
        if (paid > collected) revert CollectedFundsExceeded(paid, collected);
        unchecked {
            _books.collected = uint64(collected - paid);
        }
        _progress[batchId].paid = uint128(last);
        emit BatchPaid(batchId, listHash, list.length / PAYOUT_BYTES, paid);
    }

    /// @dev The loop over payees, in assembly because it is what every payout costs. It stops at the first item that
    /// breaks a rule, and `_refusePayout` says which; after the last one it stops because there is an item of zeros. No
    /// overflow matters: the caller refuses a list that sums to more than was collected (at most CAP), and that undoes
    /// the credits.
    function _credit(bytes32 batchId, uint256 item, uint256 end, uint256 settled)
        private
        returns (uint256 paid, uint256 last)
    {
        address payouts = _payoutsAccount;
        bytes32 transferTopic = Transfer.selector;
        bytes32 settledTopic = Settled.selector;
        uint256 balances = BALANCES;
        last = settled + 1; // in the loop a key is one more than `_payKey`: it ends in the role itself
        assembly ("memory-safe") {
            mstore(add(end, 72), 0)
            for {} 1 { item := add(item, PAYOUT_BYTES) } {
                let account := mload(add(item, 72)) // account 20, amount 12
                let word := mload(add(item, 104)) // entity 16, role 1, 15 bytes of what follows
                let amount := and(account, 0xffffffffffffffffffffffff)
                account := shr(96, account)
                let role := byte(16, word)
                let key := add(and(shr(128, word), KEY_MASK), role)
                // neither factor of the first product is 2^160 or more, so it is zero only if one of them is
                if iszero(
                    mul(
                        mul(amount, account),
                        and(
                            gt(key, last),
                            gt(byte(role, PAYEE_ROLES), or(eq(account, address()), eq(account, payouts)))
                        )
                    )
                ) { break }
                last := key
                paid := add(paid, amount)
                mstore(EVENT, role)
                mstore(EVENT_AMOUNT, amount)
                mcopy(EVENT_COUNT, item, 72)
                mstore(EVENT_ACCOUNT, account)
                let place := or(balances, account)
                sstore(place, add(sload(place), amount))
                log3(EVENT_AMOUNT, 32, transferTopic, payouts, account)
                log3(EVENT, 192, settledTopic, batchId, and(word, not(0xffffffffffffffffffffffffffffffff)))
            }
        }
        last -= 1;
        if (item < end) _refusePayout(batchId, item, last, settled);
    }

    /// @dev Names what is wrong with the payout at memory position `item`.
    function _refusePayout(bytes32 batchId, uint256 item, uint256 last, uint256 settled) private view {
        uint256 word;
        bytes32 entity;
        uint8 role;
        assembly ("memory-safe") {
            word := mload(add(item, 72))
            entity := mload(add(item, 104))
            role := byte(16, entity)
            entity := and(entity, not(0xffffffffffffffffffffffffffffffff))
        }
        if (role == ENTERPRISE || role > CHARITY) revert InvalidRole(role);
        address account = address(uint160(word >> 96));
        if (account == address(0) || account == address(this) || account == _payoutsAccount) {
            revert ForbiddenRecipient(account);
        }
        if (uint96(word) == 0) revert ZeroAmount();
        _refuseOrder(batchId, entity, role, _payKey(entity, role), last, settled);
    }

    function _refuseOrder(bytes32 batchId, bytes32 entity, uint8 role, uint256 key, uint256 last, uint256 settled)
        private
        pure
    {
        if (key <= settled) revert AlreadySettled(batchId, entity, role);
        if (key == last) revert DuplicateInBatch(entity, role);
        revert NotAscending(entity, role);
    }

    /// @dev 128 bits that ascend with (entity, role). The entity's last bit (two in `_payKey`) makes room for the role, so
    /// that the progress of both directions is one word. Two entities that differ in nothing else would be taken for one:
    /// they are 128 random bits each, and the mistake could only refuse a settlement, never repeat one.
    function _collectKey(bytes32 entity, uint8 role) private pure returns (uint256) {
        return (uint256(entity) >> 128 & ~uint256(1)) | (role == SUBSIDY ? 1 : 0);
    }

    function _payKey(bytes32 entity, uint8 role) private pure returns (uint256) {
        return (uint256(entity) >> 128 & ~uint256(3)) | (role - 1);
    }

    /// @dev Checks a list's form and hash. It is in memory at LIST afterwards, with room for an event before it.
    function _checkList(bytes32 batchId, bytes32 listHash, bytes calldata list, uint256 itemBytes) private pure {
        if (batchId == 0) revert ZeroId();
        if (list.length == 0) revert EmptyBatch();
        if (list.length % itemBytes != 0) revert MalformedList(list.length, itemBytes);
        bytes32 actual;
        uint256 free;
        assembly ("memory-safe") {
            free := mload(0x40)
            calldatacopy(LIST, list.offset, list.length)
            actual := keccak256(LIST, list.length)
            mstore(0x40, and(add(add(LIST, list.length), 191), not(31))) // and an item of zeros
        }
        assert(free == EVENT); // nothing was in memory yet
        if (actual != listHash) revert ListMismatch(listHash, actual);
    }

    // --------------------------------------------------------------------------------------------------------- inner

    function _transfer(address from, address to, uint256 amount) private whenRunning {
        if (from == address(0)) revert ERC20InvalidSender(from);
        _checkRecipient(to);
        _debit(from, amount);
        unchecked {
            _balance(to).units += amount;
        }
        emit Transfer(from, to, amount);
    }

    /// @dev Nobody but `reserve` and `collect` puts funds into the contract's two accounts, so their balances mean
    /// exactly what is held and what is collected.
    function _checkRecipient(address to) private view {
        if (to == address(0)) revert ERC20InvalidReceiver(to);
        if (to == address(this) || to == _payoutsAccount) revert ForbiddenRecipient(to);
    }

    function _balance(address account) private pure returns (Balance storage balance) {
        uint256 place = BALANCES | uint160(account);
        assembly ("memory-safe") {
            balance.slot := place
        }
    }

    function _debit(address from, uint256 amount) private {
        uint256 balance = _balance(from).units;
        if (balance < amount) revert ERC20InsufficientBalance(from, balance, amount);
        unchecked {
            _balance(from).units = balance - amount;
        }
    }

    function _approve(address owner, address spender, uint256 amount) private {
        if (owner == address(0)) revert ERC20InvalidApprover(owner);
        if (spender == address(0)) revert ERC20InvalidSpender(spender);
        _allowances[owner][spender] = amount;
        emit Approval(owner, spender, amount);
    }

    function _spend(address owner, address spender, uint256 amount) private {
        uint256 approved = _allowances[owner][spender];
        if (approved < amount) revert ERC20InsufficientAllowance(spender, approved, amount);
        unchecked {
            _allowances[owner][spender] = approved - amount;
        }
    }
}

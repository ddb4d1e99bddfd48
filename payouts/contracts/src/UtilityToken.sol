// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {DelayedRoles} from "./DelayedRoles.sol";

/// @title The utility token CPU, with reservations and settlement (P-1, P-17, P-18)
/// @notice Everything that reads or writes a balance is in this file. The base library keeps balances private, which
/// would cost every payee of a batch one more debit of the payouts account; hence the small ERC-20 core of our own.
/// Roles, typed signatures and nonces are the library's.
///
/// Money has three places: ordinary accounts; the contract's own account, which holds open reservations and nothing
/// else; and the payouts accounts, one for each node. A payouts account is an address whose key the node's settlement
/// process has made. Only `collect` fills it. Its key can pay the beneficiaries that the settlement under way was begun
/// with, give money of an abandoned settlement back to its payers, and nothing else: so neither the payouts account's key
/// nor the collector's diverts money alone.
///
/// Settlements of a payouts account form one chain: each names the one before and begins with the row after its last.
/// So the same rows cannot be settled twice under another id, whatever a restored backup believes. The account's words
/// are used again by each settlement, and so is a payer's reservation: a settlement leaves no new storage behind.
contract UtilityToken is IERC20Metadata, IERC20Permit, IERC20Errors, DelayedRoles, EIP712, Nonces {
    // ------------------------------------------------------------------------------------------------ bounds, roles

    /// @notice The most that is ever minted: 5,000,000,000 CPU in units of 1e-9 CPU. Fits in 63 bits.
    uint256 public constant CAP = 5_000_000_000 * 1e9;
    /// @notice The longest a reservation may keep an owner's funds, in seconds: a collector cannot lock them for good.
    uint256 public constant MAX_HOLD = 7 days;
    /// @notice Seconds between the announcement of a treasury's burn and the burn.
    uint256 public constant BURN_NOTICE = 2 days;
    /// @notice The most rows of one settlement: many times what a run takes, and few enough that one call by whoever holds a
    /// collector's key does not use up the numbers of an account's rows.
    uint256 public constant MAX_ROWS = 2 ** 24;
    /// @notice Bytes of the reason of a treasury's burn, at most: it is logged.
    uint256 public constant MAX_REASON_BYTES = 256;

    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");
    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");
    /// @notice May add its own funds to reservations; burns its own only after announcing it.
    bytes32 public constant TREASURY_ROLE = keccak256("TREASURY_ROLE");
    /// @dev The admin of MINTER_ROLE once minters are sealed: a role that nobody holds and nobody can be given.
    bytes32 private constant NOBODY = bytes32(type(uint256).max);
    /// @dev In place of a payouts root: the settlement was abandoned. In place of a settlement's id: the account is closed.
    bytes32 private constant ABANDONED = bytes32(type(uint256).max);
    bytes32 private constant CLOSED = bytes32(type(uint256).max);

    uint8 private constant ENTERPRISE = 0;
    uint8 private constant CHARITY = 4;
    uint8 private constant SUBSIDY = 5;

    uint8 private constant OPEN = 1;
    uint8 private constant RELEASED = 2;
    uint8 private constant COLLECTED = 3;

    /// @dev Bytes of one item in the lists of `collect` and `pay`: rowCount 8, xorHash 32, merkleRoot 32, account 20,
    /// amount 12, entity 16, role 1.
    uint256 private constant ITEM_BYTES = 121;

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
    bytes32 private constant TRANSFER_TYPEHASH = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant RECEIVE_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant CANCEL_TYPEHASH = keccak256("CancelAuthorization(address authorizer,bytes32 nonce)");

    // ------------------------------------------------------------------------------------------------------- events

    /// @notice One entity's part in one settlement (`batchId`), with the commitment to exactly the rows it stands for, and
    /// the account that paid or was paid. `entity` is the 16 bytes of its public id, then zeros.
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
    event SettlementBegun(
        bytes32 indexed batchId,
        address indexed account,
        bytes32 previous,
        uint64 firstRow,
        uint64 lastRow,
        uint256 collections,
        uint256 payouts,
        bytes32 payoutsRoot
    );
    event SettlementAbandoned(bytes32 indexed batchId, address indexed account, uint256 uncollected, uint256 unpaid);
    event BatchCollected(
        bytes32 indexed batchId, address indexed account, bytes32 listHash, uint256 count, uint256 total
    );
    event BatchPaid(
        bytes32 indexed batchId, address indexed account, bytes32 listHash, uint256 count, uint256 total
    );
    event Returned(bytes32 indexed batchId, bytes32 indexed entity, uint8 role, address owner, uint256 amount);
    event Reserved(
        bytes32 indexed reservationId,
        address indexed owner,
        address indexed account,
        bytes32 entity,
        uint8 role,
        uint256 amount,
        bytes10 tag,
        uint64 expiresAt
    );
    event ToppedUp(bytes32 indexed reservationId, address indexed treasury, uint256 amount);
    /// @notice `returned` to the owner, `topUpReturned` to the treasury.
    event Collected(
        bytes32 indexed reservationId, address indexed owner, uint256 amount, uint256 returned, uint256 topUpReturned
    );
    event Released(bytes32 indexed reservationId, address indexed owner, uint256 amount, uint256 topUp);
    event AccountAnnounced(
        address indexed account, address indexed collector, address predecessor, uint256 effectiveAt
    );
    event AccountCancelled(address indexed account, address by);
    event AccountOpened(address indexed account, address predecessor);
    event NodeBound(bytes32 indexed node, address indexed account);
    event CollectorChanged(address indexed account, address indexed collector);
    event Paused(address indexed by);
    event Unpaused(address indexed by);
    event MintersSealed();
    event BurnAnnounced(address indexed treasury, uint256 amount, string reason, uint256 executableAt);
    event Burned(address indexed account, uint256 amount);
    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
    event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);

    // ------------------------------------------------------------------------------------------------------- errors

    error TokenPaused();
    error NotPaused();
    error StillPausable();
    error CapExceeded(uint256 minted, uint256 amount);
    error ForbiddenRecipient(address account);
    error ForbiddenSender(address account);
    error ZeroAmount();
    error ZeroId();
    error EmptyBatch();
    error MalformedList(uint256 length, uint256 itemBytes);
    error ListNotCommitted(bytes32 batchId, bytes32 listHash);
    error CollectedFundsExceeded(uint256 total, uint256 collected);
    error CommitmentExceeded(uint256 total, uint256 committed);
    error AlreadySettled(bytes32 batchId, bytes32 entity, uint8 role);
    error DuplicateInBatch(bytes32 entity, uint8 role);
    error NotAscending(bytes32 entity, uint8 role);
    error InvalidRole(uint8 role);
    error InvalidEntity(bytes32 entity);
    error NotCollector(address account, address caller);
    error NotPayoutsAccount(address account);
    error NotThePrevious(bytes32 previous, bytes32 last);
    error NotTheNextRow(uint256 firstRow, uint256 lastRow, uint256 expected);
    error TooManyRows(uint256 rows, uint256 most);
    error NotTheCurrent(bytes32 batchId, bytes32 current);
    error SettlementOpen(bytes32 batchId, uint256 uncollected, uint256 unpaid);
    error NotAbandoned(bytes32 batchId);
    error InvalidAccount(address account);
    error AccountNotEmpty(address account);
    error NodeHasAccount(bytes32 node, address account);
    error NodeFixed(address account, bytes32 node);
    error ReservationExists(bytes32 reservationId);
    error UnknownReservation(bytes32 reservationId);
    error ReservationExpired(bytes32 reservationId, uint256 expiredAt);
    error ReservationOpen(bytes32 reservationId, uint256 expiresAt);
    error ReservationExceeded(bytes32 reservationId, uint256 amount, uint256 reserved);
    error AlreadyToppedUp(bytes32 reservationId);
    error InvalidExpiry(uint256 expiresAt, uint256 earliest, uint256 latest);
    error PermitExpired(uint256 deadline);
    error InvalidSigner(address signer, address owner);
    error AuthorizationNotValid(uint256 validAfter, uint256 validBefore);
    error AuthorizationSpent(address authorizer, bytes32 nonce);
    error CallerNotPayee(address caller, address payee);
    error BurnNotAnnounced(address treasury, uint256 executableAt);
    error InvalidReason(uint256 bytes_);

    // -------------------------------------------------------------------------------------------------------- state

    /// @dev One word for each (payouts account, owner, entity, role), used again and again. Open: what is held. Collected:
    /// what was taken. `tag` is the beginning of the id of the settlement that it is or was for.
    struct Reservation {
        uint64 own;
        uint64 topUp;
        uint40 expiresAt;
        bytes10 tag;
        uint8 state;
    }

    /// @dev A payouts account beside its word (below).
    struct Sequence {
        address collector;
        /// The id of the settlement under way, or of the last one; CLOSED once a successor has taken over.
        bytes32 settlement;
        /// Merkle root over the hashes of the lists that may be paid.
        bytes32 payoutsRoot;
        /// The highest (entity, role) settled, for money in and for money out; see `_collectKey`, `_payKey`. Lists ascend, and
        /// a later call must begin above what is here: so each (settlement, entity, role) settles at most once.
        uint128 collected;
        uint128 paid;
        /// Whose rows it settles; zero: nobody has said.
        bytes32 node;
    }

    struct AnnouncedAccount {
        address collector;
        uint48 effectiveAt;
        address predecessor;
        bytes32 node;
    }

    struct AnnouncedBurn {
        uint64 amount;
        uint48 executableAt;
    }

    /// @dev One word: what is held for reservations, in 1e-9 CPU (at most CAP), beside what every movement reads anyway.
    struct Books {
        uint64 held;
        uint32 pausers;
        bool paused;
    }

    struct Supply {
        uint128 total;
        /// Ever, burnt or not.
        uint128 minted;
    }

    /// @dev An account's balance stands in slot BALANCES | account, which saves a hash for every payee. The highest 96 bits
    /// are BALANCES', and those of no other slot: the others are small numbers, or hashes nobody can aim at these bits
    /// (and who could, would fill the balance of an account that nobody has the key of).
    ///
    /// A payouts account's word there has IS_PAYOUTS, and from the right, 64 bits each: its balance; what its settlement
    /// has not paid yet; what it has not collected yet; the last row settled (63 bits). Everybody's transfers read the word
    /// anyway, so ordinary accounts pay nothing for the rule that these never move another way.
    uint256 private constant BALANCES = uint256(keccak256("cgn/token/balances")) >> 160 << 160;
    uint256 private constant IS_PAYOUTS = 1 << 255;

    mapping(address owner => mapping(address spender => uint256)) private _allowances;
    mapping(bytes32 reservationId => Reservation) private _reservations;
    /// @dev Whose the top-up in a reservation is.
    mapping(bytes32 reservationId => address) private _treasuries;
    mapping(address account => Sequence) private _sequences;
    mapping(address account => AnnouncedAccount) private _announcedAccounts;
    /// @notice The one payouts account that settles a node's rows; zero: none does.
    mapping(bytes32 node => address account) public accountOf;
    mapping(address treasury => AnnouncedBurn) private _burns;
    mapping(address authorizer => mapping(bytes32 nonce => bool)) private _authorizations;
    Books private _books;
    Supply private _supply;

    constructor(address admin, uint48 adminDelay)
        AccessControlDefaultAdminRules(adminDelay, admin)
        EIP712("CPUcoin", "1")
    {}

    modifier whenRunning() {
        _checkRunning();
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
        return _supply.total;
    }

    /// @notice All that was ever minted, in 1e-9 CPU: burning makes no room below the cap.
    function totalMinted() external view returns (uint256) {
        return _supply.minted;
    }

    function balanceOf(address account) external view returns (uint256) {
        if (account == address(this)) return _books.held;
        uint256 word = _word(account);
        return word & IS_PAYOUTS == 0 ? word : uint64(word);
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

    // -------------------------------------------------------------------------------------------- ERC-2612, ERC-3009

    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        if (block.timestamp > deadline) revert PermitExpired(deadline);
        _checkSigner(
            owner, keccak256(abi.encode(PERMIT_TYPEHASH, owner, spender, value, _useNonce(owner), deadline)), v, r, s
        );
        _approve(owner, spender, value);
    }

    function nonces(address owner) public view override(IERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    // solhint-disable-next-line func-name-mixedcase
    function DOMAIN_SEPARATOR() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /// @notice Whether an authorization was used or cancelled.
    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool) {
        return _authorizations[authorizer][nonce];
    }

    /// @notice Transfers what its owner has signed for, whoever sends it in. A contract that acts on having been paid calls
    /// `receiveWithAuthorization`, since anybody who sees the signature can make this call before it.
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        bytes32 content = keccak256(abi.encode(TRANSFER_TYPEHASH, from, to, value, validAfter, validBefore, nonce));
        _useAuthorization(from, nonce, validAfter, validBefore, content, v, r, s);
        _transfer(from, to, value);
    }

    /// @notice The same, sent in by the payee alone.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        if (to != msg.sender) revert CallerNotPayee(msg.sender, to);
        bytes32 content = keccak256(abi.encode(RECEIVE_TYPEHASH, from, to, value, validAfter, validBefore, nonce));
        _useAuthorization(from, nonce, validAfter, validBefore, content, v, r, s);
        _transfer(from, to, value);
    }

    /// @notice Makes an authorization worthless. Works while paused.
    function cancelAuthorization(address authorizer, bytes32 nonce, uint8 v, bytes32 r, bytes32 s) external {
        _spendAuthorization(authorizer, nonce);
        _checkSigner(authorizer, keccak256(abi.encode(CANCEL_TYPEHASH, authorizer, nonce)), v, r, s);
        emit AuthorizationCanceled(authorizer, nonce);
    }

    // ------------------------------------------------------------------------------------------- supply, pause, burn

    /// @notice Called by the IEO token's `redeem` (and by the faucet of a development chain). Never more than CAP in all.
    function mint(address to, uint256 amount) external onlyRole(MINTER_ROLE) whenRunning {
        if (amount == 0) revert ZeroAmount();
        _checkRecipient(to);
        Supply memory supply = _supply;
        if (amount > CAP - supply.minted) revert CapExceeded(supply.minted, amount);
        unchecked {
            _supply = Supply(supply.total + uint128(amount), supply.minted + uint128(amount));
        }
        _credit(to, amount);
        emit Transfer(address(0), to, amount);
    }

    /// @notice Burns one's own tokens. A treasury's burn is announced first (`announceBurn`).
    function burn(uint256 amount) external {
        if (hasRole(TREASURY_ROLE, msg.sender)) revert BurnNotAnnounced(msg.sender, 0);
        _burn(msg.sender, amount);
    }

    /// @notice Says that the caller, a treasury, will burn `amount` of its tokens, and why. Replaces what it announced
    /// before; an amount of 0 withdraws that.
    function announceBurn(uint256 amount, string calldata reason) external onlyRole(TREASURY_ROLE) {
        if (amount > CAP) revert CapExceeded(CAP, amount);
        uint256 length = bytes(reason).length;
        if (length == 0 || length > MAX_REASON_BYTES) revert InvalidReason(length);
        uint256 executableAt = block.timestamp + BURN_NOTICE;
        _burns[msg.sender] = AnnouncedBurn(uint64(amount), uint48(executableAt));
        emit BurnAnnounced(msg.sender, amount, reason, executableAt);
    }

    /// @notice Burns what the caller has announced, at least BURN_NOTICE ago.
    function burnAnnounced() external {
        AnnouncedBurn memory announced = _burns[msg.sender];
        if (announced.amount == 0 || block.timestamp < announced.executableAt) {
            revert BurnNotAnnounced(msg.sender, announced.executableAt);
        }
        delete _burns[msg.sender];
        _burn(msg.sender, announced.amount);
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

    /// @notice The admin's office cannot be given up while the token is or could be paused: nobody could end the pause.
    function renounceRole(bytes32 role, address account) public override {
        if (role == DEFAULT_ADMIN_ROLE && (_books.paused || _books.pausers != 0)) revert StillPausable();
        super.renounceRole(role, account);
    }

    // ----------------------------------------------------------------------------------------------- payouts accounts

    /// @notice Says that `account` is to become a payouts account with this collector, or that the payouts account is to
    /// have another collector. It takes effect when the account itself calls `acceptAccount`, after the delay.
    /// @param predecessor the payouts account that it takes over from, which has to be empty then; or zero
    /// @param node the 16 bytes of the public id of the node whose rows it settles, then zeros. No other account settles
    /// them, and the account settles no other node's, ever. Zero: as it was, or the predecessor's
    function announceAccount(address account, address collector, address predecessor, bytes32 node)
        external
        onlyRole(DEFAULT_ADMIN_ROLE)
    {
        if (account == address(0) || account == address(this) || account == collector || account == predecessor) {
            revert InvalidAccount(account);
        }
        if (collector == address(0) || collector == address(this)) revert InvalidAccount(collector);
        if (uint128(uint256(node)) != 0) revert InvalidEntity(node);
        uint256 effectiveAt = _effectiveAt();
        _announcedAccounts[account] = AnnouncedAccount(collector, uint48(effectiveAt), predecessor, node);
        emit AccountAnnounced(account, collector, predecessor, effectiveAt);
    }

    function cancelAccount(address account) external onlyGuardian {
        if (_announcedAccounts[account].effectiveAt == 0) revert NothingAnnounced();
        delete _announcedAccounts[account];
        emit AccountCancelled(account, msg.sender);
    }

    /// @notice Called by the account that was announced: from now on it is a payouts account, and nothing but one, for
    /// ever. It has to be empty. With a predecessor it goes on where that one stopped, which is closed for ever.
    function acceptAccount() external {
        AnnouncedAccount memory announced = _announcedAccounts[msg.sender];
        _checkDue(announced.effectiveAt);
        delete _announcedAccounts[msg.sender];
        uint256 word = _word(msg.sender);
        Sequence storage sequence = _sequences[msg.sender];
        if (word & IS_PAYOUTS == 0) {
            if (word != 0) revert AccountNotEmpty(msg.sender);
            word = IS_PAYOUTS;
            if (announced.predecessor != address(0)) {
                word = _succeed(announced.predecessor);
                sequence.settlement = _sequences[announced.predecessor].settlement;
                _sequences[announced.predecessor].settlement = CLOSED;
            }
            _setWord(msg.sender, word);
            emit AccountOpened(msg.sender, announced.predecessor);
        } else if (announced.predecessor != address(0) || sequence.settlement == CLOSED) {
            revert InvalidAccount(msg.sender);
        }
        _bind(announced.node, announced.predecessor);
        sequence.collector = announced.collector;
        emit CollectorChanged(msg.sender, announced.collector);
    }

    /// @notice The node whose rows a payouts account settles; zero: nobody has said.
    function nodeOf(address account) external view returns (bytes32) {
        return _sequences[account].node;
    }

    /// @notice Takes the collector of a payouts account its office, at once: for when its key is in wrong hands.
    function dismissCollector(address account) external {
        if (msg.sender != account && msg.sender != defaultAdmin() && !hasRole(GUARDIAN_ROLE, msg.sender)) {
            revert NotGuardian(msg.sender);
        }
        _sequences[account].collector = address(0);
        emit CollectorChanged(account, address(0));
    }

    /// @return collector zero: none at the moment
    /// @return effectiveAt when the collector that is announced may come; 0: none is
    /// @return isOpen whether it is a payouts account that settles (not one that a successor has closed)
    function payoutsAccount(address account)
        external
        view
        returns (address collector, uint256 effectiveAt, bool isOpen)
    {
        bool isPayouts = _word(account) & IS_PAYOUTS != 0;
        Sequence storage sequence = _sequences[account];
        return (sequence.collector, _announcedAccounts[account].effectiveAt, isPayouts && sequence.settlement != CLOSED);
    }

    /// @notice The settlement under way, or the last one, of a payouts account.
    /// @return batchId zero: none yet
    /// @return payoutsRoot all ones: abandoned
    /// @return lastRow the last row that it covers; the next settlement begins with the one after
    /// @return uncollected in 1e-9 CPU; while this or `unpaid` is not 0 no other settlement begins
    /// @return unpaid in 1e-9 CPU
    function settlementOf(address account)
        external
        view
        returns (bytes32 batchId, bytes32 payoutsRoot, uint64 lastRow, uint256 uncollected, uint256 unpaid)
    {
        uint256 word = _word(account);
        if (word & IS_PAYOUTS == 0) revert NotPayoutsAccount(account);
        Sequence storage sequence = _sequences[account];
        return (
            sequence.settlement,
            sequence.payoutsRoot,
            uint64((word & ~IS_PAYOUTS) >> 192),
            uint64(word >> 128),
            uint64(word >> 64)
        );
    }

    /// @notice The highest keys settled so far in the settlement of `account`. Settlements below them are done.
    /// @return collected key of `collect`: entity's 127 highest bits, then 1 for a subsidy
    /// @return paid key of `pay`: entity's 126 highest bits, then role - 1
    function settledUpTo(address account) external view returns (uint128 collected, uint128 paid) {
        return (_sequences[account].collected, _sequences[account].paid);
    }

    // -------------------------------------------------------------------------------------------------- reservations

    /// @notice Where the reservation of an owner's funds for an entity stands, in the name of a payouts account.
    function reservationId(address account, address owner, bytes32 entity, uint8 role) public pure returns (bytes32) {
        return keccak256(abi.encode(account, owner, entity, role));
    }

    /// @notice Moves `amount` of what `owner` approved to this contract into its keeping until `expiresAt`: for this
    /// entity, this settlement and this payouts account alone. What was held there for another settlement, or has
    /// expired, is given back in the same step. An amount of 0 makes a place for `topUp`.
    function reserve(
        address account,
        address owner,
        bytes32 entity,
        uint8 role,
        uint256 amount,
        bytes32 batchId,
        uint64 expiresAt
    ) external whenRunning {
        _checkCollector(account);
        if (batchId == 0) revert ZeroId();
        if (role != ENTERPRISE && role != SUBSIDY) revert InvalidRole(role);
        if (uint128(uint256(entity)) != 0) revert InvalidEntity(entity);
        if (expiresAt <= block.timestamp || expiresAt > block.timestamp + MAX_HOLD) {
            revert InvalidExpiry(expiresAt, block.timestamp + 1, block.timestamp + MAX_HOLD);
        }
        bytes32 id = reservationId(account, owner, entity, role);
        Reservation memory before = _reservations[id];
        // the same call mined twice has the same expiry, and only a later one renews
        if (before.tag == bytes10(batchId) && expiresAt <= before.expiresAt) revert ReservationExists(id);
        if (before.state == OPEN) _giveBack(id, owner, before);
        _spend(owner, address(this), amount);
        _debit(owner, amount);
        // amount <= balance <= CAP < 2^63 from here on, and expiresAt < 2^40 for ten thousand years
        unchecked {
            _books.held += uint64(amount);
        }
        _reservations[id] = Reservation(uint64(amount), 0, uint40(expiresAt), bytes10(batchId), OPEN);
        if (amount != 0) emit Transfer(owner, address(this), amount);
        emit Reserved(id, owner, account, entity, role, amount, bytes10(batchId), expiresAt);
    }

    /// @notice Adds the caller's own funds to an open reservation, once. They never pass through the owner's account:
    /// what is not collected comes back to the caller.
    function topUp(address account, address owner, bytes32 entity, uint8 role, uint256 amount, bytes32 batchId)
        external
        onlyRole(TREASURY_ROLE)
        whenRunning
    {
        if (amount == 0) revert ZeroAmount();
        bytes32 id = reservationId(account, owner, entity, role);
        Reservation memory held = _open(id, batchId);
        if (held.topUp != 0) revert AlreadyToppedUp(id);
        _debit(msg.sender, amount);
        unchecked {
            _books.held += uint64(amount);
        }
        _reservations[id].topUp = uint64(amount);
        if (_treasuries[id] != msg.sender) _treasuries[id] = msg.sender;
        emit Transfer(msg.sender, address(this), amount);
        emit ToppedUp(id, msg.sender, amount);
    }

    /// @notice Gives a reservation back to its owner, and the top-up in it to its treasury: the collector at any time,
    /// anybody once it has expired (then also while the token is paused).
    function release(address account, address owner, bytes32 entity, uint8 role) external {
        bytes32 id = reservationId(account, owner, entity, role);
        Reservation memory held = _reservations[id];
        if (held.state != OPEN) revert UnknownReservation(id);
        if (block.timestamp < held.expiresAt) {
            _checkRunning();
            if (_sequences[account].collector != msg.sender) revert ReservationOpen(id, held.expiresAt);
        }
        _reservations[id] = Reservation(0, 0, held.expiresAt, held.tag, RELEASED);
        _giveBack(id, owner, held);
    }

    /// @return state 0 never used, 1 open, 2 given back, 3 collected
    /// @return own the owner's part: held when open, taken when collected; in 1e-9 CPU
    /// @return toppedUp the treasury's part
    /// @return expiresAt seconds since 1970; from then on `collect` refuses and anybody may release
    /// @return tag the first ten bytes of the settlement's id
    function reservation(address account, address owner, bytes32 entity, uint8 role)
        external
        view
        returns (uint8 state, uint256 own, uint256 toppedUp, uint64 expiresAt, bytes10 tag)
    {
        Reservation memory found = _reservations[reservationId(account, owner, entity, role)];
        return (found.state, found.own, found.topUp, found.expiresAt, found.tag);
    }

    // ---------------------------------------------------------------------------------------------------- settlement

    /// @notice Begins the next settlement of a payouts account, which fixes what it may collect and whom it may pay.
    /// @param previous the settlement before it, zero for the first: refused unless it is the account's last
    /// @param firstRow the row after the last one of that settlement
    /// @param lastRow the last row that this one covers, at most MAX_ROWS; firstRow - 1 when it covers no new one
    /// @param collections what it will collect in all, in 1e-9 CPU
    /// @param payouts what it will pay in all; no more than that and what the account holds
    /// @param payoutsRoot Merkle root (pairs sorted) over the Keccak-256 hashes of the lists for `pay`; zero without payouts
    function begin(
        address account,
        bytes32 batchId,
        bytes32 previous,
        uint64 firstRow,
        uint64 lastRow,
        uint256 collections,
        uint256 payouts,
        bytes32 payoutsRoot
    ) external whenRunning {
        _checkCollector(account);
        if (batchId == 0 || batchId == CLOSED) revert ZeroId();
        if ((payouts == 0) != (payoutsRoot == 0) || payoutsRoot == ABANDONED) {
            revert ListNotCommitted(batchId, payoutsRoot);
        }
        Sequence storage sequence = _sequences[account];
        if (sequence.settlement != previous) revert NotThePrevious(previous, sequence.settlement);
        uint256 word = _word(account);
        if (uint128(word >> 64) != 0) revert SettlementOpen(previous, uint64(word >> 128), uint64(word >> 64));
        uint256 next = ((word & ~IS_PAYOUTS) >> 192) + 1;
        if (firstRow != next || uint256(lastRow) + 1 < firstRow || lastRow >> 63 != 0) {
            revert NotTheNextRow(firstRow, lastRow, next);
        }
        uint256 rows = uint256(lastRow) + 1 - firstRow;
        if (rows > MAX_ROWS) revert TooManyRows(rows, MAX_ROWS);
        if (collections > CAP) revert CapExceeded(CAP, collections);
        if (payouts > uint64(word) + collections) revert CollectedFundsExceeded(payouts, uint64(word) + collections);
        _setWord(
            account, IS_PAYOUTS | uint256(lastRow) << 192 | collections << 128 | payouts << 64 | uint256(uint64(word))
        );
        sequence.settlement = batchId;
        sequence.payoutsRoot = payoutsRoot;
        sequence.collected = 1; // no entity is as low; the word stays in use, which is cheaper than one that was emptied
        sequence.paid = 0;
        emit SettlementBegun(batchId, account, previous, firstRow, lastRow, collections, payouts, payoutsRoot);
    }

    /// @notice Posts reservations to the payouts account, each with its payer's commitment; the rest of each returns.
    /// @param list items as for `pay`, account being the reservation's owner, role 0 enterprise or 5 subsidy; ascending
    /// by (entity, role)
    function collect(address account, bytes32 batchId, bytes calldata list) external whenRunning {
        _checkCollector(account);
        _checkCurrent(account, batchId);
        bytes32 listHash = _checkList(list);
        uint256 posted = _post(account, batchId, list);
        uint256 word = _word(account);
        uint256 left = uint64(word >> 128);
        if (posted > left) revert CommitmentExceeded(posted, left);
        unchecked {
            // what is left gets lower, what is there gets higher
            _setWord(account, word - (posted << 128) + posted);
        }
        emit BatchCollected(batchId, account, listHash, list.length / ITEM_BYTES, posted);
    }

    function _post(address account, bytes32 batchId, bytes calldata list) private returns (uint256 posted) {
        uint256 settled = _sequences[account].collected;
        uint256 last = settled;
        uint256 taken = 0;
        for (; list.length != 0; list = list[ITEM_BYTES:]) {
            uint256 key = _collectKey(bytes32(list[104:120]), uint8(list[120]));
            if (key <= last) _refuseOrder(batchId, bytes32(list[104:120]), uint8(list[120]), key, last, settled);
            last = key;
            (uint256 amount, uint256 reserved) = _collectOne(account, batchId, list[:ITEM_BYTES]);
            posted += amount;
            taken += reserved;
        }
        _sequences[account].collected = uint128(last);
        // the sum is part of what is held, which is at most CAP
        _books.held -= uint64(taken);
    }

    function _collectOne(address account, bytes32 batchId, bytes calldata item)
        private
        returns (uint256 amount, uint256 reserved)
    {
        if (uint8(item[120]) != ENTERPRISE && uint8(item[120]) != SUBSIDY) revert InvalidRole(uint8(item[120]));
        amount = uint96(bytes12(item[92:104]));
        if (amount == 0) revert ZeroAmount();
        address owner = address(bytes20(item[72:92]));
        bytes32 id = reservationId(account, owner, bytes32(item[104:120]), uint8(item[120]));
        reserved = _take(id, owner, batchId, amount);
        emit Transfer(address(this), account, amount);
        emit Settled(
            batchId,
            bytes32(item[104:120]),
            uint8(item[120]),
            amount,
            uint64(bytes8(item[0:8])),
            bytes32(item[8:40]),
            bytes32(item[40:72]),
            owner
        );
    }

    /// @dev Takes `amount` out of a reservation, the owner's part first, and returns what is left of both.
    function _take(bytes32 id, address owner, bytes32 batchId, uint256 amount) private returns (uint256 reserved) {
        Reservation memory held = _open(id, batchId);
        reserved = uint256(held.own) + held.topUp;
        if (amount > reserved) revert ReservationExceeded(id, amount, reserved);
        unchecked {
            uint256 own = amount < held.own ? amount : held.own;
            _reservations[id] = Reservation(uint64(own), uint64(amount - own), held.expiresAt, held.tag, COLLECTED);
            uint256 topUpRest = held.topUp - (amount - own);
            _return(owner, held.own - own);
            if (topUpRest != 0) _return(_treasuries[id], topUpRest);
            emit Collected(id, owner, amount, held.own - own, topUpRest);
        }
    }

    /// @notice Pays beneficiaries out of the calling payouts account, each with its own event and commitment; one debit for
    /// all.
    /// @param list items of 121 bytes: rowCount 8, xorHash 32, merkleRoot 32, account 20, amount 12, entity 16, role 1
    /// (1 contributor, 2 developer, 3 operator, 4 charity); ascending by (entity, role)
    /// @param proof that this list is one of those that the settlement was begun with
    function pay(bytes32 batchId, bytes calldata list, bytes32[] calldata proof) external whenRunning {
        bytes32 listHash = _checkList(list);
        _checkCurrent(msg.sender, batchId);
        if (!MerkleProof.verifyCalldata(proof, _sequences[msg.sender].payoutsRoot, listHash)) {
            revert ListNotCommitted(batchId, listHash);
        }
        uint256 settled = _sequences[msg.sender].paid;
        (uint256 paid, uint256 last) = _creditAll(batchId, LIST, LIST + list.length, settled);
        uint256 word = _word(msg.sender);
        if (paid > uint64(word >> 64)) revert CommitmentExceeded(paid, uint64(word >> 64));
        if (paid > uint64(word)) revert CollectedFundsExceeded(paid, uint64(word));
        unchecked {
            _setWord(msg.sender, word - (paid << 64) - paid);
        }
        _sequences[msg.sender].paid = uint128(last);
        emit BatchPaid(batchId, msg.sender, listHash, list.length / ITEM_BYTES, paid);
    }

    /// @notice Gives up what is left of the settlement under way: nothing more is collected or paid in it. What the account
    /// holds is carried over, or returned to the payers.
    function abandon(address account, bytes32 batchId) external {
        _checkCollector(account);
        _checkCurrent(account, batchId);
        uint256 word = _word(account);
        if (uint128(word >> 64) == 0) revert NotTheCurrent(batchId, batchId);
        _setWord(account, word & ~(uint256(type(uint128).max) << 64));
        _sequences[account].payoutsRoot = ABANDONED;
        emit SettlementAbandoned(batchId, account, uint64(word >> 128), uint64(word >> 64));
    }

    /// @notice Gives all that the abandoned settlement has collected of a payer back: to its owner, and to the treasury what
    /// that had added. Called by the payouts account.
    function returnToPayer(address owner, bytes32 entity, uint8 role) external whenRunning {
        bytes32 batchId = _sequences[msg.sender].settlement;
        if (_sequences[msg.sender].payoutsRoot != ABANDONED) revert NotAbandoned(batchId);
        bytes32 id = reservationId(msg.sender, owner, entity, role);
        Reservation memory taken = _reservations[id];
        if (taken.state != COLLECTED || taken.tag != bytes10(batchId)) revert UnknownReservation(id);
        uint256 word = _word(msg.sender);
        uint256 amount = uint256(taken.own) + taken.topUp;
        if (amount > uint64(word)) revert CollectedFundsExceeded(amount, uint64(word));
        _setWord(msg.sender, word - amount);
        _reservations[id] = Reservation(0, 0, taken.expiresAt, taken.tag, RELEASED);
        _credit(owner, taken.own);
        emit Transfer(msg.sender, owner, taken.own);
        if (taken.topUp != 0) {
            _credit(_treasuries[id], taken.topUp);
            emit Transfer(msg.sender, _treasuries[id], taken.topUp);
        }
        emit Returned(batchId, entity, role, owner, amount);
    }

    /// @dev The loop over payees, in assembly because it is what every payout costs. It stops at the first item that
    /// breaks a rule, and `_refusePayout` says which; after the last one it stops because there is an item of zeros. No
    /// overflow matters: the caller refuses a list that sums to more than was collected (at most CAP), and that undoes
    /// the credits.
    function _creditAll(bytes32 batchId, uint256 item, uint256 end, uint256 settled)
        private
        returns (uint256 paid, uint256 last)
    {
        bytes32 transferTopic = Transfer.selector;
        bytes32 settledTopic = Settled.selector;
        uint256 balances = BALANCES;
        last = settled + 1; // in the loop a key is one more than `_payKey`: it ends in the role itself
        assembly ("memory-safe") {
            mstore(add(end, 72), 0)
            for {} 1 { item := add(item, ITEM_BYTES) } {
                let account := mload(add(item, 72)) // account 20, amount 12
                let word := mload(add(item, 104)) // entity 16, role 1, 15 bytes of what follows
                let amount := and(account, 0xffffffffffffffffffffffff)
                account := shr(96, account)
                let role := byte(16, word)
                let key := add(and(shr(128, word), KEY_MASK), role)
                let place := or(balances, account)
                let funds := sload(place)
                // neither factor of the first product is 2^160 or more, so it is zero only if one of them is
                if iszero(
                    mul(
                        mul(amount, account),
                        and(
                            gt(key, last),
                            gt(byte(role, PAYEE_ROLES), or(eq(account, address()), shr(255, funds)))
                        )
                    )
                ) { break }
                last := key
                paid := add(paid, amount)
                mstore(EVENT, role)
                mstore(EVENT_AMOUNT, amount)
                mcopy(EVENT_COUNT, item, 72)
                mstore(EVENT_ACCOUNT, account)
                sstore(place, add(funds, amount))
                log3(EVENT_AMOUNT, 32, transferTopic, caller(), account)
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
        if (account == address(0) || account == address(this) || _word(account) & IS_PAYOUTS != 0) {
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

    /// @dev Checks a list's form. It is in memory at LIST afterwards, with room for an event before it.
    function _checkList(bytes calldata list) private pure returns (bytes32 listHash) {
        if (list.length == 0) revert EmptyBatch();
        if (list.length % ITEM_BYTES != 0) revert MalformedList(list.length, ITEM_BYTES);
        uint256 free;
        assembly ("memory-safe") {
            free := mload(0x40)
            calldatacopy(LIST, list.offset, list.length)
            listHash := keccak256(LIST, list.length)
            mstore(0x40, and(add(add(LIST, list.length), 191), not(31))) // and an item of zeros
        }
        assert(free == EVENT); // nothing was in memory yet
    }

    // --------------------------------------------------------------------------------------------------------- inner

    function _checkRunning() private view {
        if (_books.paused) revert TokenPaused();
    }

    function _checkCollector(address account) private view {
        if (_sequences[account].collector != msg.sender) revert NotCollector(account, msg.sender);
    }

    function _checkCurrent(address account, bytes32 batchId) private view {
        bytes32 current = _sequences[account].settlement;
        if (batchId == 0 || current != batchId) revert NotTheCurrent(batchId, current);
    }

    /// @dev Closes an empty payouts account, and returns the word that its successor goes on with.
    function _succeed(address predecessor) private returns (uint256 word) {
        word = _word(predecessor);
        if (word & IS_PAYOUTS == 0 || _sequences[predecessor].settlement == CLOSED) revert InvalidAccount(predecessor);
        if (uint192(word) != 0) revert AccountNotEmpty(predecessor);
        _setWord(predecessor, IS_PAYOUTS);
        _sequences[predecessor].collector = address(0);
        emit CollectorChanged(predecessor, address(0));
    }

    /// @dev Binds the calling account to a node, for ever: the one announced, else its own, else its predecessor's. So the
    /// rows of a node are settled in one line of accounts and one chain of settlements, or not at all.
    function _bind(bytes32 node, address predecessor) private {
        bytes32 before = _sequences[predecessor == address(0) ? msg.sender : predecessor].node;
        if (node == 0) node = before;
        if (before != 0 && node != before) revert NodeFixed(msg.sender, before);
        address holder = accountOf[node];
        if (node == 0 || holder == msg.sender) return;
        if (holder != address(0) && holder != predecessor) revert NodeHasAccount(node, holder);
        accountOf[node] = msg.sender;
        _sequences[msg.sender].node = node;
        emit NodeBound(node, msg.sender);
    }

    /// @dev A reservation that is open for this settlement.
    function _open(bytes32 id, bytes32 batchId) private view returns (Reservation memory held) {
        held = _reservations[id];
        if (held.state != OPEN || held.tag != bytes10(batchId)) revert UnknownReservation(id);
        if (block.timestamp >= held.expiresAt) revert ReservationExpired(id, held.expiresAt);
    }

    /// @dev Gives all that is held back. The caller writes the reservation's word.
    function _giveBack(bytes32 id, address owner, Reservation memory held) private {
        _books.held -= held.own + held.topUp;
        _return(owner, held.own);
        if (held.topUp != 0) _return(_treasuries[id], held.topUp);
        emit Released(id, owner, held.own, held.topUp);
    }

    function _return(address to, uint256 amount) private {
        if (amount == 0) return;
        _credit(to, amount);
        emit Transfer(address(this), to, amount);
    }

    function _transfer(address from, address to, uint256 amount) private whenRunning {
        if (from == address(0)) revert ERC20InvalidSender(from);
        _checkRecipient(to);
        _debit(from, amount);
        _credit(to, amount);
        emit Transfer(from, to, amount);
    }

    function _burn(address from, uint256 amount) private whenRunning {
        if (amount == 0) revert ZeroAmount();
        _debit(from, amount);
        unchecked {
            _supply.total -= uint128(amount);
        }
        emit Transfer(from, address(0), amount);
        emit Burned(from, amount);
    }

    /// @dev Nobody but `reserve` puts funds into the contract's own account, so its balance means exactly what is held.
    function _checkRecipient(address to) private view {
        if (to == address(0)) revert ERC20InvalidReceiver(to);
        if (to == address(this)) revert ForbiddenRecipient(to);
    }

    function _word(address account) private view returns (uint256 word) {
        uint256 place = BALANCES | uint160(account);
        assembly ("memory-safe") {
            word := sload(place)
        }
    }

    function _setWord(address account, uint256 word) private {
        uint256 place = BALANCES | uint160(account);
        assembly ("memory-safe") {
            sstore(place, word)
        }
    }

    /// @dev Takes from an ordinary account.
    function _debit(address from, uint256 amount) private {
        uint256 balance = _word(from);
        if (balance & IS_PAYOUTS != 0) revert ForbiddenSender(from);
        if (balance < amount) revert ERC20InsufficientBalance(from, balance, amount);
        unchecked {
            _setWord(from, balance - amount);
        }
    }

    /// @dev Gives to an ordinary account.
    function _credit(address to, uint256 amount) private {
        uint256 balance = _word(to);
        if (balance & IS_PAYOUTS != 0) revert ForbiddenRecipient(to);
        unchecked {
            _setWord(to, balance + amount);
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

    /// @dev Uses an authorization up; the caller moves what it is for.
    function _useAuthorization(
        address from,
        bytes32 nonce,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 content,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) private {
        if (block.timestamp <= validAfter || block.timestamp >= validBefore) {
            revert AuthorizationNotValid(validAfter, validBefore);
        }
        _spendAuthorization(from, nonce);
        emit AuthorizationUsed(from, nonce);
        _checkSigner(from, content, v, r, s);
    }

    function _spendAuthorization(address authorizer, bytes32 nonce) private {
        if (_authorizations[authorizer][nonce]) revert AuthorizationSpent(authorizer, nonce);
        _authorizations[authorizer][nonce] = true;
    }

    function _checkSigner(address owner, bytes32 content, uint8 v, bytes32 r, bytes32 s) private view {
        address signer = ECDSA.recover(_hashTypedDataV4(content), v, r, s);
        if (signer != owner) revert InvalidSigner(signer, owner);
    }

    function _grantRole(bytes32 role, address account) internal override returns (bool granted) {
        granted = super._grantRole(role, account);
        if (granted && role == PAUSER_ROLE) _books.pausers++;
    }

    function _revokeRole(bytes32 role, address account) internal override returns (bool revoked) {
        revoked = super._revokeRole(role, account);
        if (revoked && role == PAUSER_ROLE) _books.pausers--;
    }
}

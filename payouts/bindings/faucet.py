"""Bindings of Faucet. Generated from the ABI by payouts.bindings.generate: do not edit."""

from payouts.bindings.abi import Call, Contract, artifact, encode, encode_arguments, reader


class Faucet(Contract):
    """The contract `Faucet` at an address."""

    @staticmethod
    def deploy_data(token_: str) -> bytes:
        """The data of the transaction that creates the contract."""
        code = bytes.fromhex(str(artifact("Faucet")["bytecode"])[2:])
        return code + encode_arguments(("address",), (token_,))

    def development_chain(self) -> Call[int]:
        """`DEVELOPMENT_CHAIN()` (reads)."""
        return Call(
            self.address,
            "DEVELOPMENT_CHAIN()",
            encode("7e271c1a", (), ()),
            reader(("uint256",)),
        )

    def max_gift(self) -> Call[int]:
        """`MAX_GIFT()` (reads)."""
        return Call(
            self.address,
            "MAX_GIFT()",
            encode("d6c29b4e", (), ()),
            reader(("uint256",)),
        )

    def give(self, to: str, amount: int) -> Call[None]:
        """`give(address,uint256)`."""
        return Call(
            self.address,
            "give(address,uint256)",
            encode(
                "f00388f7",
                (
                    "address",
                    "uint256",
                ),
                (
                    to,
                    amount,
                ),
            ),
            reader(()),
        )

    def token(self) -> Call[str]:
        """`token()` (reads)."""
        return Call(
            self.address,
            "token()",
            encode("fc0c546a", (), ()),
            reader(("address",)),
        )

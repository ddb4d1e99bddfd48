"""Settings of Central (O-5). `cgn central reference` prints them as an example file."""

from dataclasses import dataclass
from pathlib import Path

from cgn_chassis.settings import setting

PREFIX = "CGN_CENTRAL_"


@dataclass(frozen=True, kw_only=True)
class CentralSettings:
    database: Path = setting(Path("central.sqlite"), about="The accounts database; made on first use.")
    certificate: Path = setting(about="Central's certificate (PEM): shown at both ports and, as a client, to nodes.")
    key: Path = setting(about="The private key of that certificate (PEM); a file that only Central can read.")
    authority: Path = setting(about="Certificate (PEM) of the authority that signed the nodes' certificates.")
    machine_host: str = setting("127.0.0.1", about="Address of the machine-to-machine port.")
    machine_port: int = setting(
        6661, unit="TCP port, 0 for any", about="Where ecosystem services ask.", minimum=0, maximum=65535
    )
    portal_host: str = setting("127.0.0.1", about="Address of the port for the portals' back end.")
    portal_port: int = setting(
        6443, unit="TCP port, 0 for any", about="Where the portals ask.", minimum=0, maximum=65535
    )
    log_level: str = setting(
        "info", about="The least important lines to write.", choices=("debug", "info", "warning", "error")
    )
    log_form: str = setting(
        "auto", about="Form of the lines; auto is text at a terminal.", choices=("auto", "text", "json")
    )

"""systemd units for the processes of a network that `cgn init` has written (O-3).

A process that ends with exit code 2 is not started again: starting again would not help (docs/reference/exit-codes.md).
SIGHUP takes renewed certificates. Each may write its own folder and nothing else.
"""

from __future__ import annotations

from pathlib import Path

STOP_S = 45
"""A node drains for up to 30 s after SIGTERM and needs some more for its last rows."""


def _service(about: str, command: str, folder: Path, *, after: str = "", capabilities: bool = False) -> str:
    low = (
        "AmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n" if capabilities else ""
    )
    order = f"After=network-online.target {after}".rstrip()
    return f"""[Unit]
Description={about}
Wants=network-online.target
{order}

[Service]
User=cgn
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=2
TimeoutStopSec={STOP_S}
LimitNOFILE=65536
UMask=0077
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ReadWritePaths={folder}
{low}
[Install]
WantedBy=multi-user.target
"""


def texts(folder: Path, cgn: Path, *, low_port: bool) -> dict[str, str]:
    """File name -> unit."""
    miner = _service(
        "CGN miner", f"{cgn} miner run --config {folder}/miner-1/miner.toml", folder / "miner-1", after="docker.service"
    )
    payouts = _service("CGN payouts", f"{cgn} payouts run --config {folder}/payouts/payouts.toml", folder)
    once = payouts.replace("[Service]\n", "[Service]\nType=oneshot\n").replace("Restart=on-failure\n", "")
    return {
        "cgn-central.service": _service(
            "CGN Central Service", f"{cgn} central run --config {folder}/central/central.toml", folder / "central"
        ),
        "cgn-node.service": _service(
            "CGN node", f"{cgn} node run --config {folder}/node/node.toml", folder / "node", capabilities=low_port
        ),
        # Docker's socket and the DServices' name spaces want more than a strict unit gives.
        "cgn-miner-1.service": miner.replace("NoNewPrivileges=yes\n", "SupplementaryGroups=docker\n"),
        "cgn-payouts.service": once.split("\n[Install]")[0],
        "cgn-payouts.timer": "[Unit]\nDescription=CGN payouts, once a day\n\n[Timer]\nOnCalendar=*-*-* 00:30:00 UTC\n"
        "Persistent=yes\n\n[Install]\nWantedBy=timers.target\n",
    }

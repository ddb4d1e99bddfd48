"""`cgn central run --check`: everything that can be known to be wrong before anything starts."""

import sys

from central_service.settings import CentralSettings
from cgn_chassis import process
from cgn_chassis.checks import Findings
from cgn_chassis.tls import authority_findings, credential_findings


def say(config: CentralSettings) -> int:
    """Prints what it found, and returns the exit code."""
    found = Findings()
    found.mistakes += credential_findings(config.certificate, config.key, ("certificate", "key"))
    found.mistakes += authority_findings(config.authority, "authority")
    found.database("database", config.database, "accounts")
    found.port("machine_port", config.machine_host, config.machine_port)
    found.port("portal_port", config.portal_host, config.portal_port)
    for line in (*found.mistakes, *found.notes):
        print(line, file=sys.stderr)
    if not found.mistakes:
        print("the settings are in order")
    return process.EXIT_USAGE if found.mistakes else process.EXIT_OK

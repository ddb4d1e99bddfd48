"""N-3: what anybody may know of this node as JSON, and what its operator may know as Prometheus text on a private
listener (O-6)."""

import json
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, Protocol

from cgn_sdk.protocol.errors import Problem

from cgn_chassis import logs, process
from cgn_chassis.supervisor import Supervisor
from cgn_node import limits
from cgn_node.central_endpoint import CentralEndpoint
from cgn_node.driver import Driver
from cgn_node.head_teller import HeadTeller
from cgn_node.http_server import Exchange, HttpListener, json_body
from cgn_node.miner_endpoint import MinerEndpoint
from cgn_node.policy import PolicyView
from cgn_node.recorder import Recorder
from cgn_node.session_file import SessionFile
from cgn_node.sessions import Sessions
from cgn_node.shipping import Shipping
from cgn_node.work_endpoint import WorkEndpoint, edge_problem
from ledger.heads import HeadKeeper
from ledger.refused import Refused

_JSON = [("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("Access-Control-Allow-Origin", "*")]
_TEXT = [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")]


class Latencies:
    """The latest request times per DService and tier, in microseconds."""

    def __init__(self, kept: int = limits.LATENCIES_KEPT) -> None:
        self._latest: dict[tuple[str, str], deque[int]] = defaultdict(lambda: deque(maxlen=kept))

    def add(self, dservice: str, tier: str, total_us: int) -> None:
        self._latest[dservice, tier].append(total_us)

    def percentiles_us(self, dservice: str, tier: str) -> dict[str, int]:
        values = sorted(self._latest.get((dservice, tier), ()))
        if not values:
            return {}
        return {name: values[len(values) * part // 100] for name, part in (("p50", 50), ("p90", 90), ("p99", 99))}


class Parts(Protocol):
    """What is asked of the node (`app.Node`)."""

    driver: Driver
    central: CentralEndpoint
    miners: MinerEndpoint
    work: WorkEndpoint
    recorder: Recorder
    session_file: SessionFile
    supervisor: Supervisor


class Facts:
    """Everything both listeners show."""

    def __init__(
        self,
        *,
        geolocation: str,
        version: str,
        parts: Parts,
        work_listener: HttpListener,
        sessions: Sessions,
        heads: HeadKeeper,
        teller: HeadTeller,
        public_key: bytes,
        latencies: Latencies,
        policy: Callable[[], PolicyView | None],
        shipping: Shipping,
        refused: Refused,
        rows_wait_s: int,
    ) -> None:
        self.geolocation = geolocation
        self.version = version
        self.driver = parts.driver
        self.central = parts.central
        self.miners = parts.miners
        self.work = parts.work
        self.work_listener = work_listener
        self.sessions = sessions
        self.session_file = parts.session_file
        self.recorder = parts.recorder
        self.heads = heads
        self.teller = teller
        self.public_key = public_key
        self.latencies = latencies
        self.policy = policy
        self.shipping = shipping
        self.refused = refused
        self.rows_wait_s = rows_wait_s
        self.supervisor = parts.supervisor
        self.started = time.monotonic()

    def load_state(self) -> str:
        """`draining`; `busy` when requests wait or rows cannot be taken; `ok` otherwise."""
        if self.work.draining:
            return "draining"
        statistics = self.driver.broker.statistics()
        return "busy" if statistics.waiting or self.recorder.is_full else "ok"

    def public(self) -> dict[str, Any]:
        """N-3's document: no account, no miner, no address in it."""
        statistics = self.driver.broker.statistics()
        welcome, view = self.central.welcome, self.policy()
        pools: dict[tuple[str, str], dict[str, Any]] = {}
        for pool in statistics.pools:  # tier 1 pools of different owners are one line here
            line = pools.setdefault(
                (pool.dservice, pool.tier),
                {"dservice": pool.dservice, "tier": pool.tier, "miners": 0, "slots": 0, "free_slots": 0, "waiting": 0},
            )
            for name in ("miners", "slots", "free_slots", "waiting"):
                line[name] += getattr(pool, name)
        for (dservice, tier), line in pools.items():
            line["latency_us"] = self.latencies.percentiles_us(dservice, tier)
        return {
            "node_id": welcome.node_public_id if welcome else None,
            "public_key": self.public_key.hex(),
            "ledger_head": json.loads(self.heads.newest.encode()) if self.heads.newest else None,
            "version": self.version,
            "geolocation": self.geolocation,
            "state": self.load_state(),
            "healthy": not self.ailments(),
            "uptime_s": int(time.monotonic() - self.started),
            "central_linked": bool(self.central.link_count),
            "policy_version": view.policy.version if view else None,
            "miners": statistics.miners,
            "requests": statistics.requests,
            "queue_depth": dict(statistics.queue_depth),
            "dservices": [
                {"name": each.name, "version": each.version, "route": each.route, "tiers": list(each.allowed_tiers)}
                for each in (view.policy.dservices if view else ())
            ],
            "pools": [pools[key] for key in sorted(pools)],
        }

    def ailments(self) -> list[str]:
        """Why this node should get no work: it knows no prices and routes, cannot record, or what it recorded does not
        reach the ledger."""
        found = []
        if self.policy() is None:
            found.append("nothing has been heard from Central yet")
        if self.work.draining:
            found.append("the node is about to stop")
        if self.recorder.is_full:
            found.append("work cannot be recorded")
        if self.shipping.oldest_s > self.rows_wait_s:
            found.append(f"rows have waited for the ledger longer than {self.rows_wait_s} s")
        if self.recorder.lookups.is_overdue:
            found.append(f"the ledger has not answered a look-up for longer than {limits.LOOK_UP_S:g} s")
        if self.refused.count:
            found.append(
                f"the ledger has refused {self.refused.count} rows: they are in refused in the node's state folder, "
                "each with its reason; cgn ledger offer-again gives them to the ledger once more"
            )
        if self.heads.problem:
            found.append("the ledger is not what this node has signed or put there: the log says what is missing")
        if self.teller.problem:
            found.append(f"the ledger is not what Central has seen of it: {self.teller.problem}")
        return found

    def warnings(self) -> list[str]:
        """What somebody has to look at, though the node works on."""
        refused = self.central.refused_policy
        return [f"Central's newest policy is refused, the one before stays in force: {refused}"] if refused else []

    def prometheus(self) -> bytes:
        statistics = self.driver.broker.statistics()
        lines = _Lines()
        lines.add("cgn_node_miners", "gauge", statistics.miners)
        lines.add("cgn_node_requests_live", "gauge", statistics.requests)
        lines.add("cgn_node_requests_waiting", "gauge", statistics.waiting)
        lines.add("cgn_node_rows_recording", "gauge", statistics.recording)
        lines.add("cgn_node_sessions", "gauge", len(self.sessions))
        lines.add("cgn_node_revocations_total", "counter", self.sessions.revocations)
        lines.add("cgn_node_central_links", "gauge", self.central.link_count)
        lines.add("cgn_node_central_policy_refused", "gauge", int(bool(self.central.refused_policy)))
        lines.add("cgn_node_work_connections", "gauge", self.work_listener.connection_count)
        lines.add("cgn_node_rows_total", "counter", self.recorder.rows)
        lines.add("cgn_node_rows_refused_total", "counter", self.recorder.refused)
        self._add_shipping(lines)
        _add_process(lines)
        lines.add("cgn_node_sessions_not_kept_total", "counter", self.session_file.failures)
        lines.family("cgn_node_broker_total", "what", statistics.counters)
        lines.family("cgn_node_driver_total", "kind", {k.__name__: n for k, n in self.driver.counters.items()})
        lines.family("cgn_node_driver_failed_total", "kind", {k.__name__: n for k, n in self.driver.broken.items()})
        lines.family("cgn_node_work_total", "outcome", self.work.counters)
        lines.family("cgn_node_edge_total", "outcome", self.work_listener.counters)
        lines.family("cgn_node_tunnel_total", "outcome", self.miners.counters)
        lines.family("cgn_node_work_keys_total", "what", self.work.keys.counters)
        lines.family("cgn_node_miner_keys_total", "what", self.miners.keys.counters)
        lines.family("cgn_node_central_total", "outcome", self.central.counters)
        for pool in statistics.pools:
            labels = {"dservice": pool.dservice, "tier": pool.tier}
            for name in ("miners", "slots", "free_slots", "waiting"):
                lines.add(f"cgn_node_pool_{name}", "gauge", getattr(pool, name), {**labels, "owner": pool.owner})
        return lines.encode()

    def _add_shipping(self, lines: "_Lines") -> None:
        lines.add("cgn_node_spool_backlog_rows", "gauge", self.shipping.backlog)
        lines.add("cgn_node_spool_dropped_bytes", "gauge", self.recorder.dropped_bytes)
        lines.add("cgn_node_spool_oldest_row_seconds", "gauge", int(self.shipping.oldest_s))
        lines.add("cgn_node_ledger_unanswered_seconds", "gauge", int(self.recorder.lookups.oldest_s))
        lines.add("cgn_node_rows_shipped_total", "counter", self.shipping.rows)
        lines.add("cgn_node_ship_failures_total", "counter", self.shipping.failures)
        if self.shipping.last_error:
            lines.add("cgn_node_ship_error", "gauge", 1, {"error": logs.clean("", self.shipping.last_error)})
        lines.add("cgn_node_rows_kept_refused", "gauge", self.refused.count)
        newest = self.heads.newest
        lines.add("cgn_node_ledger_head_rows", "gauge", newest.last_ingest if newest else 0)
        lines.add("cgn_node_ledger_head_told_rows", "gauge", self.teller.told_rows)
        lines.add("cgn_node_ledger_head_refused", "gauge", int(bool(self.teller.problem)))
        lines.add("cgn_node_ledger_losses", "gauge", len(self.heads.losses))
        lines.add("cgn_node_ledger_differs", "gauge", int(bool(self.heads.problem)))
        for kept in self.supervisor.statistics():
            lines.add("cgn_node_task_running", "gauge", int(kept.is_running), {"task": kept.name})
            lines.add("cgn_node_task_ends_total", "counter", kept.ends, {"task": kept.name})


def _add_process(lines: "_Lines") -> None:
    """What the process may run out of, and what it could not say."""
    descriptors = process.descriptors()
    lines.add("process_open_fds", "gauge", descriptors.open)
    lines.add("process_max_fds", "gauge", descriptors.limit)
    lines.add("cgn_node_log_lines_dropped_total", "counter", logs.dropped())
    lines.add("cgn_node_unhandled_errors_total", "counter", process.unhandled())


class _Lines:
    """Prometheus text format, each family's type said once."""

    def __init__(self) -> None:
        self._families: dict[str, list[str]] = {}

    def add(self, name: str, kind: str, value: int, labels: dict[str, str] | None = None) -> None:
        lines = self._families.setdefault(name, [f"# TYPE {name} {kind}"])
        shown = ",".join(f'{key}="{_escape(text)}"' for key, text in (labels or {}).items())
        lines.append(f"{name}{{{shown}}} {value}" if shown else f"{name} {value}")

    def family(self, name: str, label: str, values: Any) -> None:
        for key, value in sorted(values.items()):
            self.add(name, "counter", value, {label: key})

    def encode(self) -> bytes:
        return ("\n".join(line for lines in self._families.values() for line in lines) + "\n").encode()


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class _Pages:
    """Answers GET for a fixed set of paths."""

    def __init__(self, pages: dict[str, Callable[[Exchange], None]]) -> None:
        self._pages = pages

    def problem(self, status: int, detail: str) -> bytes:
        return edge_problem(status, detail)

    def serve(self, exchange: Exchange) -> None:
        page = self._pages.get(exchange.head.path)
        if page is None:
            problem = Problem("not_found", f"There are {', '.join(self._pages)}.")
            exchange.refuse(problem.status, problem.to_json())
        elif exchange.head.method not in ("GET", "HEAD"):
            problem = Problem("method_not_allowed", "Ask by GET.")
            exchange.refuse(problem.status, problem.to_json(), [("Allow", "GET, HEAD")])
        else:
            page(exchange)


def public_pages(facts: Facts) -> _Pages:
    """`/` and `/status`: the document; `/health`: 200 or 503 for a load balancer."""

    def status(exchange: Exchange) -> None:
        exchange.answer(200, _JSON, json_body(facts.public()))

    def health(exchange: Exchange) -> None:
        found = facts.ailments()
        state, warnings = facts.load_state(), facts.warnings()
        document = {"healthy": not found, "state": state, "reasons": found, "warnings": warnings}
        exchange.answer(503 if found else 200, _JSON, json_body(document))

    return _Pages({"/": status, "/status": status, "/health": health})


def private_pages(facts: Facts) -> _Pages:
    return _Pages({"/metrics": lambda exchange: exchange.answer(200, _TEXT, facts.prometheus())})

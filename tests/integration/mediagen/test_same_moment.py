"""The same thing asked for by several at the same moment (G-12), through the real service."""

import threading
import time
from urllib.parse import quote

import pytest

ASKING = 6


def crowd(mediagen, origin, target: str, **headers: str) -> list:
    """The answers to ASKING requests, of which the first ones wait for an origin until the others are there, too."""
    answers: list = []
    origin.gate.clear()
    origin.hits.clear()

    def ask(number: int) -> None:
        answers.append(mediagen.get(target, cgn_request_id=f"r{number}", user_agent=f"reader {number}", **headers))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(ASKING)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while not any("/held/" in hit for hit in origin.hits) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1.0)  # the others come meanwhile
    origin.gate.set()
    for thread in threads:
        thread.join(60)
    return answers


@pytest.mark.parametrize("streamed", [False, True])
def test_one_execution_for_all_who_ask_meanwhile(mediagen, origin, media, streamed):
    """Its source is fetched once, whoever asks; but an answer that its script calls streamed is made for each."""
    kind = "streamed" if streamed else "cached"
    body = f"var m = new Media(); m.load(name @ '{origin.url('held/photo.jpg')}'); m.scale(xs @ 40, ys @ 30); m.save(type @ 'png', responseType @ '{kind}');"
    script = origin.add(f"crowd-{streamed}.ms", f"function main() {{ {body} }}")
    answers = crowd(mediagen, origin, f"/mgen/io?script={quote(script, safe='')}")
    assert [answer.status for answer in answers] == [200] * ASKING
    assert len({answer.body for answer in answers}) == 1
    fetched = sum("/held/" in hit for hit in origin.hits)
    assert fetched == ASKING if streamed else fetched <= 2, fetched


def test_who_asks_for_something_else_has_an_answer_of_their_own(mediagen, origin, media):
    """A header that the script looks at, and a failure."""
    agent = origin.add(
        "agent.ms",
        f"function main() {{ var m = new Media(); m.load(name @ '{origin.url('held/photo.jpg')}'); resp.setObject(new TextResponse(req.getHeader('user-agent'))); }}",
    )
    answers = crowd(mediagen, origin, f"/mgen/io?script={quote(agent, safe='')}")
    assert {answer.body.decode() for answer in answers} == {f"reader {number}" for number in range(ASKING)}
    missing = origin.add(
        "fails.ms",
        f"function main() {{ var m = new Media(); m.load(name @ '{origin.url('held/photo.jpg')}'); m.load(name @ '{origin.url('not-there.png')}'); }}",
    )
    answers = crowd(mediagen, origin, f"/mgen/io?script={quote(missing, safe='')}")
    assert [answer.status for answer in answers] == [404] * ASKING
    assert all("line" in answer.problem for answer in answers)

"""A DService of the standard library alone, for containers without our packages: health, and probes of its walls.

GET /_cgn/health    200
GET /run/<code>     evaluates the Python expression (percent-encoded) inside the container and answers its repr
GET /hog/<MiB>      takes that much memory
"""

import asyncio
import os
import subprocess
import sys
from urllib.parse import unquote

HELD: list[bytearray] = []


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            target = line.split()[1].decode()
            while (await reader.readline()).strip():
                pass
            kind, _, rest = target.lstrip("/").partition("/")
            body = b"ready"
            if kind == "run":
                try:
                    body = repr(eval(unquote(rest), {"os": os, "sys": sys, "subprocess": subprocess})).encode()
                except BaseException as error:
                    body = f"{type(error).__name__}: {error}".encode()
            elif kind == "hog":
                HELD.append(bytearray(os.urandom(1) * (int(rest) << 20)))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main() -> None:
    path = os.environ["CGN_SOCKET"]
    server = await asyncio.start_unix_server(serve, path)
    os.chmod(path, 0o777)
    async with server:
        await server.serve_forever()


asyncio.run(main())

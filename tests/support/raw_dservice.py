"""A DService that answers with the bytes it is told, for tests of who carries them (standard library only).

GET /_cgn/health                 200
any  /…?close=0|1&raw=<hex>      these bytes, then the connection is closed or stays open and silent
any  /…?end=<exit status>        ends the process without an answer
"""

import asyncio
import os
from urllib.parse import parse_qs, urlsplit


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            target = line.split()[1].decode()
            while (await reader.readline()).strip():
                pass
            asked = parse_qs(urlsplit(target).query, keep_blank_values=True)
            if "end" in asked:
                os._exit(int(asked["end"][0]))
            if "raw" not in asked:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready")
                continue
            writer.write(bytes.fromhex(asked["raw"][0]))
            await writer.drain()
            if asked["close"] == ["1"]:
                return
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

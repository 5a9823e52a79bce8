"""A small store that speaks the part of the S3 API that reading needs, for benchmarks: moto answers some hundred requests a
second and takes a core for it. Loopback only; signatures are not looked at.

    s3_store.py FOLDER DELAY_SECONDS SYNTHETIC_KEYS

Serves the files of FOLDER as s3://bench/in/NAME, each GET of an object delayed, and SYNTHETIC_KEYS keys below
s3://bench/many/ that exist in listings only. Prints its port; GET /counts answers how many requests of each kind came.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from urllib.parse import parse_qs, quote, unquote, urlsplit

PAGE = 1_000


class Store:
    def __init__(self, folder: str, delay_seconds: float, synthetic: int) -> None:
        self.delay_seconds, self.synthetic = delay_seconds, synthetic
        self.objects: dict[str, bytes] = {}
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as file:
                self.objects[f"in/{name}"] = file.read()
        self.counts = {"list": 0, "get": 0}

    def listing(self, query: dict[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        rows: list[tuple[str, int]] = []
        if prefix.startswith("many/"):
            first = int(after.split("/")[1].split(".")[0]) + 1 if after else 0
            rows = [(f"many/{number:08d}.png", 100) for number in range(first, min(self.synthetic, first + PAGE + 1))]
        else:
            rows = [(key, len(body)) for key, body in self.objects.items() if key.startswith(prefix) and key > after]
        page, more = rows[:PAGE], len(rows) > PAGE
        contents = "".join(
            f"<Contents><Key>{quote(key)}</Key><LastModified>2024-05-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{size:x}&quot;</ETag><Size>{size}</Size></Contents>" for key, size in page)
        token = f"<NextContinuationToken>{page[-1][0]}</NextContinuationToken>" if more else ""
        return (f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated><EncodingType>url</EncodingType>"
                f"{contents}{token}</ListBucketResult>").encode()

    async def answer(self, target: str) -> tuple[int, list[str], bytes]:
        parts = urlsplit(target)
        path = unquote(parts.path).strip("/")
        if path == "counts":
            return 200, [], json.dumps(self.counts).encode()
        if path == "bench":
            self.counts["list"] += 1
            return 200, [], self.listing(parse_qs(parts.query))
        self.counts["get"] += 1
        await asyncio.sleep(self.delay_seconds)
        body = self.objects.get(path.removeprefix("bench/"))
        if body is None:
            return 404, [], b"<Error><Code>NoSuchKey</Code></Error>"
        return 200, [f'ETag: "{len(body):x}"', "Accept-Ranges: bytes"], body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                status, headers, body = await self.answer(head.split(b" ", 2)[1].decode())
                lines = [f"HTTP/1.1 {status} S", f"Content-Length: {len(body)}", *headers, "", ""]
                writer.write("\r\n".join(lines).encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


async def main() -> None:
    store = Store(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

"""A TCP proxy that adds latency: `python -m benchmarks.state_proxy HOST PORT ROUND_TRIP_MS`.

Prints the port it listens on. Half the round trip is added to each direction; bytes are not
held back behind one another, so pipelined messages stay pipelined.
"""

from __future__ import annotations

import asyncio
import sys


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)

    task = asyncio.create_task(deliver())
    data = b"-"
    while data:
        data = await reader.read(65536)
        queue.put_nowait((loop.time() + delay_s, data))
    await task


async def serve(host: str, port: int, delay_s: float) -> None:
    """Forward every connection until the process ends."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(host, port)
        await asyncio.gather(
            _pump(reader, there[1], delay_s),
            _pump(there[0], writer, delay_s),
            return_exceptions=True,
        )

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 2000))

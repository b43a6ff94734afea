"""Carries connections to servers, and lets them go half-open: from then on nothing comes, and nobody is told.

As a program: python3 proxy.py PORT=PORT,…; each line on its input lets half of what is connected go half-open, and is answered by how
many these were. A connection that is made later works.
"""

import asyncio
import random
import sys


class Proxy:
    def __init__(self):
        self.known = {}

    async def serve(self, port, target):
        await asyncio.start_server(lambda reader, writer: self.carry(reader, writer, target), "127.0.0.1", port)

    async def carry(self, reader, writer, target):
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.transport.abort()
            return
        pair = {"open": True, "writers": (writer, server_writer)}
        self.known[id(pair)] = pair
        await asyncio.gather(self.pump(reader, server_writer, pair), self.pump(server_reader, writer, pair))
        self.known.pop(id(pair), None)

    async def pump(self, reader, writer, pair):
        try:
            while part := await reader.read(65_536):
                if pair["open"]:
                    writer.write(part)
        except OSError:
            pass
        # The end is told to the other side only while the connection leads somewhere.
        if pair["open"]:
            writer.close()

    def cut(self):
        open_now = [pair for pair in self.known.values() if pair["open"]]
        chosen = random.sample(open_now, (len(open_now) + 1) // 2)
        for pair in chosen:
            pair["open"] = False
            if random.random() < 0.5:
                # The server's host is told, the client never.
                pair["writers"][1].transport.abort()
        return len(chosen)


async def main():
    proxy = Proxy()
    for words in sys.argv[1].split(","):
        port, target = map(int, words.split("="))
        await proxy.serve(port, target)
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(proxy.cut(), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

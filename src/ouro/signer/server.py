"""The socket in front of the service."""

import asyncio
import os
import signal
import socket

from ouro.signer.messages import FrameError, decode_request, encode_frame, read_frame
from ouro.signer.service import SignerService
from ouro.signer.unixsocket import peer_uid


class SignerServer:
    """Serves one listening socket until told to stop; requests are answered strictly one after the other."""

    def __init__(self, service: SignerService, listener: socket.socket) -> None:
        self._service = service
        self._listener = listener
        self._stop = asyncio.Event()
        self._connections: set[asyncio.StreamWriter] = set()
        self._count = 0

    def stop(self) -> None:
        """Let `run` end."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT; what is being answered is finished."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        server = await asyncio.start_unix_server(self._serve, sock=self._listener)
        try:
            await self._stop.wait()
        finally:
            server.close()
            for writer in list(self._connections):
                writer.close()
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        self._count += 1
        connection = self._count
        try:
            if peer_uid(writer.get_extra_info("socket")) == os.geteuid():
                await self._converse(reader, writer, connection)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the peer is gone; nothing is owed to it
        finally:
            self._connections.discard(writer)
            self._service.hung_up(connection)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        while True:
            try:
                body = await read_frame(reader)
                if body is None:
                    return
                request = decode_request(body)
            except FrameError as error:
                # After a broken frame the stream has no known boundary: answer and hang up.
                writer.write(encode_frame(self._service.refuse_frame(str(error)[:300])))
                await writer.drain()
                return
            writer.write(encode_frame(self._service.answer(request, connection)))
            await writer.drain()

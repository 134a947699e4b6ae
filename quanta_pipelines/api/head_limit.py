"""Request lines and headers of bounded size: uvicorn's faster parser takes any amount of them.

They are read before a request exists, so no layer of the application could refuse them.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 65_536  # h11, uvicorn's other parser, has the same bound


class BoundedHead(HttpToolsProtocol):
    """Ends a connection whose request line and headers are longer than they may be.

    Counted are the bytes of pieces that left a head unfinished, so a head that arrives in one piece
    passes up to the size of a piece, 256 KiB.
    """

    _head_bytes = 0
    _in_head = False

    def on_message_begin(self) -> None:
        """A request starts."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take a piece of what a client sends."""
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"Request line and headers exceed {MOST_HEAD_BYTES} bytes.")

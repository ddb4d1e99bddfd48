"""A TLS 1.3 client that says one message nobody expects much of: KeyUpdate (RFC 8446 4.6.3). Python's `ssl` cannot, so
this speaks to OpenSSL's own library."""

import ctypes
import ctypes.util
import socket


class KeyUpdates:
    """A blocking connection to a port of this machine; nothing is verified."""

    def __init__(self, port: int) -> None:
        name = ctypes.util.find_library("ssl")
        assert name, "OpenSSL's library (libssl) is part of every system this runs on"
        self._library = library = ctypes.CDLL(name)
        for function in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(library, function).restype = ctypes.c_void_p
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.settimeout(None)
        context = ctypes.c_void_p(library.SSL_CTX_new(ctypes.c_void_p(library.TLS_client_method())))
        self._ssl = ctypes.c_void_p(library.SSL_new(context))
        library.SSL_set_fd(self._ssl, self.socket.fileno())
        assert library.SSL_connect(self._ssl) == 1

    def update(self, count: int, *, asks_for_one: bool = False) -> bool:
        """Sends so many; False: the peer has ended the connection."""
        for _ in range(count):
            self._library.SSL_key_update(self._ssl, int(asks_for_one))
            if self._library.SSL_do_handshake(self._ssl) != 1:
                return False
        return True

    def write(self, data: bytes) -> None:
        assert self._library.SSL_write(self._ssl, data, len(data)) == len(data)

    def read(self) -> bytes:
        """What comes next; nothing when the connection has ended."""
        into = ctypes.create_string_buffer(65_536)
        count = self._library.SSL_read(self._ssl, into, len(into))
        return into.raw[: max(0, count)]

    def close(self) -> None:
        self._library.SSL_free(self._ssl)
        self.socket.close()

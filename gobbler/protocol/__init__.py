"""The wire protocol as pure codecs: bytes in, bytes out."""

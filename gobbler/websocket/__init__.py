"""WebSocket: the RFC 6455 codec (`frames`, pure), one connection (`session`) and its subscriptions."""

"""The benchmark: Gobbler beside nats-server with JetStream, same shapes, same checks (`python -m bench`)."""

"""Key-value stores: small durable facts by (schema, key). `base` describes one, the others are some."""

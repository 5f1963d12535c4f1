"""Message stores: where messages get their ids, are kept, and are read again."""

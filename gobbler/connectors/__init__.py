"""Connectors: people who are not connected are reached through push notifications and SMS."""

"""Which connectors the options ask for, put together: sender, subscriptions, reporters, pages.

A provider's modules are imported when it is turned on, and not before: a server without
connectors should not pay for theirs with memory and start-up time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import gevent
from flask import Blueprint

from gobbler.admin import toggles
from gobbler.config import Config
from gobbler.connectors.audience import Everybody
from gobbler.connectors.base import Sender
from gobbler.connectors.connector import ATTEMPTS_A_WORKER, Connector, Stores
from gobbler.connectors.metrics import PushMetrics
from gobbler.connectors.subscriptions import Subscriptions
from gobbler.metrics import Metrics
from gobbler.reporting.base import Nobody, Reporter
from gobbler.rest import push
from gobbler.router.routes import Router
from gobbler.service import Service

FCM, APNS, SMS = "fcm", "apns", "sms"


class Connectors:
    """The connectors of a server: a service that starts and stops all of them."""

    def __init__(self, config: Config, stores: Stores, metrics: Metrics, router: Router) -> None:
        """Make what the options ask for, and have the router know it."""
        self._config = config
        self._stores = stores
        self._metrics = metrics
        self._push_metrics = PushMetrics(metrics.registry)
        self._subscriptions: dict[str, Subscriptions] = {}
        self._reporting = _Reporting(config, metrics)
        wanted = {FCM: config.fcm, APNS: config.apns, SMS: config.sms}
        self.by_name = {name: self._connector(name) for name, on in wanted.items() if on}
        for connector in self.by_name.values():
            router.join(connector)

    def __repr__(self) -> str:
        """Show their names."""
        return f"<Connectors {', '.join(self.by_name) or 'none'}>"

    def start(self) -> None:
        """Start all. Raises: ConfigError: credentials cannot be used; KVError, StoreUnavailable."""
        try:
            for connector in self.by_name.values():
                connector.start()
        except BaseException:
            self.stop(0)
            raise

    def stop(self, timeout: float) -> None:
        """Stop all at the same time, within half of `timeout` seconds: others need the rest."""
        stopping = [gevent.spawn(one.stop, timeout / 2) for one in self.by_name.values()]
        gevent.joinall(stopping, raise_error=True)

    def services(self) -> Iterator[tuple[str, Service]]:
        """Yield what has to be started, in this order."""
        if self._reporting.service is not None:
            yield "Kafka reporting", self._reporting.service
        if self.by_name:
            yield "connectors", self

    def blueprints(self) -> Iterator[Blueprint]:
        """Yield the pages: subscriptions, receipts, toggles."""
        prefixes = {FCM: self._config.fcm_prefix, APNS: self._config.apns_prefix}
        for name, subscriptions in self._subscriptions.items():
            yield push.blueprint(subscriptions, prefixes[name], self._metrics)
        if self._config.sms and self._config.sms_receipt_endpoint:
            yield self._receipts()
        if self._config.toggles_endpoint:
            yield toggles.blueprint(self.by_name, self._config.toggles_endpoint)

    def _connector(self, name: str) -> Connector:
        config = self._config
        make, workers, topic = {
            FCM: (_fcm, config.fcm_workers, config.fcm_kafka_topic),
            APNS: (_apns, config.apns_workers, config.apns_kafka_topic),
            SMS: (_sms, config.sms_workers, config.sms_kafka_topic),
        }[name]
        everybody = Everybody(name, config.sms_topic.encode()) if name == SMS else None
        made = Connector(
            make(config, workers * ATTEMPTS_A_WORKER),
            everybody or self._subscribed(name),
            self._stores,
            self._push_metrics.for_connector(name),
            self._reporting.topic(topic),
            workers=workers,
            retry_delay=config.push_retry_delay,
        )
        if name in self._subscriptions:
            self._subscriptions[name].watch(made)
        return made

    def _subscribed(self, name: str) -> Subscriptions:
        reporter = self._reporting.topic(self._config.subscribe_kafka_topic)
        made = Subscriptions(name, self._stores.keys, self._last_id, reporter)
        self._subscriptions[name] = made
        return made

    def _last_id(self, partition: str) -> int:
        return self._stores.messages.bounds(partition).last

    def _receipts(self) -> Blueprint:
        from gobbler.connectors.sms.signature import Signer
        from gobbler.rest import receipts

        config = self._config
        verify = None
        if config.sms_signature_secret:
            signer = Signer(config.sms_signature_secret, config.sms_signature_method)

            def verify(parameters: Mapping[str, str]) -> bool:
                return signer.valid(parameters, time.time())

        reporter = self._reporting.topic(config.sms_kafka_topic)
        return receipts.blueprint(config.sms_receipt_endpoint, reporter, verify)


class _Reporting:
    """The reporters: of Kafka where there are brokers, else nobody."""

    def __init__(self, config: Config, metrics: Metrics) -> None:
        self.service: Service | None = None
        if not config.kafka_brokers:
            return
        from gobbler.reporting.kafka import KafkaReporting
        from gobbler.reporting.metrics import ReportingMetrics

        self.service = self._kafka = KafkaReporting(
            config.kafka_brokers,
            ReportingMetrics(metrics.registry),
            security=config.kafka_security,
            ca_file=config.kafka_ca_file,
            mechanism=config.kafka_mechanism,
            user=config.kafka_user,
            password=config.kafka_password,
        )

    def topic(self, name: str) -> Reporter:
        return Nobody() if self.service is None else self._kafka.topic(name)


def _fcm(config: Config, in_flight: int) -> Sender:
    if config.fcm_api_key:
        from gobbler.connectors.fcm.legacy_sender import LegacyFcmSender

        return LegacyFcmSender(
            config.fcm_api_key,
            endpoint=config.fcm_endpoint,
            ca_file=config.fcm_ca_file,
            in_flight=in_flight,
        )
    from gobbler.connectors.fcm.sender import FcmSender

    assert config.fcm_service_account_file is not None, "gobbler.config has checked it"
    return FcmSender(
        config.fcm_service_account_file,
        endpoint=config.fcm_endpoint,
        project_id=config.fcm_project_id,
        ca_file=config.fcm_ca_file,
        in_flight=in_flight,
    )


def _apns(config: Config, _in_flight: int) -> Sender:
    from gobbler.connectors.apns.certificate import Certificate
    from gobbler.connectors.apns.credential import Credential
    from gobbler.connectors.apns.provider_token import ProviderToken
    from gobbler.connectors.apns.sender import ApnsSender, endpoint_of

    credential: Credential
    if config.apns_key_file is not None:
        credential = ProviderToken(config.apns_key_file, config.apns_key_id, config.apns_team_id)
    else:
        credential = Certificate(config.apns_cert_file or config.apns_cert_bytes, config.apns_cert_password)
    return ApnsSender(
        credential,
        config.apns_app_topic,
        endpoint=config.apns_endpoint or endpoint_of(production=config.apns_production),
        ca_file=config.apns_ca_file,
    )


def _sms(config: Config, in_flight: int) -> Sender:
    from gobbler.connectors.sms.sender import SmsSender

    return SmsSender(config, in_flight)

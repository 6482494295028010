"""Alerts to people: raised into a durable queue, delivered by a process of their own, tried until they are."""

from ouro.monitoring.alerts.store import Alert, AlertStore, alerts_file

__all__ = ["Alert", "AlertStore", "alerts_file"]

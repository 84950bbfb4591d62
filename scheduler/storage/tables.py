"""Every table, under one name to import them by: the metadata is whole only once all of them are known."""

from __future__ import annotations

from scheduler.storage.attempt_tables import Attempt, AttemptLog, Observation, Reservation
from scheduler.storage.base import DEFAULT_TENANT, Base
from scheduler.storage.card_tables import CardRow
from scheduler.storage.host_tables import HostRow
from scheduler.storage.inventory_tables import ApiKey, Model, Offer, Tenant
from scheduler.storage.job_tables import CandidateRow, Decision, Event, Job, OutboxMessage
from scheduler.storage.learning_tables import Training
from scheduler.storage.machine_tables import ForgottenMachine, Installation, LedgerEntry, MachineRow
from scheduler.storage.price_tables import InventoryVersion, OfferPrice, PriceImport, QuarantinedPrice
from scheduler.storage.queue_tables import Waits
from scheduler.storage.secret_tables import SecretRow

__all__ = [
    "DEFAULT_TENANT",
    "ApiKey",
    "Attempt",
    "AttemptLog",
    "Base",
    "CandidateRow",
    "CardRow",
    "Decision",
    "Event",
    "ForgottenMachine",
    "HostRow",
    "Installation",
    "InventoryVersion",
    "Job",
    "LedgerEntry",
    "MachineRow",
    "Model",
    "Observation",
    "Offer",
    "OfferPrice",
    "OutboxMessage",
    "PriceImport",
    "QuarantinedPrice",
    "Reservation",
    "SecretRow",
    "Tenant",
    "Training",
    "Waits",
]

"""The record: events, bottles, proposals and audit behind a repository contract. Only the controller writes it."""

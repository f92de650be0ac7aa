"""Engines: what runs a method's process and tells how it went."""

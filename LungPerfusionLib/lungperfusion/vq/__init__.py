"""Ventilation, perfusion and V/Q from one inspiratory and one expiratory CT."""

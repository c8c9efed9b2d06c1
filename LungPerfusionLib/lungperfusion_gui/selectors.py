"""Combo boxes that offer results by name."""

from lungperfusion.terms import title


def refill(selector, items):
    """Offer names with their roles; keep the choice where it is still there."""
    chosen = selector.currentData
    blocked = selector.blockSignals(True)
    selector.clear()
    for name, role in items.items():
        selector.addItem(title(name), role)
    index = selector.findData(chosen) if chosen else -1
    selector.currentIndex = max(index, 0) if items else -1
    selector.blockSignals(blocked)


def select(selector, role):
    """Choose an item by its role without a signal; leave the choice where it is not offered."""
    index = selector.findData(role)
    if index >= 0:
        blocked = selector.blockSignals(True)
        selector.currentIndex = index
        selector.blockSignals(blocked)

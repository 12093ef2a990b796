"""The machine's interconnect: routes every ICR write and keeps the books."""

"""The hot rooms as machine code, made from the same sources where there is a compiler."""
